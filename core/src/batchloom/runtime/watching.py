"""Watching: which steps change generators of random numbers that belong to the whole process.

What such a step draws depends on all that drew before it, in whatever thread: the run can be neither
repeated nor resumed, and its result depends on prefetch.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from batchloom.batch import Batch
from batchloom.records import replace
from batchloom.runtime.operations import Operation
from batchloom.steps import ModelStep


def watched(operation: Operation) -> Operation:
    """Make an operation that warns, once, if it changes a global generator."""
    told: set[str] = set()

    def call(batch: Batch) -> Batch:
        before = {name: state() for name, state in GENERATORS.items()}
        try:
            return operation.call(batch)
        finally:
            for name, state in GENERATORS.items():
                if name not in told and state() != before[name]:
                    told.add(name)
                    _warn(operation, name, batch)

    return replace(operation, call=call, action=None, call_filled=None)


def _numpy_state() -> Any:
    state = np.random.get_state(legacy=False)
    inner = {key: np.asarray(each).tobytes() for key, each in state["state"].items()}
    return state["bit_generator"], inner, state["has_gauss"], state["gauss"]


GENERATORS: dict[str, Callable[[], Any]] = {
    "NumPy's global generator (np.random)": _numpy_state,
    "Python's global generator (random)": random.getstate,
}


def _warn(operation: Operation, name: str, batch: Batch) -> None:
    instead = "Draw from batch.random, in an action self.random"
    if isinstance(operation.step, ModelStep):
        instead = "Give the model a seed or a generator of its own"
    warnings.warn(
        f"step {operation.label} changed {name} in batch {batch.number}: what it draws depends on everything "
        f"that drew from there before, so that the run can be neither repeated nor resumed. {instead}",
        RuntimeWarning,
        stacklevel=2,
    )
