"""Rows that lie unchanged in a file of the dataset: kept by their places, and read again for each pass.

XGBoost goes through the rows four times while it builds its matrix. What lies in a file need not be
copied for that: the system keeps it at hand, and lets go of it when memory is short.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom import Batch, Dataset
from batchloom.models import RunInfo
from batchloom_xgboost.columns import Features, compact
from batchloom_xgboost.rows import Rows, concatenate, joined_fields

_COMPARED_ROWS = 1 << 14

Where = slice | NDArray[Any]


@dataclass(frozen=True)
class Recalled:
    """Rows whose x can be read again, and what goes with each.

    Parameters
    ----------
    dataset : Dataset
    column : str
        Where x comes from.
    where : slice or ndarray of int
        Which items of the dataset they are.
    fields : dict of ndarray
        As in `Rows`.
    """

    dataset: Dataset
    column: str
    where: Where
    fields: dict[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes that are held in memory."""
        places = 0 if isinstance(self.where, slice) else self.where.nbytes
        return places + sum(each.nbytes for each in self.fields.values())

    def read(self) -> Rows:
        """Read the rows."""
        return Rows(_read(self.dataset, self.column, self.where), self.fields)


def recall(rows: Rows, run: RunInfo, batch: Batch | None) -> Recalled | None:
    """Return rows without their x, if that can be read again; None if it cannot.

    It can if x is a column of the dataset that lies in a file, and the batch's x is what lies there, to
    the bit: what an action changed is not.
    """
    dataset, column = run.dataset, run.columns.get("x")
    if dataset is None or column is None or batch is None or not dataset.lies_in_file(column):
        return None
    where = run.where(batch)
    if where is None or not _is_same(_read(dataset, column, where), rows.x):
        return None
    if not isinstance(where, slice):
        where = where.astype(np.uint32 if len(dataset) <= 2**32 else np.uint64)
    return Recalled(
        dataset, column, where, {name: each.copy() for name, each in rows.fields.items()}
    )


def join(parts: Sequence[Rows | Recalled]) -> Rows | Recalled:
    """Put rows together, in order; those that can be read again stay so if all are such."""
    recalled = [each for each in parts if isinstance(each, Recalled)]
    if len(recalled) < len(parts):
        return concatenate([each.read() for each in parts])
    first = recalled[0]
    where = _joined([each.where for each in recalled])
    return Recalled(first.dataset, first.column, where, joined_fields(recalled))


def _read(dataset: Dataset, column: str, where: Where) -> Features:
    if not isinstance(where, slice):
        return compact(dataset.gather(column, where.astype(np.intp, copy=False)))
    if dataset.own_rows is None:
        return compact(dataset.column(column)[where])  # not copied
    return compact(dataset.gather(column, where))


def _is_same(there: Features, here: Features) -> bool:
    if not isinstance(here, np.ndarray) or not isinstance(there, np.ndarray):
        return False
    if here.dtype != there.dtype or here.shape != there.shape or not here.flags.c_contiguous:
        return False
    # As whole numbers, so that a missing value equals itself; in pieces, to need no second array.
    kind = f"u{here.dtype.itemsize}"
    return all(
        np.array_equal(
            here[at : at + _COMPARED_ROWS].view(kind), there[at : at + _COMPARED_ROWS].view(kind)
        )
        for at in range(0, len(here), _COMPARED_ROWS)
    )


def _joined(places: Sequence[Where]) -> Where:
    slices = [each for each in places if isinstance(each, slice)]
    if len(slices) == len(places) and all(
        before.stop == after.start for before, after in itertools.pairwise(slices)
    ):
        return slice(slices[0].start, slices[-1].stop)
    return np.concatenate(
        [np.arange(each.start, each.stop) if isinstance(each, slice) else each for each in places]
    )
