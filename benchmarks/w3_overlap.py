"""W3: preparing batches while a model is at work: 5 ms of waiting, 5 ms of computing, 10 ms of training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, action
from benchmarks.cases import MILLISECONDS, OURS, Case, Goal, Subject, Timed, consuming
from benchmarks.peers import Work
from benchmarks.peers.subjects import over_work
from benchmarks.results import Result
from benchmarks.timing import Effort, compare

NAME = "w3"
TITLE = "Overlap: a batch takes 5 ms of waiting and 5 ms of computing, training on it 10 ms"
LIMIT = "the 10 ms of training, behind which everything else can be hidden"
COUNT, WAITING, COMPUTING, TRAINING, AHEAD = 100, 0.005, 0.005, 0.010, 2
DEVICE, PROCESSOR = "training on a device", "training on the processor"

REMARKS = (
    "Ray Data works ahead without a bound: many of its 60 batches are ready before it is timed.\n"
)

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
        self._seconds = min(self._timed() for _ in range(20)) / 20

    def __call__(self, seconds: float) -> np.ndarray:
        out = np.empty_like(self._matrix)
        for _ in range(round(seconds / self._seconds) if seconds else 1):
            np.dot(self._matrix, self._matrix, out=out)
        return out

    _seconds = 1.0

    def _timed(self) -> float:
        begin = time.thread_time()
        self(20.0)
        return time.thread_time() - begin


def waiting_and_computing(product: Product, at: int) -> np.ndarray:
    time.sleep(WAITING)
    return product(COMPUTING)


def case(name: str, work: Work, consume: Callable[[Any], object]) -> Case:
    timed = partial(consuming, consume=consume)
    return Case(
        name,
        TRAINING,
        (
            Subject("by hand, without prefetch", lambda: timed(lambda: map(work, range(COUNT)))),
            Subject("by hand, a pool of threads", lambda: timed(partial(by_hand, work))),
            Subject(OURS, partial(ours, work, timed)),
            *over_work("WORKING", work, COUNT, AHEAD, timed),
        ),
        most=COUNT - 1,
        unit=MILLISECONDS,
        share=True,
        cores=2,
        least=40,
    )


def by_hand(work: Work) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: list[Future[np.ndarray]] = [pool.submit(work, at) for at in range(AHEAD)]
        for at in range(AHEAD, COUNT + AHEAD):
            waiting.append(pool.submit(work, at))
            yield waiting.pop(0).result()


class Worked(Batch):
    @action
    def work(self, function: Work) -> Worked:
        self.add_component("x", function(int(self.indices[0]))[None])
        return self


def ours(work: Work, timed: Callable[[Callable[[], Any]], Timed]) -> Timed:
    pipeline = Dataset(COUNT, Worked).p.work(work)
    return timed(lambda: pipeline.gen_batch(1, prefetch=AHEAD))
