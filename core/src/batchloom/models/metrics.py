"""Metrics by name, from the packages that provide them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchloom.errors import AmbiguousModelError, UnknownNameError
from batchloom.models import entries as installed
from batchloom.models.entries import Entry

GROUP = "batchloom.metrics"
Metric = Callable[[Any, Any], Any]


def get_metric(name: str) -> Metric:
    """Return a metric by name.

    Parameters
    ----------
    name : str
        ``"accuracy_score"``, or with its provider ``"sklearn/accuracy_score"``.

    Returns
    -------
    callable
        ``metric(y_true, y_pred)``.

    Raises
    ------
    UnknownNameError
        If no installed package provides it; the provider's nearest names are in the message.
    AmbiguousModelError
        If two providers have it; write it with its provider.
    """
    provider, slash, rest = name.rpartition("/")
    asked = [each for each in _providers() if not slash or each.key == provider]
    found: dict[str, Metric] = {}
    refusals: list[LookupError] = []
    for entry in asked:
        try:
            found[entry.owner] = installed.load(entry)(rest)
        except LookupError as exc:
            refusals.append(exc)
    if len(found) > 1:
        raise AmbiguousModelError(
            f"more than one package provides the metric {name!r}: {', '.join(found)}. "
            "Write it as 'provider/name'"
        )
    if found:
        return next(iter(found.values()))
    raise _unknown(name, refusals)


def _providers() -> list[Entry]:
    return [each for each in installed.entries(GROUP) if installed.disabled_by(each) is None]


def _unknown(name: str, refusals: list[LookupError]) -> UnknownNameError:
    known = [each for exc in refusals for each in getattr(exc, "known", ())]
    others = [str(exc) for exc in refusals if not getattr(exc, "known", ())]
    hint = "; ".join(others) or "Give a function f(y_true, y_pred) for any other"
    if not refusals:
        off = installed.switched_off(GROUP, {each.key for each in installed.entries(GROUP)})
        hint = "Give a function f(y_true, y_pred)" + (
            f": {off}"
            if off
            else ", or install a package that provides metrics: pip install batchloom-sklearn"
        )
    return UnknownNameError("metric", name, known, hint=hint)
