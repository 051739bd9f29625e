"""The MLflow run that a training is recorded in: found or started, written to by its id, ended.

The only module that imports MLflow. MLflow's active run belongs to a thread; everything here but its
start and its end goes by the run's id, from whatever thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

METRICS_AT_ONCE = 1000  # MLflow's limits for one request
PARAMETERS_AT_ONCE = 100

_ours: dict[str, str | None] = {}
"""The runs started here that MLflow may still take for active, with their status once they have ended."""


def active_run_id() -> str | None:
    """Return the id of the run that is active in this thread."""
    _drop_ended()
    active = mlflow.active_run()
    return None if active is None else active.info.run_id


def users_run_id() -> str | None:
    """Return the id of the active run, unless it was started here."""
    active = active_run_id()
    return None if active in _ours else active


def tracking_uri() -> str:
    """Return where runs are kept."""
    return str(mlflow.get_tracking_uri())


class Store:
    """One MLflow run.

    Parameters
    ----------
    run_id : str
    is_ours : bool
        Whether it was started here, and so is ended here.
    """

    def __init__(self, run_id: str, is_ours: bool) -> None:
        self.run_id = run_id
        self.is_ours = is_ours
        self._client = MlflowClient()

    @classmethod
    def open(cls) -> Store:
        """Use the active run; start one if there is none, or if it is that of another pipeline."""
        active = active_run_id()
        if active is not None and active not in _ours:
            return cls(active, is_ours=False)
        run_id = mlflow.start_run(nested=active is not None).info.run_id
        _ours[run_id] = None
        return cls(run_id, is_ours=True)

    def content(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the parameters and the tags that the run has."""
        data = self._client.get_run(self.run_id).data
        return dict(data.params), dict(data.tags)

    def log_parameters(self, values: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Write parameters and tags."""
        items = [Param(name, value) for name, value in values.items()]
        tagged = [RunTag(name, value) for name, value in tags.items()]
        for at in range(0, max(len(items), 1), PARAMETERS_AT_ONCE):
            some = items[at : at + PARAMETERS_AT_ONCE]
            self._client.log_batch(self.run_id, params=some, tags=tagged if not at else ())

    def log_metrics(self, values: Sequence[tuple[str, float, int, int]]) -> None:
        """Write values: name, number, time in milliseconds, step; at most `METRICS_AT_ONCE`."""
        self._client.log_batch(self.run_id, metrics=[Metric(*each) for each in values])

    def log_file(self, path: str, folder: str) -> None:
        """Write a file as an artefact."""
        self._client.log_artifact(self.run_id, path, folder)

    def end(self, status: str) -> None:
        """End the run, if it was started here."""
        if not self.is_ours:
            return
        _ours[self.run_id] = status
        if self.run_id not in _drop_ended():
            # It is not on top of this thread's stack, where MLflow could end it.
            self._client.set_terminated(self.run_id, status)


def _drop_ended() -> set[str]:
    """Take runs that have ended off this thread's stack of active runs; return their ids."""
    dropped: set[str] = set()
    while (active := mlflow.active_run()) is not None:
        run_id = active.info.run_id
        status = _ours.get(run_id)
        if status is None:
            break
        dropped.add(run_id)
        mlflow.end_run(status)
        del _ours[run_id]
    return dropped


def log_file_of(run_id: str, path: Any, folder: str) -> None:
    """Write a file as an artefact of a run that may have ended."""
    Store(run_id, is_ours=False).log_file(str(path), folder)
