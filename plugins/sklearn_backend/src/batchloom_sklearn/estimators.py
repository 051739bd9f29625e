"""Making the estimator of a model: from its class and parameters, from steps, or from an object."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from batchloom.errors import ModelConfigError

from .resolver import find_estimator


def default_parameters(estimator_class: type) -> dict[str, Any]:
    """Give the parameters of a constructor with their defaults, in the order of its signature.

    A parameter without a default is ``...``.
    """
    from inspect import Parameter, signature

    kept = [
        each
        for each in list(signature(estimator_class.__init__).parameters.values())[1:]
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


def contradiction(estimator: Any, params: Mapping[str, Any]) -> str:
    """Say which plain parameter an estimator has another value of, or nothing.

    Arrays, estimators and None are not compared.
    """
    actual = estimator.get_params()
    for key, value in params.items():
        if not isinstance(value, (bool, int, float, str)) or key not in actual:
            continue
        if isinstance(actual[key], (bool, int, float, str)) and actual[key] != value:
            return f"the config says {key}={value!r}, and the file {key}={actual[key]!r}"
    return ""


def is_fitted(estimator: Any) -> bool:
    """Whether it can predict or transform; one that needs no fit always can."""
    if isinstance(estimator, Pipeline):
        return all(is_fitted(part) for part in parts(estimator))
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    # A Gaussian process predicts from its prior without a fit: nobody means that.
    return get_tags(estimator).requires_fit or needs_no_fit(estimator) or has_learned(estimator)


def needs_no_fit(estimator: Any) -> bool:
    """Whether it is a transformer that learns nothing, such as Normalizer."""
    return (
        not get_tags(estimator).requires_fit
        and hasattr(estimator, "transform")
        and not hasattr(estimator, "predict")
    )


def has_learned(estimator: Any) -> bool:
    """Whether anything was learned: an estimator that needs no fit has nothing to lose."""
    if isinstance(estimator, Pipeline):
        return any(has_learned(part) for part in parts(estimator))
    return any(
        name.endswith("_") and not name.startswith("__") for name in getattr(estimator, "__dict__", {})
    )


def parts(pipeline: Pipeline) -> list[Any]:
    """List the estimators of a pipeline, in order, without the steps that do nothing."""
    return [step for _, step in pipeline.steps if step is not None and step != "passthrough"]


def seed_random_states(estimator: Any, seed: int) -> None:
    """Give a fixed seed to every ``random_state`` that is None, nested ones too.

    The seeds are words drawn from ``numpy.random.SeedSequence(seed)``, one for each parameter in
    the alphabetical order of their names; a ``random_state`` that was given is left alone.
    """
    names = sorted(key for key in estimator.get_params() if _names_random_state(key))
    words = np.random.SeedSequence(seed).generate_state(max(len(names), 1))
    unset = {
        name: int(word)
        for name, word in zip(names, words, strict=False)
        if estimator.get_params()[name] is None
    }
    if unset:
        estimator.set_params(**unset)


def _names_random_state(key: str) -> bool:
    return key == "random_state" or key.endswith("__random_state")


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
    if isinstance(value, (type, BaseEstimator)) or hasattr(value, "get_params"):
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
