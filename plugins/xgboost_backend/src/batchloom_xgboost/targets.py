"""Which labels an objective can be trained on, checked batch by batch.

XGBoost itself checks when training begins, where nobody can say any more which batch was wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom.errors import ModelInputError

_UNIT = (0.0, 1.0)
_NOT_NEGATIVE = (0.0, np.inf)
# Lowest and highest label of each objective, from the checks in the library's src/objective.
_RANGES = {
    "binary:logistic": _UNIT,
    "binary:logitraw": _UNIT,
    "binary:hinge": _UNIT,
    "reg:logistic": _UNIT,
    "count:poisson": _NOT_NEGATIVE,
    "reg:gamma": _NOT_NEGATIVE,
    "reg:tweedie": _NOT_NEGATIVE,
    "reg:squaredlogerror": (np.nextafter(np.float32(-1), np.float32(0)), np.inf),
    "rank:ndcg": _NOT_NEGATIVE,
    "rank:map": _UNIT,
    "rank:pairwise": _NOT_NEGATIVE,
}
# What multi: objectives are given until the classes are known; the library takes no less.
UNSTATED = 1
_WHOLE = ("multi:", "rank:")
# The gain of a row is 2**label - 1, which the library keeps in 32 bits.
_MOST_RELEVANT = 31.0


def check_labels(labels: NDArray[Any], native: Mapping[str, Any]) -> None:
    """Refuse labels that the objective cannot be trained on.

    Parameters
    ----------
    labels : ndarray of float32
    native : mapping
        Parameters of the booster: ``objective`` and ``num_class``.

    Raises
    ------
    ModelInputError
        If a label is out of range, or no whole number where that is asked for.
    """
    objective = str(native.get("objective", "reg:squarederror"))
    low, high = _range_of(objective, native)
    wrong = (labels < low) | (labels > high)
    if objective.startswith(_WHOLE):
        wrong |= labels != np.floor(labels)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        whole = "whole " if objective.startswith(_WHOLE) else ""
        raise ModelInputError(
            f"y: {labels[place]:g} at row {place[0]} of the batch. "
            f"{objective} takes {whole}numbers from {low:g} to {high:g}"
            + (", and higher ones with ndcg_exp_gain=False" if high == _MOST_RELEVANT else "")
        )


def check_bounds(lower: NDArray[Any], upper: NDArray[Any]) -> None:
    """Refuse spans of survival that are none; the library takes logarithms of them as they are.

    Raises
    ------
    ModelInputError
        With the first row that is wrong.
    """
    wrong = (lower < 0) | (lower > upper)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ModelInputError(
            f"label_lower_bound: {lower[row]:g} at row {row} of the batch, and label_upper_bound "
            f"{upper[row]:g}. Times run from 0 on, and end where they began or later"
        )


def check_num_class(count: int, native: Mapping[str, Any]) -> None:
    """Refuse a number of classes that is not that of the labels; the library would pass over it.

    Raises
    ------
    ModelInputError
        With both numbers.
    """
    stated = int(native.get("num_class", UNSTATED))
    if stated not in (UNSTATED, count):
        raise ModelInputError(
            f"y: {count} classes, and num_class={stated}. Leave num_class out: classes are counted; those "
            'that may be missing are named by config={"classes": [...]}'
        )


def _gains_exponentially(native: Mapping[str, Any]) -> bool:
    return str(native.get("ndcg_exp_gain", True)).lower() in ("true", "1")


def _range_of(objective: str, native: Mapping[str, Any]) -> tuple[float, float]:
    if objective.startswith("multi:"):
        return 0.0, float(native.get("num_class", 1)) - 1
    if objective == "rank:ndcg" and _gains_exponentially(native):
        return 0.0, _MOST_RELEVANT
    return _RANGES.get(objective, (-np.inf, np.inf))
