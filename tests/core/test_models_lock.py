"""The lock of a live model: many readers or one writer, re-entrant, writers first."""

from __future__ import annotations

import copy
import itertools
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


def test_writers_exclude_one_another_and_readers() -> None:
    lock, state = ModelLock(), [0, 0]
    torn = []

    def write() -> None:
        state[0] += 1
        time.sleep(0)
        state[1] += 1

    def read() -> None:
        if state[0] != state[1]:
            torn.append(tuple(state))

    def often(hold: Any, do: Any) -> None:
        for _ in range(300):
            hold(do)

    with ThreadPoolExecutor(8) as pool:
        jobs = [(lock.alone, write), (lock.together, read)] * 4
        for each in [pool.submit(often, *job) for job in jobs]:
            each.result()
    assert state == [1200, 1200]
    assert torn == []


def test_readers_read_together() -> None:
    lock, together = ModelLock(), threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:  # breaks if any of the four is kept out
        for each in [pool.submit(lock.together, together.wait, 5) for _ in range(4)]:
            each.result()


def test_a_thread_enters_again() -> None:
    lock = ModelLock()
    assert lock.together(lock.together, lock.together, max, 1, 2) == 2

    def inner_read_then_wait(pool: ThreadPoolExecutor) -> Any:
        lock.together(max, 1, 2)
        other = pool.submit(lock.together, max, 1, 2)
        time.sleep(0.05)
        assert not other.done(), "leaving the inner read has released the write"
        return other

    with ThreadPoolExecutor(1) as pool:
        assert lock.alone(lock.alone, inner_read_then_wait, pool).result(5) == 2
        assert lock.alone(lock.together, lock.alone, max, 1, 2) == 2


def test_a_waiting_writer_keeps_new_readers_out() -> None:
    lock, order = ModelLock(), []

    def read(pool: ThreadPoolExecutor) -> Any:
        writer = pool.submit(lock.alone, order.append, "write")
        while lock.writing.acquire(blocking=False):  # until the writer has it
            lock.writing.release()
            time.sleep(0.001)
        reader = pool.submit(lock.together, order.append, "read")
        time.sleep(0.05)
        assert not reader.done() and not writer.done()
        lock.together(order.append, "again")  # the writer waits for who reads already
        return writer, reader

    with ThreadPoolExecutor(2) as pool:
        for each in lock.together(read, pool):
            each.result(5)
    assert order == ["again", "write", "read"]


def test_a_reader_that_wants_to_write_gets_an_error() -> None:
    lock = ModelLock()
    with pytest.raises(ModelError, match="inside its own predict"):
        lock.together(lock.alone, max, 1, 2)
    assert lock.alone(max, 1, 2) == 2


def is_free(lock: ModelLock) -> bool:
    with ThreadPoolExecutor(2) as pool:
        return all(pool.submit(each, max, 1, 2).result(5) for each in (lock.alone, lock.together))


def test_an_exception_releases_it() -> None:
    lock = ModelLock()
    for hold in (lock.together, lock.alone):
        with pytest.raises(ZeroDivisionError):
            hold(divmod, 1, 0)
    assert is_free(lock)


@pytest.mark.parametrize("hold", ["alone", "together"])
@pytest.mark.parametrize("contended", [False, True])
def test_ctrl_c_at_any_moment_releases_it(hold: str, contended: bool) -> None:
    """Ctrl-C is looked for when a function is called, and when one that is written in C returns."""
    hits = 0
    for moment in itertools.count():
        lock = ModelLock()
        with ThreadPoolExecutor(1) as pool:
            inside = threading.Event()
            other = pool.submit(lock.together, inside.wait, 0.005) if contended else None
            ctrl_c = CtrlC(moment)
            sys.setprofile(ctrl_c.look)
            try:
                getattr(lock, hold)(max, 1, 2)
            except KeyboardInterrupt:
                hits += 1
            sys.setprofile(None)
            if other is not None:
                other.result(5)
        assert is_free(lock)
        if ctrl_c.moment >= 0:
            break  # there are no more
    assert hits >= 4


class CtrlC:
    def __init__(self, moment: int) -> None:
        self.moment = moment

    def look(self, frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_return"):
            self.moment -= 1
            if self.moment == -1:
                raise KeyboardInterrupt


def test_a_writer_that_gives_up_lets_readers_in() -> None:
    """Ctrl-C ends its wait for those that read."""
    lock, reading, done = ModelLock(), threading.Event(), threading.Event()

    def read() -> None:
        reading.set()
        done.wait(10)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(lock.together, read)
            reading.wait(5)
            main = threading.main_thread().ident
            threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                lock.alone(max, 1, 2)
            assert pool.submit(lock.together, max, 1, 2).result(5) == 2, "kept out by who has gone"
            done.set()
            first.result(5)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_copy_is_another_lock() -> None:
    lock = ModelLock()

    def copied() -> None:
        for other in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            assert is_free(other)

    lock.alone(copied)
