"""Stored columns: data that lies in files, and is read from them in large pieces."""

from __future__ import annotations

import math
import threading
from typing import Any, Protocol

import numpy as np

from batchloom.columns import Column
from batchloom.ordering import Positions

PIECE_BYTES = 1 << 20
"""What one thread reads at a time."""

ALIGNMENT = 4096
"""Buffers begin with a page."""


class Buffers:
    """Arrays that are used again, because memory that is new to the process costs as much as reading."""

    def __init__(self) -> None:
        self._free: list[np.ndarray[Any, Any]] = []
        self._closed = False
        self._guard = threading.RLock()

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Give an array that nobody else uses; what is in it is undefined."""
        size = math.prod(shape) * dtype.itemsize
        with self._guard:
            found = self._free.pop() if self._free else None
        if found is None or found.size < size + ALIGNMENT:
            found = np.empty(size + ALIGNMENT, np.uint8)
        # Where NumPy puts large arrays, 16 bytes into a page, some processors copy pages three times slower.
        begin = -found.__array_interface__["data"][0] % ALIGNMENT
        return found[begin : begin + size].view(dtype).reshape(shape)

    def give(self, array: np.ndarray[Any, Any]) -> None:
        """Take an array back that nobody uses any more."""
        whole = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        with self._guard:
            if not self._closed:
                self._free.append(whole)

    def close(self) -> None:
        """Keep no array any more."""
        with self._guard:
            self._closed, self._free = True, []


class Reading(Protocol):
    """The reading of some ranges of rows, in pieces that several threads can read at once.

    Attributes
    ----------
    pieces : int
        How many there are.
    """

    pieces: int

    def read(self, piece: int) -> None:
        """Read a piece; each is read once."""

    def result(self) -> Any:
        """Give the rows of all ranges, one below the other, once all pieces are read."""

    def close(self) -> None:
        """Let go of the rows: nobody uses the result any more."""


class StoredColumn(Column, Protocol):
    """A column that is read in large pieces.

    Attributes
    ----------
    is_decoded : bool
        Whether its rows are worked out from what the file holds, and not only copied.
    """

    is_decoded: bool

    @property
    def row_bytes(self) -> int:
        """How large a row is, about."""

    @property
    def bounds(self) -> Positions | None:
        """Where the blocks that it is stored in begin and end; None if it can be read from anywhere."""

    def reading(
        self, starts: Positions, stops: Positions, buffers: Buffers | None, readers: int = 1
    ) -> Reading:
        """Prepare the reading of some ranges of rows, ascending, by so many threads.

        Without buffers the result may be kept for good; with them, until the reading is closed.
        """
