"""SIGTERM: a run that was told to keeps a last checkpoint before the process ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

from batchloom.errors import DefinitionError

EXIT_CODE = 128 + signal.SIGTERM
"""What a shell says of a process that SIGTERM has ended."""


class Sigterm:
    """Notes that SIGTERM has come, from `begin` to `end`, in place of who was to be told of it.

    Attributes
    ----------
    has_come : bool
    """

    def __init__(self) -> None:
        self.has_come = False
        self._heeded = False
        self._is_noting = False
        self._previous: Any = None

    def begin(self) -> None:
        """Take the place of the handler there is.

        Raises
        ------
        DefinitionError
            In a thread other than the main one, where Python takes no signals.
        """
        check_thread()
        self._is_noting = True
        self._previous = signal.signal(signal.SIGTERM, self._note)

    def exit(self) -> NoReturn:
        """End the process as SIGTERM asks for, once everything on the way out is cleared up."""
        self._heeded = True
        raise SystemExit(EXIT_CODE)

    def end(self) -> None:
        """Put the handler back; what came and was not heeded, because the run ended first, goes to it."""
        if not self._is_noting:
            return
        self._is_noting = False
        if _is_main() and signal.getsignal(signal.SIGTERM) == self._note:
            signal.signal(signal.SIGTERM, self._previous)
        if self.has_come and not self._heeded:
            signal.raise_signal(signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._is_noting:  # it could not be put back where the run ended
            self._pass_on(number, frame)
        elif self.has_come:
            self.exit()  # asked again: without waiting for the batch
        self.has_come = True

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if callable(self._previous):
            self._previous(number, frame)
        else:
            signal.signal(number, self._previous)
            signal.raise_signal(number)


def check_thread() -> None:
    """Refuse a thread that cannot be told of signals, and a handler that could not be put back."""
    if not _is_main():
        raise DefinitionError(
            "on_sigterm='checkpoint' is for the main thread, which alone is told of signals: run there, and "
            f"not in {threading.current_thread().name!r}, or leave it out"
        )
    if signal.getsignal(signal.SIGTERM) is None:
        raise DefinitionError(
            "on_sigterm='checkpoint': SIGTERM has a handler that is not of Python and could not be put back "
            "after the run. Leave on_sigterm out"
        )


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
