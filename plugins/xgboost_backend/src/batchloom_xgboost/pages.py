"""Gathering the batches of an epoch into pages of rows, within the bounds that the config sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from batchloom.errors import ModelInputError
from batchloom.plain import read_plain, write_plain
from batchloom_xgboost.config import Settings
from batchloom_xgboost.recalled import Recalled, join
from batchloom_xgboost.rows import Rows
from batchloom_xgboost.spool import Spool, SpooledPage

# Small batches are put together: each page costs 0.1 ms in each of the four passes over the data.
_PAGE_IN_MEMORY = 8 << 20
_PAGE_ON_DISK = 64 << 20


class Pages(Protocol):
    """A sequence of pages of rows, to be gone through any number of times."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Rows: ...


class Gathered:
    """Copies of the rows of an epoch, in the order in which they came.

    Parameters
    ----------
    settings : Settings
        Says where they are kept and how many there may be.
    spool : Spool or None
        Where pages go; None keeps them in memory.
    """

    def __init__(self, settings: Settings, spool: Spool | None) -> None:
        self.settings = settings
        self.rows = 0
        self._spool = spool
        self._pages: list[Rows | Recalled | SpooledPage] = []
        self._waiting: list[Rows | Recalled] = []
        self._waiting_bytes = 0
        self._bytes = 0
        self._page_bytes = _page_bytes(settings) if spool is not None else _PAGE_IN_MEMORY

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, i: int) -> Rows:
        return self._pages[i].read()

    def __iter__(self) -> Iterator[Rows]:
        return (each.read() for each in self._pages)

    def add(self, rows: Rows, recalled: Recalled | None = None) -> None:
        """Keep a copy of some rows, or of what it takes to read them again.

        Raises
        ------
        ModelInputError
            If there would be more than `max_rows`, or more than `max_bytes` in memory.
        """
        if not len(rows):
            return
        self.rows += len(rows)
        self._bytes += (rows if recalled is None else recalled).nbytes
        self._check_bounds()
        self._waiting.append(rows.copy() if recalled is None else recalled)
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes >= self._page_bytes:
            self.flush()

    def flush(self) -> None:
        """Make a page of what waits; to be called once, when all is gathered."""
        if self._waiting:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._keep(join(waiting))

    def drop(self) -> None:
        """Forget all rows."""
        self.rows, self._pages, self._waiting = 0, [], []

    def save(self, folder: Path) -> dict[str, Any]:
        """Write all rows into a folder, page by page, and return how many there are."""
        rest = [join(self._waiting).read()] if self._waiting else []
        for number, page in enumerate(chain(self, rest)):
            write_plain(page.to_plain(), folder / str(number), "what was gathered")
        return {"pages": len(self), "rows": self.rows, "bytes": self._bytes}

    def restore(self, folder: Path, kept: Mapping[str, Any]) -> None:
        """Gather what `save` wrote, cut into the same pages."""
        self.rows, self._bytes = kept["rows"], kept["bytes"]
        for number in range(kept["pages"]):
            self._keep(Rows.from_plain(read_plain(folder / str(number))))
        rest = folder / str(kept["pages"])
        if rest.exists():
            rows = Rows.from_plain(read_plain(rest))
            self._waiting, self._waiting_bytes = [rows], rows.nbytes

    def _keep(self, rows: Rows | Recalled) -> None:
        if self._spool is None or isinstance(rows, Recalled):
            self._pages.append(rows)
        else:
            self._pages.append(self._spool.append(rows))

    def _check_bounds(self) -> None:
        most_rows, most_bytes = self.settings.max_rows, self.settings.max_bytes
        if most_rows is not None and self.rows > most_rows:
            raise ModelInputError(
                f"the epoch has brought {self.rows} rows, and max_rows is {most_rows}"
            )
        if self._spool is None and most_bytes is not None and self._bytes > most_bytes:
            raise ModelInputError(
                f"the epoch has brought {self._bytes} bytes, and max_bytes is {most_bytes}. "
                'Set spool to keep them on disk, and memory="external" to train from there'
            )


def _page_bytes(settings: Settings) -> int:
    # A page waits in pieces, is put together, and may do so for training and validation at once.
    return min(_PAGE_ON_DISK, max(1, (settings.max_bytes or _PAGE_ON_DISK * 4) // 4))
