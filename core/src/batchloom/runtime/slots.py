"""Slots: memory shared with worker processes, in which large arrays come back from them.

A slot is an anonymous file of this process, which its workers open through ``/proc``. It has no name that
could be left behind: whoever is killed, the memory goes with the last process that has mapped it. Where
there is no such thing, or no slot is free, arrays are pickled with the rest.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

PIECE_BYTES = 1 << 16
"""An array of this size or more comes back in a slot."""

SLOT_BYTES = 1 << 26
"""What a slot holds, unless more is wanted; only what is written to takes memory."""

KEPT = 16
"""More slots than this that a consumer keeps, beyond what is prepared ahead, and it is given copies."""

ALIGNMENT = 64

Memory = np.ndarray[Any, np.dtype[np.uint8]]

AVAILABLE = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")


Address = tuple[str, tuple[int, int], int]
"""Where a worker finds a slot: a path, which file it then was, and how large."""


Piece = tuple[int, int, bool]
"""Where an array lies in a slot: its start and its bytes; and whether it is read-only."""


class Slot:
    """One piece of shared memory, as the process has it that reads it.

    Parameters
    ----------
    size : int
        In bytes.

    Attributes
    ----------
    size : int
    worker : int
        Who wrote to it last.
    address : Address
    """

    def __init__(self, size: int) -> None:
        self.worker = 0
        self.size = size
        self._file = os.memfd_create("batchloom-slot", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._file, size)
            self.memory: mmap.mmap | None = mmap.mmap(self._file, size)
            found = os.fstat(self._file)
        except BaseException:
            os.close(self._file)
            raise
        self._owner = os.getpid()
        path = f"/proc/{self._owner}/fd/{self._file}"
        self.address: Address = path, (found.st_dev, found.st_ino), size

    # Bound here, because a batch may be dropped when the interpreter has already taken modules apart.
    def close(
        self,
        unused: bool,
        _truncate: Callable[[int, int], None] = os.ftruncate,
        _close: Callable[[int], None] = os.close,
        _process: Callable[[], int] = os.getpid,
    ) -> None:
        """Give the memory back: at once if it is unused, else when nobody has it mapped any more."""
        if self.memory is not None:
            self.memory = None
            if unused and _process() == self._owner:  # what a fork does not use, its parent may
                _truncate(self._file, 0)
            _close(self._file)


_leases: dict[Slot, weakref.ref[Any]] = {}
"""What of each slot is lent; here, because a batch may outlive its run and all that belonged to it."""


class Slots:
    """The slots of one run. Each is in one errand, or lent to the consumer, or free.

    Nobody waits for one: what finds none free travels without.

    Parameters
    ----------
    depth : int
        How many errands are under way, or done and not asked for yet.
    workers : int, default 1
        How many processes write to them, where it is known which of them does an errand.
    """

    def __init__(self, depth: int, workers: int = 1) -> None:
        self._workers = workers
        self._most_lent = depth + KEPT
        self._most = depth + self._most_lent if AVAILABLE else 0
        self._size = SLOT_BYTES
        self._closed = False
        # Slots come back in whatever thread drops the last array: each change of these is one atomic call.
        self._free: list[list[Slot]] = [[] for _ in range(workers)]
        self._lent: set[Slot] = set()
        self._known: set[Slot] = set()

    def take(self, worker: int = 0) -> Slot | None:
        """Take a slot for an errand of a worker, if there is one.

        It gets one that it has written to before, if it can: memory that it has not mapped yet costs it ten
        times as much to fill.
        """
        while slot := self._choose(worker):
            if slot.size >= self._size:
                slot.worker = worker
                return slot
            self._close(slot, unused=True)
        if len(self._known) >= self._most or self._closed:
            return None
        try:
            slot = Slot(self._size)
        except OSError:  # no memory, or no files
            self._most = len(self._known)
            return None
        slot.worker = worker
        self._known.add(slot)
        return slot

    def wants(self, size: int) -> None:
        """Make new slots large enough for this many bytes."""
        if size > self._size:
            self._size = 1 << (2 * size - 1).bit_length()

    def lend(self, slot: Slot, pieces: Sequence[Piece]) -> list[memoryview]:
        """Give the arrays in a slot to the consumer; when it has dropped the last one, the slot is free."""
        memory = slot.memory
        if memory is None:
            raise RuntimeError("the run is over")
        whole = np.frombuffer(memory, np.uint8)
        lends = bool(pieces) and len(self._lent) < self._most_lent
        if lends:
            self._lent.add(slot)
            _leases[slot] = weakref.ref(whole, lambda _: self._back(slot))
        found = []
        for start, size, readonly in pieces:
            part = whole.data[start : start + size]
            part = part if lends else np.array(part).data
            found.append(part.toreadonly() if readonly else part)
        if not lends:
            self._free_again(slot)
        return found

    def forget(self, slot: Slot) -> None:
        """Never use a slot again: its worker may be in the middle of writing to it."""
        self._close(slot, unused=False)

    def close(self) -> None:
        """Let go of all slots, but of those that are lent when they come back."""
        self._closed = True
        while slot := self._pop():
            self._close(slot, unused=True)
        for slot in self._known - self._lent:
            self.forget(slot)

    def _back(self, slot: Slot) -> None:
        del _leases[slot]
        self._lent.discard(slot)
        self._free_again(slot)

    def _choose(self, worker: int) -> Slot | None:
        """Give a free slot of the worker's, or of another one where there are enough for all."""
        own = self._free[worker]
        if not own and sum(map(len, self._free)) < self._workers:
            return None if len(self._known) < self._most else self._pop()
        try:
            return own.pop()  # what was used last may still be in the processor's cache
        except IndexError:
            return self._pop()

    def _pop(self) -> Slot | None:
        """Take a free slot, whose ever it is."""
        for free in self._free:
            with contextlib.suppress(IndexError):  # none, or another thread has taken it
                return free.pop()
        return None

    def _free_again(self, slot: Slot) -> None:
        self._free[slot.worker].append(slot)
        if self._closed:
            self.close()

    def _close(self, slot: Slot, unused: bool) -> None:
        self._known.discard(slot)
        slot.close(unused)


class OpenSlots:
    """The slots that a worker process has mapped."""

    def __init__(self) -> None:
        self._mapped: dict[Address, Memory] = {}

    def memory(self, address: Address) -> Memory | None:
        """Map a slot, unless it has been; None if it is not there (any more)."""
        found = self._mapped.get(address)
        if found is None:
            try:
                found = np.frombuffer(_mapped(address), np.uint8)
            except (OSError, ValueError):
                return None
            self._mapped[address] = found
        return found


class SlotWriter:
    """Writes large arrays into a slot while they are pickled.

    Parameters
    ----------
    memory : array of uint8, or None
        The slot; without one, all is pickled.

    Attributes
    ----------
    pieces : list of Piece
        What has been written.
    wanted : int
        How many bytes the slot should have had.
    """

    def __init__(self, memory: Memory | None) -> None:
        self._memory = memory
        self.pieces: list[Piece] = []
        self.wanted = 0

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """Write an array; tells whether it has to be pickled instead."""
        with buffer.raw() as raw:
            if raw.nbytes < PIECE_BYTES:
                return True
            start, self.wanted = (
                self.wanted,
                -(-(self.wanted + raw.nbytes) // ALIGNMENT) * ALIGNMENT,
            )
            if self._memory is None or self.wanted > len(self._memory):
                return True
            self._memory[start : start + raw.nbytes] = np.frombuffer(raw, np.uint8)
            self.pieces.append((start, raw.nbytes, raw.readonly))
        return False

    def mark(self) -> tuple[int, int]:
        """Give the place that `back_to` goes back to."""
        return len(self.pieces), self.wanted

    def back_to(self, mark: tuple[int, int]) -> None:
        """Forget what was written since."""
        count, self.wanted = mark
        del self.pieces[count:]


def _mapped(address: Address) -> mmap.mmap:
    path, expected, size = address
    file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        if (found.st_dev, found.st_ino) != expected:
            raise OSError("the slot is gone, and its path leads to something else")
        return mmap.mmap(file, size)
    finally:
        os.close(file)
