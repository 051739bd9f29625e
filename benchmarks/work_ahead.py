"""Work that is done for each batch ahead of its use, by hand and as an action: what W3 and W3b share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, action
from benchmarks.peers import Work

REMARKS = (
    "Ray Data works ahead without a bound: many of its batches are ready before the clock starts.\n"
)


class Worked(Batch):
    @action
    def work(self, function: Work) -> Worked:
        self.add_component("x", function(int(self.indices[0]))[None])
        return self


def by_hand(executor: Executor, work: Work, count: int, ahead: int) -> Iterator[np.ndarray]:
    """Do the work in a pool, so many batches before they are asked for."""
    with executor as pool:
        waiting = deque(pool.submit(work, at) for at in range(ahead))
        for at in range(ahead, ahead + count):
            waiting.append(pool.submit(work, at))
            yield waiting.popleft().result()


def ours(work: Work, count: int, **options: Any) -> Iterator[Batch]:
    """Do the work in an action."""
    return Dataset(count, Worked).p.work(work).gen_batch(1, **options)


def quickest(call: Callable[[], object], times: int) -> float:
    """Seconds of one core that a call takes when nothing disturbs it."""

    def timed() -> float:
        begin = time.thread_time()
        call()
        return time.thread_time() - begin

    return min(timed() for _ in range(times))
