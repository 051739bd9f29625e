"""Making the estimator of a model: from its class and parameters, from steps, or from an object."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from batchloom.errors import ModelConfigError

from .estimators import has_learned
from .resolver import find_estimator


def default_parameters(estimator_class: type) -> dict[str, Any]:
    """Give the parameters of a constructor with their defaults, in the order of its signature.

    A parameter without a default is ``...``.
    """
    kept = [
        each
        for each in signature(estimator_class).parameters.values()
        if each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    return {each.name: ... if each.default is Parameter.empty else each.default for each in kept}


def make(estimator_class: type, params: Mapping[str, Any]) -> Any:
    """Construct an estimator.

    Parameters
    ----------
    estimator_class : type
        A class with scikit-learn's constructor conventions.
    params : mapping
        Constructor parameters; ``step__parameter`` reaches into a part. A value of the form
        ``{"class": "SGDClassifier", "params": {...}}`` is made into that estimator.

    Raises
    ------
    ModelConfigError
        A parameter is missing, unknown or names an estimator that there is not.
    """
    direct = {key: _value(key, each) for key, each in params.items() if "__" not in key}
    try:
        estimator = estimator_class(**direct)
    except TypeError as exc:
        raise ModelConfigError(f"{estimator_class.__name__} cannot be made: {exc}") from exc
    return with_parameters(estimator, {key: params[key] for key in params if "__" in key})


def own_copy(estimator: Any) -> Any:
    """Copy a given estimator: with what it has learned if it is fitted, else as a fresh clone.

    A class is constructed with its defaults.
    """
    if isinstance(estimator, type):
        return make(estimator, {})
    missing = [name for name in ("fit", "get_params") if not hasattr(estimator, name)]
    if missing:
        raise ModelConfigError(
            f"config['estimator'] is {estimator!r}, which has no {missing[0]}(): it has to be a "
            "scikit-learn estimator, an object or a class"
        )
    return copy.deepcopy(estimator) if has_learned(estimator) else clone(estimator)


def with_parameters(estimator: Any, params: Mapping[str, Any]) -> Any:
    """Set parameters on an estimator of ours and return it.

    Raises
    ------
    ModelConfigError
        If it has no such parameter.
    """
    if not params:
        return estimator
    try:
        return estimator.set_params(**{key: _value(key, each) for key, each in params.items()})
    except ValueError as exc:
        raise ModelConfigError(str(exc)) from exc


def _value(key: str, value: Any) -> Any:
    if key == "steps" or key.endswith("__steps"):
        return _steps(value)
    if _is_description(value) or (hasattr(value, "get_params") and not isinstance(value, type)):
        return from_description(value)
    # Estimators stand in lists too, and setting their random states must not reach the user's own.
    return copy.deepcopy(value) if isinstance(value, (list, tuple)) else value


def _is_description(value: Any) -> bool:
    return isinstance(value, Mapping) and "class" in value and set(value) <= {"class", "params"}


def from_description(value: Any) -> Any:
    """Make an estimator from its name, its class, or a dict of ``class`` and ``params``.

    An object stays what it is, copied.

    Raises
    ------
    ModelConfigError
        There is no such estimator.
    """
    if _is_description(value):
        found = value["class"]
        estimator_class = _named(found) if isinstance(found, str) else found
        return make(estimator_class, value.get("params") or {})
    if isinstance(value, str):
        return make(_named(value), {})
    if isinstance(value, type) or hasattr(value, "get_params"):
        return own_copy(value)
    raise ModelConfigError(
        f"{value!r} is no estimator: give a name ('StandardScaler'), an object, a class or "
        "{'class': name, 'params': {...}}"
    )


def _named(name: str) -> type:
    try:
        return find_estimator(name.removeprefix("sklearn/"))
    except LookupError as exc:
        raise ModelConfigError(str(exc)) from exc


def _steps(steps: Any) -> list[tuple[str, Any]]:
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not steps:
        raise ModelConfigError(
            "steps is a list of estimators or of (name, estimator) pairs, such as "
            f"[('scaler', 'StandardScaler'), ('clf', 'SGDClassifier')]; got {steps!r}"
        )
    if all(_is_pair(step) for step in steps):
        return [(name, _step(each)) for name, each in steps]
    return make_pipeline(*[_step(each) for each in steps]).steps


def _is_pair(step: Any) -> bool:
    return isinstance(step, (tuple, list)) and len(step) == 2 and isinstance(step[0], str)


def _step(value: Any) -> Any:
    return value if value is None or value == "passthrough" else from_description(value)
