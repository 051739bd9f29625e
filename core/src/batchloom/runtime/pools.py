"""Pools: who prepares batches ahead: threads or processes of the run's own, or a user's executor."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batchloom.errors import DefinitionError, WorkerError
from batchloom.runtime.ahead import (
    JOIN_SECONDS,
    MOST_THREADS,
    Monitor,
    ThreadPool,
    other_processors,
)
from batchloom.runtime.options import RunOptions

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from batchloom.runtime.operations import Operation
    from batchloom.runtime.protocols import Pool
    from batchloom.runtime.shipping import Shipment
    from batchloom.runtime.work import Work


def is_elsewhere(executor: Executor | int | None) -> bool:
    """Tell whether an executor works in other processes, as far as can be known: all but threads do."""
    if executor is None:
        return False
    from concurrent.futures import ThreadPoolExecutor

    return not isinstance(executor, ThreadPoolExecutor)


def check_executor(executor: Executor | int | None) -> None:
    """Refuse an executor that forks.

    XGBoost, TensorFlow and scikit-learn's histogram boosting hang in a process that was forked after they
    had been used.
    """
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise DefinitionError(
            "this ProcessPoolExecutor forks its workers, and model libraries hang in forked processes. Give "
            "it another start method: ProcessPoolExecutor(..., "
            "mp_context=multiprocessing.get_context('spawn'))"
        )


def depth_of(options: RunOptions) -> int:
    """Say how many portions are prepared ahead."""
    if options.executor is None or options.prefetch:
        return options.prefetch
    workers = worker_count(options.executor) or getattr(options.executor, "_max_workers", None)
    return 2 * int(workers or os.cpu_count() or 1)


def worker_count(executor: Executor | int | None) -> int | None:
    """Say how many worker processes of its own a run is to have; None where it is given an executor."""
    return int(executor) if isinstance(executor, numbers.Integral) else None


def acts_here(executor: Executor | int | None) -> Callable[[Operation], bool]:
    """Say which operations an executor is not given: they act in order, in the consuming thread."""
    if executor is None:
        return lambda operation: False
    if is_elsewhere(executor):
        return lambda operation: operation.here
    # Who holds a named lock waits for earlier batches, which nobody may do in the threads of others.
    return lambda operation: bool(operation.locks)


def make_pool(
    options: RunOptions, monitor: Monitor, shipment: Shipment | None, never_waits: bool = False
) -> Pool | None:
    """Choose who prepares batches ahead; None for nobody.

    Parameters
    ----------
    options : RunOptions
    monitor : Monitor
    shipment : Shipment or None
        What processes need.
    never_waits : bool
        Whether the preparation keeps a processor busy all the time: more threads than there are processors
        besides the consumer's would be in each other's way.
    """
    executor: Any = options.executor
    if executor is None:
        threads = min(options.prefetch, other_processors() if never_waits else MOST_THREADS)
        return ThreadPool(threads, monitor) if options.prefetch else None
    if shipment is None:
        return ExecutorPool(executor, monitor)
    count, depth = worker_count(executor), depth_of(options)
    if count is None:
        from batchloom.runtime.process_pools import ProcessPool

        return ProcessPool(executor, monitor, shipment, depth)
    from batchloom.runtime.worker_processes import WorkerProcesses

    return WorkerProcesses(count, shipment, depth, monitor)


class ExecutorPool:
    """A user's executor whose workers are threads of this process.

    Its threads may serve other runs too, or the user may wait for them to end: no batch waits for its turn
    in them.
    """

    may_wait = False

    def __init__(self, executor: Executor, monitor: Monitor) -> None:
        self._executor = executor
        self._monitor = monitor
        self._futures: set[Future[Any]] = set()
        self._is_broken = False
        self._closed = False

    def submit(self, job: Work) -> None:
        """Have the executor do some work."""
        try:
            self._watch(self._executor.submit(job.run))
        except Exception as exc:
            if job.claim():
                job.refuse(lost(job, exc))

    def close(self) -> None:
        """Take back what has not begun and wait for what has; the executor stays open."""
        from concurrent.futures import wait

        if self._closed:
            return
        self._closed = True
        # What was taken back counts as done only when a worker has seen it: this may be the worker.
        # A broken executor is about to fail them all, and trips over one that is cancelled meanwhile.
        running = [each for each in list(self._futures) if self._is_broken or not each.cancel()]
        wait(running, timeout=JOIN_SECONDS)

    def _watch(self, future: Future[Any]) -> None:
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)


def lost(job: Work, exc: BaseException) -> WorkerError:
    """Say that an executor did not do some work."""
    from concurrent.futures import CancelledError

    if isinstance(exc, CancelledError):
        reason = "it was cancelled: was the executor shut down while the run went on?"
    else:
        reason = (
            f"{type(exc).__name__}: {exc}. A worker process may have been killed, for want of memory for "
            "example, or have ended itself; or the executor was shut down"
        )
    lost = WorkerError(f"the executor lost {named(job)} of this run: {reason}")
    lost.__cause__ = exc
    return lost


def named(job: Work) -> str:
    """Name the batches of some work."""
    first, count = getattr(job.lot, "first", 0), job.lot.count
    return f"batch {first}" if count == 1 else f"batches {first} to {first + count - 1}"
