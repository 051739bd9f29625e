"""W3b: an action that keeps Python busy, in two processes: 5 ms a batch, whose result is 3 MB."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks import work_ahead
from benchmarks.cases import MILLISECONDS, OURS, Case, Goal, Subject, consuming
from benchmarks.peers import Work
from benchmarks.peers.subjects import over_work
from benchmarks.results import Result
from benchmarks.ring import ring
from benchmarks.timing import Effort, compare
from benchmarks.work_ahead import by_hand, ours, quickest

NAME = "w3b"
TITLE = "Processes: 5 ms of Python for a result of 3 MB, two processes"
LIMIT = (
    "2.5 ms, what two processes need for 5 ms of work, while 2.5 ms of training go by; for shipping alone, "
    "making the result where it is needed"
)
COUNT, BYTES, WORKING, TRAINING, AHEAD, WORKERS = 440, 3_000_000, 0.005, 0.0025, 4, 2
KEPT, BEFORE = 16, 40
VIEWS, OWNED = f"{OURS}, 2 processes", f"{OURS}, 2 processes, all kept"
PYTHON, SHIPPING = "5 ms of Python", "nothing but shipping"

REMARKS = (
    f"The clock starts after {BEFORE} batches, when both processes are there, and have touched the memory "
    f"that is used again; all kept means the last {KEPT} of them. The ring, of forked workers, does "
    f"only what has to be done. {work_ahead.REMARKS}"
)

GOALS = [
    Goal(PYTHON, 0.85, least=True, who=VIEWS),
    Goal(PYTHON, 0.78, least=True, who=OWNED),
    Goal(SHIPPING, 0.27, "value", who=VIEWS),
    Goal(SHIPPING, 0.55, "value", who=OWNED),
]


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    turns = turns_for(WORKING)
    cases = [
        case(PYTHON, partial(python_bound, turns), TRAINING),
        case(SHIPPING, partial(python_bound, 0), 0.0),
    ]
    return Result(NAME, TITLE, LIMIT, compare(cases, effort, say), GOALS, REMARKS)


def counted(turns: int) -> int:
    total = 0
    for each in range(turns):
        total += each & 3
    return total


def turns_for(seconds: float) -> int:
    """How many turns of a loop in Python take so long."""
    turns = 20_000
    return round(seconds / quickest(lambda: counted(turns), 50) * turns)


def python_bound(turns: int, at: int) -> np.ndarray:
    counted(turns)
    return np.full(BYTES, at % 251, np.uint8)


def case(name: str, work: Work, training: float) -> Case:
    timed = partial(consuming, consume=trained(training), before=BEFORE)
    keeping = partial(consuming, consume=kept(training), before=BEFORE)

    def processes() -> Any:
        return by_hand(ProcessPoolExecutor(WORKERS), work, COUNT, AHEAD)

    def forked() -> Any:
        return ring(work, BYTES, COUNT, AHEAD, WORKERS)

    def batches() -> Any:
        return ours(work, COUNT, prefetch=AHEAD, executor=WORKERS)

    alone = Subject("by hand, in one process", lambda: timed(lambda: map(work, range(COUNT))))
    return Case(
        name,
        TRAINING if training else alone,
        (
            *([alone] if training else []),
            Subject("by hand, ProcessPoolExecutor", lambda: timed(processes)),
            Subject("by hand, a ring of shared memory", lambda: timed(forked)),
            Subject(VIEWS, lambda: timed(batches)),
            Subject(OWNED, lambda: keeping(batches)),
            *over_work("PROCESSES", work, COUNT, AHEAD, timed),
        ),
        most=COUNT - BEFORE,
        unit=MILLISECONDS,
        share=bool(training),
        cores=2,
        least=80 if training else 200,
    )  # fmt: skip


def trained(seconds: float) -> Callable[[Any], None]:
    def train(batch: Any) -> None:
        getattr(batch, "x", None)
        if seconds:
            time.sleep(seconds)

    return train


def kept(seconds: float) -> Callable[[Any], None]:
    """Training that holds on to the last batches."""
    train, last = trained(seconds), deque[Any](maxlen=KEPT)

    def train_and_keep(batch: Any) -> None:
        train(batch)
        last.append(batch.x)

    return train_and_keep
