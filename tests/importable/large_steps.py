"""Actions that make large arrays, where worker processes can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, action

SHAPE = (40, 60, 25)  # of float64: well above what is sent back through shared memory


def numbers(batch: Batch) -> Any:
    return batch.random.normal(size=SHAPE)


KINDS = {
    "C order": numbers,
    "Fortran order": lambda batch: np.asfortranarray(numbers(batch)),
    "every second column": lambda batch: numbers(batch)[:, ::2],
    "backwards": lambda batch: numbers(batch)[::-1],
    "a part, axes swapped": lambda batch: numbers(batch).T[:, ::2].T[:, 1:],
    "axes swapped": lambda batch: numbers(batch).transpose(0, 2, 1),
    "big-endian": lambda batch: numbers(batch).astype(">f4"),
    "booleans": lambda batch: numbers(batch) > 0,
    "records": lambda batch: np.ones(SHAPE[:1], [("a", "u1", 5000), ("b", "<f8", 10)]),
    "strings": lambda batch: np.full(SHAPE, f"batch {batch.number}"),
    "dates": lambda batch: np.full(
        SHAPE, np.datetime64("2026-01-01") + np.timedelta64(batch.number, "D")
    ),
    "objects": lambda batch: numbers(batch).astype(object),
    "no columns": lambda batch: np.empty((SHAPE[0], 0)),
    "masked": lambda batch: np.ma.masked_less(numbers(batch), 0),
}


class Large(Batch):
    components = ("x", "made", "again")

    @action
    def make(self, kind: str = "C order") -> Large:
        self.made = KINDS[kind](self)
        return self

    @action
    def make_in_places(self) -> Large:
        """The size is another one in each batch."""
        self.made = np.full((self.size, 300 * (1 + self.number % 20)), float(self.number))
        return self

    @action
    def read_only(self) -> Large:
        self.made.flags.writeable = False
        return self

    @action
    def same_twice(self) -> Large:
        self.again = self.made
        return self

    @action
    def slowly(self, seconds: float = 0.01, first: int = 0) -> Large:
        time.sleep(seconds if self.number >= first else 0)
        return self

    @action
    def die_at(self, number: int) -> Large:
        if self.number == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    @action
    def die_leaving_a_child_at(self, number: int) -> Large:
        """The child holds open all that its parent had open."""
        if self.number == number:
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    @action
    def leave_a_file(self, folder: Path) -> Large:
        (folder / str(self.number)).touch()
        return self

    @action
    def where(self) -> Large:
        self._pid = os.getpid()
        return self


def large(items: int = 400) -> Dataset:
    return Dataset(batch_class=Large, data={"x": np.arange(float(items))})


def state_of(value: Any) -> Any:
    """All that can be told of an array."""
    value = np.asanyarray(value)
    flags = value.flags.c_contiguous, value.flags.f_contiguous, value.flags.writeable
    content = value.tolist() if value.dtype.hasobject else value.tobytes()
    return type(value), value.dtype.str, value.dtype.descr, value.shape, flags, content
