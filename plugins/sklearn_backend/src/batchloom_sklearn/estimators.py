"""What is known of an estimator from the outside: its parts, and whether it has learned anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted


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
        name.endswith("_") and not name.startswith("__")
        for name in getattr(estimator, "__dict__", {})
    )


def parts(pipeline: Pipeline) -> list[Any]:
    """List the estimators of a pipeline, in order, without the steps that do nothing."""
    return [step for _, step in pipeline.steps if step is not None and step != "passthrough"]
