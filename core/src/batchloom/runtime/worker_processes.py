"""Worker processes of a run's own: spawned when there is work for them, and gone when the run is over."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
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

from batchloom.runtime.ahead import JOIN_SECONDS, Monitor, RunCancelledError
from batchloom.runtime.messages import receive, send
from batchloom.runtime.process_pools import Trip
from batchloom.runtime.shipping import Parcel, Shipment
from batchloom.runtime.slots import Slots
from batchloom.runtime.work import Work
from batchloom.runtime.worker import serve

AT_ONCE = 2
"""So many errands a worker has at a time, so that it need not wait for the next one."""

LOOK_SECONDS = 0.5
"""How often workers are looked at while none of them says anything."""

CONNECTION_BYTES = 1 << 15
"""Answers up to this size do not wait to be received."""

AWAY_SECONDS = 0.005
"""How often workers are seen to while who wants their batches is busy with something else."""

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
        name = f"batchloom-worker-{number}"
        self.process = context.Process(target=serve, args=(theirs, folder), name=name)
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    def under_way(self) -> int:
        """Count what it was sent and has not answered."""
        return len(self.trips)

    def send(self, data: bytes) -> None:
        """Send something; a worker that has ended does not get it."""
        with contextlib.suppress(OSError):
            send(self.connection, data)

    def answer(self) -> bytes:
        """Wait for what it sends next.

        Raises
        ------
        EOFError or OSError
            When it has ended.
        """
        data = receive(self.connection)
        self._has_answered = True
        return data

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


class Listener:
    """Says which workers have something to say."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}
        # `multiprocessing.connection.wait` makes such an object for each message.
        self._poll = select.poll() if hasattr(select, "poll") else None

    def add(self, worker: Worker) -> None:
        """Listen to a worker, too."""
        file = worker.connection.fileno()
        self._workers[file] = worker
        if self._poll is not None:
            self._poll.register(file, select.POLLIN)

    def remove(self, worker: Worker) -> None:
        """Listen to a worker no more."""
        for file, each in list(self._workers.items()):
            if each is worker:
                del self._workers[file]
                if self._poll is not None:
                    self._poll.unregister(file)

    def speaking(self, seconds: float) -> list[Worker]:
        """Wait so many seconds for a message, or the end of a worker, and say from whom there is one."""
        if self._poll is not None:
            return [self._workers[file] for file, _ in self._poll.poll(seconds * 1000)]
        found = multiprocessing.connection.wait(
            [each.connection for each in self._workers.values()], seconds
        )
        return [each for each in self._workers.values() if each.connection in found]


class WorkerProcesses:
    """The worker processes of one run.

    Who wants a batch sees to the workers while it waits: to be woken by another thread for each of them would
    cost more than to receive it. While it is busy with something else, a thread looks after them.

    Parameters
    ----------
    count : int
        The most processes there may be.
    shipment : Shipment
    depth : int
        How many portions are prepared ahead.
    monitor : Monitor
    """

    may_wait = False

    def __init__(self, count: int, shipment: Shipment, depth: int, monitor: Monitor) -> None:
        self._most = count
        self._shipment = shipment
        self._slots = Slots(depth, count)
        self._workers: list[Worker] = []
        self._listener = Listener()
        self._monitor = monitor
        self._waiting: deque[Trip] = deque()
        self._attending = threading.Lock()
        self._busy = threading.Event()
        self._substitute: threading.Thread | None = None
        self._trouble: str | None = None
        self._closed = False
        self._answers_wait = False  # for somebody who receives them: they fill a connection
        self._owner = os.getpid()
        _open_pools.add(self)

    def submit(self, job: Work) -> None:
        """Have a worker do some work, when one has time."""
        job.claim()
        job.wait_until = self.wait_until
        if len(self._workers) < self._most:
            self._start()
        with self._attending:
            self._waiting.append(Trip(job, self._shipment, self._slots))
            self._send()
            if self._waiting:
                self._attend(0)
            if self._rests_unseen():
                self._busy.set()

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, and see to the workers meanwhile.

        Raises
        ------
        RunCancelledError
            When the run ends first.
        """
        while not holds():
            if self._closed:
                raise RunCancelledError(self._monitor)
            with self._attending:
                if not holds():  # the substitute may have been there first
                    self._attend(LOOK_SECONDS)

    def close(self) -> None:
        """End all workers: those that wait at once, those in an action when it returns or is too slow."""
        if self._closed or self._owner != os.getpid():  # a fork has a copy of this, but no workers
            return
        self._closed = True
        try:
            deadline = time.monotonic() + JOIN_SECONDS
            self._dismiss(deadline)
            for worker in self._workers:
                worker.stop(deadline)
            self._busy.set()
            thread = self._substitute
            if (
                thread is not None
                and thread.is_alive()
                and thread is not threading.current_thread()
            ):
                thread.join(JOIN_SECONDS)
        except BaseException:
            for worker in self._workers:
                worker.process.kill()
            raise
        finally:
            for worker in self._workers:
                worker.connection.close()
                worker.trips.clear()  # what was on its way knows this pool: in a circle it would stay
            self._waiting.clear()
            self._shipment.close()
            self._slots.close()

    def _start(self) -> None:
        worker = Worker(len(self._workers), self._shipment.folder)
        self._workers.append(worker)
        self._listener.add(worker)
        if self._substitute is None:
            name = "batchloom-workers"
            self._substitute = threading.Thread(target=self._look_after, name=name, daemon=True)
            self._substitute.start()

    def _look_after(self) -> None:
        """See to the workers from time to time, as long as they need it and nobody else does."""
        while self._busy.wait() and not self._closed:
            time.sleep(AWAY_SECONDS)
            if self._attending.acquire(blocking=False):
                try:
                    self._attend(0)
                    if not self._rests_unseen():
                        self._busy.clear()
                finally:
                    self._attending.release()

    def _rests_unseen(self) -> bool:
        """Tell whether a worker may come to rest with work left, unless it is seen to."""
        if self._waiting:
            return True
        return self._answers_wait and any(each.trips for each in self._workers)

    def _attend(self, seconds: float) -> None:
        """Take what workers send, waiting so long for it, and send them what they have time for."""
        speaking = self._listener.speaking(seconds)
        for worker in speaking:
            self._hand_over(worker)
        if seconds and not speaking:
            self._find_lost()
        if self._waiting:
            self._send()

    def _send(self) -> None:
        while self._waiting and self._trouble is None and not self._closed:
            trip = self._waiting[0]
            chosen = min(self._workers, key=Worker.under_way)
            if len(chosen.trips) >= (AT_ONCE if trip.is_small() else 1):
                return
            self._waiting.popleft()
            chosen.trips.append(trip)
            chosen.send(pickle.dumps(trip.errand(chosen.number), protocol=5))
        while self._trouble is not None and self._waiting:
            self._waiting.popleft().lost(self._trouble)

    def _hand_over(self, worker: Worker) -> None:
        try:
            data = worker.answer()
        except (EOFError, OSError):
            self._lose(worker)
            return
        trip = worker.trips.popleft()
        self._answers_wait = len(data) > CONNECTION_BYTES
        if self._answers_wait:
            self._busy.set()
        answer: Parcel | BaseException = pickle.loads(data)
        if isinstance(answer, BaseException):
            trip.failed(answer)
        else:
            trip.back(answer)

    def _find_lost(self) -> None:
        """Find workers that have ended while children that they forked hold their connections open."""
        for worker in self._workers:
            has_ended = not worker.lost and not worker.process.is_alive()
            if has_ended and not worker.connection.poll():
                self._lose(worker)

    def _lose(self, worker: Worker) -> None:
        """Fail what a worker had to do, and all that comes after it, unless the run is over anyway."""
        worker.lost = True
        self._listener.remove(worker)
        if self._closed:
            return
        self._trouble = f"a worker process of this run is gone: {worker.fate()}"
        while worker.trips:
            worker.trips.popleft().lost(self._trouble)

    def _dismiss(self, deadline: float) -> None:
        # Not for ever: who sees to a worker may wait for it, and workers are stopped in any case.
        if self._attending.acquire(timeout=max(0.0, deadline - time.monotonic())):
            try:
                for worker in self._workers:
                    worker.send(b"")
            finally:
                self._attending.release()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
