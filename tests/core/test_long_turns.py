"""Threads that work ahead are interrupted by who wakes up, and are else what they were."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, action
from batchloom.runtime.long_turns import TURN_SECONDS, take_long_turns

pytestmark = pytest.mark.timeout(30)

SCHED = Path("/proc/thread-self/sched")


def turns() -> dict[str, str]:
    """Read how the system treats the calling thread."""
    lines = (line.split() for line in SCHED.read_text().splitlines() if " : " in line)
    return {line[0]: line[-1] for line in lines if line[0] in ("policy", "prio", "se.slice")}


def in_a_thread(call: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


class Looking(Batch):
    seen: list[tuple[str, dict[str, str], dict[str, str]]]

    @action
    def look(self) -> Looking:
        time.sleep(0.001)  # or it would not be worth a thread
        self.seen.append((threading.current_thread().name, turns(), in_a_thread(turns)))
        return self


@pytest.fixture
def plain() -> dict[str, str]:
    """Give what a thread is that has asked for nothing, where the system agrees to long turns."""
    if not SCHED.exists() or "se.slice" not in turns() or not in_a_thread(take_long_turns):
        pytest.skip("this system has no long turns, or does not show them")
    return turns()


@pytest.mark.parametrize("prefetch", [1, 2])
def test_only_the_threads_that_work_ahead_take_long_turns(
    plain: dict[str, str], prefetch: int
) -> None:
    Looking.seen = []
    long = {**plain, "se.slice": str(round(TURN_SECONDS * 1e9))}
    for _ in Dataset(np.arange(40), Looking).p.look().gen_batch(1, prefetch=prefetch):
        assert turns() == plain
    ahead: dict[str, list[Any]] = {}
    for name, *found in Looking.seen:
        ahead.setdefault(name, []).append(found)
    ahead.pop(threading.current_thread().name, None)
    assert any(len(each) > 1 for each in ahead.values())
    # A thread asks when its first batch is done, by itself or by the consumer, who may have wanted it sooner.
    for first, *others in ahead.values():
        assert first in ([plain, plain], [long, plain])
        assert all(each == [long, plain] for each in others)
    assert turns() == plain


def test_a_thread_that_is_nicer_stays_so(plain: dict[str, str]) -> None:
    def nicer() -> tuple[bool, dict[str, str], dict[str, str]]:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        before = turns()
        return take_long_turns(), before, turns()

    taken, before, after = in_a_thread(nicer)
    assert taken and {**after, "se.slice": ""} == {**before, "se.slice": ""}
    assert before["prio"] == "139"


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="a way of Linux to treat threads")
def test_what_somebody_else_has_arranged_stays() -> None:
    def arranged() -> tuple[bool, int]:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return take_long_turns(), os.sched_getscheduler(0)

    assert in_a_thread(arranged) == (False, os.SCHED_BATCH)
