"""Learning batch by batch: which estimators can, and how one, or a pipeline of them, is driven."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

from sklearn.feature_selection import SelectFromModel
from sklearn.pipeline import Pipeline

from batchloom.errors import ModelConfigError, ModelInputError

from .estimators import has_learned, needs_no_fit, parts

# What the first call of partial_fit needs at least as many rows as: class -> parameter.
_FIRST_BATCH = {"MiniBatchKMeans": "n_clusters", "IncrementalPCA": "n_components"}

# What these transform into changes its number of columns while they learn.
_UNSTEADY = ("Birch", "SelectFromModel")


def obstacle(estimator: Any) -> str | None:
    """Say why an estimator cannot learn batch by batch, or None if it can.

    A pipeline can if each of its steps has ``partial_fit`` or is a transformer that needs no fit.
    """
    if isinstance(estimator, Pipeline):
        return _obstacle_in_steps(estimator)
    if hasattr(estimator, "partial_fit") or needs_no_fit(estimator):
        return None
    return f"{type(estimator).__name__} has no partial_fit"


def _obstacle_in_steps(pipeline: Pipeline) -> str | None:
    steps = [(name, step) for name, step in pipeline.steps if step not in (None, "passthrough")]
    for name, step in steps:
        why = obstacle(step)
        if why is not None:
            return f"its step {name!r} cannot: {why}"
        if type(step).__name__ in _UNSTEADY and step is not steps[-1][1]:
            return f"its step {name!r} ({type(step).__name__}) gives other columns as it learns"
    return None


def check_parameters(estimator: Any) -> None:
    """Refuse parameters with which ``partial_fit`` would raise at the first batch.

    Raises
    ------
    ModelConfigError
        ``early_stopping=True`` or ``class_weight="balanced"``, with what to do instead.
    """
    for key, value in estimator.get_params().items():
        parameter = key.rpartition("__")[2]
        if parameter == "early_stopping" and value is True:
            raise ModelConfigError(
                f"{key}=True needs all the data at once, and {type(estimator).__name__} would learn "
                "batch by batch. Leave it out, or set strategy='collect' to gather the batches and "
                "fit once"
            )
        if parameter == "class_weight" and isinstance(value, str) and value == "balanced":
            raise ModelConfigError(
                f"{key}='balanced' needs all labels at once, and {type(estimator).__name__} would "
                "learn batch by batch. Give a dict of weights (sklearn.utils.class_weight."
                "compute_class_weight makes one), or set strategy='collect' to gather the batches "
                "and fit once"
            )


def check_first_batch(estimator: Any, n_rows: int) -> None:
    """Refuse a first batch that is too small for an estimator, or a step, that has learned nothing.

    Raises
    ------
    ModelInputError
        The batch has fewer rows than clusters or components are asked for.
    """
    for part in _learners(estimator):
        parameter = _FIRST_BATCH.get(type(part).__name__)
        least = getattr(part, parameter, None) if parameter else None
        if least is not None and n_rows < least and not has_learned(part):
            raise ModelInputError(
                f"the first batch has {n_rows} rows, and {type(part).__name__}({parameter}={least}) "
                f"needs at least {least} in its first. Raise batch_size to {least} or more, or lower "
                f"{parameter}"
            )


def takes_classes(estimator: Any) -> bool:
    """Whether the first ``partial_fit``, of a step too, wants to know all classes."""
    return any(_wants_classes(part) for part in _learners(estimator))


def known_classes(estimator: Any) -> Any:
    """Give the classes that an estimator, or a step of it, has been told; None if none has."""
    for part in _learners(estimator):
        if _wants_classes(part):
            return _told_classes(part)
    return None


def learn(estimator: Any, x: Any, y: Any, sample_weight: Any, classes: Any) -> None:
    """Let an estimator learn from one batch.

    Parameters
    ----------
    estimator : estimator
        One without an `obstacle`. A pipeline's steps learn in turn, each from what the ones before
        it, just updated, make of the batch; `sample_weight` goes to its last step.
    x : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or None
    sample_weight : array-like of shape (n_samples,) or None
    classes : array-like or None
        All labels, in the first call of a classifier.
    """
    if isinstance(estimator, Pipeline):
        _learn_step_by_step(estimator, x, y, sample_weight, classes)
    elif hasattr(estimator, "partial_fit"):
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        if classes is not None and _wants_classes(estimator):
            given["classes"] = classes
        estimator.partial_fit(*_data(x, y), **given)


def _learn_step_by_step(
    pipeline: Pipeline, x: Any, y: Any, sample_weight: Any, classes: Any
) -> None:
    steps = parts(pipeline)
    for step in steps[:-1]:
        learn(step, x, y, None, classes)
        x = step.transform(x)
    learn(steps[-1], x, y, sample_weight, classes)


def _data(x: Any, y: Any) -> tuple[Any, ...]:
    return (x,) if y is None else (x, y)


def _learners(estimator: Any) -> Iterator[Any]:
    if isinstance(estimator, Pipeline):
        for part in parts(estimator):
            yield from _learners(part)
    elif hasattr(estimator, "partial_fit"):
        yield estimator


def _wants_classes(estimator: Any) -> bool:
    if isinstance(estimator, SelectFromModel):  # hands what it is given to the estimator inside
        return hasattr(estimator.estimator, "partial_fit") and takes_classes(estimator.estimator)
    return "classes" in signature(estimator.partial_fit).parameters


def _told_classes(estimator: Any) -> Any:
    inner = getattr(estimator, "estimator_", estimator)
    return getattr(inner, "classes_", None)
