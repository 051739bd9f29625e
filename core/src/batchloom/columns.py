"""Columns: one way to read rows by position from whatever kind of data a dataset holds.

The libraries behind the kinds (pandas, SciPy, Arrow) are recognised by what their objects can do and
are never imported: where one of their objects is, they have been.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from batchloom.errors import DataError
from batchloom.ordering import Positions
from batchloom.recycling import LARGE_BYTES, Recycler

if TYPE_CHECKING:
    from batchloom.stored import StoredColumn


class Column(Protocol):
    """Rows of one component, addressed by position.

    ``take`` and ``rows`` hand out data that belongs to the caller, but for ``rows`` with
    ``copy=False``, which hands out a read-only view where the kind of data has views.
    """

    def __len__(self) -> int: ...

    def take(self, positions: Positions) -> Any:
        """Gather the rows at some positions."""

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        """Give consecutive rows."""

    def whole(self) -> Any:
        """Give the data as the user gave it."""


class ArrayColumn:
    """A NumPy array or memory map.

    Parameters
    ----------
    data : array
    recycler : Recycler, optional
        Where the memory of large results comes from, if several columns are to share it.

    Attributes
    ----------
    is_in_memory : bool
        Whether rows can be had without waiting for anything.
    """

    def __init__(self, data: np.ndarray[Any, Any], recycler: Recycler | None = None) -> None:
        self._data = data
        # A memory map's own methods make subclass instances, at several times the price.
        self._array = data if _is_masked(data) else np.asarray(data)
        self._in_rows = self._array.flags.c_contiguous and self._array.flags.aligned
        self._few = _few_rows(self._array)
        self.is_in_memory = not isinstance(data, np.memmap)
        self._recycler = Recycler() if recycler is None else recycler

    def __len__(self) -> int:
        return len(self._array)

    def take(self, positions: Positions) -> Any:
        if self._in_rows:
            array = self._array
            if len(positions) <= self._few or not _are_within(positions, len(array)):
                return array.take(positions, axis=0)
            made = self._recycler.empty((len(positions), *array.shape[1:]), array.dtype)
            # With "clip", which has nothing left to do, NumPy writes to where it is told at once.
            return array.take(positions, 0, made, "clip")
        # NumPy's take would first copy the whole of an array whose rows do not lie one behind the other.
        taken = self._array[positions]
        return taken if _is_masked(taken) else np.ascontiguousarray(taken)

    def taking(
        self, positions: Positions, size: int
    ) -> Callable[[int], np.ndarray[Any, Any]] | None:
        """Give what gathers large arrays of so many rows: the first, the second, ...

        What `take` would look at for each of them is looked at here, for all of them.
        """
        array = self._array
        if not self._in_rows or size <= self._few or not _are_within(positions, len(array)):
            return None
        take, empty = array.take, self._recycler.empty
        shape, dtype = (size, *array.shape[1:]), array.dtype

        def taken(at: int) -> np.ndarray[Any, Any]:
            where = positions[at * size : (at + 1) * size]
            return take(where, 0, empty(shape, dtype), "clip")

        return taken

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        view = self._array[start:stop]
        if copy and len(view) <= self._few:
            return view.copy()
        if copy:
            made = self._recycler.empty(view.shape, view.dtype)
            made[...] = view
            return made
        view.flags.writeable = False
        return view

    def whole(self) -> Any:
        return self._data

    def __reduce__(self) -> tuple[type[ArrayColumn], tuple[Any]]:
        # Pickled as two arrays, the data would travel twice; and of a memory map, a copy of all of it.
        return type(self), (self._data,)

    @property
    def row_bytes(self) -> int:
        """How large a row is."""
        return int(self._array.nbytes) // max(len(self._array), 1)


def _few_rows(array: np.ndarray[Any, Any]) -> int:
    """Say up to how many rows of an array are not large."""
    if _is_masked(array) or array.dtype.hasobject or not array.nbytes:
        return sys.maxsize
    return LARGE_BYTES * len(array) // int(array.nbytes)


def _are_within(positions: Positions, length: int) -> bool:
    # As unsigned numbers, negative ones are beyond the end as well.
    return bool(positions.view(np.uintp).max() < length)


def as_column(name: str, data: Any) -> Column:
    """Choose how to read the rows of one column.

    Raises
    ------
    DataError
        For data without rows, or that an array of integers cannot index.
    """
    if isinstance(data, (list, tuple, range)):
        data = array_of(data)
    if is_stored(data):  # a column already, of files
        return data
    if isinstance(data, np.ndarray):
        if data.ndim == 0:
            raise DataError(f"column {name!r} is a single value ({data!r}): a column needs rows")
        return _array_column(data)
    from batchloom.foreign_columns import foreign_column

    return foreign_column(name, data)


def is_stored(column: Any) -> TypeGuard[StoredColumn]:
    """Tell whether a column is one of files, which is read in large pieces."""
    return hasattr(column, "reading")


def _array_column(data: np.ndarray[Any, Any]) -> ArrayColumn:
    if type(data) is np.memmap:
        from batchloom.mapped import MappedColumn, can_be_read_by_rows

        if can_be_read_by_rows(data):
            return MappedColumn(data)
    return ArrayColumn(data)


def array_of(data: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Make an array of a list; what NumPy would change to make it fit stays as it is, in an object array."""
    try:
        array = np.array(data)
    except ValueError:  # ragged: each element is an item of its own
        return _objects(data)
    if array.ndim == 1 and not _holds(array.dtype.kind, data):
        return _objects(data)
    return array


def _holds(kind: str, data: Sequence[Any]) -> bool:
    """Tell whether an array of a kind, which was made of a list, holds what is in the list."""
    if kind == "f":  # ints of which no dtype holds all, such as 2**63 and -1
        return not data or not all(isinstance(each, (int, np.integer)) for each in data)
    if kind not in "US":
        return True
    kept: type[str] | type[bytes] = str if kind == "U" else bytes
    nul = kept(1) if kept is bytes else "\0"  # NumPy takes it for padding at the end of a string
    return all(isinstance(each, kept) and each[-1:] != nul for each in data)


def row_count(value: Any) -> int | None:
    """Say how many rows a component's value has, or None if it has none."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return int(shape[0]) if shape else None
    try:
        return len(value)
    except TypeError:
        return None


def row_of(value: Any, position: int) -> Any:
    """Give one row of a component's value."""
    if hasattr(value, "iloc"):
        return value.iloc[position]
    if hasattr(value, "column_names"):  # an Arrow table: value[position] would be a column
        return value.slice(position, 1)
    return value[position]


def take_rows(name: str, value: Any, positions: Positions) -> Any:
    """Gather rows of a component's value by position, whatever its kind."""
    return None if value is None else as_column(name, value).take(positions)


def stack_rows(values: list[Any]) -> Any:
    """Put the rows of several values of one kind one below the other."""
    first = values[0]
    if len(values) == 1 or all(each is None for each in values):
        return first
    library = type(first).__module__.partition(".")[0]
    if library == "pandas":
        return _stack_pandas(sys.modules[library], values)
    if library == "polars":
        return sys.modules[library].concat(values)
    if hasattr(first, "tocsr"):
        return sys.modules["scipy.sparse"].vstack(values, format="csr")
    if library == "pyarrow":
        return _stack_arrow(sys.modules[library], values)
    if _is_masked(first):
        return sys.modules["numpy.ma"].concatenate(values)
    arrays = [
        array_of(each) if isinstance(each, (list, tuple)) else np.asarray(each) for each in values
    ]
    if len({each.shape[1:] for each in arrays}) > 1:  # each item is of a shape of its own
        return _objects([row for each in arrays for row in each])
    kinds = {each.dtype.kind for each in arrays}
    if len(kinds) > 1 and kinds & {"U", "S"}:  # numbers would become strings
        arrays = [each.astype(object) for each in arrays]
    return np.concatenate(arrays)


def _is_masked(data: Any) -> bool:
    # Where numpy.ma was not imported there are none, and to import it takes a tenth of NumPy's own time.
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(data, masked.MaskedArray)


def _stack_pandas(pd: Any, values: list[Any]) -> Any:
    first = values[0]
    if hasattr(first, "iloc"):
        return pd.concat(values)
    if isinstance(first, pd.Index):
        return first.append(values[1:])
    return pd.concat([pd.Series(each) for each in values], ignore_index=True).array


def _stack_arrow(pa: Any, values: list[Any]) -> Any:
    if isinstance(values[0], pa.Table):
        return pa.concat_tables(values)
    arrays = [piece for each in values for piece in getattr(each, "chunks", [each])]
    return pa.chunked_array(arrays, type=values[0].type)


def _objects(data: Sequence[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(data), dtype=object)
    array[:] = data
    return array
