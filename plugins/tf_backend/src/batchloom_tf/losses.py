"""What is known of a loss: its name in Keras and its options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchloom_tf.library import keras

SPARSE = "sparse_categorical_crossentropy"
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
ONE_HOT = ("categorical_crossentropy", "categorical_focal_crossentropy")
# Losses of Keras whose targets have the shape of the predictions; others are not judged.
ELEMENTWISE = (
    *BINARY,
    *ONE_HOT,
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
    "hinge",
    "squared_hinge",
)


@dataclass(frozen=True)
class Loss:
    """What is known of the loss of one output.

    Parameters
    ----------
    name : str
        Its name in Keras; "" for a loss of somebody else's, and where there is none.
    options : mapping
        Its options, such as ``from_logits``.
    is_given : bool
        Whether there is a loss at all.
    """

    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    is_given: bool = False

    @classmethod
    def of(cls, given: Any) -> Loss:
        """Look at a loss as given: None, a name, a config dict, an object or a function."""
        if given is None:
            return cls()
        loss = keras.losses.get(given)
        if not getattr(loss, "__module__", "").startswith("keras."):
            return cls(is_given=True)
        name = getattr(loss, "__name__", None)
        if name is not None:
            return cls(name, is_given=True)
        words = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(loss).__name__).lower()
        return cls(words, loss.get_config(), is_given=True)


def losses_by_output(loss: Any, names: Sequence[str]) -> list[Loss]:
    """Return the loss of each output.

    Parameters
    ----------
    loss : Any
        What `compile` was given: one loss, or several in a dict or a list.
    names : sequence of str
        The outputs' names.
    """
    if isinstance(loss, Mapping):
        return [Loss.of(loss.get(name)) for name in names]
    if isinstance(loss, list | tuple):
        flat = keras.tree.flatten(loss)
        return (
            [Loss.of(each) for each in flat] if len(flat) == len(names) else [Loss()] * len(names)
        )
    return [Loss.of(loss)] * len(names)
