"""Columns of what is no NumPy array: pandas, SciPy, Arrow, HDF5, and anything that can be indexed.

The libraries are recognised by what their objects can do and are never imported: where one of their objects
is, they have been.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchloom.columns import Column, row_count
from batchloom.errors import DataError
from batchloom.ordering import Positions


class _AsGiven:
    def __init__(self, data: Any) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def whole(self) -> Any:
        return self._data


class PandasColumn(_AsGiven):
    """A pandas Series or DataFrame; rows keep their type, labels and dtypes."""

    def take(self, positions: Positions) -> Any:
        return self._data.iloc[positions]

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        return self._data.iloc[start:stop].copy()


class SparseColumn(_AsGiven):
    """A SciPy sparse matrix or array, held by rows."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self._rows = data.tocsr()

    def __len__(self) -> int:
        return int(self._rows.shape[0])

    def take(self, positions: Positions) -> Any:
        return self._rows[positions]

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        return self._rows[start:stop]


class ArrowColumn(_AsGiven):
    """An Arrow array, chunked array or table, whose rows nobody can change."""

    def take(self, positions: Positions) -> Any:
        return self._data.take(positions)

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        return self._data.slice(start, stop - start)


class FileColumn(_AsGiven):
    """A dataset in an HDF5 file, which is read in the file's order and each row once."""

    def take(self, positions: Positions) -> Any:
        rows, places = np.unique(positions, return_inverse=True)
        return self._data[rows][places]

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        return self._data[start:stop]


class IndexedColumn(_AsGiven):
    """Anything with a length that an array of integers can index."""

    def take(self, positions: Positions) -> Any:
        return self._data[positions]

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        return self.take(np.arange(start, stop))


def foreign_column(name: str, data: Any) -> Column:
    """Choose how to read the rows of a column that is no array.

    Raises
    ------
    DataError
        For data that an array of integers cannot index.
    """
    if hasattr(data, "iloc"):
        return PandasColumn(data)
    if hasattr(data, "tocsr"):
        return SparseColumn(data)
    library = type(data).__module__.partition(".")[0]
    if library == "pyarrow" and hasattr(data, "slice"):
        return ArrowColumn(data)
    if library == "h5py" and getattr(data, "shape", None):
        return FileColumn(data)
    return _indexed(name, data)


def _indexed(name: str, data: Any) -> Column:
    refusal = DataError(
        f"column {name!r} is {type(data).__name__}, whose rows cannot be read by position: a column "
        "is an array or has len() and takes an array of integers as index"
    )
    try:
        row = data[np.zeros(1, dtype=np.intp)] if len(data) else data
    except Exception as exc:
        raise refusal from exc
    if row_count(row) != min(len(data), 1):
        raise refusal
    return IndexedColumn(data)
