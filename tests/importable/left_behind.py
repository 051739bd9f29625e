"""What a run must not leave behind: threads, open files, temporary files, and locks that are held."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchloom import Pipeline
from batchloom.models.handle import handle_of
from batchloom.models.runs import current_run

GRACE = 5.0  # seconds that threads may take to end on a busy machine


def resources() -> dict[str, Any]:
    temporary = os.listdir(tempfile.gettempdir())
    return {
        # One that Ctrl-C kept from being started stays in the list for good.
        "threads": {each.name for each in threading.enumerate() if each.is_alive()},
        "open files": Counter(open_files()),
        "temporary files": {each for each in temporary if each.startswith("batchloom")},
    }


def open_files() -> Iterator[str]:
    for each in Path("/proc/self/fd").iterdir() if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):  # the listing's own
            yield os.readlink(each)


def assert_nothing_left(before: dict[str, Any], but: str = "\0") -> None:
    deadline = time.monotonic() + GRACE
    while left := [
        each for name, now in resources().items() for each in now - before[name] if but not in each
    ]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        gc.collect()
        time.sleep(0.002)


def assert_free(p: Pipeline) -> None:
    """Any other thread can write to every model and variable, and this one is in no run any more."""
    assert current_run() is None

    def write() -> None:
        for each in p.models.values():
            handle_of(each).lock.alone(max, 1, 2)
        for name in p.variables:
            p.variables.change(name, lambda value: value)
        free.append(True)

    free: list[bool] = []
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(GRACE)
    assert free, "a lock is held"
