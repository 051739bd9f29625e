"""W3: preparing batches while a model is at work: 5 ms of waiting, 5 ms of computing, 10 ms of training."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases import MILLISECONDS, OURS, Case, Goal, Subject, consuming
from benchmarks.peers import Work
from benchmarks.peers.subjects import over_work
from benchmarks.results import Result
from benchmarks.timing import Effort, compare
from benchmarks.work_ahead import REMARKS, by_hand, ours, quickest

NAME = "w3"
TITLE = "Overlap: a batch takes 5 ms of waiting and 5 ms of computing, training on it 10 ms"
LIMIT = "the 10 ms of training, behind which everything else can be hidden"
COUNT, WAITING, COMPUTING, TRAINING, AHEAD = 100, 0.005, 0.005, 0.010, 2
DEVICE, PROCESSOR = "training on a device", "training on the processor"

GOALS = [Goal(DEVICE, 0.98, least=True), Goal(PROCESSOR, 0.95, least=True)]


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    product = Product()
    work = partial(waiting_and_computing, product)
    consumers: dict[str, Callable[[Any], object]] = {
        DEVICE: lambda batch: time.sleep(TRAINING),
        PROCESSOR: lambda batch: product(TRAINING),
    }
    cases = [case(name, work, consume) for name, consume in consumers.items()]
    return Result(NAME, TITLE, LIMIT, compare(cases, effort, say), GOALS, REMARKS)


class Product:
    """Matrix products, which leave the interpreter free, for a number of seconds of one core."""

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).normal(size=(160, 160))
        self(0.0)
        self._seconds = quickest(lambda: self(20.0), 20) / 20

    def __call__(self, seconds: float) -> np.ndarray:
        out = np.empty_like(self._matrix)
        for _ in range(round(seconds / self._seconds) if seconds else 1):
            np.dot(self._matrix, self._matrix, out=out)
        return out

    _seconds = 1.0


def waiting_and_computing(product: Product, at: int) -> np.ndarray:
    time.sleep(WAITING)
    return product(COMPUTING)


def case(name: str, work: Work, consume: Callable[[Any], object]) -> Case:
    timed = partial(consuming, consume=consume)

    def threads() -> Any:
        return by_hand(ThreadPoolExecutor(AHEAD), work, COUNT, AHEAD)

    return Case(
        name,
        TRAINING,
        (
            # What the clock and the machine leave of the ideal, when nothing else is done.
            Subject("by hand, the training alone", lambda: timed(lambda: iter(range(COUNT)))),
            Subject("by hand, without prefetch", lambda: timed(lambda: map(work, range(COUNT)))),
            Subject("by hand, a pool of threads", lambda: timed(threads)),
            Subject(OURS, lambda: timed(lambda: ours(work, COUNT, prefetch=AHEAD))),
            *over_work("WORKING", work, COUNT, AHEAD, timed),
        ),
        most=COUNT - 1,
        unit=MILLISECONDS,
        share=True,
        cores=2,
        least=40,
    )
