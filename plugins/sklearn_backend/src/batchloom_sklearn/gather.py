"""Rows kept from batch to batch, within bounds, until an estimator is fitted on all of them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from batchloom.errors import ModelInputError

from .inputs import Samples

ARGUMENTS = ("x", "y", "sample_weight")


class Gathered:
    """Copies of the batches seen so far.

    Parameters
    ----------
    title : str
        The estimator's class name, for messages.
    max_rows, max_bytes : int or None
        How much may be kept; None for any amount.
    """

    def __init__(self, title: str, max_rows: int | None, max_bytes: int | None) -> None:
        self.title = title
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.n_rows = 0
        self.n_bytes = 0
        self._batches: list[Samples] = []

    def __len__(self) -> int:
        return self.n_rows

    def check(self, samples: Samples) -> None:
        """Refuse a batch that differs in kind from the first one, or passes a bound.

        Raises
        ------
        ModelInputError
        """
        if self._batches:
            first = self._batches[0]
            for name in ARGUMENTS:
                _check_alike(name, getattr(first, name), getattr(samples, name))
        self._check_bound("rows", "max_rows", self.n_rows + len(samples), self.max_rows)
        self._check_bound("bytes", "max_bytes", self.n_bytes + _size(samples), self.max_bytes)

    def add(self, samples: Samples) -> None:
        """Keep a copy of a batch: the batch itself may be a view, or be used again."""
        self._batches.append(Samples(*[copied(getattr(samples, name)) for name in ARGUMENTS]))
        self.n_rows += len(samples)
        self.n_bytes += _size(samples)

    def drain(self) -> Samples:
        """Put the batches together and let go of them one by one.

        Arrays are moved into one that was allocated for all, so that they are never held twice.
        """
        batches, self._batches = self._batches, []
        self.n_rows = self.n_bytes = 0
        columns = [[getattr(batch, name) for batch in batches] for name in ARGUMENTS]
        batches.clear()
        return Samples(*[joined(column) for column in columns])

    def together(self) -> Samples | None:
        """Put copies of the batches together, and keep them; None if there are none."""
        if not self._batches:
            return None
        columns = [[getattr(batch, name) for batch in self._batches] for name in ARGUMENTS]
        return Samples(*[joined(column) for column in columns])

    def restore(self, samples: Samples, n_bytes: int) -> None:
        """Keep what was put together before, and was counted as so many bytes."""
        self._batches, self.n_rows, self.n_bytes = [samples], len(samples), n_bytes

    def _check_bound(self, unit: str, key: str, amount: int, most: int | None) -> None:
        if most is not None and amount > most:
            raise ModelInputError(
                f"{self.title} gathers all batches of an epoch before it is fitted, and with this batch "
                f"that is {amount} {unit}, more than {key}={most}. Raise {key} in the model's config "
                "(None for no bound), give it fewer rows or smaller types (float32), or take an "
                "estimator that learns batch by batch, such as sklearn/SGDClassifier"
            )


def copied(data: Any) -> Any:
    """Copy an array, a sparse matrix, a data frame or a list."""
    if data is None:
        return None
    if isinstance(data, np.ndarray):
        return np.array(data, copy=True)
    if library(data) == "polars":
        return data.clone()
    if library(data) == "pyarrow":
        return data  # nobody can change it
    return data.copy() if hasattr(data, "copy") else copy.copy(data)


def joined(batches: list[Any]) -> Any:
    """Put the pieces of one argument together, in order; arrays are taken out of the list.

    Sparse matrices keep their format, data frames their dtypes and the union of their categories.
    """
    if batches[0] is None:
        return None
    return _way_to_join(batches[0])(batches)


def library(data: Any) -> str:
    """Name the top-level package of an object's class."""
    return type(data).__module__.partition(".")[0]


def _way_to_join(first: Any) -> Callable[[list[Any]], Any]:
    if sparse.issparse(first):
        return _join_sparse
    if library(first) == "pandas":
        return _join_pandas
    if library(first) == "polars":
        return _join_polars
    if library(first) == "pyarrow":
        return _join_arrow
    return _join_arrays if isinstance(first, np.ndarray) else _join_lists


def _join_arrays(batches: list[np.ndarray]) -> np.ndarray:
    rows = sum(len(each) for each in batches)
    dtype = np.result_type(*{each.dtype for each in batches})
    whole = np.empty((rows, *batches[0].shape[1:]), dtype=dtype)
    batches.reverse()
    start = 0
    while batches:
        piece = batches.pop()
        whole[start : start + len(piece)] = piece
        start += len(piece)
    return whole


def _join_sparse(batches: list[Any]) -> Any:
    return sparse.vstack(batches, format=batches[0].format)


def _join_pandas(batches: list[Any]) -> Any:
    import pandas as pd

    whole = pd.concat(batches)
    if whole.ndim == 1:
        return _with_categories(whole, batches)
    for name in whole.columns:
        whole[name] = _with_categories(whole[name], [each[name] for each in batches])
    return whole


def _with_categories(whole: Any, pieces: list[Any]) -> Any:
    import pandas as pd

    if str(whole.dtype) == "category" or str(pieces[0].dtype) != "category":
        return whole
    union = pd.api.types.union_categoricals(pieces)
    return pd.Series(union, index=whole.index, name=whole.name)


def _join_polars(batches: list[Any]) -> Any:
    import polars as pl

    is_series = isinstance(batches[0], pl.Series)
    return pl.concat(batches, how="vertical" if is_series else "vertical_relaxed")


def _join_arrow(batches: list[Any]) -> Any:
    import pyarrow as pa

    return pa.concat_tables(batches, promote_options="permissive")


def _join_lists(batches: list[Any]) -> list[Any]:
    return [each for batch in batches for each in batch]


def _check_alike(name: str, first: Any, other: Any) -> None:
    if type(first) is not type(other):
        raise ModelInputError(
            f"{name} is {_kind(other)} in this batch and was {_kind(first)} in the first one: the "
            "batches of an epoch are put together, so all have to be of one kind"
        )
    if hasattr(first, "columns"):
        _check_columns(name, _column_names(first), _column_names(other))
        for column in first.columns if library(first) == "pandas" else ():
            _check_categories(f"{name}[{column!r}]", first[column].dtype, other[column].dtype)
    elif isinstance(first, np.ndarray) or sparse.issparse(first):
        _check_arrays(name, first, other)


def _column_names(table: Any) -> list[Any]:
    return list(getattr(table, "column_names", table.columns))  # Arrow's columns are the data


def _check_columns(name: str, first: list[Any], other: list[Any]) -> None:
    if first == other:
        return
    missing = [each for each in first if each not in other]
    added = [each for each in other if each not in first]
    what = f"missing: {missing}, new: {added}" if missing or added else f"their order is {other}"
    raise ModelInputError(
        f"the columns of {name} are not those of the first batch, {first} ({what}). Choose them in the "
        "same order in every batch"
    )


def _check_categories(name: str, first: Any, other: Any) -> None:
    categorical = str(first) == "category"
    if categorical != (str(other) == "category") or (
        categorical and first.ordered and first != other
    ):
        raise ModelInputError(
            f"{name} is of dtype {other!r} in this batch and was {first!r} in the first one. Give the "
            "column its categories where the data come from, the same for all batches"
        )


def _check_arrays(name: str, first: Any, other: Any) -> None:
    if first.shape[1:] != other.shape[1:]:
        raise ModelInputError(
            f"the rows of {name} have the shape {other.shape[1:]} in this batch and had "
            f"{first.shape[1:]} in the first one"
        )
    if _is_number(first.dtype) != _is_number(other.dtype):
        raise ModelInputError(
            f"{name} is of dtype {other.dtype} in this batch and was {first.dtype} in the first one"
        )


def _is_number(dtype: Any) -> bool:
    return dtype.kind in "biufc"


def _kind(data: Any) -> str:
    return "not given" if data is None else f"a {type(data).__module__}.{type(data).__qualname__}"


def _size(samples: Samples) -> int:
    return sum(_n_bytes(getattr(samples, name)) for name in ARGUMENTS)


def _n_bytes(data: Any) -> int:
    if data is None:
        return 0
    if sparse.issparse(data):
        arrays = (getattr(data, name, None) for name in ("data", "indices", "indptr", "row", "col"))
        return sum(each.nbytes for each in arrays if isinstance(each, np.ndarray))
    if library(data) == "pandas":
        return int(np.sum(data.memory_usage(deep=True)))
    if library(data) == "polars":
        return int(data.estimated_size())
    if isinstance(data, np.ndarray) or library(data) == "pyarrow":
        return int(data.nbytes)
    return sum(sys.getsizeof(each) for each in data)
