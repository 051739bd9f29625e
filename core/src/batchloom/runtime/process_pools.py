"""Process pools: work that goes to worker processes, and how it comes back."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor

from batchloom.errors import WorkerError
from batchloom.portion import Portion
from batchloom.runtime.ahead import Monitor
from batchloom.runtime.pools import ExecutorPool, lost, named
from batchloom.runtime.shipping import Errand, Parcel, Shipment, run_errand, unpacked
from batchloom.runtime.slots import Piece, Slot, Slots
from batchloom.runtime.work import Work

SMALL_BYTES = 4096
"""An errand with more positions than this might not fit into a connection."""


class Trip:
    """Some work on its way to a worker process and back.

    Parameters
    ----------
    job : Work
    shipment : Shipment
    slots : Slots or None
        Where large arrays come back; None where workers may be on other machines, or may do an errand
        that was given up long ago.
    """

    def __init__(self, job: Work, shipment: Shipment, slots: Slots | None) -> None:
        assert isinstance(job.lot, Portion)
        self._job = job
        self._portion = job.lot
        self._shipment = shipment
        self._slots = slots
        self._slot: Slot | None = None

    def is_small(self) -> bool:
        """Tell whether its errand is a few numbers, and no long list of positions."""
        positions = None if self._portion.rows is None else self._portion.rows.positions
        return positions is None or positions.nbytes <= SMALL_BYTES

    def errand(self, worker: int = 0) -> Errand:
        """Make the errand for a worker, with a place for what comes back."""
        if self._slots is not None:
            self._slot = self._slots.take(worker)
        return self._shipment.errand(self._portion, self._slot)

    def back(self, parcel: Parcel) -> None:
        """Hand over what a worker sent."""
        try:
            data, pieces, wanted, seconds = parcel
            sent = unpacked(data, self._portion, self._arrays(pieces, wanted))
            self._job.accept([self._shipment.received(each) for each in sent], seconds, wanted)
        except BaseException as exc:
            self._job.refuse(lost(self._job, exc))

    def failed(self, exc: BaseException) -> None:
        """Take over the exception that ended the trip."""
        if self._slots is not None and self._slot is not None:
            self._slots.forget(self._slot)
        self._job.refuse(exc if isinstance(exc, WorkerError) else lost(self._job, exc))

    def lost(self, why: str) -> None:
        """Say that nothing comes back, and why."""
        self.failed(
            WorkerError(f"{why}. {named(self._job).capitalize()} of this run got lost with it")
        )

    def _arrays(self, pieces: Sequence[Piece], wanted: int) -> list[memoryview]:
        """Give what lies in the slot."""
        if self._slots is None:
            return []
        self._slots.wants(wanted)
        return [] if self._slot is None else self._slots.lend(self._slot, pieces)


class ProcessPool(ExecutorPool):
    """A user's executor whose workers are other processes."""

    def __init__(
        self, executor: Executor, monitor: Monitor, shipment: Shipment, depth: int
    ) -> None:
        super().__init__(executor, monitor)
        self._shipment = shipment
        here = isinstance(executor, ProcessPoolExecutor)
        self._slots = Slots(depth) if here else None

    def submit(self, job: Work) -> None:
        """Send the executor an errand; what comes back goes to the work."""
        job.claim()
        trip = Trip(job, self._shipment, self._slots)
        try:
            future = self._executor.submit(run_errand, trip.errand())
        except Exception as exc:
            trip.failed(exc)
            return
        self._watch(future)
        future.add_done_callback(lambda done: self._hand_over(done, trip))

    def close(self) -> None:
        """Take back what has not begun, wait for what has, and remove what was shipped."""
        try:
            super().close()
        finally:
            self._shipment.close()
            if self._slots is not None:
                self._slots.close()

    def _hand_over(self, future: Future[Parcel], trip: Trip) -> None:
        try:
            parcel = future.result()
        except BaseException as exc:
            self._is_broken = self._is_broken or isinstance(exc, BrokenExecutor)
            trip.failed(exc)
        else:
            trip.back(parcel)
