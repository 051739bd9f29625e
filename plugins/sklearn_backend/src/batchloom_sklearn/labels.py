"""The classes of a classifier that learns batch by batch: where they come from, and that no other occurs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, unique_labels

from batchloom.errors import ModelConfigError, ModelInputError
from batchloom.models import RunInfo

_MOST_SHOWN = 10


class Classes:
    """All labels that training may meet.

    Parameters
    ----------
    labels : array-like, or list of array-like for several outputs
        The labels; sorted and made unique.
    source : str
        Where they come from, for messages: ``"config"``.
    """

    def __init__(self, labels: Any, source: str) -> None:
        self.source = source
        self.labels = _per_output(labels) if _is_nested(labels) else _unique(labels)

    def check(self, y: Any) -> None:
        """Refuse labels that are not among the classes.

        Naive Bayes would leave their rows out in silence, other estimators raise after they may have
        been changed by an earlier step.

        Raises
        ------
        ModelInputError
            With the labels.
        """
        y = np.asarray(y)
        if y.ndim != 1 or isinstance(self.labels, list):
            return  # several outputs: scikit-learn compares them itself
        foreign = _outside(y, self.labels)
        if len(foreign):
            raise ModelInputError(
                f"the labels {_shown(foreign)} are not among the classes {_shown(self.labels)}, "
                f"which come from {self.source}. Nothing was learned from this batch. Give all of them "
                f"as config['classes'], or correct y"
            )


def from_config(classes: Any) -> Classes | None:
    """Read ``config["classes"]``.

    Raises
    ------
    ModelConfigError
        It is no list of at least two labels.
    """
    if classes is None:
        return None
    try:
        found = Classes(classes, "config['classes']")
    except (TypeError, ValueError) as exc:
        raise ModelConfigError(f"classes={classes!r} is no list of labels: {exc}") from exc
    if not isinstance(found.labels, list) and len(found.labels) < 2:
        raise ModelConfigError(
            f"classes={classes!r} holds {len(found.labels)} label; a classifier needs two or more"
        )
    return found


def from_dataset(run: RunInfo | None, per_output: bool) -> Classes | None:
    """Read the classes from the whole column of labels that ``y`` is taken from.

    Parameters
    ----------
    run : RunInfo or None
        The run, if the model is trained in one.
    per_output : bool
        Whether a matrix of labels is several outputs, rather than indicators of labels.

    Returns
    -------
    Classes or None
        None if it is not known which column that is.

    Raises
    ------
    ModelInputError
        The column holds no labels but measurements.
    """
    column = run.columns.get("y") if run is not None else None
    if run is None or run.dataset is None or column is None:
        return None
    values = _as_labels(run.dataset.column(column))
    try:
        check_classification_targets(values)
        labels = list(values.T) if values.ndim == 2 and per_output else unique_labels(values)
    except (TypeError, ValueError) as exc:
        raise ModelInputError(
            f"the column {column!r} of the dataset cannot be used as labels: "
            f"{str(exc).rstrip('.')}. Give the labels as config['classes'] if an action makes them from it"
        ) from exc
    return Classes(labels, f"the column {column!r} of the dataset")


def missing_classes(title: str) -> ModelInputError:
    """Make the error for a first batch whose classes nobody knows."""
    return ModelInputError(
        f"{title} learns batch by batch and has to know all classes before the first one: a batch need "
        "not hold them all. Give them in the config, such as config={'classes': [0, 1, 2]}, or let y be "
        "a column of the dataset, as in train_model(..., y='labels')"
    )


def _as_labels(column: Any) -> np.ndarray:
    values = np.asarray(column)
    return values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values


def _is_nested(labels: Any) -> bool:
    return (
        isinstance(labels, (list, tuple))
        and len(labels) > 0
        and all(isinstance(each, (list, tuple, np.ndarray)) for each in labels)
    )


def _per_output(labels: Any) -> list[np.ndarray]:
    return [_unique(each) for each in labels]


def _unique(labels: Any) -> np.ndarray:
    return np.unique(np.asarray(labels))


def _outside(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    if y.dtype.kind in "biuf" and classes.dtype.kind in "biuf":
        nearest = classes[np.minimum(np.searchsorted(classes, y), len(classes) - 1)]
        return np.unique(y[nearest != y])
    known = set(classes.tolist())
    strange = {each for each in y.tolist() if each not in known}
    return np.array(sorted(strange, key=repr), dtype=object)


def _shown(labels: np.ndarray) -> str:
    shown = ", ".join(repr(each) for each in labels[:_MOST_SHOWN].tolist())
    return f"[{shown}{', ...' if len(labels) > _MOST_SHOWN else ''}]"
