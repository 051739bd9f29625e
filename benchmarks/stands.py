"""Stands: the processes in which subjects are timed against the limit, one for each package.

A peer keeps to a process of its own, so that its threads and its allocator weigh on nobody else; the limit
runs in every one of them, right before the subject that it is compared with.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from time import perf_counter

from benchmarks.cases import Case, Subject, Timed

FEW, GROWTH = 8, 4
PATIENCE = 120.0  # seconds for one pair, with everything that is prepared for it


class SubjectError(Exception):
    """A subject could not be timed: why, in a line."""


class Stand:
    """A forked process: it has the data that was there, and imports the one package that it is for."""

    def __init__(self, cases: Sequence[Case], budget: float) -> None:
        context = multiprocessing.get_context("fork")
        self._mine, its = context.Pipe()
        self._process = context.Process(target=_serve, args=(its, cases, budget))
        self._process.start()
        its.close()

    def pair(self, case: int, subject: int) -> tuple[float | None, float]:
        """Time the limit (where it is a loop) and a subject: seconds a batch of each.

        Raises
        ------
        SubjectError
            If the subject failed or did not end in time.
        """
        if not self._process.is_alive():
            raise SubjectError("its process ended")
        self._mine.send((case, subject))
        if not self._mine.poll(PATIENCE):
            self.end()
            raise SubjectError(f"not done after {PATIENCE:.0f} s")
        try:
            answer = self._mine.recv()
        except EOFError:
            raise SubjectError("its process ended") from None
        if isinstance(answer, str):
            raise SubjectError(answer)
        return answer

    def end(self) -> None:
        """End the process, and whatever it has started."""
        with suppress(OSError):
            self._mine.send(None)
        self._process.join(10)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.join(10)


def _serve(commands: Connection, cases: Sequence[Case], budget: float) -> None:
    os.setpgrp()
    warnings.simplefilter("ignore")  # the peers' own affairs
    paces: dict[tuple[int, str], Pace] = {}
    with suppress(EOFError):  # the benchmark was ended
        while (command := commands.recv()) is not None:
            commands.send(_answer(paces, cases, *command, budget))
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def _answer(
    paces: dict[tuple[int, str], Pace],
    cases: Sequence[Case],
    number: int,
    subject: int,
    budget: float,
) -> tuple[float | None, float] | str:
    """Seconds a batch of the limit and of the subject, or why not."""
    case = cases[number]
    try:
        limit = None
        if isinstance(case.limit, Subject):
            limit = _pace(paces, number, case.limit, case, budget)()
        return limit, _pace(paces, number, case.subjects[subject], case, budget)()
    except Exception as exc:
        if os.environ.get("BENCHMARKS_TRACEBACK"):
            traceback.print_exc()
        return " ".join([f"{type(exc).__name__}:", *str(exc).strip().splitlines()[:1]])


def _pace(
    paces: dict[tuple[int, str], Pace], number: int, subject: Subject, case: Case, budget: float
) -> Pace:
    key = number, subject.who
    if key not in paces:
        paces[key] = Pace(subject.make(), case, budget)
    return paces[key]


class Pace:
    """Seconds a batch, of as many batches as go into the budget."""

    def __init__(self, timed: Timed, case: Case, budget: float) -> None:
        self._timed, self._budget = timed, budget
        count = min(case.most, FEW)
        timed(count)  # warms up
        # What begins slowly would seem slow, and be timed over its beginning only.
        while (seconds := timed(count)) < budget / GROWTH and count < case.most:
            count = min(case.most, GROWTH * count)
        fit = int(budget * count / max(seconds, 1e-9))
        self._count = max(case.least, min(case.most, fit))

    def __call__(self) -> float:
        count, seconds, begin = 0, 0.0, perf_counter()
        while not count or perf_counter() - begin < self._budget:
            seconds += self._timed(self._count)
            count += self._count
        return seconds / count
