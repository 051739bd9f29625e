"""The reader-writer lock that each live model has: re-entrant by thread, writers first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from batchloom.errors import ModelError

Result = TypeVar("Result")


class ModelLock:
    """Many readers or one writer.

    A thread that reads may read again, one that writes may read and write again. A writer that
    waits keeps new readers out. A reader that wants to write gets an error: two of them would wait
    for each other for ever.

    What is done with the lock held is handed over as a function. Ctrl-C can come between any two calls
    of Python code, also at the beginning of an ``__exit__``; it cannot come between the end of a block
    and the release of a lock that is written in C, or a call of a ``finally`` that goes into C.
    """

    def __init__(self) -> None:
        self._writing = threading.RLock()  # held by the writer, and by each reader on its way in
        self._readers: dict[int, threading.Lock] = {}  # thread: what it holds until it has read

    def __reduce__(self) -> tuple[type[ModelLock], tuple[()]]:
        # A copy of a model is another model, which nobody uses yet.
        return ModelLock, ()

    @property
    def is_held_alone(self) -> bool:
        """Whether this thread holds it alone."""
        return self._writing._is_owned()  # type: ignore[attr-defined, no-any-return]

    def alone(self, do: Callable[..., Result], /, *args: Any) -> Result:
        """Call a function while nobody else holds the lock.

        Raises
        ------
        ModelError
            If this thread holds it as a reader.
        """
        if self._readers and threading.get_ident() in self._readers:
            raise ModelError(
                "a model cannot be trained, built, loaded or saved from inside its own predict: "
                "other threads may be reading it. Do it after predict has returned"
            )
        with self._writing:
            # No other can come in, so those that are there are all that there is to wait for.
            if self._readers:
                self._wait_for_readers()
            return do(*args)

    def _wait_for_readers(self) -> None:
        for reading in self._readers.copy().values():
            with reading:
                pass

    def together(self, do: Callable[..., Result], /, *args: Any) -> Result:
        """Call a function while nobody holds the lock alone."""
        me = threading.get_ident()
        if me in self._readers or self.is_held_alone:
            return do(*args)
        reading = threading.Lock()
        try:
            with reading:
                with self._writing:
                    self._readers[me] = reading
                return do(*args)
        finally:
            self._readers.pop(me, None)
