"""Windows: an epoch's order in pieces, each of which is read from the columns as a whole.

In a block shuffle a window is made of blocks in random order, and its items are permuted; in order, it is
the next few megabytes. An epoch's order is worked out window by window.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from batchloom.columns import is_stored
from batchloom.ordering import Order, Positions
from batchloom.positions import Numbers, spread
from batchloom.randomness import ORDER, generator

if TYPE_CHECKING:
    from batchloom.dataset import Dataset

BLOCK_BYTES = 768 << 10
"""A block of this size is read at nearly the speed of reading in order."""

BLOCKS_IN_WINDOW = 16
"""A window mixes as many blocks as this, unless the blocks are given."""

SEQUENTIAL_BYTES = 8 << 20
"""What is read at once of data that is visited in order."""

GAP_BYTES = 256 << 10
"""Rows that nobody wants are read along with their neighbours, where that is cheaper than to skip them."""


class Layout:
    """How the items of a dataset lie in the rows of its data, cut into blocks.

    Parameters
    ----------
    cuts : array of int, shape (n_blocks + 1,)
        How many items come before each block, in the order of the rows.
    first : int
        The row of the first item, if they are in consecutive rows.
    items, rows : array of int, optional
        The items by row, and their rows, ascending, if they are not.
    """

    def __init__(
        self,
        cuts: Positions,
        first: int,
        items: Positions | None = None,
        rows: Positions | None = None,
    ) -> None:
        self.cuts = cuts
        self._first = first
        self._items = items
        self._rows = rows

    @classmethod
    def of(
        cls, length: int, rows: Numbers | None, bounds: Positions | None, block_rows: int
    ) -> Layout:
        """Lay out so many items.

        Parameters
        ----------
        length : int
        rows : array of int, range or None
            The row of each item; None if item i is row i.
        bounds : array of int or None
            Where the data's own blocks begin and end.
        block_rows : int
            How many items a block has, if the data has no blocks of its own.
        """
        even = np.append(np.arange(0, length, block_rows), length)
        if rows is None or is_consecutive(rows):
            first = 0 if rows is None else int(rows[0])
            if bounds is None:
                return cls(even, first)
            return cls(np.unique(np.clip(bounds - first, 0, length)), first)
        scattered = spread(rows)
        items = np.argsort(scattered)
        ascending = scattered[items]
        cuts = even if bounds is None else np.unique(np.searchsorted(ascending, bounds))
        return cls(cuts, 0, items, ascending)

    @property
    def is_consecutive(self) -> bool:
        """Whether the items are in consecutive rows, in their order."""
        return self._items is None

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def content(self, blocks: Positions) -> tuple[Positions, Positions]:
        """Give the items in some blocks (ascending) by row, and their rows."""
        pieces = [
            np.arange(a, b) for a, b in zip(self.cuts[blocks], self.cuts[blocks + 1], strict=True)
        ]
        at = np.concatenate(pieces)
        if self._items is None or self._rows is None:
            return at, at + self._first
        return self._items[at], self._rows[at]


class Drawn(NamedTuple):
    """What is in a window.

    Attributes
    ----------
    positions : array of int
        The items, in the order in which they are visited.
    picks : array of int or None
        Where each item's row is among the rows that are read; None if that is the order they are read in.
    starts, stops : array of int
        The ranges of rows that are read, ascending.
    """

    positions: Positions
    picks: Positions | None
    starts: Positions
    stops: Positions


class Window:
    """One window of an epoch.

    Attributes
    ----------
    key : tuple of int
        Its epoch and its number in it.
    start, stop : int
        Its items, as places in the epoch's order.
    """

    def __init__(
        self, windows: Windows, key: tuple[int, int], start: int, blocks: Positions
    ) -> None:
        self._windows = windows
        self._blocks = blocks
        self.key = key
        self.start = start
        cuts = windows.layout.cuts
        self.stop = start + int((cuts[blocks + 1] - cuts[blocks]).sum())

    def holds(self, epoch: int, place: int) -> bool:
        """Tell whether a place of an epoch's order is in it."""
        return self.key[0] == epoch and self.start <= place < self.stop

    @cached_property
    def drawn(self) -> Drawn:
        """What is in it; worked out when it is first looked at."""
        layout = self._windows.layout
        items, rows = layout.content(self._blocks)
        missing = np.diff(rows) - 1
        skipped = missing > self._windows.gap
        # What lies between two blocks is another block, which may be as large.
        ends = np.cumsum(np.diff(layout.cuts)[self._blocks])[:-1] - 1
        skipped[ends] = missing[ends] > 0
        begins = np.append(0, np.flatnonzero(skipped) + 1)
        starts, stops = rows[begins], rows[np.append(begins[1:], len(rows)) - 1] + 1
        lengths = stops - starts
        picks = None
        if lengths.sum() > len(rows):
            before = np.cumsum(lengths) - lengths
            counts = np.diff(np.append(begins, len(rows)))
            picks = rows + np.repeat(before - starts, counts)
        if self._windows.seed is not None:
            permutation = generator(self._windows.seed, ORDER, *self.key).permutation(len(items))
            items = items[permutation]
            picks = permutation if picks is None else picks[permutation]
        return Drawn(items, picks, starts, stops)


class Epoch:
    """The windows of one epoch.

    Attributes
    ----------
    number : int
    places : array of int, shape (n_windows + 1,)
        Where each window begins in the epoch's order, and where the last one ends.
    """

    def __init__(self, windows: Windows, number: int) -> None:
        self._windows = windows
        self.number = number
        n_blocks = len(windows.layout)
        self._blocks: Positions = np.arange(n_blocks)
        if windows.seed is not None:
            self._blocks = generator(windows.seed, ORDER, number).permutation(n_blocks)
        ends = np.append(0, np.cumsum(np.diff(windows.layout.cuts)[self._blocks]))
        self._firsts = windows.firsts(ends)
        self.places = ends[self._firsts]

    def __len__(self) -> int:
        return len(self._firsts) - 1

    def items(self) -> Positions:
        """Give all items: the blocks in the order of this epoch, each with its items by row."""
        return self._windows.layout.content(self._blocks)[0]

    def number_at(self, place: int) -> int:
        """Give the number of the window that a place is in."""
        return int(np.searchsorted(self.places, place, side="right")) - 1

    def window(self, number: int) -> Window:
        """Give a window."""
        blocks = np.sort(self._blocks[self._firsts[number] : self._firsts[number + 1]])
        return Window(self._windows, (self.number, number), int(self.places[number]), blocks)


class Windows:
    """The windows of all epochs.

    Attributes
    ----------
    layout : Layout
    window_rows : int
        How many items are in a window, as far as blocks allow.
    seed : int or None
        What the order is drawn from; None for the order of the items.
    gap : int
        So many rows that nobody wants are read rather than skipped.
    even : bool
        Whether all blocks have the same number of items, but for the last one.
    """

    def __init__(
        self, layout: Layout, window_rows: int, seed: int | None, gap: int, even: bool
    ) -> None:
        self.layout = layout
        self.window_rows = window_rows
        self.seed = seed
        self.gap = gap
        self._even = even

    def epoch(self, number: int) -> Epoch:
        """Work out the windows of an epoch."""
        return Epoch(self, number)

    def firsts(self, ends: Positions) -> Positions:
        """Say with which of the blocks, in the epoch's order, each window begins.

        Parameters
        ----------
        ends : array of int, shape (n_blocks + 1,)
            How many items come before each of them.
        """
        n_blocks = len(ends) - 1
        if self._even:
            step = max(1, self.window_rows // int(np.diff(self.layout.cuts)[0]))
            return np.append(np.arange(0, n_blocks, step), n_blocks)
        found = [0]
        while found[-1] < n_blocks:
            at = found[-1]
            fits = int(np.searchsorted(ends, ends[at] + self.window_rows, side="right")) - 1
            found.append(max(at + 1, fits))
        return np.array(found)


def make_windows(dataset: Dataset, order: Order, batch_size: int = 1) -> Windows | None:
    """Make the windows of a dataset, or None if its order is none that is read in windows.

    A block shuffle is; and the order of the items, if a column is stored in files and its rows are
    consecutive: in whole batches then, where the data can be read from anywhere.
    """
    length, rows = len(dataset), dataset.own_rows
    stored = any(is_stored(each) for each in dataset.columns.values())
    if not length or (order.blocks is None and (order.is_permuted or not stored)):
        return None
    row_bytes = row_bytes_of(dataset)
    in_order = max(1, SEQUENTIAL_BYTES // (row_bytes * batch_size)) * batch_size
    bounds, block_rows = _blocks(dataset, order, row_bytes, in_order)
    layout = Layout.of(length, rows, bounds, block_rows)
    if order.blocks is None:
        if not layout.is_consecutive:
            return None
        return Windows(layout, in_order, None, 0, bounds is None)
    window_rows, gap = order.blocks.window_rows(length), GAP_BYTES // row_bytes
    return Windows(layout, window_rows, order.seed, gap, bounds is None)


def row_bytes_of(dataset: Dataset) -> int:
    """Say how large a row is, as far as is known."""
    sizes = [int(getattr(each, "row_bytes", 8)) for each in dataset.columns.values()]
    return max(1, sum(sizes) if sizes else 8)


def is_consecutive(rows: Numbers) -> bool:
    """Tell whether rows follow each other without a gap."""
    if isinstance(rows, range):
        return rows.step == 1
    return bool(len(rows)) and bool(np.all(np.diff(rows) == 1))


def _blocks(
    dataset: Dataset, order: Order, row_bytes: int, in_order: int
) -> tuple[Positions | None, int]:
    """Say where blocks begin, if the data says so, and otherwise how many items they have."""
    if order.blocks is not None and order.blocks.block_rows is not None:
        return None, int(order.blocks.block_rows)
    found: list[Any] = [getattr(each, "bounds", None) for each in dataset.columns.values()]
    bounds = next((each for each in found if each is not None), None)
    if order.blocks is None:
        return bounds, in_order
    in_window = order.blocks.window_rows(len(dataset)) // BLOCKS_IN_WINDOW
    return bounds, max(1, min(BLOCK_BYTES // row_bytes, in_window))
