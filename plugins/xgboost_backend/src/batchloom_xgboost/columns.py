"""The columns of x: every batch must bring those of the first, in the same order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from batchloom.errors import ModelInputError, ModelNotBuiltError
from batchloom_xgboost.categories import CategoryTable

Features = Any  # ndarray or csr_matrix; SciPy brings no types

_TYPE_OF_KIND = {"b": "i", "i": "int", "u": "int", "f": "float"}


class Columns:
    """What x looks like, learned from the first batch; and x as the numbers XGBoost works with.

    Parameters
    ----------
    types : list of str, optional
        Types of an array's columns as in the library; ``"c"`` marks categories given as codes.
    enable_categorical : bool
        Whether a frame may bring categories.
    unseen : {"error", "missing"}
        What a category is, at prediction, that training never saw.
    """

    def __init__(
        self,
        types: list[str] | None = None,
        *,
        enable_categorical: bool = True,
        unseen: str = "error",
    ) -> None:
        self.count: int | None = None
        self.names: list[str] | None = None
        self.types = list(types) if types is not None else None
        self.sparse: bool | None = None
        self.tables: dict[int, CategoryTable] = {}
        self.enable_categorical = enable_categorical
        self.unseen = unseen

    @property
    def categories(self) -> dict[str, list[Any]]:
        """Categories of each categorical column, in the order of their codes."""
        names = self.names or [str(i) for i in range(self.count or 0)]
        return {names[i]: list(table.values) for i, table in sorted(self.tables.items())}

    def encode(self, x: Any, *, learn: bool) -> Features:
        """Check a batch's x and return it as numbers.

        Parameters
        ----------
        x : array, sparse matrix or frame, shape (n, columns)
        learn : bool
            Whether this is training: the first batch says what the columns are, and later ones may
            bring new categories.

        Returns
        -------
        ndarray or csr_matrix
            Of numbers of at most 4 bytes, since XGBoost itself works with float32.

        Raises
        ------
        ModelInputError
            If the columns differ from those of the first batch, or hold what is no number.
        """
        if self.count is None and not learn:
            raise ModelNotBuiltError("the model has not been trained yet: it has seen no columns")
        if hasattr(x, "to_pandas"):
            x = x.to_pandas()
        if hasattr(x, "iloc") and hasattr(x, "columns"):
            return self._encode_frame(x, learn)
        if self.names is not None:
            raise ModelInputError(
                f"x: the model was trained on named columns ({_some(self.names)}), and here comes "
                f"{type(x).__name__} without names. Give a frame with those columns"
            )
        values = compact(x)
        self._check_count(values.shape[1])
        self._check_layout(sparse.issparse(values))
        return values if self.sparse else self._check_codes(values, learn)

    def _encode_frame(self, frame: Any, learn: bool) -> NDArray[np.float32]:
        names = [str(name) for name in frame.columns]
        if self.count is None:
            self.names = checked_names(names)
            self.types = [self._type_of(frame, i, name) for i, name in enumerate(names)]
        self._check_count(len(names))
        self._check_layout(False)
        if self.names is not None and names != self.names:
            self._refuse_names(names)
        values = np.empty(frame.shape, np.float32)
        for i, name in enumerate(names):
            values[:, i] = self._encode_column(i, name, frame.iloc[:, i], learn)
        return values

    def _type_of(self, frame: Any, i: int, name: str) -> str:
        dtype = frame.dtypes.iloc[i]
        if dtype.name == "category":
            if not self.enable_categorical:
                raise ModelInputError(
                    f"x: column {name!r} holds categories, and enable_categorical is off"
                )
            self.tables[i] = CategoryTable()
            return "c"
        return _TYPE_OF_KIND.get(dtype.kind, "float")

    def _encode_column(self, i: int, name: str, column: Any, learn: bool) -> NDArray[np.float32]:
        categorical = column.dtype.name == "category"
        if categorical != (i in self.tables):
            was, now = ("numbers", "categories") if categorical else ("categories", "no category")
            raise ModelInputError(f"x: column {name!r} held {was} in training, and now {now}")
        if categorical:
            return self.tables[i].encode(
                name,
                column.cat.categories,
                column.cat.codes.to_numpy(),
                learn=learn,
                unseen=self.unseen,
            )
        if column.dtype.kind not in _TYPE_OF_KIND:
            raise ModelInputError(
                f"x: column {name!r} is of type {column.dtype}, not of numbers. "
                'Make it numbers, or categories with .astype("category")'
            )
        with np.errstate(over="ignore"):  # as in compact
            return column.to_numpy(dtype=np.float32, na_value=np.nan)

    def _check_count(self, count: int) -> None:
        if self.count is None:
            self.count = count
            if self.types is not None and len(self.types) != count:
                raise ModelInputError(
                    f"x: {count} columns, and feature_types names {len(self.types)}"
                )
        elif count != self.count:
            raise ModelInputError(f"x: {count} columns, and the first batch had {self.count}")

    def _check_layout(self, is_sparse: bool) -> None:
        # A zero that is not stored is a missing value to XGBoost, one in an array is a zero.
        if self.sparse is not None and self.sparse != is_sparse:
            was, now = ("sparse", "dense") if self.sparse else ("dense", "sparse")
            raise ModelInputError(f"x: {now}, and the first batch was {was}")
        self.sparse = is_sparse

    def _check_codes(self, values: NDArray[Any], learn: bool) -> NDArray[Any]:
        """Treat the codes in an array's categorical columns as categories of their own."""
        for i in (i for i, kind in enumerate(self.types or ()) if kind == "c"):
            table = self.tables.setdefault(i, CategoryTable())
            present = np.unique(values[:, i])
            present = present[~np.isnan(present)]
            places = np.arange(len(present))
            known = table.encode(str(i), present, places, learn=learn, unseen=self.unseen)
            if np.isnan(known).any():
                strange = np.isin(values[:, i], present[np.isnan(known)])
                values = values.astype(np.float32)  # a copy: the batch is not ours
                values[strange, i] = np.nan
        return values

    def _refuse_names(self, names: list[str]) -> None:
        assert self.names is not None
        if sorted(names) == sorted(self.names):
            fault = "the same columns in another order"
        else:
            lost = [name for name in self.names if name not in names]
            new = [name for name in names if name not in self.names]
            fault = f"columns lost: {_some(lost)}; new: {_some(new)}"
        raise ModelInputError(f"x: {fault}. Training was shown {_some(self.names)}, in this order")

    def state(self) -> dict[str, Any]:
        """Return what a file must keep."""
        return {
            "count": self.count,
            "names": self.names,
            "types": self.types,
            "sparse": self.sparse,
            "categories": {str(i): table.values for i, table in self.tables.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what a file kept."""
        self.count, self.names, self.types = state["count"], state["names"], state["types"]
        self.sparse = state["sparse"]
        self.tables = {int(i): CategoryTable(v) for i, v in state["categories"].items()}


def compact(x: Any) -> Features:
    """Return x as an array or CSR matrix, of numbers of at most 4 bytes; masked values are missing.

    Raises
    ------
    ModelInputError
        If it has not two dimensions, or holds no numbers.
    """
    if np.ma.is_masked(x):
        x = x.astype(np.float32).filled(np.nan)  # what lies under a mask is no value
    values = x.tocsr() if sparse.issparse(x) else np.asarray(x)
    if values.ndim != 2:
        raise ModelInputError(
            f"x: shape {values.shape}; XGBoost takes (rows, columns). Reshape each item to one row"
        )
    if values.dtype.kind not in _TYPE_OF_KIND:
        raise ModelInputError(
            f"x: of type {values.dtype}, not of numbers. Give numbers, or a frame with categories"
        )
    if sparse.issparse(values):
        return sparse.csr_matrix(values.astype(np.float32))
    if values.dtype.kind == "b":
        return values.view(np.uint8)
    if values.dtype.itemsize > 4:
        with np.errstate(over="ignore"):  # to infinity, which is refused where rows are read
            return values.astype(np.float32)
    return values


def checked_names(names: list[str]) -> list[str]:
    """Refuse names that XGBoost cannot take, or that occur twice."""
    if wrong := [name for name in names if set(name) & set("[]<")]:
        raise ModelInputError(f"x: XGBoost takes no column names with [, ] or <: {_some(wrong)}")
    if len(set(names)) < len(names):
        raise ModelInputError(f"x: columns of the same name: {_some(names)}")
    return names


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
