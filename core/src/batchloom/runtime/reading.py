"""Reading ahead: the windows of a run, read in pieces by threads, and by whoever waits for them.

While the batches of one window are made the next one is read. A piece that nobody has begun is read by
whoever needs it, so that no run waits for a thread that is busy elsewhere.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from batchloom.columns import stack_rows
from batchloom.dataset import Dataset
from batchloom.errors import DataError
from batchloom.ordering import Positions
from batchloom.rows import Rows
from batchloom.runtime.ahead import Monitor, ThreadPool
from batchloom.stored import Buffers, Reading, is_stored
from batchloom.windows import Epoch, Window, Windows, row_bytes_of

READERS = 2
"""Two threads keep a disk busy, or decode while the other one waits for it."""

PIECES_WORTH_HELP = 4
"""So many pieces that somebody waits for, and the threads help to read them."""

BYTES_WORTH_READING_AHEAD = 256 << 10
"""A smaller window is read sooner than a thread is woken up for it."""


class Staged:
    """One column of one window.

    Parameters
    ----------
    name : str
        The column's.
    reading : Reading
    monitor : Monitor
    """

    def __init__(self, name: str, reading: Reading, monitor: Monitor) -> None:
        self.name = name
        self._reading = reading
        self._monitor = monitor
        self._tickets = itertools.count()
        self._guard = threading.Lock()
        self._read = 0
        self._users = 0
        self._closed = False
        self._error: BaseException | None = None

    @property
    def pieces(self) -> int:
        """How many pieces it is read in."""
        return self._reading.pieces

    def run(self) -> None:
        """Read what nobody else reads."""
        with self._using() as is_open:
            while is_open and not self._monitor.cancelled:
                piece = next(self._tickets)
                if piece >= self.pieces or self._error is not None:
                    return
                self._read_piece(piece)

    def gather(self, which: Positions | slice, copy: bool) -> Any:
        """Give some of the rows, once they are read; None if nobody was to need them any more."""
        with self._using() as is_open:
            if not is_open:
                return None
            self.run()
            if not self._is_done():
                self._monitor.wait_until(self._is_done)
            if self._error is not None:
                raise _unreadable(self.name, self._error)
            return _rows(self._reading.result(), which, copy)

    def close(self) -> None:
        """Let go of the rows as soon as nobody reads or gathers them."""
        with self._guard:
            self._closed = True
            last = not self._users
        if last:
            self._reading.close()

    def _read_piece(self, piece: int) -> None:
        try:
            self._reading.read(piece)
        except BaseException as exc:
            self._error = exc
        with self._guard:
            self._read += 1
        self._monitor.changed()

    def _is_done(self) -> bool:
        return self._read == self.pieces or self._error is not None

    @contextmanager
    def _using(self) -> Iterator[bool]:
        with self._guard:
            is_open = not self._closed or self._users > 0
            self._users += is_open
        try:
            yield is_open
        finally:
            if is_open:
                with self._guard:
                    self._users -= 1
                    last = self._closed and not self._users
                if last:
                    self._reading.close()


class OpenWindow:
    """A window that is in use, or read ahead of its use."""

    def __init__(self, window: Window, reader: WindowReader) -> None:
        self.window = window
        self._reader = reader
        self._staged: dict[str, Staged] = {}
        self._guard = threading.Lock()
        self._closed = False

    def run(self) -> None:
        """Read the columns that have been asked for so far."""
        for name in list(self._reader.asked):
            staged = self.staged(name)
            if staged is not None:
                staged.run()

    def staged(self, name: str) -> Staged | None:
        """Give a column; None if nobody was to need it any more."""
        with self._guard:
            if self._closed:
                return None
            if name not in self._staged:
                self._staged[name] = self._reader.stage(self.window, name)
            return self._staged[name]

    def gather(self, name: str, which: Positions | slice) -> Any:
        """Give a column of some items of the window; None if nobody was to need it any more."""
        is_new = name not in self._staged
        staged = self.staged(name)
        if staged is None:
            return None
        if is_new:
            self._reader.help(self, staged)
        picks = self.window.drawn.picks
        return staged.gather(which if picks is None else picks[which], self._reader.dataset.copy)

    @property
    def names(self) -> set[str]:
        """The columns that are read, or about to be."""
        return set(self._staged)

    def close(self) -> None:
        """Let go of what was read."""
        with self._guard:
            self._closed = True
            staged = list(self._staged.values())
        for each in staged:
            each.close()


Piece = tuple[OpenWindow, Positions | slice]
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
        pieces: list[Piece],
        positions: Positions | None = None,
    ) -> None:
        super().__init__(dataset, start, stop, positions)
        self._pieces = pieces

    def component(self, name: str, start: int, stop: int) -> Any:
        shared = self._gathered.get(name)
        if shared is None:
            if not is_stored(self._dataset().columns[name]):
                return super().component(name, start, stop)
            whole = self._read(name)
            if (
                whole is None
            ):  # long after its time: the windows are gone, the columns are still there
                return self._dataset().gather(name, self.where(start, stop))
            if stop - start == self.length:
                return whole
            # setdefault: batches of these rows may be in two threads, and must end up with one array.
            shared = self._gathered.setdefault(name, whole)
        return shared[start:stop]

    def part(self, start: int, stop: int) -> Rows:
        pieces = _cut(self._pieces, start, stop)
        if self.positions is not None:
            return WindowRows(self._dataset(), 0, stop - start, pieces, self.positions[start:stop])
        return WindowRows(self._dataset(), self.start + start, self.start + stop, pieces)

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
        return WindowRows(plain._dataset(), 0, plain.length, pieces, plain.positions)

    def _read(self, name: str) -> Any:
        found = [window.gather(name, which) for window, which in self._pieces]
        missing = not found or any(each is None for each in found)
        return None if missing else stack_rows(found)

    def __setstate__(self, state: tuple[int, int, Positions | None]) -> None:
        super().__setstate__(state)
        self._pieces = []


class WindowReader:
    """Reads the windows of a run, one ahead of those in use.

    Parameters
    ----------
    dataset : Dataset
    windows : Windows
    n_epochs : int or None
    lag : int
        How many portions may be under way after one that was handed out, before it is done with.
    monitor : Monitor

    Attributes
    ----------
    asked : dict
        The columns that have been asked for: those are read ahead.
    """

    def __init__(
        self, dataset: Dataset, windows: Windows, n_epochs: int | None, lag: int, monitor: Monitor
    ) -> None:
        self.dataset = dataset
        self.asked: dict[str, None] = {}
        self._windows = windows
        self._n_epochs = n_epochs
        self._monitor = monitor
        self._pool = ThreadPool(READERS, monitor, "read")
        self._guard = threading.RLock()
        self._epochs: dict[int, Epoch] = {}
        self._open: dict[tuple[int, int], OpenWindow] = {}
        self._front = (0, 0)
        self._latest: deque[tuple[int, int]] = deque()
        self._lag = lag
        self._buffers: dict[str, Buffers] = {}
        size = windows.window_rows * row_bytes_of(dataset)
        self._ahead = size >= BYTES_WORTH_READING_AHEAD

    def fitting(self, epoch: int, start: int, batch_size: int, most: int) -> int:
        """Say how many of the next batches are in one window; at least one."""
        there = self._epoch(epoch)
        left = int(there.places[there.number_at(start) + 1]) - start
        return max(1, min(most, left // batch_size))

    def rows(self, epoch: int, start: int, stop: int) -> WindowRows:
        """Give the rows at some places of an epoch's order."""
        with self._guard:
            pieces, at, there = list[Piece](), start, self._epoch(epoch)
            while at < stop:
                key = epoch, there.number_at(at)
                opened = self._opened(key)
                upto = min(stop, opened.window.stop)
                begin = opened.window.start
                pieces.append((opened, slice(at - begin, upto - begin)))
                at, self._front = upto, key
            self._retire(epoch, start)
            self._read_ahead()
        if self._windows.seed is None:
            return WindowRows(self.dataset, start, stop, pieces)
        positions = np.concatenate([w.window.drawn.positions[part] for w, part in pieces])
        return WindowRows(self.dataset, 0, stop - start, pieces, positions)

    def stage(self, window: Window, name: str) -> Staged:
        """Make one column of a window ready to be read."""
        self.asked.setdefault(name)
        column = self.dataset.columns[name]
        assert is_stored(column)
        buffers = self._buffers.setdefault(name, Buffers())
        drawn = window.drawn
        # A view that is handed out shows its rows for as long as it is kept.
        own = buffers if self.dataset.copy or self._windows.seed is not None else None
        return Staged(name, column.reading(drawn.starts, drawn.stops, own), self._monitor)

    def help(self, opened: OpenWindow, staged: Staged) -> None:
        """Have the threads read along, if there is much that somebody waits for."""
        if staged.pieces >= PIECES_WORTH_HELP:
            self._pool.submit(staged)
        with self._guard:
            self._read_ahead()

    def close(self) -> None:
        """Stop the threads, and let go of all windows."""
        try:
            self._pool.close()
        finally:
            with self._guard:
                there, self._open = list(self._open.values()), {}
            for each in there:
                each.close()

    def _epoch(self, number: int) -> Epoch:
        if number not in self._epochs:
            kept = {n: each for n, each in self._epochs.items() if n + 1 >= number}
            self._epochs = {**kept, number: self._windows.epoch(number)}
        return self._epochs[number]

    def _opened(self, key: tuple[int, int]) -> OpenWindow:
        if key not in self._open:
            self._open[key] = OpenWindow(self._epoch(key[0]).window(key[1]), self)
        return self._open[key]

    def _retire(self, epoch: int, start: int) -> None:
        """Let go of the windows that no portion under way needs."""
        self._latest.append((epoch, start))
        if len(self._latest) <= self._lag:
            return
        done = self._latest.popleft()
        for key, opened in list(self._open.items()):
            if (key[0], opened.window.stop) <= done or key[0] < done[0]:
                del self._open[key]
                opened.close()

    def _read_ahead(self) -> None:
        """Begin with the next window, once there is room for it."""
        key = self._after(self._front)
        in_use = any(each < self._front for each in self._open)
        if key is None or in_use or not self._ahead or self._monitor.cancelled:
            return
        opened = self._opened(key)
        if not self.asked.keys() <= opened.names:
            for _ in range(READERS):
                self._pool.submit(opened)

    def _after(self, key: tuple[int, int]) -> tuple[int, int] | None:
        epoch, number = key
        if number + 1 < len(self._epoch(epoch)):
            return epoch, number + 1
        more = self._n_epochs is None or epoch + 1 < self._n_epochs
        return (epoch + 1, 0) if more else None


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


def _rows(value: Any, which: Positions | slice, copy: bool) -> Any:
    if not isinstance(which, slice):
        return value.take(which, axis=0)
    view = value[which]
    if copy:
        return view.copy()
    view.flags.writeable = False
    return view


def _unreadable(name: str, error: BaseException) -> BaseException:
    if not isinstance(error, Exception):
        return error
    failed = DataError(f"column {name!r} could not be read: {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed
