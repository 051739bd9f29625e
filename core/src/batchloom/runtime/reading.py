"""Reading ahead: the windows of a run, read in pieces by threads, and by whoever waits for them.

While the batches of one window are made the next one is read. A piece that nobody has begun is read by
whoever needs it, so that no run waits for a thread that is busy elsewhere.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from batchloom.columns import ArrayColumn, is_stored
from batchloom.dataset import Dataset
from batchloom.errors import DataError
from batchloom.ordering import Positions
from batchloom.recycling import Recycler
from batchloom.runtime.ahead import Monitor, ThreadPool, other_processors
from batchloom.runtime.window_rows import WindowElsewhere, WindowRows, rows_at
from batchloom.stored import Buffers, Reading
from batchloom.windows import Epoch, Window, Windows, row_bytes_of

READERS = 2
"""Two threads keep a disk busy. Who decodes keeps a processor busy, as the consumer does its own."""

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
    recycler : Recycler
        Where the memory of large batches comes from.
    monitor : Monitor
    """

    def __init__(self, name: str, reading: Reading, recycler: Recycler, monitor: Monitor) -> None:
        self.name = name
        self._reading = reading
        self._recycler = recycler
        self._monitor = monitor
        self._tickets = itertools.count()
        self._guard = threading.RLock()  # the collector may end a run in a thread that is in here
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
            if not self._is_done():
                self.run()
                self._monitor.wait_until(self._is_done)
            if self._error is not None:
                raise _unreadable(self.name, self._error)
            return rows_at(self._rows, which, copy)

    @cached_property
    def _rows(self) -> ArrayColumn:
        return ArrayColumn(self._reading.result(), self._recycler)

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
        self._guard = threading.RLock()
        self._closed = False

    def run(self) -> None:
        """Read the columns that have been asked for so far."""
        for name in list(self._reader.asked):
            try:
                staged = self.staged(name)
            except Exception:
                return  # who needs it will find out
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

    def gather(self, dataset: Dataset, name: str, which: Positions | slice) -> Any:
        is_new = name not in self._staged
        staged = self.staged(name)
        if staged is None:
            return None
        if is_new:
            self._reader.help(staged)
        return staged.gather(self._picks(which), dataset.copy)

    def travelling(self, which: Positions | slice) -> tuple[WindowElsewhere, Positions | slice]:
        drawn = self.window.drawn
        key = (self._reader.token, *self.window.key)
        return WindowElsewhere(key, drawn.starts, drawn.stops), self._picks(which)

    def _picks(self, which: Positions | slice) -> Positions | slice:
        picks = self.window.drawn.picks
        return which if picks is None else picks[which]

    @property
    def names(self) -> set[str]:
        """The columns that are read, or about to be."""
        return set(self._staged)

    def close(self) -> None:
        """Let go of what was read: batches that are kept still know the window."""
        with self._guard:
            self._closed = True
            staged, self._staged = list(self._staged.values()), {}
        self.window.__dict__.pop("drawn", None)
        for each in staged:
            each.close()


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
    token : bytes
        What tells the run from others.
    """

    def __init__(
        self, dataset: Dataset, windows: Windows, n_epochs: int | None, lag: int, monitor: Monitor
    ) -> None:
        self.dataset = dataset
        self.asked: dict[str, None] = {}
        self._windows = windows
        self._n_epochs = n_epochs
        self._monitor = monitor
        stored = [each for each in dataset.columns.values() if is_stored(each)]
        decodes = bool(stored) and all(each.is_decoded for each in stored)
        self._readers = min(READERS, other_processors()) if decodes else READERS
        self._pool = ThreadPool(self._readers, monitor, "read")
        self._guard = threading.RLock()
        self._epochs: dict[int, Epoch] = {}
        self._open: dict[tuple[int, int], OpenWindow] = {}
        self._front: OpenWindow | None = None
        self._latest: deque[tuple[int, int]] = deque()
        self._lag = lag
        self._buffers: dict[str, Buffers] = {}
        self._recyclers: dict[str, Recycler] = {}
        self.token = os.urandom(8)
        size = min(windows.window_rows, len(dataset)) * row_bytes_of(dataset)
        self._ahead = size >= BYTES_WORTH_READING_AHEAD

    def fitting(self, epoch: int, start: int, batch_size: int, most: int) -> int:
        """Say how many of the next batches are in one window; at least one."""
        with self._guard:
            left = self._at(epoch, start).window.stop - start
        return max(1, min(most, left // batch_size))

    def rows(self, epoch: int, start: int, stop: int) -> WindowRows:
        """Give the rows at some places of an epoch's order."""
        pieces, at = list[tuple[OpenWindow, slice]](), start
        with self._guard:
            before = self._front
            while at < stop:
                opened = self._at(epoch, at)
                upto, begin = min(stop, opened.window.stop), opened.window.start
                pieces.append((opened, slice(at - begin, upto - begin)))
                at, self._front = upto, opened
            if self._retire(epoch, start) or self._front is not before:
                self._read_ahead()
        if self._windows.seed is None:
            return WindowRows(self.dataset, start, stop, pieces)
        # Not a view: who keeps a batch would keep the positions of the whole window with it.
        positions = np.concatenate([w.window.drawn.positions[part] for w, part in pieces])
        return WindowRows(self.dataset, 0, stop - start, pieces, positions)

    def stage(self, window: Window, name: str) -> Staged:
        """Make one column of a window ready to be read."""
        self.asked.setdefault(name)
        column = self.dataset.columns[name]
        assert is_stored(column)
        buffers = self._buffers.setdefault(name, Buffers())
        drawn = window.drawn
        # A view that is handed out may be kept for good.
        own = buffers if self.dataset.copy or self._windows.seed is not None else None
        try:
            reading = column.reading(drawn.starts, drawn.stops, own, self._readers)
        except MemoryError as exc:
            rows = int((drawn.stops - drawn.starts).sum())
            raise DataError(
                f"there is no memory for a window of {rows} rows of column {name!r}, which take about "
                f"{rows * column.row_bytes >> 20} MB, twice over: give shuffle=BlockShuffle(window=...) a "
                "smaller share or a number of items"
            ) from exc
        recycler = self._recyclers.setdefault(name, Recycler())
        return Staged(name, reading, recycler, self._monitor)

    def help(self, staged: Staged) -> None:
        """Have the threads read along, if there is much that somebody waits for."""
        if self._ahead and staged.pieces >= PIECES_WORTH_HELP:
            self._pool.submit(staged)
        with self._guard:
            self._read_ahead()

    def close(self) -> None:
        """Stop the threads, and let go of all windows."""
        try:
            self._pool.close()
        finally:
            # Batches that are kept still know the reader, which must not keep anything large.
            with self._guard:
                there, self._open = list(self._open.values()), {}
                self._front, self._epochs = None, {}
            for opened in there:
                opened.close()
            for buffers in self._buffers.values():
                buffers.close()
            for recycler in self._recyclers.values():
                recycler.free.clear()

    def _epoch(self, number: int) -> Epoch:
        if number not in self._epochs:
            kept = {n: each for n, each in self._epochs.items() if n + 1 >= number}
            self._epochs = {**kept, number: self._windows.epoch(number)}
        return self._epochs[number]

    def _at(self, epoch: int, place: int) -> OpenWindow:
        """Give the window that a place of an epoch's order is in."""
        front = self._front
        if front is not None and front.window.holds(epoch, place):
            return front
        return self._opened((epoch, self._epoch(epoch).number_at(place)))

    def _opened(self, key: tuple[int, int]) -> OpenWindow:
        if key not in self._open:
            self._open[key] = OpenWindow(self._epoch(key[0]).window(key[1]), self)
        return self._open[key]

    def _retire(self, epoch: int, start: int) -> bool:
        """Let go of the windows that no portion under way needs; tell whether there were any."""
        self._latest.append((epoch, start))
        if len(self._latest) <= self._lag:
            return False
        done = self._latest.popleft()
        past = [key for key, each in self._open.items() if (key[0], each.window.stop) <= done]
        for key in past:
            self._open.pop(key).close()
        return bool(past)

    def _read_ahead(self) -> None:
        """Begin with the next window, once there is room for it."""
        if self._front is None or not self._ahead or self._monitor.cancelled:
            return
        front = self._front.window.key
        key = self._after(front)
        if key is None or any(each < front for each in self._open):
            return
        opened = self._opened(key)
        if not self.asked.keys() <= opened.names:
            for _ in range(self._readers):
                self._pool.submit(opened)

    def _after(self, key: tuple[int, int]) -> tuple[int, int] | None:
        epoch, number = key
        if number + 1 < len(self._epoch(epoch)):
            return epoch, number + 1
        more = self._n_epochs is None or epoch + 1 < self._n_epochs
        return (epoch + 1, 0) if more else None


def _unreadable(name: str, error: BaseException) -> BaseException:
    if not isinstance(error, Exception):
        return error
    failed = DataError(f"column {name!r} could not be read: {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed
