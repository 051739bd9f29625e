"""The lifecycle plug-in: watches models being trained and saved, and has it recorded in MLflow.

MLflow is imported when something is first trained: its import takes seconds.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from batchloom.models import hookimpl
from batchloom.models.hooks import Box
from batchloom_mlflow import reports, trained, values
from batchloom_mlflow.record import Record

if TYPE_CHECKING:
    from batchloom import Batch
    from batchloom.models import PipelineRun
    from batchloom_mlflow.store import Store

Wrapper = Generator[None, Any, Any]


class Tracking:
    """Records every run of a pipeline that trains a model in an MLflow run."""

    def __init__(self) -> None:
        # None: it could not be started, and the user knows.
        self._records: weakref.WeakKeyDictionary[PipelineRun, Record | None] = (
            weakref.WeakKeyDictionary()
        )
        self._by_hand: dict[str, Record] = {}  # of runs that the user made active, by their id
        self._steps: dict[str, dict[str, int]] = {}  # by MLflow run, then by model

    @hookimpl(wrapper=True)
    def train_model(
        self,
        model: Any,
        name: str,
        kwargs: Mapping[str, Any],
        batch: Batch | None,
        run: PipelineRun | None,
    ) -> Wrapper:
        """Record a model's parameters before it is first trained, and what each training gives."""
        record = self._active_record() if run is None else self._record(run)
        if record is not None:
            record.add_model(name, model)
            trained.remember(model, record.store.run_id)
        result = yield
        if record is not None:
            asked = kwargs.get("output", kwargs.get("fetches"))
            output = result[0] if isinstance(result, tuple) and result else None
            record.add_output(name, output, asked, None if batch is None else batch.number)
            if run is None:
                record.send(at_last=True)
        return result

    @hookimpl(wrapper=True)
    def end_epoch(self, name: str, epoch: int, run: PipelineRun | None) -> Wrapper:
        """Record what a model gives at the end of an epoch, and send what was gathered."""
        results = yield
        record = self._records.get(run) if run is not None else None
        if record is not None:
            own = next((each[0] for each in results if isinstance(each, Box)), None)
            record.end_epoch(name, epoch, own)
        return results

    @hookimpl(wrapper=True)
    def save_model(self, model: Any, name: str, path: Any) -> Wrapper:
        """Log the saved file as an artefact of the run that the model was trained in."""
        result = yield
        run_id = _users_run() or trained.run_id_of(model)
        if run_id is not None:
            from batchloom_mlflow.store import log_file_of

            folder = values.clean_name("models", name)
            try:
                log_file_of(run_id, path, folder)
            except Exception as exc:
                reports.lost(exc, [f"{folder}: {path}"], 1, run_id)
        return result

    @hookimpl
    def end_run(self, run: PipelineRun, exception: BaseException | None) -> None:
        """Send the rest, and end the MLflow run if it was started for this run."""
        record = self._records.pop(run, None)
        if record is not None:
            try:
                record.send(at_last=True)
            finally:
                record.end(status_of(exception))

    def _record(self, run: PipelineRun) -> Record | None:
        if run not in self._records:
            self._records[run] = record = self._opened()
            if record is not None:
                record.begin(run)
        return self._records[run]

    def _opened(self) -> Record | None:
        uri = "MLflow's tracking server"
        try:
            from batchloom_mlflow.store import Store, tracking_uri

            uri = tracking_uri()
            return self._made(Store.open())
        except Exception as exc:
            reports.not_started(exc, uri)
            return None

    def _active_record(self) -> Record | None:
        """Training outside of a pipeline's run goes to the run that the user made active, if any."""
        run_id = _users_run()
        if run_id is not None and run_id not in self._by_hand:
            from batchloom_mlflow.store import Store

            try:
                self._by_hand[run_id] = self._made(Store(run_id, is_ours=False))
            except Exception as exc:
                reports.report(f"the MLflow run {run_id} cannot be written to: {exc}")
        return self._by_hand.get(run_id) if run_id is not None else None

    def _made(self, store: Store) -> Record:
        return Record(store, self._steps.setdefault(store.run_id, {}))


def status_of(exception: BaseException | None) -> str:
    """Say in MLflow's words how a run ended.

    Who stops asking for batches has ended the run on purpose.
    """
    if exception is None or isinstance(exception, GeneratorExit):
        return "FINISHED"
    return "KILLED" if isinstance(exception, KeyboardInterrupt) else "FAILED"


def _users_run() -> str | None:
    # Whoever has made a run active has imported MLflow.
    if "mlflow" not in sys.modules:
        return None
    from batchloom_mlflow.store import users_run_id

    return users_run_id()
