"""What one run of a pipeline writes into MLflow: gathered step by step, sent in bulk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchloom_mlflow import reports, values

if TYPE_CHECKING:
    from batchloom.models import PipelineRun
    from batchloom_mlflow.store import Store

SECONDS = 10.0  # values wait no longer than that, so that a long epoch can be watched
COUNT = "batchloom.runs"  # the tag that says how many runs of pipelines an MLflow run holds
RUN_OPTIONS = ("batch_size", "n_epochs", "shuffle", "drop_last")


class Record:
    """The record of one run of a pipeline.

    Parameters
    ----------
    store : Store
    steps : dict of str to int
        How far each model has come in this MLflow run: several runs of a pipeline may go into one.
    """

    def __init__(self, store: Store, steps: dict[str, int]) -> None:
        self.store = store
        self._next = steps
        self._offset = dict(steps)
        self._models: set[str] = set()
        self._asked: dict[str, Any] = {}
        self._there, tags = store.content()
        self._number = int(tags.get(COUNT, 0)) + 1
        self._waiting: list[tuple[str, float, int, int]] = []
        self._sent_at = time.monotonic()
        self._failed = False
        self._told: set[str] = set()

    def begin(self, run: PipelineRun) -> None:
        """Write the options and the config of the pipeline's run."""
        from batchloom import __version__

        options = {name: run.options[name] for name in RUN_OPTIONS}
        options |= {"seed": run.seed, "n_items": len(run.dataset or ())}
        found = values.parameters("", options) | values.parameters("config", run.config)
        self._parameters(found, {"batchloom.version": __version__, COUNT: str(self._number)})

    def add_model(self, name: str, model: Any) -> None:
        """Write the config of a model, the first time it is trained in this run."""
        if name in self._models:
            return
        self._models.add(name)
        config = getattr(model, "config", None)
        kind = getattr(model, "registered_name", None) or values.as_text(model.__class__)
        self._parameters(
            {
                values.clean_name(name, "model"): kind,
                **values.parameters(name, config if isinstance(config, Mapping) else {}),
            }
        )

    def add_output(self, name: str, output: Any, asked: Any, number: int | None) -> None:
        """Take what training gave for a batch; `number` is the batch's in the run."""
        step = self._next.get(name, 0)
        if number is not None:
            step = self._offset.get(name, 0) + number
        self._next[name] = step + 1
        self._asked[name] = asked
        if output is not None:
            for part, value in values.outputs(output, asked):
                self._add(name, part, value, step)
        if time.monotonic() - self._sent_at > SECONDS:
            self.send()

    def end_epoch(self, name: str, epoch: int, value: Any) -> None:
        """Take what a model gave at the end of an epoch, and send what was gathered."""
        last = max(self._next.get(name, 0) - 1, 0)
        if value is not None:
            for part, each, step in values.histories(value, self._asked.get(name)):
                self._add(name, part, each, last if step is None else step)
        self._add(name, "epoch", epoch, last)
        self.send()

    def send(self, at_last: bool = False) -> None:
        """Send what was gathered; after a failure, not before the end of the pipeline's run."""
        from batchloom_mlflow.store import METRICS_AT_ONCE

        self._sent_at = time.monotonic()
        if self._failed and not at_last:
            return
        try:
            while self._waiting:
                self.store.log_metrics(self._waiting[:METRICS_AT_ONCE])
                del self._waiting[:METRICS_AT_ONCE]
        except Exception as exc:
            self._failed = True
            if at_last:
                names = sorted({each[0] for each in self._waiting})
                reports.lost(exc, names, len(self._waiting), self.store.run_id)
            else:
                reports.delayed(exc, len(self._waiting), self.store.run_id)

    def end(self, status: str) -> None:
        """End the MLflow run, if it was started here."""
        try:
            self.store.end(status)
        except Exception as exc:
            reports.report(f"the MLflow run {self.store.run_id} could not be ended: {exc}")

    def _parameters(self, found: Mapping[str, str], tags: Mapping[str, str] | None = None) -> None:
        new = {}
        for name, value in found.items():
            # MLflow never changes a parameter: another value goes by the number of the pipeline's run.
            for free in (name, f"run{self._number}/{name}"):
                if self._there.get(free, value) == value:
                    new[free] = value
                    break
            else:
                reports.report(
                    f"the MLflow run {self.store.run_id} has the parameter {name} already, as "
                    f"{self._there[name]!r}: {value!r} is not recorded"
                )
        self._there |= new
        try:
            self.store.log_parameters(new, tags or {})
        except Exception as exc:
            reports.lost(exc, list(new), len(new), self.store.run_id)

    def _add(self, model: str, part: str, value: Any, step: int) -> None:
        name = values.clean_name(model, part)
        number = values.as_number(value)
        if number is not None:
            self._waiting.append((name, number, int(time.time() * 1000), step))
        elif value is not None and name not in self._told:
            self._told.add(name)
            reports.report(
                f"the output {part!r} of model {model!r} is {values.kind_of(value)}: MLflow keeps "
                "numbers, so it is not recorded. Ask for a number (output='loss'), or log it yourself"
            )
