"""Checks of a batch before an estimator sees it, and what they spare scikit-learn to check again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from inspect import Parameter, signature
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from batchloom.errors import ModelInputError

from .estimators import parts


class Samples(NamedTuple):
    """One batch that was checked.

    Attributes
    ----------
    x : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
    sample_weight : array-like of shape (n_samples,) or None
    checked : bool
        Whether everything that scikit-learn's own input check looks for has been looked at.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    checked: bool = False

    def __len__(self) -> int:
        return n_rows(self.x)

    def trusted(self, parameters: bool = True) -> AbstractContextManager[Any]:
        """Spare scikit-learn the checks that were made, which are much of the time of a small batch.

        Parameters
        ----------
        parameters : bool
            Whether the estimator's parameters have been validated too.
        """
        if not self.checked:
            return nullcontext()
        return config_context(assume_finite=True, skip_parameter_validation=parameters)


class InputCheck:
    """What one estimator takes, and the check of a batch against it.

    Parameters
    ----------
    estimator : estimator
    """

    def __init__(self, estimator: Any) -> None:
        self.title = type(estimator).__name__
        self.is_numeric = _takes_numbers_only(estimator)
        self.is_plain = _has_no_parts(estimator)
        tags = get_tags(estimator)
        self.needs_y = tags.target_tags.required
        self.is_regressor = tags.estimator_type == "regressor"

    def __call__(self, x: Any, y: Any = None, sample_weight: Any = None) -> Samples:
        """Check a batch.

        Parameters
        ----------
        x : array-like of shape (n_samples, n_features)
            As the estimator takes it: arrays, sparse matrices, data frames, for vectorizers texts.
        y : array-like of shape (n_samples,), (n_samples, 1) or (n_samples, n_outputs), optional
            One column is taken for a vector.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        Samples

        Raises
        ------
        ModelInputError
            Texts where numbers are needed, masked values, more than two dimensions, or unequal lengths.
        """
        x, y, sample_weight = _plain("x", x), _plain("y", y), _plain("sample_weight", sample_weight)
        if self.is_numeric:
            self._check_features(x)
        y = _as_vector(y)
        self._check_target(y)
        _check_lengths({"x": x, "y": y, "sample_weight": sample_weight})
        return Samples(x, y, sample_weight, self._is_checked(x, y, sample_weight))

    def for_training(self, x: Any, y: Any = None, sample_weight: Any = None) -> Samples:
        """Check a batch to learn from: supervised estimators need `y`.

        Raises
        ------
        ModelInputError
        """
        if self.needs_y and y is None:
            raise ModelInputError(
                f"{self.title} learns from labels or targets: give them as y=, as in "
                "train_model(..., x='images', y='labels')"
            )
        return self(x, y, sample_weight)

    def _check_features(self, x: Any) -> None:
        texts = columns_of_text(x)
        if texts:
            raise ModelInputError(
                f"x holds texts ({texts}), and {self.title} computes with numbers: scikit-learn would "
                "read '1.5' as 1.5 without a word. Convert them in an action (x.astype(float)), or "
                "encode categories (sklearn/OneHotEncoder)"
            )
        shape = np.shape(x) if isinstance(x, (np.ndarray, list)) else getattr(x, "shape", ())
        if len(shape) not in (0, 2):
            flat = (shape[0], int(np.prod(shape[1:])))
            raise ModelInputError(
                f"x has the shape {tuple(shape)}, and {self.title} takes (n_samples, n_features). "
                f"Reshape it to {flat} in an action"
            )

    def _check_target(self, y: Any) -> None:
        if self.is_regressor and y is not None and columns_of_text(y):
            raise ModelInputError(
                f"y holds texts, and {self.title} is a regressor. Convert it in an action"
            )

    def _is_checked(self, x: Any, y: Any, sample_weight: Any) -> bool:
        if not self.is_plain or not self.is_numeric or get_config()["assume_finite"]:
            return False
        return (
            _is_finite_array(x, 2)
            and (y is None or _is_finite_array(y, 1) or _is_labels(y, self.is_regressor))
            and (sample_weight is None or _is_finite_array(sample_weight, 1))
        )


def check_weights(estimator: Any, method_name: str, sample_weight: Any) -> None:
    """Refuse sample weights that an estimator, or the last step of a pipeline, does not learn with.

    Raises
    ------
    ModelInputError
    """
    if sample_weight is None:
        return
    learner = parts(estimator)[-1] if isinstance(estimator, Pipeline) else estimator
    method = getattr(learner, method_name, None)
    if method is None or not takes_argument(method, "sample_weight"):
        raise ModelInputError(
            f"{type(learner).__name__}.{method_name} takes no sample_weight. Leave it out, or use an "
            "estimator that weighs its samples"
        )


def takes_argument(method: Any, name: str) -> bool:
    """Whether a method has an argument of that name, or hands any keyword on."""
    parameters = signature(method).parameters
    return name in parameters or any(
        each.kind is Parameter.VAR_KEYWORD for each in parameters.values()
    )


def n_rows(data: Any) -> int:
    """Count the samples in an array, a sparse matrix, a data frame or a list."""
    shape = getattr(data, "shape", None)
    return int(shape[0]) if shape else len(data)


def columns_of_text(data: Any) -> str:
    """Say which part of the data is text: the names of columns, a dtype, or nothing."""
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        found = [
            str(name)
            for number, (name, dtype) in enumerate(zip(data.columns, data.dtypes, strict=True))
            if _is_text_column(data, number, str(dtype))
        ]
        return "columns " + ", ".join(found[:5]) if found else ""
    if sparse.issparse(data):
        return ""
    return f"dtype {np.asarray(data).dtype}" if _is_text_array(data) else ""


def _is_text_column(table: Any, number: int, dtype: str) -> bool:
    # Some estimators take categories as they are, and the others refuse them.
    if dtype.lower() == "object":
        column = table.iloc[:, number] if hasattr(table, "iloc") else table[:, number]
        return _is_text_array(np.asarray(column, dtype=object))
    return dtype.lower().startswith(("str", "large_string"))


def _is_text_array(data: Any) -> bool:
    values = np.asarray(data)
    if values.dtype.kind in "USTa":
        return True
    return values.dtype == object and any(isinstance(each, (str, bytes)) for each in values.flat)


def _takes_numbers_only(estimator: Any) -> bool:
    if isinstance(estimator, Pipeline):
        first = next(iter(parts(estimator)), None)
        return first is not None and _takes_numbers_only(first)
    if not _has_no_parts(estimator):
        inner = getattr(estimator, "estimator", None)
        return isinstance(inner, BaseEstimator) and _takes_numbers_only(inner)
    tags = get_tags(estimator)
    takes = tags.input_tags
    # Imputers of a constant or of the most frequent value fill in texts too, which no tag says.
    fills_in_texts = getattr(estimator, "strategy", None) in ("constant", "most_frequent")
    other = takes.string or takes.categorical or takes.dict or tags.no_validation or fills_in_texts
    return takes.two_d_array and not other and not hasattr(estimator, "func")


def _has_no_parts(estimator: Any) -> bool:
    values: Mapping[str, Any] = estimator.get_params(deep=False)
    return not any(
        isinstance(each, (list, tuple)) or hasattr(each, "get_params") for each in values.values()
    )


def _plain(argument: str, data: Any) -> Any:
    """Give a masked or an Arrow array as a plain one, a pandas array or index as a series."""
    if isinstance(data, np.ma.MaskedArray):
        if np.ma.is_masked(data):
            raise ModelInputError(
                f"{argument} has masked values, and scikit-learn would compute with what lies under the "
                "mask. Fill them in an action, as in x.filled(np.nan), or leave those rows out"
            )
        return data.data
    if type(data).__module__.startswith("pyarrow") and not hasattr(data, "column_names"):
        return np.asarray(data)
    if type(data).__module__.startswith("pandas") and not hasattr(data, "iloc"):
        return sys.modules["pandas"].Series(data)
    return data


def _as_vector(y: Any) -> Any:
    shape: tuple[int, ...] = getattr(y, "shape", ())
    if len(shape) != 2 or shape[1] != 1 or sparse.issparse(y):
        return y
    return np.asarray(y).ravel()


def _check_lengths(data: Mapping[str, Any]) -> None:
    for name, each in data.items():
        if each is not None and not getattr(each, "shape", hasattr(each, "__len__")):
            raise ModelInputError(f"{name} is {each!r}, a single value: it takes one for each row")
    lengths = {name: n_rows(each) for name, each in data.items() if each is not None}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ModelInputError(f"the arguments differ in their number of rows: {shown}")


def _is_finite_array(data: Any, ndim: int) -> bool:
    if not isinstance(data, np.ndarray) or data.ndim != ndim or not data.size:
        return False
    if data.dtype.kind in "iub":
        return True
    if data.dtype.kind != "f":
        return False
    # A finite sum has finite terms; an overflow is looked at more closely.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(data.sum()) or np.isfinite(data).all())


def _is_labels(y: Any, is_regressor: bool) -> bool:
    return isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "U" and not is_regressor
