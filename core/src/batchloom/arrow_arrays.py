"""Arrow columns as NumPy arrays: which array a type becomes, the same for every part of a column.

Only what comes with an Arrow object is used: this module imports no Arrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from batchloom.errors import DataError
from batchloom.records import Record

NULLS = ("error", "mask", "nan")
"""What can become of nulls among numbers."""

Array = np.ndarray[Any, Any]


class ArrayKind(Record):
    """What the rows of one column are as an array.

    Attributes
    ----------
    column : str
        The column's name, for errors.
    dtype : dtype
        ``object`` for what NumPy has no type for: strings, lists of any length, decimals.
    shape : tuple of int
        The shape of a row: ``()`` for single values.
    nulls : {"error", "mask", "nan"}
        Objects have None for null in any case.
    order : tuple of int, optional
        The axes of a row, if they lie in the file in another order.
    """

    column: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nulls: str = "error"
    order: tuple[int, ...] | None = None

    @property
    def row_bytes(self) -> int:
        """How large a row is; of an object, its reference."""
        return int(self.dtype.itemsize * np.prod(self.shape, dtype=int))

    @property
    def is_plain(self) -> bool:
        """Whether the rows are numbers and nothing but numbers, which any memory can hold."""
        return not self.dtype.hasobject and self.nulls != "mask"

    def empty(self, length: int) -> Array:
        """Make an array for so many rows."""
        if self.nulls != "mask":
            return np.empty((length, *self.shape), self.dtype)
        masked: Any = np.ma
        made: Array = masked.MaskedArray(np.zeros((length, *self.shape), self.dtype), mask=False)
        return made

    def array(self, arrow: Any) -> Array:
        """Make the array of an Arrow array, without a copy where there is nothing to change."""
        if self.dtype.hasobject:
            return _objects(arrow)
        values, missing = _flat(arrow)
        shape = (len(arrow), *self.shape)
        if missing is None and self.nulls != "mask":
            return self._ordered(_numbers(values).astype(self.dtype, copy=False).reshape(shape))
        return self._ordered(self._without_nulls(values, missing, shape))

    def _without_nulls(self, values: Any, missing: Array | None, shape: tuple[int, ...]) -> Array:
        if self.nulls == "error":
            raise DataError(f"column {self.column!r} has nulls: {ADVICE}")
        absent = np.zeros(shape, bool) if missing is None else missing.reshape(shape)
        found = _numbers(values).astype(self.dtype).reshape(shape)
        if self.nulls == "nan":
            found[absent] = np.array("NaT" if self.dtype.kind in "mM" else np.nan, self.dtype)
            return found
        masked: Any = np.ma
        result: Array = masked.MaskedArray(found, mask=absent)
        return result

    def _ordered(self, rows: Array) -> Array:
        return rows if self.order is None else rows.transpose(0, *(1 + at for at in self.order))


ADVICE = (
    "give nulls='mask' for masked arrays, or nulls='nan' for floats with NaN (and dates with NaT), "
    "of all columns or of some: nulls={'age': 'nan'}"
)


def kind_of(column: str, arrow_type: Any, nulls: str) -> ArrayKind:
    """Say which array a column of an Arrow type becomes.

    Parameters
    ----------
    column : str
    arrow_type : pyarrow.DataType
    nulls : {"error", "mask", "nan"}
        ``"error"`` also if there are none.

    Raises
    ------
    DataError
        If nulls cannot become that.
    """
    shape, order, inner = _unwrapped(arrow_type)
    if _is_bytes(inner):
        if nulls == "nan":
            raise DataError(
                f"column {column!r} holds bytes, among which there is no NaN for its nulls: give "
                f"nulls={{{column!r}: 'mask'}}"
            )
        return ArrayKind(column, np.dtype(np.uint8), (*shape, int(inner.byte_width)), nulls)
    dtype = _dtype(inner)
    if dtype is None:
        return ArrayKind(column, np.dtype(object), ())
    if nulls == "nan" and dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    return ArrayKind(column, dtype, shape, nulls, order)


def _unwrapped(arrow_type: Any) -> tuple[tuple[int, ...], tuple[int, ...] | None, Any]:
    """Give the shape of a row, the order of its axes and the type of its values."""
    if getattr(arrow_type, "extension_name", "") == "arrow.fixed_shape_tensor":
        order = tuple(arrow_type.permutation or ())
        in_order = order == tuple(range(len(order)))
        return tuple(arrow_type.shape), None if in_order else order, arrow_type.value_type
    inner = getattr(arrow_type, "storage_type", arrow_type)
    shape: tuple[int, ...] = ()
    while hasattr(inner, "list_size"):
        shape, inner = (*shape, int(inner.list_size)), inner.value_type
    return shape, None, inner.value_type if hasattr(inner, "index_type") else inner


def _dtype(arrow_type: Any) -> np.dtype[Any] | None:
    """Give the dtype of single values, or None if only objects will do."""
    text = str(arrow_type)
    if text.startswith("date"):
        return np.dtype("datetime64[D]" if text.startswith("date32") else "datetime64[ms]")
    for name, dtype in (("timestamp", "datetime64"), ("duration", "timedelta64")):
        if text.startswith(name):
            return np.dtype(f"{dtype}[{arrow_type.unit}]")
    try:
        found = np.dtype(arrow_type.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        return None
    return found if found.kind in "biuf" else None


def _is_bytes(arrow_type: Any) -> bool:
    return str(arrow_type).startswith("fixed_size_binary")


def _flat(arrow: Any) -> tuple[Any, Array | None]:
    """Give the single values of an array of lists of a fixed size, and which of them are missing."""
    arrow = getattr(arrow, "storage", arrow)
    missing = _missing(arrow)
    while hasattr(arrow.type, "list_size"):
        size = int(arrow.type.list_size)
        arrow = arrow.values.slice(arrow.offset * size, len(arrow) * size)
        above = missing if missing is None else np.repeat(missing, size)
        below = _missing(arrow)
        missing = above if below is None else below if above is None else above | below
    if hasattr(arrow, "dictionary_decode"):
        arrow = arrow.dictionary_decode()
    if missing is not None and _is_bytes(arrow.type):
        missing = np.repeat(missing, int(arrow.type.byte_width))
    return arrow, missing


def _missing(arrow: Any) -> Array | None:
    return np.asarray(arrow.is_null()) if arrow.null_count else None


def _numbers(values: Any) -> Array:
    if _is_bytes(values.type):
        width = int(values.type.byte_width)
        data = np.frombuffer(values.buffers()[1] or b"", np.uint8)
        return data[values.offset * width : (values.offset + len(values)) * width]
    if values.null_count and _dtype(values.type).kind in "biuf":  # type: ignore[union-attr]
        values = values.fill_null(False if str(values.type) == "bool" else 0)
    numbers: Array = values.to_numpy(zero_copy_only=False)
    return numbers


def _objects(arrow: Any) -> Array:
    if hasattr(arrow, "dictionary_decode"):
        arrow = arrow.dictionary_decode()
    if hasattr(arrow, "values") or str(arrow.type).endswith(("string", "binary")):
        return np.asarray(arrow.to_numpy(zero_copy_only=False))  # lists become arrays
    made = np.empty(len(arrow), dtype=object)
    made[:] = arrow.to_pylist()
    return made
