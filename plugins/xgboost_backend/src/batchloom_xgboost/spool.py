"""Pages of rows on disk, in a temporary folder that is removed whatever happens."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from batchloom.models.staging import own_folder
from batchloom_xgboost.rows import Rows

_SPARSE = ("data", "indices", "indptr")


class SpoolFolder:
    """A temporary folder for pages and for XGBoost's own cache.

    It is removed by `remove`, when the object goes, and at the interpreter's exit. That of a process
    that was killed is removed by the next one that makes a folder there.

    Parameters
    ----------
    inside : bool or path
        Where to make it: True for the system's temporary folder (``TMPDIR``).
    """

    def __init__(self, inside: Any = True) -> None:
        where = tempfile.gettempdir() if isinstance(inside, bool) else os.fspath(inside)
        self.path = own_folder(Path(where), "batchloom-xgboost-")
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        self._remove()


@dataclass(frozen=True)
class SpooledPage:
    """A page that was written."""

    spool: Spool
    number: int

    def read(self) -> Rows:
        """Read the page."""
        return self.spool[self.number]


class Spool:
    """Pages of rows, each array a ``.npy`` file.

    Parameters
    ----------
    folder : SpoolFolder
    name : str
        What the names of its files begin with.
    """

    def __init__(self, folder: SpoolFolder, name: str) -> None:
        self._folder, self._name = folder, name
        self._fields: list[list[str]] = []
        self._shapes: list[tuple[int, ...] | None] = []

    def __len__(self) -> int:
        return len(self._fields)

    def append(self, rows: Rows) -> SpooledPage:
        """Write a page, and return it."""
        page = len(self)
        is_sparse = sparse.issparse(rows.x)
        parts = {each: getattr(rows.x, each) for each in _SPARSE} if is_sparse else {"x": rows.x}
        for name, array in {**parts, **rows.fields}.items():
            np.save(self._file(page, name), array, allow_pickle=False)
        self._fields.append(list(rows.fields))
        self._shapes.append(rows.x.shape if is_sparse else None)
        return SpooledPage(self, page)

    def __getitem__(self, page: int) -> Rows:
        """Read a page."""
        shape = self._shapes[page]
        if shape is None:
            x = self._read(page, "x")
        else:
            x = sparse.csr_matrix(tuple(self._read(page, each) for each in _SPARSE), shape=shape)
        return Rows(x, {name: self._read(page, name) for name in self._fields[page]})

    def _file(self, page: int, name: str) -> Path:
        return self._folder.path / f"{self._name}-{page}-{name}.npy"

    def _read(self, page: int, name: str) -> Any:
        return np.load(self._file(page, name), allow_pickle=False)
