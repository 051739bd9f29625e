"""What ``output=`` of train can ask for: the history of the rounds, the loss, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchloom.errors import ModelInputError, UnknownNameError
from batchloom_xgboost.parameters import Parameters

HISTORY = "history"


def check_asked(output: str | Sequence[str] | None, parameters: Parameters, *more: str) -> None:
    """Refuse an output that training will not have, before any work is done.

    ``"loss"`` is the metric that belongs to the objective, and there unless ``eval_metric`` asks
    for others; those have their own names, and a function of `eval_metric` its own.

    Raises
    ------
    UnknownNameError
        Naming what there is.
    """
    own = [parameters.metric_name] if parameters.metric_name else []
    known = [*more, *(parameters.metrics or ["loss"]), *own]
    if output is None:
        return
    for each in names_of(output):
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


def names_of(output: Any) -> Sequence[str]:
    """Return the names in an ``output``, of which there may be one or several.

    Raises
    ------
    ModelInputError
        If it is neither a name nor a list of names.
    """
    names = (output,) if isinstance(output, str) else output
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise ModelInputError(f"output={output!r} is no name, and no list of names")
    return names
