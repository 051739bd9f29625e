"""What a user feeds, made into arrays that TensorFlow takes, or refused by the argument's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchloom.errors import ModelInputError


def as_array(value: Any, argument: str) -> np.ndarray:
    """Return numbers, booleans or strings as an array with rows.

    Raises
    ------
    ModelInputError
        If it is None, sparse, masked, ragged or made of objects.
    """
    if type(value) is np.ndarray and value.ndim and value.dtype.kind != "O":
        return value
    if value is None:
        raise ModelInputError(f"{argument} is None: an array with one row for each item is needed")
    if hasattr(value, "tocsr"):
        raise ModelInputError(
            f"{argument} is a sparse matrix, which Keras's layers do not take: pass .toarray()"
        )
    if np.ma.is_masked(value):
        raise ModelInputError(
            f"{argument} has masked values, and the network would compute with what lies under the mask: "
            "fill them, as in x.filled(0), or leave those rows out"
        )
    try:
        array = np.asarray(value)
    except ValueError as exc:
        raise ModelInputError(
            f"{argument} is ragged: its items differ in shape ({exc}). Pad or resize them"
        ) from exc
    if array.dtype.kind == "O":
        array = _strings(array, argument)
    if array.ndim == 0:
        raise ModelInputError(f"{argument} is the single value {value!r}: it needs one row an item")
    return array


def cast(array: np.ndarray, dtype: str, argument: str) -> np.ndarray:
    """Return an array in the dtype that the compiled step was made for.

    Raises
    ------
    ModelInputError
        If strings stand where numbers belong, or the other way round.
    """
    is_text = array.dtype.kind in "US"
    if is_text != (dtype == "string"):
        raise ModelInputError(
            f"{argument}: expected {dtype}, found {'strings' if is_text else array.dtype}"
            + (": encode them as numbers first" if is_text else "")
        )
    if is_text or array.dtype == dtype:
        return array
    if array.dtype.kind in "cmM":
        raise ModelInputError(
            f"{argument}: expected {dtype}, found {array.dtype}: make real numbers of them first"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # check_finite says it, with the argument
        return array.astype(dtype)


def check_finite(array: np.ndarray, argument: str) -> None:
    """Refuse NaN and infinity.

    oneDNN's ReLU turns a NaN into a zero in graph mode: the loss looks well while the weights of
    the first layer have become NaN. Nothing after this check would notice.

    Raises
    ------
    ModelInputError
        With the number of such values and the first row that has one.
    """
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if np.count_nonzero(finite) == finite.size:  # `all` takes three times as long
        return
    wrong = np.argwhere(~finite)
    raise ModelInputError(
        f"{argument} has {len(wrong)} value(s) that are NaN or infinite in {array.dtype}, the "
        f"first in row {wrong[0][0]}. Mend or drop these items, or set config['check_finite']=False"
    )


def check_rows(rows: Mapping[str, int]) -> int:
    """Return the number of rows that all arguments have.

    Raises
    ------
    ModelInputError
        If they differ.
    """
    counts = set(rows.values())
    if len(counts) > 1:
        found = ", ".join(f"{argument}: {count}" for argument, count in rows.items())
        raise ModelInputError(f"the arguments differ in their number of rows ({found})")
    return counts.pop()


def shape_text(shape: tuple[int | None, ...]) -> str:
    """Write the shape of a batch, its number of rows left open: ``(rows, 28, 28)``."""
    inner = ", ".join("any" if size is None else str(size) for size in shape)
    return f"(rows, {inner})" if shape else "(rows,)"


def _strings(array: np.ndarray, argument: str) -> np.ndarray:
    # pandas hands out its columns of strings as objects.
    if array.size and all(isinstance(each, str) for each in array.flat):
        return array.astype(str)
    found = type(array.flat[0]).__name__ if array.size else "nothing"
    raise ModelInputError(
        f"{argument} is an array of Python objects (the first is of type {found}). Convert it: "
        "np.stack for arrays of one shape, .astype('float32') for numbers"
    )
