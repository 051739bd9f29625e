"""Ctrl-C in a run: after some time, or at one of the places where Python looks for signals."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from inspect import CO_GENERATOR
from typing import Any

from random_pipelines import shuffles
from told_runs import content, printed

from batchloom import Pipeline

SPARED = (threading.__file__, concurrent.futures.__path__[0])


class Signal:
    """Ctrl-C after some time, which also ends a wait."""

    def __init__(self, whole: Moment, part: float) -> None:
        ident = threading.main_thread().ident
        signalled = signal.pthread_kill, (ident, signal.SIGINT)
        self.timer = threading.Timer(whole.seconds * part, *signalled)

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *exc: object) -> None:
        """Wait for the signal, so that it does not come later."""
        while self.timer.is_alive():
            try:
                self.timer.join()
            except KeyboardInterrupt:
                pass


class Moment:
    """Ctrl-C at one of the places where Python looks for signals: function calls, and returns from C.

    The standard library's threads and executors are left alone: their conditions are let go of by Python
    code, which Ctrl-C can keep from doing so, for good.
    """

    seconds = 0.0

    def __init__(self, whole: Moment | None, part: float = 0.0) -> None:
        self.count = 0
        self.last = -1 if whole is None else int(whole.count * part)

    def __enter__(self) -> Moment:
        sys.setprofile(self.look)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def look(self, frame: Any, event: str, argument: Any) -> None:
        if event == "c_return":
            interrupted = frame
        # A generator would be over without its finally, which a real signal does not do.
        elif event == "call" and not frame.f_code.co_flags & CO_GENERATOR:
            interrupted = frame.f_back
        else:
            return
        if interrupted is not None and not interrupted.f_code.co_filename.startswith(SPARED):
            self.count += 1
            if self.count == self.last:
                raise KeyboardInterrupt


def interrupted(p: Pipeline, given: list[Any], ctrl_c: Any, **run: Any) -> None:
    """Run until the end, or until Ctrl-C comes."""
    run["shuffle"] = shuffles(run["shuffle"])
    with warnings.catch_warnings(), printed(), lost_ctrl_c():
        warnings.simplefilter("ignore")
        try:
            with ctrl_c:
                for batch in p.gen_batch(**run):
                    given.append(content(batch))
        except (Exception, GeneratorExit, SystemExit, KeyboardInterrupt):
            pass


@contextlib.contextmanager
def lost_ctrl_c() -> Iterator[None]:
    """Forget Ctrl-C that comes in a callback of a weak reference, where it is lost, as anywhere in Python.

    Who reports it keeps its traceback, with all that the run had in its hands.
    """
    before = sys.unraisablehook

    def report(lost: Any) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            before(lost)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
