"""The lock of a live model: many readers or one writer, re-entrant, writers first."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from batchloom.errors import ModelError
from batchloom.models.lock import ModelLock

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def waits(lock: ModelLock, count: int) -> None:
    """Return when that many writers wait."""
    while lock._waiting < count:
        time.sleep(0.001)


def test_writers_exclude_one_another_and_readers() -> None:
    lock, state = ModelLock(), [0, 0]
    torn = []

    def write() -> None:
        for _ in range(300):
            with lock.write():
                state[0] += 1
                time.sleep(0)
                state[1] += 1

    def read() -> None:
        for _ in range(300):
            with lock.read():
                if state[0] != state[1]:
                    torn.append(tuple(state))

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(job) for job in [write, read] * 4]:
            each.result()
    assert state == [1200, 1200]
    assert torn == []


def test_readers_read_together() -> None:
    lock, together = ModelLock(), threading.Barrier(4)

    def read() -> None:
        with lock.read():
            together.wait(5)  # breaks if any of the four is kept out

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(read) for _ in range(4)]:
            each.result()


def test_a_thread_enters_again() -> None:
    lock = ModelLock()
    with lock.write(), lock.write(), lock.read(), lock.read():
        pass
    with lock.read(), lock.read():
        pass
    with lock.write():
        with lock.read():
            pass
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(lock._acquire_read)
            time.sleep(0.05)
            assert not other.done(), "leaving the inner read has released the write"
            lock._release_write()
            other.result(5)
            pool.submit(lock._release_read).result(5)
            lock._acquire_write()


def test_a_waiting_writer_keeps_new_readers_out() -> None:
    lock, order = ModelLock(), []

    def write() -> None:
        with lock.write():
            order.append("write")

    def read() -> None:
        with lock.read():
            order.append("read")

    with ThreadPoolExecutor(2) as pool:
        with lock.read():
            writer = pool.submit(write)
            waits(lock, 1)
            reader = pool.submit(read)
            time.sleep(0.05)
            assert not reader.done()
            with lock.read():
                pass  # who reads already may read again: the writer waits for it
        writer.result(5)
        reader.result(5)
    assert order == ["write", "read"]


def test_a_reader_that_wants_to_write_gets_an_error() -> None:
    lock = ModelLock()
    with lock.read():
        with pytest.raises(ModelError, match="inside its own predict"), lock.write():
            pass
    with lock.write():
        pass


def test_an_exception_releases_it() -> None:
    lock = ModelLock()
    for hold in (lock.read, lock.write):
        with pytest.raises(ZeroDivisionError), hold():
            raise ZeroDivisionError
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock._acquire_write).result(5)


def test_a_writer_that_gives_up_lets_readers_in(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, entered = ModelLock(), threading.Event()

    def read() -> None:
        with lock.read():
            entered.set()

    def interrupted() -> None:
        wait = lock._changed.wait

        def once(timeout: float | None = None) -> bool:
            lock._changed.wait = wait
            wait(0.2)  # a reader begins to wait in the meantime
            raise KeyboardInterrupt

        lock._changed.wait = once
        with pytest.raises(KeyboardInterrupt), lock.write():
            pass

    with lock.read(), ThreadPoolExecutor(2) as pool:
        writer = pool.submit(interrupted)
        waits(lock, 1)
        pool.submit(read)
        writer.result(5)
        assert entered.wait(5), "the reader still waits for a writer that has gone"


def test_a_copy_is_another_lock() -> None:
    lock = ModelLock()
    with lock.write():
        for other in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(other._acquire_write).result(5)
