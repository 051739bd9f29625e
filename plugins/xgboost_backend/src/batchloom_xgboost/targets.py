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
_WHOLE = ("multi:", "rank:")


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
        )


def _range_of(objective: str, native: Mapping[str, Any]) -> tuple[float, float]:
    if objective.startswith("multi:"):
        return 0.0, float(native.get("num_class", 1)) - 1
    return _RANGES.get(objective, (-np.inf, np.inf))
