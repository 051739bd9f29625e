"""Reading a file through the system's cache, or around it once the cache turns out to be too small.

A file is read through the cache, so that it is there the next time. But if what was read first is gone
again, the cache does not hold the file, and to fill it with more of it costs more than it saves: from then
on the file is read around it.
"""

from __future__ import annotations

import os
from io import FileIO
from typing import Any

import numpy as np

from batchloom.errors import DataError
from batchloom.stored import ALIGNMENT, Buffers

NOT_WAITING = getattr(os, "RWF_NOWAIT", None)
"""Asks for what is in the cache, and for nothing else."""

AROUND = getattr(os, "O_DIRECT", None)
"""Has a file read around the cache."""


class Cache:
    """What is known of how much the system's cache holds of a file.

    Attributes
    ----------
    is_too_small : bool
        Whether it has lost what was read before.
    """

    def __init__(self) -> None:
        self.is_too_small = False
        self._first: int | None = None

    def look(self, opened: FileIO, offset: int) -> None:
        """Note that a part is read through the cache, and see whether the first one is still there."""
        if self._first is None:
            self._first = offset
        elif not self.is_too_small:
            self.is_too_small = _is_gone(opened, self._first)


class CachedFile:
    """An open file whose parts are read through the cache or around it.

    Files are objects here, not numbers: one that Ctrl-C comes in between of is closed all the same.

    Parameters
    ----------
    path : str
    opened : FileIO
        Closed with this object.
    around : bool
        Whether to read around the cache, where the system can.
    """

    def __init__(self, path: str, opened: FileIO, around: bool) -> None:
        self._opened = opened
        self._scratch = Buffers()
        self._around = _opened_around(path) if around else None

    def fill(self, rows: np.ndarray[Any, Any], offset: int) -> None:
        """Fill an array from a place in the file on.

        Raises
        ------
        DataError
            If the file ends before.
        """
        into: Any = rows.reshape(-1).view(np.uint8)
        done = 0 if self._around is None else self._read_around(into, offset)
        while done < rows.nbytes:
            read = os.preadv(self._opened.fileno(), [into[done:]], offset + done)
            if not read:
                missing = rows.nbytes - done
                raise DataError(
                    f"the mapped file ends {missing} bytes too early: it was cut short since"
                )
            done += read

    def announce(self, offset: int, size: int) -> None:
        """Have the system fetch a part that will be needed soon."""
        os.posix_fadvise(self._opened.fileno(), offset, size, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()
        if self._around is not None:
            self._around.close()

    def _read_around(self, into: Any, offset: int) -> int:
        """Read whole pages around the cache; tell how much of what is wanted that was."""
        assert self._around is not None
        skip = offset % ALIGNMENT
        length = -(-(skip + into.size) // ALIGNMENT) * ALIGNMENT
        pages: Any = self._scratch.take((length,), np.dtype(np.uint8))
        try:
            read = os.preadv(self._around.fileno(), [pages], offset - skip)
        except OSError:
            return 0  # a disk of other pages: through the cache then
        found = max(0, min(read - skip, int(into.size)))
        into[:found] = pages[skip : skip + found]
        self._scratch.give(pages)
        return found


def _opened_around(path: str) -> FileIO | None:
    """Open a file for reading around the cache; None where that cannot be done."""
    if AROUND is None:
        return None
    import fcntl

    try:
        opened = FileIO(path)
        fcntl.fcntl(opened, fcntl.F_SETFL, fcntl.fcntl(opened, fcntl.F_GETFL) | AROUND)
    except OSError:
        return None  # not on this file system
    return opened


def _is_gone(opened: FileIO, offset: int) -> bool:
    """Tell whether the cache certainly does not hold a place of a file."""
    if NOT_WAITING is None:
        return False
    try:
        os.preadv(opened.fileno(), [bytearray(1)], offset, NOT_WAITING)
    except BlockingIOError:
        return True
    except OSError:
        pass  # not on this file system
    return False
