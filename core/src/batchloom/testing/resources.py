"""Checks of what a model leaves behind in its process: threads, files, and the state of others."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from batchloom.testing.promises import Seen, promise
from batchloom.testing.subject import Subject

Look = Callable[[], set[str]]

GRACE = 2.0  # seconds that a thread or process may take to end


@promise("A model that is gone leaves nothing: no thread, process, open file or temporary file.")
def resources_released(subject: Subject, folder: Path) -> None:
    """Train, break off, save and load twice; the second time may leave nothing new."""
    temporary, place = folder / "temporary", folder / "place"
    temporary.mkdir()
    place.mkdir()
    with _temporary_files_in(temporary):
        _live_once(subject, place)  # a library may keep what it needs once
        looks: list[Callable[[], set[str]]] = [
            _threads,
            _processes,
            _open_files,
            lambda: _names_in(temporary),
        ]
        before = [look() for look in looks]
        _live_once(subject, place)
        _wait_until_nothing_is_left(looks, before)


@promise("A model leaves the process as it was: random numbers, warnings, variables, paths.")
def leaves_the_process_alone(subject: Subject, folder: Path) -> None:
    """Compare what belongs to everybody before and after a training."""
    subject.trained()  # the first import of a library is not the model's doing
    np.random.random()  # if a seed was set just now, setting it again would not show
    random.random()
    before = _process_state()
    subject.predictions(subject.trained())
    after = _process_state()
    if changed := [name for name in before if before[name] != after[name]]:
        raise Seen(f"training and predicting changed {', '.join(changed)}")


def _live_once(subject: Subject, place: Path) -> None:
    model = subject.trained()
    subject.predictions(model)
    if subject.can_save:
        model.save(place / "saved")
        subject.make(load=True, path=place / "saved")
    if subject.can_train:
        subject.begun()
    del model
    gc.collect()


def _wait_until_nothing_is_left(looks: list[Look], before: list[set[str]]) -> None:
    deadline = time.monotonic() + GRACE
    while left := set().union(*(look() - was for look, was in zip(looks, before, strict=True))):
        if time.monotonic() > deadline:
            raise Seen(f"left behind: {', '.join(sorted(left))}")
        gc.collect()
        time.sleep(0.05)


def _threads() -> set[str]:
    return {f"thread {each.name!r} ({each.ident})" for each in threading.enumerate()}


def _processes() -> set[str]:
    return {f"process {each.name!r} ({each.pid})" for each in multiprocessing.active_children()}


def _open_files() -> set[str]:
    found: set[str] = set()
    listing = Path("/proc/self/fd")
    for each in os.listdir(listing) if listing.is_dir() else ():
        try:
            target = os.readlink(listing / each)
        except OSError:
            continue  # the listing's own
        if target.startswith("/") and not target.startswith(("/proc/", "/dev/")):
            found.add(f"open file {target} ({each})")
    return found


def _names_in(folder: Path) -> set[str]:
    return {f"temporary file {each.name}" for each in folder.iterdir()}


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    directory, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = directory
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


def _process_state() -> dict[str, Any]:
    numpys: Any = np.random.get_state()
    return {
        "NumPy's global random state": (numpys[0], numpys[1].tobytes(), *numpys[2:]),
        "Python's global random state": random.getstate(),
        "warnings.filters": list(warnings.filters),
        "np.seterr": np.geterr(),
        "the working directory": os.getcwd(),
        "os.environ": dict(os.environ),
        "sys.path": list(sys.path),
        "the default start method of processes": multiprocessing.get_start_method(allow_none=True),
        "the recursion limit": sys.getrecursionlimit(),
    }


CHECKS = (resources_released, leaves_the_process_alone)
