"""Rows kept out of training to measure it: a share of the data, or a set of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom.errors import ModelConfigError
from batchloom_xgboost.reader import Reader
from batchloom_xgboost.rows import FIELDS, Rows

ARGUMENTS = ("x", *FIELDS)


class HoldOut:
    """Draws a share of the rows, the same rows for any size of batches.

    Parameters
    ----------
    fraction : float
        The share to hold out; that of each draw, so the share is met on average.
    seed : int
    """

    def __init__(self, fraction: float, seed: int) -> None:
        self.fraction, self.seed = fraction, seed
        self._draws = np.random.default_rng(seed)

    def draw(self, rows: Rows) -> NDArray[np.bool_]:
        """Say which rows are held out. Rows of one query stay together."""
        if "qid" not in rows.fields:
            return self._draws.random(len(rows)) < self.fraction
        queries, inverse = np.unique(rows.fields["qid"], return_inverse=True)
        drawn = [np.random.default_rng([self.seed, int(each)]).random() for each in queries]
        return (np.array(drawn) < self.fraction)[inverse]

    def state(self) -> dict[str, Any]:
        """Return where the draws have come to."""
        return dict(self._draws.bit_generator.state)

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._draws.bit_generator.state = kept


def read_eval_sets(eval_set: Any, reader: Reader) -> dict[str, list[Rows]]:
    """Read validation sets from the config.

    Parameters
    ----------
    eval_set : tuple, mapping, or a list of those
        ``(x, y)``, or the arguments of train by their names.
    reader : Reader
        Of the training data: columns, categories and labels are those.

    Returns
    -------
    dict of str to list of Rows
        ``"validation"``, or ``"validation_0"`` and so on if there are several.
    """
    named = name_eval_sets(eval_set)
    return {name: [reader.read(each, learn=False)] for name, each in named.items()}


def name_eval_sets(eval_set: Any) -> dict[str, dict[str, Any]]:
    """Return the arguments of each validation set by the name that it has in the history.

    Raises
    ------
    ModelConfigError
        If it is none of the forms that `read_eval_sets` knows.
    """
    if eval_set is None:
        return {}
    sets = eval_set if isinstance(eval_set, list) else [eval_set]
    names = ["validation"] if len(sets) == 1 else [f"validation_{i}" for i in range(len(sets))]
    return {name: _arguments(each) for name, each in zip(names, sets, strict=True)}


def _arguments(entry: Any) -> dict[str, Any]:
    if isinstance(entry, tuple) and len(entry) == 2:
        return {"x": entry[0], "y": entry[1]}
    if isinstance(entry, Mapping) and set(entry) <= set(ARGUMENTS):
        return dict(entry)
    raise ModelConfigError(
        "eval_set: give (x, y), or a mapping with names of "
        f"{', '.join(ARGUMENTS)}, or a list of those"
    )
