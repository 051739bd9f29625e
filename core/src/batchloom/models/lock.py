"""The reader-writer lock that each live model has: re-entrant by thread, writers first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from batchloom.errors import ModelError


class _Side(AbstractContextManager[None]):
    """One way to hold a lock; it keeps no state, so that all threads share it."""

    def __init__(self, acquire: Callable[[], None], release: Callable[[], None]) -> None:
        self._acquire, self._release = acquire, release

    def __enter__(self) -> None:
        self._acquire()

    def __exit__(self, *exc: object) -> None:
        self._release()


class ModelLock:
    """Many readers or one writer.

    A thread that reads may read again, one that writes may read and write again. A writer that
    waits keeps new readers out. A reader that wants to write gets an error: two of them would wait
    for each other for ever.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._readers: dict[int, int] = {}  # thread: depth
        self._writer: int | None = None
        self._depth = 0
        self._waiting = 0  # writers
        self._standing_back = 0  # readers
        self._reading = _Side(self._acquire_read, self._release_read)
        self._writing = _Side(self._acquire_write, self._release_write)

    def __reduce__(self) -> tuple[type[ModelLock], tuple[()]]:
        # A copy of a model is another model, which nobody uses yet.
        return ModelLock, ()

    def read(self) -> AbstractContextManager[None]:
        """Hold the lock together with other readers."""
        return self._reading

    def write(self) -> AbstractContextManager[None]:
        """Hold the lock alone.

        Raises
        ------
        ModelError
            If this thread holds it as a reader; when the context is entered.
        """
        return self._writing

    def _acquire_read(self) -> None:
        me = threading.get_ident()
        with self._guard:
            if self._writer == me:
                self._depth += 1
                return
            # A reader that reads again must not wait for the writer that waits for it.
            if me not in self._readers and (self._writer is not None or self._waiting):
                self._stand_back()
            self._readers[me] = self._readers.get(me, 0) + 1

    def _stand_back(self) -> None:
        self._standing_back += 1
        try:
            while self._writer is not None or self._waiting:
                self._changed.wait()
        finally:
            self._standing_back -= 1

    def _release_read(self) -> None:
        me = threading.get_ident()
        if self._writer == me:
            self._release_write()
            return
        with self._guard:
            self._readers[me] -= 1
            if not self._readers[me]:
                del self._readers[me]
                self._tell()

    def _acquire_write(self) -> None:
        me = threading.get_ident()
        with self._guard:
            if self._writer != me:
                self._refuse_reader(me)
                if self._writer is not None or self._readers:
                    self._wait_alone()
                self._writer = me
            self._depth += 1

    def _wait_alone(self) -> None:
        self._waiting += 1
        try:
            while self._writer is not None or self._readers:
                self._changed.wait()
        except BaseException:
            # Readers that stood back for this writer would never hear that it gave up.
            self._changed.notify_all()
            raise
        finally:
            self._waiting -= 1

    def _release_write(self) -> None:
        with self._guard:
            self._depth -= 1
            if not self._depth:
                self._writer = None
                self._tell()

    def _tell(self) -> None:
        if self._waiting or self._standing_back:
            self._changed.notify_all()

    def _refuse_reader(self, me: int) -> None:
        if me in self._readers:
            raise ModelError(
                "a model cannot be trained, built, loaded or saved from inside its own predict: "
                "other threads may be reading it. Do it after predict has returned"
            )
