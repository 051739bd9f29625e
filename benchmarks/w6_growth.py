"""W6: growth: what a run costs as items, steps, components and batches become more.

Everything should be linear in what is used and constant in what is not.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, action
from benchmarks.cases import Case, Goal, Subject, Timed
from benchmarks.results import Result, Row
from benchmarks.timing import Effort, compare

NAME = "w6"
TITLE = "Growth: items, steps, components and batch size, one at a time"
LIMIT = "the same pipeline with the fewest of what grows"
SIZE, ITEMS, MOST = 32, 10_000, 1_000
FEW = "10⁴ items, 1 step, 1 component, batches of 32"

GOALS = [
    Goal("a batch, in order", 1.2, who="10⁸ items, the index alone"),
    Goal("a batch, in order", 1.2, who="10⁷ items"),
    Goal("a batch, in order", 1.2, who="64 components, one of them used"),
]


class Growing(Batch):
    @action
    def nothing(self) -> Growing:
        return self


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    return Result(NAME, TITLE, LIMIT, compare(cases(), effort, say) + memory(say), GOALS)


def cases() -> list[Case]:
    return [
        Case(
            "a batch, shuffled" if shuffle else "a batch, in order",
            Subject(FEW, partial(batches, grown(), shuffle)),
            tuple(Subject(who, partial(batches, made, shuffle)) for who, made in growths(shuffle)),
            most=MOST,
            least=100,
        )
        for shuffle in (False, True)
    ]


Growth = Callable[[], tuple[Any, int]]


def growths(shuffle: bool) -> list[tuple[str, Growth]]:
    items = [
        (f"10{power} items", grown(items=10**exponent))
        for power, exponent in (("²", 2), ("⁶", 6), ("⁷", 7))
    ]
    if not shuffle:  # a permutation of so many takes gigabytes
        items.append(("10⁸ items, the index alone", grown(items=10**8, components=0)))
    return [
        *items,
        ("10 steps", grown(steps=10)),
        ("100 steps", grown(steps=100)),
        ("64 components, one of them used", grown(components=64)),
        ("64 components, all used", grown(components=64, used=64)),
        ("batches of 1", grown(size=1)),
        ("batches of 1,024", grown(items=10**6, size=1024)),
        ("batches of 65,536", grown(items=10**7, size=65_536)),
    ]


def grown(
    items: int = ITEMS, steps: int = 1, components: int = 1, used: int = 1, size: int = SIZE
) -> Growth:
    """Say how to make a pipeline of so many of each."""

    def make() -> tuple[Any, int]:
        names = [f"c{number}" for number in range(components)]
        column = np.zeros(items if components else 0, np.float32)
        data = {name: column for name in names}
        pipeline = Dataset(None if data else items, Growing, data=data or None).p
        for _ in range(steps):
            pipeline = pipeline.nothing()
        return (pipeline, names[:used]), size

    return make


def batches(make: Growth, shuffle: bool = False) -> Timed:
    (pipeline, names), size = make()

    def timed(count: int) -> float:
        made = pipeline.gen_batch(size, shuffle=1 if shuffle else False, n_epochs=None, seed=1)
        next(made)
        begin = perf_counter()
        for _, batch in zip(range(count), made, strict=False):
            for name in names:
                getattr(batch, name)
        seconds = perf_counter() - begin
        made.close()
        return seconds

    return timed


def memory(say: Callable[[str], None]) -> list[Row]:
    """The most memory that a run of some batches takes beyond its data."""
    say("memory")
    return [
        Row(f"memory, {'shuffled' if shuffle else 'in order'}", who, traced(made, shuffle), "MB")
        for shuffle in (False, True)
        for who, made in [(FEW, grown()), *growths(shuffle)]
    ]


def traced(make: Growth, shuffle: bool) -> float:
    timed = batches(make, shuffle)
    timed(1)  # what is imported and kept by the first batch
    tracemalloc.start()
    timed(20)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6
