"""Whole programs in turn: what cannot be measured twice in one process is measured in fresh ones."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import bearable
from benchmarks.results import DISTURBED, Row
from benchmarks.timing import Effort, Repeats

PATIENCE = 300.0

Measured = dict[str, float]


@dataclass(frozen=True)
class Figure:
    """One of the figures that a program gives: a column of the table."""

    key: str
    case: str
    unit: str


def fresh(code: str, *arguments: str) -> Measured:
    """Run Python code in a process of its own; its last line of output is JSON."""
    return _output([sys.executable, "-c", code, *arguments])


def module(name: str, *arguments: str) -> Measured:
    """The same with a module of this folder."""
    return _output([sys.executable, "-m", f"benchmarks.{name}", *arguments])


def _output(command: Sequence[str]) -> Measured:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    found: Any = json.loads(done.stdout.strip().splitlines()[-1])
    return found if isinstance(found, dict) else {"seconds": found}


def compare_programs(
    programs: Mapping[str, Callable[[], Measured]],
    limit: str,
    figures: Sequence[Figure],
    effort: Effort,
    say: Callable[[str], None],
    cores: int = 1,
    times: Mapping[str, int] | None = None,
) -> list[Row]:
    """Run the programs round after round, and set their figures against those of the limit in that round.

    A program runs once a round, or as often as `times` says of it: one of each in turn, so that a slow minute
    meets all of them, and the medians are its figures of that round.
    """
    programs = {who: each for who, each in programs.items() if who == limit or effort.includes(who)}
    seen: dict[str, list[Measured]] = {who: [] for who in programs}
    others: dict[str, list[float]] = {who: [] for who in programs}
    failures: dict[str, str] = {}
    repeats = Repeats(effort.again)
    for turn in range(effort.rounds):
        say(f"round {turn + 1}: {', '.join(who for who in programs if who not in failures)}")
        found: dict[str, list[Measured]] = {}
        for who in _turns(programs, times or {}):
            if who in failures:
                continue
            try:
                measured, busy = repeats.least_disturbed(programs[who], cores)
            except (RuntimeError, subprocess.TimeoutExpired) as exc:
                failures[who] = str(exc)
            else:
                found.setdefault(who, []).append(measured)
                others[who].append(busy)
        for who, each in found.items():
            seen[who].append(_medians(each))
    return [
        row
        for figure in figures
        for who in programs
        if (row := _row(who, limit, figure, seen, others[who], failures, cores)) is not None
    ]


def _turns(programs: Iterable[str], times: Mapping[str, int]) -> Iterator[str]:
    """Who runs when in a round: one of each, and again of those that run more often."""
    for turn in range(max(times.values(), default=1)):
        yield from (who for who in programs if turn < times.get(who, 1))


def _medians(measured: Sequence[Measured]) -> Measured:
    return {key: statistics.median(each[key] for each in measured) for key in measured[0]}


def _row(
    who: str,
    limit: str,
    figure: Figure,
    seen: Mapping[str, list[Measured]],
    others: Sequence[float],
    failures: Mapping[str, str],
    cores: int,
) -> Row | None:
    if who in failures:
        return Row(figure.case, who, note=failures[who])
    values = [each[figure.key] for each in seen[who] if figure.key in each]
    if not values:
        return None
    limits = [each[figure.key] for each in seen[limit] if each.get(figure.key)]
    ratios = [value / base for value, base in zip(values, limits, strict=False)]
    busy = statistics.median(others)
    return Row(
        figure.case, who, statistics.median(values), figure.unit,
        statistics.median(ratios) if ratios else None, pairs=len(values), others=busy,
        note=DISTURBED if busy > bearable(cores) else "",
    )  # fmt: skip
