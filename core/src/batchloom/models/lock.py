"""The reader-writer lock that each live model has: re-entrant by thread, writers first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from batchloom.errors import ModelError


class Side(AbstractContextManager[None]):
    """One way to hold a lock; it keeps no state, so that all threads share it.

    Attributes
    ----------
    acquire, release : callable
    """

    def __init__(self, acquire: Callable[[], None], release: Callable[[], None]) -> None:
        self.acquire, self.release = acquire, release

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


class ModelLock:
    """Many readers or one writer.

    A thread that reads may read again, one that writes may read and write again. A writer that
    waits keeps new readers out. A reader that wants to write gets an error: two of them would wait
    for each other for ever.
    """

    def __init__(self) -> None:
        self._gate = threading.RLock()  # a writer holds it, a reader passes through it
        self._writer: int | None = None
        self._depth = 0
        self._readers: dict[int, int] = {}  # thread: depth
        self._changed = threading.Condition()
        self._waiting = 0  # writers
        self._reading = Side(self._acquire_read, self._release_read)
        self._writing = Side(self._acquire_write, self._release_write)

    def __reduce__(self) -> tuple[type[ModelLock], tuple[()]]:
        # A copy of a model is another model, which nobody uses yet.
        return ModelLock, ()

    def read(self) -> Side:
        """Hold the lock together with other readers."""
        return self._reading

    def write(self) -> Side:
        """Hold the lock alone.

        Raises
        ------
        ModelError
            If this thread holds it as a reader; when the context is entered.
        """
        return self._writing

    def _acquire_read(self) -> None:
        me = threading.get_ident()
        if self._writer == me:
            self._acquire_write()
        elif me in self._readers:
            # It must not wait at the gate for the writer that waits for it.
            self._readers[me] += 1
        else:
            with self._gate, self._changed:
                self._readers[me] = 1

    def _release_read(self) -> None:
        me = threading.get_ident()
        if self._writer == me:
            self._release_write()
            return
        with self._changed:
            self._readers[me] -= 1
            if not self._readers[me]:
                del self._readers[me]
                self._changed.notify_all()

    def _acquire_write(self) -> None:
        me = threading.get_ident()
        if me in self._readers:
            raise ModelError(
                "a model cannot be trained, built, loaded or saved from inside its own predict: "
                "other threads may be reading it. Do it after predict has returned"
            )
        self._gate.acquire()
        self._writer = me
        self._depth += 1
        if self._readers:
            self._wait_alone()

    def _wait_alone(self) -> None:
        self._waiting += 1
        try:
            with self._changed:
                while self._readers:
                    self._changed.wait()
        except BaseException:
            self._release_write()
            raise
        finally:
            self._waiting -= 1

    def _release_write(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._writer = None
        self._gate.release()
