"""A ring by hand: forked workers write their results, all of one size, into memory that is shared with them.

It does nothing but what has to be done: no word of what went wrong in a worker, no results of another kind.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from benchmarks.peers import Work


class Worker(NamedTuple):
    """A forked process: it is told to go on by a byte, and says by one that it has."""

    process: int
    orders: int
    answers: int

    def end(self) -> None:
        os.close(self.orders)
        os.waitpid(self.process, 0)
        os.close(self.answers)


def ring(work: Work, size: int, count: int, ahead: int, workers: int) -> Iterator[np.ndarray]:
    """Do the work in turn; a result holds until the next one is asked for."""
    memory = np.frombuffer(mmap.mmap(-1, (ahead + 1) * size), np.uint8).reshape(ahead + 1, size)
    with ExitStack() as at_end:
        forked = list[Worker]()
        for first in range(workers):
            forked.append(_fork(work, memory, range(first, count, workers), forked))
            at_end.callback(forked[-1].end)
        for at in range(-ahead, count):
            if at + ahead < count:
                os.write(forked[(at + ahead) % workers].orders, b"!")
            if at >= 0:
                if not os.read(forked[at % workers].answers, 1):
                    raise RuntimeError("a worker of the ring has ended")
                yield memory[at % (ahead + 1)]


def _fork(work: Work, memory: np.ndarray, turns: range, others: list[Worker]) -> Worker:
    orders, answers = os.pipe(), os.pipe()
    process = os.fork()
    if process:
        os.close(orders[0])
        os.close(answers[1])
        return Worker(process, orders[1], answers[0])
    try:
        for each in (orders[1], *(other.orders for other in others)):
            os.close(each)  # or it would not end with who writes to it
        for at in turns:
            if not os.read(orders[0], 1):
                break
            memory[at % len(memory)] = work(at)
            os.write(answers[1], b"!")
    finally:
        os._exit(0)
