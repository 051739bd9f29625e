"""Rows of windows: what batches gather from windows that were read, here or in a worker process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from batchloom.columns import ArrayColumn, Column, is_stored, stack_rows
from batchloom.dataset import Dataset
from batchloom.ordering import Positions
from batchloom.rows import Rows

KEPT_WINDOWS = 2
"""So many windows a worker keeps: batches of one may still come when the next one has begun."""


class ReadWindow(Protocol):
    """A window whose rows can be had."""

    def gather(self, dataset: Dataset, name: str, which: Positions | slice) -> Any:
        """Give a column of some items; None if nobody was to need it any more."""

    def travelling(self, which: Positions | slice) -> tuple[WindowElsewhere, Positions | slice]:
        """Give what stands for some items of the window in another process."""


Piece = tuple[ReadWindow, Positions | slice]
"""Some items of a window: places in it, counted from its first item."""


class WindowRows(Rows):
    """Rows that are gathered from the windows that they lie in.

    Parameters
    ----------
    dataset : Dataset
    start, stop : int
        The items, as places in the epoch's order.
    pieces : list of tuple
        The windows that they are in, one behind the other, each with some of its items.
    positions : array of int, optional
        The items, if they are not those at `start` to `stop`.
    """

    __slots__ = ("_pieces",)

    def __init__(
        self,
        dataset: Dataset,
        start: int,
        stop: int,
        pieces: Sequence[Piece],
        positions: Positions | None = None,
    ) -> None:
        super().__init__(dataset, start, stop, positions)
        self._pieces = list(pieces)

    def shares(self, name: str) -> bool:
        if not super().shares(name):
            return False
        try:
            self.whole(name)
        except Exception:  # each batch finds out for itself, in the step that needs the component
            return False
        return True

    def gather(self, name: str, start: int, stop: int) -> Any:
        found = None
        if is_stored(self.linked_dataset().columns[name]):
            found = self._read(name, start, stop)
        # Long after its time the windows are gone, and the columns are still there.
        return super().gather(name, start, stop) if found is None else found

    def gathering(self, name: str, size: int) -> Callable[[int], Any]:
        if is_stored(self.linked_dataset().columns[name]):
            return lambda position: self.component(name, position * size, (position + 1) * size)
        return super().gathering(name, size)

    def part(self, start: int, stop: int) -> Rows:
        pieces = _cut(self._pieces, start, stop)
        if self.positions is not None:
            return WindowRows(
                self.linked_dataset(), 0, stop - start, pieces, self.positions[start:stop]
            )
        return WindowRows(self.linked_dataset(), self.start + start, self.start + stop, pieces)

    @staticmethod
    def joined(parts: list[tuple[Rows, int, int]], chosen: Positions | None) -> Rows:
        plain = Rows.joined(parts, chosen)
        pieces: list[Piece] = []
        for rows, start, stop in parts:
            if not isinstance(rows, WindowRows):
                return plain
            pieces += _cut(rows._pieces, start, stop)
        if chosen is not None:
            if len(pieces) != 1:
                return plain
            ((window, which),) = pieces
            pieces = [(window, _places(which)[chosen])]
        assert plain.positions is not None
        return WindowRows(plain.linked_dataset(), 0, plain.length, pieces, plain.positions)

    def _read(self, name: str, start: int, stop: int) -> Any:
        dataset, pieces = self.linked_dataset(), _cut(self._pieces, start, stop)
        found = [window.gather(dataset, name, which) for window, which in pieces]
        missing = not found or any(each is None for each in found)
        return None if missing else stack_rows(found)

    def __getstate__(self) -> Any:
        pieces = [window.travelling(which) for window, which in self._pieces]
        return super().__getstate__(), pieces

    def __setstate__(self, state: Any) -> None:
        there, pieces = state
        super().__setstate__(there)
        self._pieces = pieces


class WindowElsewhere:
    """A window in a process that reads for itself: as a whole, when the first of its items is needed.

    Parameters
    ----------
    key : tuple
        The run, the epoch and the window's number.
    starts, stops : array of int
        The ranges of rows that it is made of.
    """

    def __init__(self, key: tuple[Any, ...], starts: Positions, stops: Positions) -> None:
        self._key = key
        self._starts, self._stops = starts, stops

    def gather(self, dataset: Dataset, name: str, which: Positions | slice) -> Any:
        kept: dict[str, KeptWindows] = dataset.__dict__.setdefault("_kept_windows", {})
        found = kept.setdefault(name, KeptWindows()).get(
            self._key, lambda: self._read(dataset, name)
        )
        return rows_at(found, which, copy=True)

    def travelling(self, which: Positions | slice) -> tuple[WindowElsewhere, Positions | slice]:
        return self, which

    def _read(self, dataset: Dataset, name: str) -> ArrayColumn:
        column = dataset.columns[name]
        assert is_stored(column)
        reading = column.reading(self._starts, self._stops, None)
        try:
            for piece in range(reading.pieces):
                reading.read(piece)
            return ArrayColumn(reading.result())
        finally:
            reading.close()


class KeptWindows:
    """The latest windows of one column."""

    def __init__(self) -> None:
        self._there: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: tuple[Any, ...], read: Any) -> Any:
        """Give a window, which is read if it is not there."""
        with self._guard:
            if key not in self._there:
                while len(self._there) >= KEPT_WINDOWS:
                    self._there.popitem(last=False)
                self._there[key] = read()
            return self._there[key]


def _cut(pieces: list[Piece], start: int, stop: int) -> list[Piece]:
    """Give the part of some pieces from one item to another."""
    found, before = list[Piece](), 0
    for window, which in pieces:
        length = which.stop - which.start if isinstance(which, slice) else len(which)
        first, last = max(start - before, 0), min(stop - before, length)
        if first < last:
            part = (
                slice(which.start + first, which.start + last)
                if isinstance(which, slice)
                else which[first:last]
            )
            found.append((window, part))
        before += length
    return found


def _places(which: Positions | slice) -> Positions:
    return np.arange(which.start, which.stop) if isinstance(which, slice) else which


def rows_at(column: Column, which: Positions | slice, copy: bool) -> Any:
    """Give some of the rows that were read, or a read-only view of them."""
    if isinstance(which, slice):
        return column.rows(which.start, which.stop, copy)
    return column.take(which)
