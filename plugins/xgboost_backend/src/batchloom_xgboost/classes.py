"""The labels of a classifier, and the codes 0 to k - 1 that XGBoost asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom.errors import ModelInputError
from batchloom_xgboost.categories import plain


class Classes:
    """The classes of a classifier: numbers, truth values or strings.

    While data is gathered, a label's code is its place in the order of first appearance. Trees are
    trained on places in the sorted order, so that they do not depend on the order of the data.

    Parameters
    ----------
    labels : array_like, optional
        All labels there are, if that is known beforehand: others are then an error.
    """

    def __init__(self, labels: Any = None) -> None:
        self._code_of: dict[Any, int] = {}
        self._dtype: np.dtype[Any] | None = None
        self.fixed = labels is not None
        if self.fixed:
            self._learn(np.unique(_as_labels(labels)))

    @property
    def values(self) -> NDArray[Any]:
        """The labels, sorted, in their own type."""
        return np.array(sorted(self._code_of), dtype=self._dtype)

    @property
    def order(self) -> NDArray[np.float32]:
        """The place in the sorted order of each code."""
        order = np.empty(len(self._code_of), np.float32)
        order[[self._code_of[plain(value)] for value in self.values]] = np.arange(len(order))
        return order

    def encode(self, y: NDArray[Any], *, learn: bool) -> NDArray[np.float32]:
        """Return the codes of labels.

        Raises
        ------
        ModelInputError
            If y holds a class that is not known and is not to be learned, or what is no label.
        """
        if y.ndim != 1:
            raise ModelInputError(
                f"y: shape {y.shape}; a classifier takes one label a row. For several targets, "
                "use xgboost/Booster with a binary objective"
            )
        present, inverse = np.unique(_as_labels(y), return_inverse=True)
        if learn and not self.fixed:
            self._learn(present)
        strange = [value for value in present.tolist() if value not in self._code_of]
        if strange:
            raise ModelInputError(f"y: the labels {strange[:5]} are none of {self.values.tolist()}")
        codes = np.array([self._code_of[value] for value in present.tolist()], np.float32)
        return codes[inverse]

    def _learn(self, present: NDArray[Any]) -> None:
        if self._dtype is not None and (present.dtype.kind == "U") != (self._dtype.kind == "U"):
            raise ModelInputError("y: strings in one batch and numbers in another")
        self._dtype = np.result_type(self._dtype or present.dtype, present.dtype)
        for value in present.tolist():
            self._code_of.setdefault(value, len(self._code_of))

    def state(self) -> dict[str, Any]:
        """Return what a file must keep."""
        return {"values": self.values.tolist(), "dtype": self.values.dtype.str}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Classes:
        """Make the classes that a file kept."""
        return cls(np.array(state["values"], dtype=np.dtype(state["dtype"])))

    def codes(self) -> dict[str, Any]:
        """Return the labels in the order of their codes, for data that was encoded with them."""
        dtype = None if self._dtype is None else self._dtype.str
        return {"labels": list(self._code_of), "dtype": dtype}

    def restore_codes(self, kept: dict[str, Any]) -> None:
        """Take over what `codes` gave."""
        self._code_of = {plain(label): code for code, label in enumerate(kept["labels"])}
        self._dtype = None if kept["dtype"] is None else np.dtype(kept["dtype"])


def _as_labels(y: Any) -> NDArray[Any]:
    labels = np.asarray(y)
    if labels.dtype.kind == "O":
        kinds = {type(value) for value in labels.tolist()}
        if not all(issubclass(kind, str) for kind in kinds):
            names = sorted(kind.__name__ for kind in kinds)
            raise ModelInputError(f"y: labels of the types {', '.join(names)}; give one type")
        labels = labels.astype(str)
    if labels.dtype.kind not in "biufU":
        raise ModelInputError(f"y: labels of type {labels.dtype}; give numbers or strings")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ModelInputError("y: a label is missing (NaN) or infinite")
    return labels
