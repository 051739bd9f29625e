"""What ``output=`` of train can ask for: the history of the rounds, the loss, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchloom.errors import UnknownNameError
from batchloom_xgboost.parameters import Parameters

HISTORY = "history"


def check_asked(output: str | Sequence[str] | None, parameters: Parameters, *more: str) -> None:
    """Refuse an output that training will not have, before any work is done.

    ``"loss"`` is the metric that belongs to the objective, and there unless ``eval_metric`` asks
    for others; those have their own names.

    Raises
    ------
    UnknownNameError
        Naming what there is.
    """
    known = [*more, *(parameters.metrics or ["loss"])]
    for each in _names(output):
        if each not in known:
            raise UnknownNameError("output", each, known, where="of train")


def pick(output: str | Sequence[str], values: Mapping[str, Any]) -> Any:
    """Return the values asked for: one for a name, a list for several.

    Parameters
    ----------
    output : str or sequence of str
    values : mapping
        Metrics by name. The first is the objective's own, if none was asked for.
    """
    named = {"loss": next(iter(values.values())), **values}
    if isinstance(output, str):
        return named[output]
    return [named[each] for each in output]


def _names(output: str | Sequence[str] | None) -> Sequence[str]:
    if output is None:
        return ()
    return (output,) if isinstance(output, str) else output
