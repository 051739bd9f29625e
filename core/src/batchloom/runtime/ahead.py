"""Working ahead: the threads that prepare batches, and everything they may wait for.

All waits of a run are waits on one `Monitor`, so that one call ends them all; and batch k never waits for
anything but batches before it, so that they cannot wait for each other in a circle.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queue import SimpleQueue

    from batchloom.runtime.protocols import Job

MOST_THREADS = 64
"""However many batches are prepared ahead, more threads than this would be in each other's way."""

JOIN_SECONDS = 1.0
"""How long the end of a run waits for actions that are under way."""


class RunCancelledError(BaseException):
    """Ends a wait in a worker when its run is over. Never seen by users.

    Parameters
    ----------
    monitor : Monitor
        Of the run that is over: runs can be nested.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__()
        self.monitor = monitor


class Monitor:
    """Where a run's threads wait for each other.

    What they wait for must, once it holds, go on to hold.
    """

    def __init__(self) -> None:
        self._guard = threading.RLock()  # the collector may end a run in a thread that is in here
        self._waiting: dict[threading.Lock, Callable[[], bool]] = {}
        self.cancelled = False

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds.

        Raises
        ------
        RunCancelledError
            When the run ends first.
        """
        closed = threading.Lock()
        closed.acquire()
        try:
            # Known before the first look: whoever changes something looks for those who wait afterwards.
            with self._guard:
                self._waiting[closed] = holds
            if not holds() and not self.cancelled:
                closed.acquire()
        finally:
            with self._guard:
                self._waiting.pop(closed, None)
        if not holds():
            raise RunCancelledError(self)

    def changed(self) -> None:
        """Wake the threads that need not wait any longer; costs next to nothing when none waits."""
        if self._waiting:
            self._wake(lambda holds: holds())

    def cancel(self) -> None:
        """End all waits, now and later."""
        self.cancelled = True
        self._wake(lambda holds: True)

    def _wake(self, may_go: Callable[[Callable[[], bool]], bool]) -> None:
        with self._guard:
            ready = [each for each, holds in self._waiting.items() if may_go(holds)]
            for each in ready:
                del self._waiting[each]
                each.release()


class OrderedLock:
    """A named lock of actions that batches pass in their order."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._next = 0
        self._left: set[int] = set()
        self._guard = threading.Lock()

    def enter(self, ticket: int) -> None:
        """Wait until every earlier batch has left."""
        if self._next != ticket:
            self._monitor.wait_until(lambda: self._next >= ticket)

    def leave(self, ticket: int) -> None:
        """Let the next batch in; a batch that never entered leaves too."""
        with self._guard:
            self._left.add(ticket)
            while self._next in self._left:
                self._left.remove(self._next)
                self._next += 1
        self._monitor.changed()


def other_processors() -> int:
    """Count the processors that this process may use besides its consumer's; at least one."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)) - 1)
    return max(1, (os.cpu_count() or 1) - 1)


class ThreadPool:
    """The threads of one run.

    Parameters
    ----------
    threads : int
        The most threads there may be; `MOST_THREADS` at the most.
    monitor : Monitor
    purpose : str, default "prefetch"
        What they are for: a part of their names.
    """

    may_wait = True

    def __init__(self, threads: int, monitor: Monitor, purpose: str = "prefetch") -> None:
        from queue import SimpleQueue

        from batchloom.runtime.long_turns import take_long_turns

        self._take_long_turns = take_long_turns
        self._purpose = purpose
        self._most = min(threads, MOST_THREADS)
        self._monitor = monitor
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, job: Job) -> None:
        """Have a thread run a job."""
        self._jobs.put(job)
        if len(self._threads) < self._most:
            name = f"batchloom-{self._purpose}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            # First known, then started: Ctrl-C between the two leaves nothing that `close` does not know.
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop all threads: those that wait at once, those in an action when it returns."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        alive = [each.name for each in self._threads if each.is_alive()]
        if alive:
            busy = "inside an action" if self._purpose == "prefetch" else "reading"
            warnings.warn(
                f"{len(alive)} {self._purpose} thread(s) are still {busy} {JOIN_SECONDS:g} s after "
                f"the run ended ({', '.join(alive)}); they end when it returns, "
                "and what it returns is dropped",
                RuntimeWarning,
                stacklevel=2,
            )

    def _work(self) -> None:
        is_first = True
        while not self._monitor.cancelled:
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # for the next thread
                return
            job.run()
            if is_first:  # whoever wants the first batch would have begun it, were this done before
                self._take_long_turns()
                is_first = False
