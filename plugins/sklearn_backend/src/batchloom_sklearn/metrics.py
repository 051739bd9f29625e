"""Metrics by name: the functions of ``sklearn.metrics`` that compare targets and predictions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from batchloom.errors import UnknownNameError

_TARGETS = ("y_true", "labels_true")


def get_metric(name: str) -> Callable[[Any, Any], Any]:
    """Find a metric.

    Parameters
    ----------
    name : str
        A function of ``sklearn.metrics``, with or without its ending ``_score``:
        ``"accuracy_score"``, ``"accuracy"``, ``"mean_squared_error"``.

    Returns
    -------
    callable
        ``metric(y_true, y_pred)``.

    Raises
    ------
    UnknownNameError
        A ``LookupError`` with the nearest names.
    """
    known = _metrics()
    for each in (name, f"{name}_score"):
        if each in known:
            return known[each]
    raise UnknownNameError("metric of sklearn.metrics", name, metric_names())


def is_metric(name: str) -> bool:
    """Whether `get_metric` takes the name."""
    return name in _metrics() or f"{name}_score" in _metrics()


def metric_names() -> list[str]:
    """List the names that `get_metric` takes, in their shortest form."""
    return sorted(name.removesuffix("_score") for name in _metrics())


@cache
def _metrics() -> dict[str, Callable[[Any, Any], Any]]:
    import sklearn.metrics

    functions = {name: getattr(sklearn.metrics, name) for name in sklearn.metrics.__all__}
    return {name: each for name, each in functions.items() if _compares_predictions(each)}


def _compares_predictions(function: Any) -> bool:
    from inspect import isfunction, signature

    if not isfunction(function):
        return False
    return next(iter(signature(function).parameters), None) in _TARGETS
