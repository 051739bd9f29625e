"""Columns in memory maps, read from their files in large pieces.

Reading a file is cheaper than touching a map of it page by page, and leaves no pages behind that count as
memory of the process. Where views of the map are wanted, the system is told which pages to fetch and which
to drop. The file is opened again for both, if it certainly still is the one that is mapped.
"""

from __future__ import annotations

import mmap
import os
from functools import cached_property
from io import FileIO
from typing import Any

import numpy as np

from batchloom.cached_files import Cache, CachedFile
from batchloom.columns import ArrayColumn
from batchloom.ordering import Positions
from batchloom.stored import PIECE_BYTES, Buffers, Reading

MAPS = "/proc/self/maps"
"""Where Linux tells which files this process maps."""


class MappedColumn(ArrayColumn):
    """A memory map whose rows lie one behind the other in the file."""

    bounds: Positions | None = None
    is_decoded = False

    @property
    def lies_in_file(self) -> bool:
        """Whether nobody can change the file through the map."""
        return getattr(self._data, "mode", None) == "r"

    def reading(
        self, starts: Positions, stops: Positions, buffers: Buffers | None, readers: int = 1
    ) -> Reading:
        """Prepare the reading of some ranges of rows; without buffers, the result is the map itself."""
        if buffers is None and len(starts) == 1:
            return MappedRun(self._data, self._file, int(starts[0]), int(stops[0]))
        lent = Buffers() if buffers is None else buffers
        return MappedReading(self._array, self.row_bytes, self._file, starts, stops, lent)

    @cached_property
    def _file(self) -> MappedFile | None:
        return find_file(self._data)


class MappedFile:
    """The file behind a memory map.

    Attributes
    ----------
    path : str
    identity : tuple of int
        Its device and inode.
    offset : int
        Where in it the first row begins.
    fixed : bool
        Whether nothing is written to it through this map.
    """

    def __init__(self, path: str, identity: tuple[int, int], offset: int, fixed: bool) -> None:
        self._cache = Cache() if fixed else None
        self.path = path
        self.identity = identity
        self.offset = offset

    def open(self, first: int) -> CachedFile | None:
        """Open it for reading, from a place on; None if what is there now is another file."""
        try:
            opened = FileIO(self.path)
        except OSError:
            return None
        if _identity(os.fstat(opened.fileno())) != self.identity:
            opened.close()
            return None
        if self._cache is not None:
            self._cache.look(opened, self.offset + first)
        around = self._cache is not None and self._cache.is_too_small
        return CachedFile(self.path, opened, around)


class MappedReading:
    """The reading of ranges of rows of a memory map into a buffer.

    Parameters
    ----------
    array : array
        All rows, mapped.
    row_bytes : int
    file : MappedFile or None
        Without one the rows are copied from the map.
    starts, stops : array of int
    buffers : Buffers
    """

    def __init__(
        self,
        array: np.ndarray[Any, Any],
        row_bytes: int,
        file: MappedFile | None,
        starts: Positions,
        stops: Positions,
        buffers: Buffers,
    ) -> None:
        self._array = array
        self._row_bytes = row_bytes
        self._buffers = buffers
        self._offset = 0 if file is None else file.offset
        self._spans = _cut(starts, stops, max(1, PIECE_BYTES // max(1, row_bytes)))
        self.pieces = len(self._spans)
        self._opened = None if file is None else file.open(int(starts[0]) * row_bytes)
        self._rows = buffers.take((int((stops - starts).sum()), *array.shape[1:]), array.dtype)

    def read(self, piece: int) -> None:
        """Read a piece."""
        start, stop, to = self._spans[piece]
        rows = self._rows[to : to + stop - start]
        if self._opened is None:
            np.copyto(rows, self._array[start:stop])
            return
        self._opened.fill(rows, self._offset + start * self._row_bytes)

    def result(self) -> np.ndarray[Any, Any]:
        """Give the rows."""
        return self._rows

    def close(self) -> None:
        """Close the file, and let the rows be overwritten."""
        if self._opened is not None:
            self._opened.close()
        self._buffers.give(self._rows)


class MappedRun:
    """Consecutive rows of a memory map, where they are: the system is told when to fetch and to drop them.

    Parameters
    ----------
    data : memmap
    file : MappedFile or None
        Without one they are fetched when they are touched.
    start, stop : int
    """

    pieces = 1

    def __init__(self, data: Any, file: MappedFile | None, start: int, stop: int) -> None:
        self._map = data._mmap if data.mode != "c" else None
        self._rows = np.asarray(data)[start:stop]
        self._file = file
        self._offset = start * (self._rows.nbytes // max(1, stop - start))

    def read(self, piece: int) -> None:
        """Have the pages fetched."""
        opened = None if self._file is None else self._file.open(self._offset)
        if self._file is None or opened is None:
            return
        try:
            opened.announce(self._file.offset + self._offset, self._rows.nbytes)
        finally:
            opened.close()

    def result(self) -> np.ndarray[Any, Any]:
        """Give the rows."""
        return self._rows

    def close(self) -> None:
        """Have the pages dropped, but for those of a private map: what was written there is nowhere else."""
        if self._map is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        begins = np.frombuffer(self._map, np.uint8).__array_interface__["data"][0]
        first = self._rows.__array_interface__["data"][0] - begins
        page = first - first % mmap.PAGESIZE
        self._map.madvise(mmap.MADV_DONTNEED, page, first + self._rows.nbytes - page)


def _cut(starts: Positions, stops: Positions, step: int) -> list[tuple[int, int, int]]:
    """Cut ranges into pieces: from which row to which, and to where."""
    spans, to = [], 0
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        pieces = range(start, stop, step)
        spans += [(at, min(at + step, stop), to + at - start) for at in pieces]
        to += stop - start
    return spans


def can_be_read_by_rows(data: Any) -> bool:
    """Tell whether this is a memory map, or consecutive rows of one."""
    is_map = isinstance(data, np.memmap) and getattr(data, "_mmap", None) is not None
    return is_map and data.flags.c_contiguous and data.nbytes > 0


def find_file(data: Any) -> MappedFile | None:
    """Find the file that holds all that a memory map holds, if that can be known for certain."""
    if data.filename is None or data.mode == "c" or not hasattr(os, "preadv"):
        return None
    at = data.__array_interface__["data"][0]
    try:
        with open(MAPS, "rb") as maps:
            for line in maps:
                span, _, offset, device, inode, *_ = line.split()
                begin, end = (int(each, 16) for each in span.split(b"-"))
                if begin <= at < end:
                    major, minor = (int(each, 16) for each in device.split(b":"))
                    identity = os.makedev(major, minor), int(inode)
                    place = int(offset, 16) + at - begin
                    return MappedFile(str(data.filename), identity, place, data.mode == "r")
    except OSError:
        pass  # not on this system
    return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
