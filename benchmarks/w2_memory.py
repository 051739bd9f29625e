"""W2: putting big batches together: 200,000 rows of 3 KB in memory, batches of 256, shuffled."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from batchloom import Dataset
from benchmarks.cases import BY_HAND, OURS, Case, Goal, Subject, Timed, consuming, gigabytes
from benchmarks.peers import column
from benchmarks.peers.subjects import over_batches
from benchmarks.results import Result
from benchmarks.timing import Effort, compare

NAME = "w2"
TITLE = "Assembly: 200,000 rows of 3 KB in memory, batches of 256, shuffled"
LIMIT = "`np.take` of the rows of a batch into one buffer that is used again and again"
ROWS, WIDTH, SIZE = 200_000, 3072, 256

GOALS = [
    Goal("no prefetch", 0.95, least=True),
    Goal("prefetch 2", 1.3, least=True),
]


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    rows = compare(cases(np.random.default_rng(0).bytes(ROWS * WIDTH)), effort, say)
    return Result(NAME, TITLE, LIMIT, rows, GOALS)


def cases(data: bytes) -> list[Case]:
    X = np.frombuffer(bytearray(data), np.uint8).reshape(ROWS, WIDTH)
    return [
        Case(
            f"prefetch {prefetch}" if prefetch else "no prefetch",
            Subject(BY_HAND, partial(by_hand, X)),
            (
                *([Subject("by hand, two threads", partial(by_two_threads, X))] if prefetch else []),
                Subject(OURS, partial(ours, X, prefetch)),
                *over_batches(
                    {"x": X}, SIZE, shuffle=True, prefetch=prefetch, timed=touched,
                    leave_out=("Hugging Face datasets",) if prefetch else (),
                ),
            ),
            most=ROWS // SIZE - 1,
            unit=gigabytes(SIZE * WIDTH),
            share=True,
            cores=1 + bool(prefetch),
            least=32 if prefetch else 1,
        )
        for prefetch in (0, 2)
    ]  # fmt: skip


def by_hand(X: np.ndarray) -> Timed:
    order = np.random.default_rng(1).permutation(ROWS)
    buffer = np.empty((SIZE, WIDTH), np.uint8)

    def timed(count: int) -> float:
        begin = perf_counter()
        for start in range(0, count * SIZE, SIZE):
            np.take(X, order[start : start + SIZE], axis=0, out=buffer, mode="clip")
        return perf_counter() - begin

    return timed


def by_two_threads(X: np.ndarray) -> Timed:
    """What the machine gives two threads: each gathers every other batch into a buffer of its own."""
    order = np.random.default_rng(1).permutation(ROWS)
    buffers = [np.empty((SIZE, WIDTH), np.uint8) for _ in range(2)]

    def gather(at: int) -> None:
        rows = order[at * SIZE : (at + 1) * SIZE]
        np.take(X, rows, axis=0, out=buffers[at % 2], mode="clip")

    def timed(count: int) -> float:
        with ThreadPoolExecutor(1) as pool:
            begin = perf_counter()
            for at in range(0, count, 2):
                other = pool.submit(gather, at + 1)
                gather(at)
                other.result()
            return (perf_counter() - begin) * count / (count + count % 2)

    return timed


def ours(X: np.ndarray, prefetch: int) -> Timed:
    pipeline = Dataset(data={"x": X}).p
    return touched(lambda: pipeline.gen_batch(SIZE, shuffle=1, prefetch=prefetch))


def touched(make: Callable[[], Any]) -> Timed:
    """A batch may gather what is asked for, so its rows are."""
    return consuming(make, lambda batch: column(batch, 0, "x"))
