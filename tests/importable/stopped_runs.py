"""Runs that are stopped or killed on the way, and what they must have come to in the end.

A backend's cases are in a module of its own beside this one; a test stops a run here, or has it killed in
a process of its own, which needs both where it can import them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, Pipeline, action

N_EPOCHS, BATCH_SIZE, N_ROWS = 3, 16, 90  # six batches an epoch, the last one short
RUN: dict[str, Any] = {"batch_size": BATCH_SIZE, "shuffle": 5, "n_epochs": N_EPOCHS}
ENDS_OF_INTEREST = (2, 5, 6, 12, 17)
"""In the first epoch, before and after an epoch's last batch, in the last epoch, before the end."""


class Stop(Exception):  # noqa: N818
    """Ends a run from within."""


class Stopping(Batch):
    """Batches with random noise, one of which ends the run."""

    components = "x", "y", "w"
    stop_at: int | None = None

    @action
    def noise(self) -> Stopping:
        if isinstance(self.x, np.ndarray) and self.x.dtype.kind == "f":
            self.x = self.x + self.random.normal(scale=0.01, size=self.x.shape).astype(self.x.dtype)
        return self

    @action
    def maybe_stop(self) -> Stopping:
        if self.number == type(self).stop_at:
            raise Stop
        return self

    @action
    def save(self, path: str) -> Stopping:
        assert self.pipeline is not None
        self.pipeline.get_model_by_name("m").save(path)
        return self


def rows(n_features: int = 6, n_classes: int = 3) -> dict[str, Any]:
    """Labels that depend on the features, and weights."""
    random = np.random.default_rng(0)
    x = random.normal(size=(N_ROWS, n_features)).astype(np.float32)
    y = (x[:, 0] * 2 + x[:, 1] + random.normal(scale=0.3, size=N_ROWS)).round().astype(
        int
    ) % n_classes
    return {"x": x, "y": y, "w": random.random(N_ROWS) + 0.5}


def pipeline(
    model: Any, config: dict[str, Any], data: dict[str, Any], mode: str = "dynamic", **train: Any
) -> Pipeline:
    """Train ``m`` on noisy batches and keep its outputs in ``history``."""
    return (
        Dataset(data=data, batch_class=Stopping)
        .p.init_variable("history", init_on_each_run=list)
        .init_model(mode, model, "m", config=config)
        .noise()
        .maybe_stop()
        .train_model("m", **{"x": "x", "y": "y", "append_to": "history", **train})
    )


def stop(made: Pipeline, at: int, folder: Path, every: Any = 1, **options: Any) -> None:
    """Begin a run that ends before batch `at`."""
    Stopping.stop_at = at
    try:
        made.run(**RUN, checkpoint=folder, checkpoint_every=every, **options)
    except Stop:
        return
    finally:
        Stopping.stop_at = None
    raise AssertionError("the run was not stopped")


def kill(module: str, case: str, at: int, where: str, folder: Path) -> None:
    """Begin a run in a process that is killed at its call number `at` of what `where` names."""
    assert _signalled(signal.SIGKILL, module, case, at, where, folder) == -signal.SIGKILL


def terminate(module: str, case: str, at: int, where: str, folder: Path, **options: Any) -> int:
    """Begin one that gets SIGTERM there and is to keep a last checkpoint; give its exit code."""
    return _signalled(
        signal.SIGTERM, module, case, at, where, folder, on_sigterm="checkpoint", **options
    )


def _signalled(
    number: int, module: str, case: str, at: int, where: str, folder: Path, **options: Any
) -> int:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    script = "import stopped_runs; stopped_runs.be_signalled()"
    arguments = [str(int(number)), module, case, str(at), where, str(folder), json.dumps(options)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        timeout=100,
    )
    return done.returncode


def be_signalled() -> None:
    """Run what `kill` or `terminate` asks for, in this process."""
    from batchloom.models import archive
    from batchloom.models.calls import BaseModelCalls

    number, module, case, at, where, folder, options = sys.argv[1:]
    owner, name = {
        "batch": (BaseModelCalls, "train"),
        "save": (BaseModelCalls, "save"),
        "checkpoint": (BaseModelCalls, "save_checkpoint"),
        "archive": (archive, "_add"),
    }[where]
    method = getattr(owner, name)
    setattr(owner, name, _signalling(method, int(at), int(number)))
    made = import_module(module).CASES[case]()
    if where == "save":
        made = made.save(str(Path(folder).with_suffix(".model")))
    chosen = {"checkpoint_every": 2, "prefetch": 2, **json.loads(options)}
    made.run(**RUN, checkpoint=folder, **chosen)


def _signalling(method: Callable[..., Any], at: int, number: int) -> Callable[..., Any]:
    calls = []

    def call(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return result

    return call


def to_bits(value: Any) -> Any:
    """Turn anything into what compares equal only if it is the same to the last bit."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return to_bits(value.tolist())
    if (
        isinstance(value, np.ndarray) and value.dtype.names
    ):  # between the fields lies whatever was there
        return {name: to_bits(value[name]) for name in value.dtype.names}
    if isinstance(value, (np.ndarray, np.generic)):
        return str(value.dtype), np.shape(value), value.tobytes()
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, dict):
        return {key: to_bits(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [to_bits(each) for each in value]
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return value
    return _object_to_bits(value)


def _object_to_bits(value: Any) -> Any:
    if isinstance(value, np.random.RandomState):
        return to_bits(value.get_state())
    if hasattr(value, "__dict__") and not callable(value):
        return type(value).__qualname__, to_bits(vars(value))
    if hasattr(value, "__getstate__") and not callable(value):
        return type(value).__qualname__, to_bits(value.__getstate__())
    return getattr(value, "__qualname__", type(value).__qualname__)
