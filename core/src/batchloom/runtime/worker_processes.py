"""Worker processes of a run's own: spawned when there is work for them, and gone when the run is over."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import os
import pickle
import select
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection

from batchloom.runtime.ahead import JOIN_SECONDS
from batchloom.runtime.process_pools import Trip
from batchloom.runtime.shipping import Parcel, Shipment
from batchloom.runtime.slots import Slots
from batchloom.runtime.work import Work
from batchloom.runtime.worker import serve

AT_ONCE = 2
"""So many errands a worker has at a time, so that it need not wait for the next one."""

LOOK_SECONDS = 0.5
"""How often a worker that says nothing is looked at."""

_open_pools: weakref.WeakSet[WorkerProcesses] = weakref.WeakSet()


# Known after the module that waits for all children at exit, and so called before it does.
@atexit.register
def _end_open_pools() -> None:
    for each in list(_open_pools):
        each.close()


class Worker:
    """One process, and what it is doing.

    Attributes
    ----------
    number : int
    trips : deque of Trip
        What it was sent and has not answered, in this order.
    lost : bool
        Whether it has ended, and gets nothing more.
    """

    def __init__(self, number: int, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.trips: deque[Trip] = deque()
        self.lost = False
        self._has_answered = False
        self.connection, theirs = context.Pipe()
        self._says = _listener(self.connection)
        name = f"batchloom-worker-{number}"
        self.process = context.Process(target=serve, args=(theirs, folder), name=name)
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    def takes(self, trip: Trip) -> bool:
        """Tell whether it can be sent an errand without a wait."""
        most = AT_ONCE if trip.is_small else 1
        return not self.lost and len(self.trips) < most

    def send(self, data: bytes) -> None:
        """Send something; a worker that has ended does not get it."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(data)

    def answer(self) -> Parcel | BaseException:
        """Wait for what it sends next.

        Raises
        ------
        EOFError or OSError
            When it has ended.
        """
        # Its end of the connection may stay open when it has ended: children that it forked have it too.
        while not self._says(LOOK_SECONDS):
            if not self.process.is_alive() and not self._says(0):
                raise EOFError
        found: Parcel | BaseException = pickle.loads(self.connection.recv_bytes())
        self._has_answered = True
        return found

    def fate(self) -> str:
        """Say how it ended."""
        self.process.join(JOIN_SECONDS)
        code = self.process.exitcode
        if code is None:
            return "it closed its connection"
        if code < 0:
            return f"it was killed by {_signal_name(-code)}, for want of memory for example"
        ended = f"it ended itself with exit code {code}"
        if self._has_answered:
            return ended
        return (
            f"{ended} before it had done anything (see above for why). A script that runs a pipeline with "
            'worker processes does so below `if __name__ == "__main__":`, because they import it too'
        )

    def stop(self, deadline: float) -> None:
        """End it: when it has done what it is doing, or at the deadline."""
        self.process.join(max(0.0, deadline - time.monotonic()))
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(JOIN_SECONDS)


class WorkerProcesses:
    """The worker processes of one run.

    Parameters
    ----------
    count : int
        The most processes there may be.
    shipment : Shipment
    depth : int
        How many portions are prepared ahead.
    """

    may_wait = False

    def __init__(self, count: int, shipment: Shipment, depth: int) -> None:
        self._most = count
        self._shipment = shipment
        self._slots = Slots(depth, count)
        self._workers: list[Worker] = []
        self._readers: list[threading.Thread] = []
        self._waiting: deque[Trip] = deque()
        self._sending = threading.Lock()
        self._trouble: str | None = None
        self._closed = False
        self._owner = os.getpid()
        _open_pools.add(self)

    def submit(self, job: Work) -> None:
        """Have a worker do some work, when one has time."""
        job.claim()
        if len(self._workers) < self._most:
            self._start()
        self._waiting.append(Trip(job, self._shipment, self._slots))
        self._send()

    def close(self) -> None:
        """End all workers: those that wait at once, those in an action when it returns or is too slow."""
        if self._closed or self._owner != os.getpid():  # a fork has a copy of this, but no workers
            return
        self._closed = True
        self._waiting.clear()
        try:
            deadline = time.monotonic() + JOIN_SECONDS
            self._dismiss(deadline)
            for worker in self._workers:
                worker.stop(deadline)
            for reader in self._readers:
                if reader is not threading.current_thread():
                    reader.join(JOIN_SECONDS)
        except BaseException:
            for worker in self._workers:
                worker.process.kill()
            raise
        finally:
            self._shipment.close()
            self._slots.close()

    def _start(self) -> None:
        worker = Worker(len(self._workers), self._shipment.folder)
        self._workers.append(worker)
        name = f"batchloom-reader-{len(self._readers)}"
        reader = threading.Thread(target=self._read, args=(worker,), name=name, daemon=True)
        self._readers.append(reader)
        reader.start()

    def _send(self) -> None:
        """Send workers what they have time for."""
        with self._sending:
            while self._waiting and self._trouble is None and not self._closed:
                trip = self._waiting[0]
                able = [each for each in self._workers if each.takes(trip)]
                if not able:
                    return
                self._waiting.popleft()
                chosen = min(able, key=lambda each: len(each.trips))
                chosen.trips.append(trip)
                chosen.send(pickle.dumps(trip.errand(chosen.number), protocol=5))
        while self._trouble is not None and self._waiting:
            with contextlib.suppress(IndexError):  # another thread has taken it
                self._waiting.popleft().lost(self._trouble)

    def _read(self, worker: Worker) -> None:
        """Hand over what a worker sends, until it has ended."""
        try:
            while True:
                self._hand_over(worker)
                self._send()
        except (EOFError, OSError):
            self._lose(worker)
        finally:
            worker.connection.close()

    def _hand_over(self, worker: Worker) -> None:
        answer = worker.answer()
        trip = worker.trips.popleft()
        if isinstance(answer, Parcel):
            trip.back(answer)
        else:
            trip.failed(answer)

    def _lose(self, worker: Worker) -> None:
        """Fail what a worker had to do, and all that comes after it, unless the run is over anyway."""
        if self._closed:
            return
        fate = f"a worker process of this run is gone: {worker.fate()}"
        with self._sending:
            worker.lost = True
            self._trouble = fate
        while worker.trips:
            worker.trips.popleft().lost(fate)
        self._send()

    def _dismiss(self, deadline: float) -> None:
        # Not for ever: who is sending may wait for a worker, and workers are stopped in any case.
        if self._sending.acquire(timeout=max(0.0, deadline - time.monotonic())):
            try:
                for worker in self._workers:
                    worker.send(b"")
            finally:
                self._sending.release()


def _listener(connection: Connection) -> Callable[[float], bool]:
    """Make the function that waits so many seconds for a message, and tells whether there is one."""
    if not hasattr(select, "poll"):
        return connection.poll
    poll = select.poll()  # `Connection.poll` makes such an object for each message
    poll.register(connection, select.POLLIN)
    return lambda seconds: bool(poll.poll(seconds * 1000))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
