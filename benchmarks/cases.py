"""What is compared: a case, its hand-written limit, and the subjects that are set against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any, NamedTuple

OURS = "Batchloom"
BY_HAND = "by hand"
IDEAL = "ideal"

# Takes a number of batches, lets that many go by, and gives the seconds it took.
Timed = Callable[[int], float]


@dataclass(frozen=True)
class Subject:
    """One way of doing the work. Subjects of one package share a process.

    ``make`` prepares everything that is not measured, in that process, and only there is the package
    imported.
    """

    who: str
    make: Callable[[], Timed]
    package: str = "batchloom"


class Unit(NamedTuple):
    """How the seconds of one batch are shown: ``amount`` of them, or ``amount`` in each of them."""

    name: str
    amount: float
    is_rate: bool = False

    def of(self, seconds: float) -> float:
        return self.amount / seconds if self.is_rate else self.amount * seconds


MICROSECONDS = Unit("µs a batch", 1e6)
MILLISECONDS = Unit("ms a batch", 1e3)


def gigabytes(per_batch: int) -> Unit:
    return Unit("GB/s", per_batch / 1e9, is_rate=True)


@dataclass(frozen=True)
class Case:
    """One measurement: a column of the workload's table.

    Attributes
    ----------
    limit : Subject or float
        The hand-written loop that each subject is paired with, or the ideal in seconds a batch.
    most : int
        Batches in one go, at most: what an epoch has after its first one.
    share : bool
        Show limit / subject, a share of what is possible, and not subject / limit, a multiple of it.
    cores : int
        How many cores the case needs to itself.
    least : int
        Batches in one go, at least: many more than are prepared ahead.
    """

    name: str
    limit: Subject | float
    subjects: tuple[Subject, ...]
    most: int
    unit: Unit = MICROSECONDS
    share: bool = False
    cores: int = 1
    least: int = 1


class Goal(NamedTuple):
    """What is wanted of one figure of Batchloom's: ``value`` or ``relative``."""

    case: str
    bound: float
    what: str = "relative"
    least: bool = False
    who: str = OURS

    def holds(self, got: float) -> bool:
        return got >= self.bound if self.least else got <= self.bound


def iterating(make: Callable[[], Any]) -> Timed:
    """Time the batches of an iterable after the first one, which waits for what is only done once."""

    def timed(count: int) -> float:
        batches = iter(make())
        next(batches)
        begin = perf_counter()
        for _ in islice(batches, count):
            pass
        seconds = perf_counter() - begin
        close(batches)
        return seconds

    return timed


def consuming(make: Callable[[], Any], consume: Callable[[Any], object], before: int = 1) -> Timed:
    """Time batches that something is done with, after the first ones."""

    def timed(count: int) -> float:
        batches = iter(make())
        for batch in islice(batches, before):
            consume(batch)
        begin = perf_counter()
        for batch in islice(batches, count):
            consume(batch)
        seconds = perf_counter() - begin
        close(batches)
        return seconds

    return timed


def whole(make: Callable[[], Any], consume: Callable[[Any], object], batches: int) -> Timed:
    """Time an epoch from its beginning, of what reads far ahead, and give the share of so many batches."""

    def timed(count: int) -> float:
        begin = perf_counter()
        for batch in make():
            consume(batch)
        return (perf_counter() - begin) * count / batches

    return timed


def close(batches: Any) -> None:
    """End an iteration that was left before its end, where it can be told to."""
    end = getattr(batches, "close", None)
    if end is not None:
        end()
