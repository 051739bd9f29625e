"""Rows of data as XGBoost takes them: x as numbers, and what goes with each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from batchloom.errors import ModelInputError
from batchloom_xgboost.columns import Features

# Arguments of train, and what a matrix of XGBoost calls them.
FIELDS = {
    "y": "label",
    "sample_weight": "weight",
    "base_margin": "base_margin",
    "qid": "qid",
    "label_lower_bound": "label_lower_bound",
    "label_upper_bound": "label_upper_bound",
}
_MAY_BE_INFINITE = ("label_upper_bound",)
_MAY_HAVE_COLUMNS = ("y", "base_margin")


@dataclass(frozen=True)
class Rows:
    """Some rows of data.

    Parameters
    ----------
    x : ndarray or csr_matrix, shape (n, columns)
    fields : dict of ndarray, each of length n
        By the names of a matrix: ``label``, ``weight``, ``base_margin``, ``qid``, ...
    """

    x: Features
    fields: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        x = [self.x.data, self.x.indices, self.x.indptr] if sparse.issparse(self.x) else [self.x]
        return sum(array.nbytes for array in (*x, *self.fields.values()))

    def take(self, which: NDArray[Any]) -> Rows:
        """Return a copy of some of the rows, chosen by places or by a mask."""
        return Rows(self.x[which], {name: values[which] for name, values in self.fields.items()})

    def copy(self) -> Rows:
        """Return a copy, independent of the batch that the rows came from."""
        return Rows(self.x.copy(), {name: each.copy() for name, each in self.fields.items()})

    def read(self) -> Rows:
        """Return the rows, which are here already."""
        return self

    def to_plain(self) -> dict[str, Any]:
        """Return the rows as plain data and arrays."""
        if not sparse.issparse(self.x):
            return {"x": self.x, "fields": self.fields}
        x = {each: getattr(self.x, each) for each in ("data", "indices", "indptr")}
        return {"x": {**x, "shape": tuple(self.x.shape)}, "fields": self.fields}

    @classmethod
    def from_plain(cls, kept: Mapping[str, Any]) -> Rows:
        """Make the rows that `to_plain` took apart."""
        x = kept["x"]
        if isinstance(x, dict):
            x = sparse.csr_matrix((x["data"], x["indices"], x["indptr"]), shape=x["shape"])
            x.check_format(full_check=True)  # an index that leads out of it would crash later
        if any(len(each) != x.shape[0] for each in kept["fields"].values()):
            raise ValueError("rows of unequal length")
        return cls(x, kept["fields"])


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Put rows together, in order."""
    if len(parts) == 1:
        return parts[0]
    xs = [part.x for part in parts]
    x = sparse.vstack(xs, format="csr") if sparse.issparse(xs[0]) else np.concatenate(xs)
    return Rows(x, joined_fields(parts))


def joined_fields(parts: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Put what goes with the rows together, in order."""
    names = parts[0].fields
    return {name: np.concatenate([part.fields[name] for part in parts]) for name in names}


def read_field(argument: str, values: Any, n: int) -> NDArray[Any]:
    """Check one argument of train that goes with the rows.

    Parameters
    ----------
    argument : str
        Its name.
    values : array_like, shape (n,) or (n, 1); ``y`` and ``base_margin`` also (n, k)
    n : int
        The number of rows of x.

    Raises
    ------
    ModelInputError
        If the shape is another, or the values are no (finite, for weights non-negative) numbers.
    """
    array = read_column(argument, values, n)
    if array.dtype.kind not in "biuf":
        raise ModelInputError(f"{argument}: of type {array.dtype}, not of numbers")
    if argument == "qid":
        return _read_qid(array)
    array = array.astype(np.float32, copy=False)
    check = np.isnan(array) if argument in _MAY_BE_INFINITE else ~np.isfinite(array)
    if check.any():
        place = tuple(int(i) for i in np.argwhere(check)[0])
        raise ModelInputError(f"{argument}: {array[place]} at row {place[0]} of the batch")
    if argument == "sample_weight" and (array < 0).any():
        raise ModelInputError(f"sample_weight: negative at row {int(np.argmax(array < 0))}")
    return array


def read_column(argument: str, values: Any, n: int) -> NDArray[Any]:
    """Return an argument as an array of one value a row, or of k where that is allowed."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 0 or len(array) != n:
        raise ModelInputError(f"{argument}: shape {array.shape}, and x has {n} rows")
    if array.ndim > (2 if argument in _MAY_HAVE_COLUMNS else 1):
        raise ModelInputError(f"{argument}: shape {array.shape}; give one value a row")
    return array


def refuse_infinite(x: Features, missing: float) -> None:
    """Refuse infinite values in x, as XGBoost would once everything is gathered."""
    values = x.data if sparse.issparse(x) else x
    if values.dtype.kind != "f" or np.isinf(missing):
        return
    # The sum is finite if all are, and takes no second array; NaN is a missing value.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(values.sum()) or not np.isinf(values).any():
            return
    raise ModelInputError("x: holds infinite values, or ones that float32 cannot hold")


def _read_qid(array: NDArray[Any]) -> NDArray[Any]:
    whole = array.dtype.kind in "biu" or bool((array == np.floor(array)).all())
    if not whole or (len(array) and (array.min() < 0 or array.max() >= 2**32)):
        raise ModelInputError("qid: query numbers are whole numbers from 0 to 2**32 - 1")
    return array.astype(np.uint32)
