"""Classes: how many there are, and how predictions become labels and probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from batchloom.errors import ModelInputError
from batchloom.models.protocol import RunInfo
from batchloom_tf.library import keras
from batchloom_tf.losses import SPARSE, Loss

HINT = "Say it in the config: config={'classes': 10}"


def count_classes(y: Any, run: RunInfo | None, loss: Any) -> int:
    """Count the classes, for a network that is made to fit its data.

    Parameters
    ----------
    y : array or None
        The first batch's targets. Where they are one-hot, or numbers to regress on, their width
        counts.
    run : RunInfo or None
        Labels that are numbers of classes are counted in its dataset's whole column: the first
        batch need not have all of them.
    loss : Any
        Tells the two cases apart.

    Raises
    ------
    ModelInputError
        If it cannot be known.
    """
    if y is None:
        raise ModelInputError(f"the number of classes cannot be known without y. {HINT}")
    shape = np.shape(y)
    several = len(shape) > 1 and shape[-1] > 1
    if Loss.of(loss).name != SPARSE:
        return int(shape[-1]) if several else 1
    labels = _column(run)
    if labels is None:
        raise ModelInputError(
            "the number of classes cannot be known from one batch, and y is no column of the "
            f"dataset. {HINT}"
        )
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iub":
        raise ModelInputError(
            f"the labels in the dataset's column are {labels.dtype}, not numbers of classes. {HINT}"
        )
    return int(labels.max()) + 1


def _column(run: RunInfo | None) -> Any:
    if run is None or run.dataset is None:
        return None
    name = run.columns.get("y") or run.columns.get("feed_dict.y")
    return None if name is None else run.dataset.column(name)


def derived_outputs(outputs: Sequence[Any], loss: Loss) -> dict[str, Callable[[Any], Any]]:
    """Return what is made of the predictions: ``"predict"``, and for a classifier more.

    Parameters
    ----------
    outputs : sequence of KerasTensor
        The network's. A classifier has one: one column for two classes, or one for each class.
    loss : Loss
        Says whether it is a classifier, whether the predictions are logits, and whether several
        labels may hold at once.

    Returns
    -------
    dict of str to callable
        ``"predict"`` is what the other backends call so: the labels of a classifier, else the
        predictions. ``"proba"`` and ``"labels"`` are there unless the network cannot be a
        classifier; without a known loss it may be one, whose predictions are probabilities.
    """
    is_classifier = "crossentropy" in loss.name or "hinge" in loss.name
    if len(outputs) > 1 or (loss.name and not is_classifier):
        return {"predict": _as_it_is}
    one_column = outputs[0].shape[-1] == 1
    by_column = one_column or "binary" in loss.name
    logits = bool(loss.options.get("from_logits"))
    squash = keras.ops.sigmoid if by_column else keras.ops.softmax
    middle = 0.0 if logits or "hinge" in loss.name else 0.5

    def labels(predictions: Any) -> Any:
        if by_column:
            above = predictions > middle
            return keras.ops.cast(keras.ops.squeeze(above, -1) if one_column else above, "int64")
        return keras.ops.cast(keras.ops.argmax(predictions, axis=-1), "int64")

    return {
        "proba": squash if logits else _as_it_is,
        "labels": labels,
        "predict": labels if is_classifier else _as_it_is,
    }


def _as_it_is(predictions: Any) -> Any:
    return predictions
