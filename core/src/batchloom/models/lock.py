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

    Attributes
    ----------
    writing : RLock
        Held by the writer, and by each reader on its way in.
    readers : dict of int to Lock
        For each thread that reads, what it holds until it has read.
    """

    def __init__(self) -> None:
        self.writing = threading.RLock()
        self.readers: dict[int, threading.Lock] = {}

    def __reduce__(self) -> tuple[type[ModelLock], tuple[()]]:
        # A copy of a model is another model, which nobody uses yet.
        return ModelLock, ()

    @property
    def is_held_alone(self) -> bool:
        """Whether this thread holds it alone."""
        return self.writing._is_owned()  # type: ignore[attr-defined, no-any-return]

    def alone(self, do: Callable[..., Result], /, *args: Any) -> Result:
        """Call a function while nobody else holds the lock.

        Raises
        ------
        ModelError
            If this thread holds it as a reader.
        """
        if self.readers:
            self.refuse_a_reader()
        with self.writing:
            if self.readers:
                self.wait_for_readers()
            return do(*args)

    def refuse_a_reader(self) -> None:
        """Refuse to let this thread write if it reads: the first part of `alone`.

        Raises
        ------
        ModelError
        """
        if threading.get_ident() in self.readers:
            raise ModelError(
                "a model cannot be trained, built, loaded or saved from inside its own predict: "
                "other threads may be reading it. Do it after predict has returned"
            )

    def wait_for_readers(self) -> None:
        """Wait, as the writer, until the readers that are there are gone: no other can come in."""
        for reading in self.readers.copy().values():
            with reading:
                pass

    def together(self, do: Callable[..., Result], /, *args: Any) -> Result:
        """Call a function while nobody holds the lock alone."""
        me = threading.get_ident()
        if me in self.readers or self.is_held_alone:
            return do(*args)
        reading = threading.Lock()
        try:
            with reading:
                with self.writing:
                    self.readers[me] = reading
                return do(*args)
        finally:
            self.readers.pop(me, None)
