"""Recycling: memory for large arrays, used again once nothing is left of the array that had it.

The system gives fresh memory page by page and cleared, which costs more than to fill it. Here it also begins
on a 64-byte boundary, so that libraries can take an array as it is.
"""

from __future__ import annotations

import weakref
from math import prod
from typing import Any

import numpy as np

LARGE_BYTES = 1 << 18
"""Smaller arrays are cheap to make."""

ALIGNMENT = 64

MOST_FREE = 32
FREE_BYTES = 1 << 26
"""So many pieces of memory that nobody uses are kept, and so much in all, or one if it is larger."""


Memory = tuple[bytearray, int]
"""Some memory, and where in it an array begins."""


class Recycler:
    """Gives out arrays, each of which has its memory to itself for as long as anything refers to it."""

    def __init__(self) -> None:
        # Memory comes back in whatever thread drops the last view: each change is one atomic call.
        self.free: list[Memory] = []
        self.leases: set[_Lease] = set()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Make an array of any content; its `dtype` holds no Python objects."""
        count = prod(shape)
        memory, start = self._memory(count * dtype.itemsize)
        # What is over a bytearray is where NumPy's references from view to array end.
        whole = np.frombuffer(memory, dtype, count, start)
        lease = _Lease(whole, _returned)
        lease.memory, lease.recycler = (memory, start), self
        self.leases.add(lease)
        return whole.reshape(shape)

    def _memory(self, size: int) -> Memory:
        while self.free:
            try:
                found = self.free.pop()
            except IndexError:  # another thread has taken it
                break
            if len(found[0]) >= size + ALIGNMENT:
                return found
        fresh = bytearray(size + ALIGNMENT)
        return fresh, -np.frombuffer(fresh, np.uint8).ctypes.data % ALIGNMENT


class _Lease(weakref.ref[Any]):
    """Knows when an array is gone, and what memory it had."""

    __slots__ = ("memory", "recycler")

    memory: Memory
    recycler: Recycler

    __hash__ = (
        object.__hash__
    )  # that of a reference is that of what it refers to, and an array has none


def _returned(lease: weakref.ref[Any]) -> None:
    assert isinstance(lease, _Lease)
    recycler = lease.recycler
    recycler.leases.discard(lease)
    others = len(recycler.free)
    if not others or (others < MOST_FREE and (others + 1) * len(lease.memory[0]) <= FREE_BYTES):
        recycler.free.append(lease.memory)
