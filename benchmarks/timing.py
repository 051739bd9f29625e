"""Timing in turn: round after round, every subject has its turn beside the limit.

What counts is the median over the rounds, and of the ratios the median of each pair's own. A pair that
others leave too little of the machine is timed again, a few times, and the row says so if that did not help.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from time import perf_counter
from typing import TypeVar

from benchmarks.cases import IDEAL, Case, Subject
from benchmarks.machine import OthersAtWork, bearable
from benchmarks.results import DISTURBED, NOT_INSTALLED, Row
from benchmarks.stands import Stand, SubjectError

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """How much is done.

    Attributes
    ----------
    rounds : int
        Turns of each subject.
    budget : float
        Seconds for each side of a pair.
    again : int
        How often a disturbed pair is timed anew.
    only : str
        What the names of the subjects have in them that are timed.
    """

    rounds: int = 5
    budget: float = 0.08
    again: int = 2
    only: str = ""

    @classmethod
    def quick(cls, only: str = "") -> Effort:
        return cls(rounds=2, budget=0.02, again=0, only=only)

    def includes(self, who: str) -> bool:
        """Tell whether a subject is wanted."""
        return self.only in who


class Repeats:
    """Says whether what was disturbed is measured again, until the seconds for that are used up."""

    def __init__(self, again: int, seconds: float = 60.0) -> None:
        self._again, self._left = again, seconds

    def least_disturbed(self, measure: Callable[[], T], cores: int) -> tuple[T, float]:
        """Measure until nobody disturbs it, and give the best attempt and the cores that others used."""
        attempts: list[tuple[float, T]] = []
        while True:
            begin, watch = perf_counter(), OthersAtWork()
            measured = measure()
            attempts.append((watch.cores(), measured))
            if attempts[-1][0] <= bearable(cores) or self._left <= 0 or len(attempts) > self._again:
                break
            self._left -= perf_counter() - begin
        busy, measured = min(attempts, key=lambda each: each[0])
        return measured, busy


@dataclass
class Pairs:
    """What was measured of one subject in one case."""

    limits: list[float | None] = field(default_factory=list)
    subjects: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    failure: str = ""

    def row(self, case: Case, who: str) -> Row:
        if not self.subjects:
            return Row(case.name, who, note=self.failure)
        ideal = case.limit if isinstance(case.limit, float) else None
        ratios = [
            subject / (limit if limit is not None else ideal or 1.0)
            for limit, subject in zip(self.limits, self.subjects, strict=True)
        ]
        if case.share:
            ratios = [1 / each for each in ratios]
        return Row(
            case.name, who, unit=case.unit.name,
            value=case.unit.of(statistics.median(self.subjects)),
            relative=statistics.median(ratios), share=case.share, pairs=len(ratios),
            others=(busy := statistics.median(self.others)),
            note=DISTURBED if busy > bearable(case.cores) else "",
        )  # fmt: skip


def compare(cases: Sequence[Case], effort: Effort, say: Callable[[str], None]) -> list[Row]:
    """Time every subject of every case, in turn, and give a row for each."""
    cases = [
        replace(each, subjects=tuple(it for it in each.subjects if effort.includes(it.who)))
        for each in cases
    ]
    rows: dict[tuple[str, str], Row] = {}
    repeats = Repeats(effort.again)
    for group in _groups(cases):
        for row in _compare_group(cases, group, effort, repeats, say):
            rows.setdefault((row.case, row.who), row)
    return list(rows.values())


def _groups(cases: Sequence[Case]) -> list[list[str]]:
    """Packages whose processes live at the same time: Ray keeps several busy, so it comes last."""
    packages = list(dict.fromkeys(each.package for case in cases for each in case.subjects))
    return [
        group
        for group in (
            [each for each in packages if each != "ray"],
            [each for each in packages if each == "ray"],
        )
        if group
    ]


def _compare_group(
    cases: Sequence[Case],
    packages: list[str],
    effort: Effort,
    repeats: Repeats,
    say: Callable[[str], None],
) -> list[Row]:
    stands = {
        package: Stand(cases, effort.budget)
        for package in packages
        if find_spec(package) is not None
    }
    rows = []
    try:
        for number, case in enumerate(cases):
            mine = [(at, each) for at, each in enumerate(case.subjects) if each.package in packages]
            say(f"{case.name}: {', '.join(each.who for _, each in mine)}")
            rows += _in_turn(number, case, mine, stands, effort.rounds, repeats)
    finally:
        for stand in stands.values():
            stand.end()
    return rows


def _in_turn(
    number: int,
    case: Case,
    subjects: list[tuple[int, Subject]],
    stands: dict[str, Stand],
    rounds: int,
    repeats: Repeats,
) -> list[Row]:
    measured = {each.who: Pairs() for _, each in subjects}
    for _ in range(rounds):
        for at, subject in subjects:
            pairs = measured[subject.who]
            if subject.package not in stands:
                pairs.failure = NOT_INSTALLED
            elif not pairs.failure:
                _one_pair(pairs, case, stands[subject.package], (number, at), repeats)
    rows = [measured[each.who].row(case, each.who) for _, each in subjects]
    return [*_limit_rows(case, measured), *rows]


def _limit_rows(case: Case, measured: dict[str, Pairs]) -> list[Row]:
    """The limit itself, over all of its turns."""
    if not isinstance(case.limit, Subject):
        return [Row(case.name, IDEAL, case.unit.of(case.limit), case.unit.name, 1.0, case.share)]
    seconds = [each for pairs in measured.values() for each in pairs.limits if each is not None]
    if not seconds:
        return []
    value = case.unit.of(statistics.median(seconds))
    return [Row(case.name, case.limit.who, value, case.unit.name, 1.0, case.share, len(seconds))]


def _one_pair(
    pairs: Pairs, case: Case, stand: Stand, which: tuple[int, int], repeats: Repeats
) -> None:
    try:
        (limit, seconds), busy = repeats.least_disturbed(lambda: stand.pair(*which), case.cores)
    except SubjectError as exc:
        pairs.failure = str(exc)
        return
    pairs.limits.append(limit)
    pairs.subjects.append(seconds)
    pairs.others.append(busy)
