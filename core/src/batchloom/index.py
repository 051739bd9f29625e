"""Indices: which items there are, what they are called, and how they are split into parts."""

from __future__ import annotations

import itertools
import numbers
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

import batchloom
from batchloom.columns import array_of
from batchloom.errors import DataError
from batchloom.ordering import Positions, make_order
from batchloom.positions import Numbers, composed, spread

Ids = np.ndarray[Any, Any]
PARTS = ("train", "test", "validation")


class DatasetIndex:
    """The ids of the items of a dataset, in order.

    Parameters
    ----------
    ids : int or sequence of int or str
        The ids, one-dimensional and without duplicates; an int ``n`` stands for ``0 .. n - 1``. That, or
        a range, takes no memory however large it is.

    Raises
    ------
    DataError
        For ids that are duplicated, float, NaN, of more than one dimension, or come from a generator.
    """

    def __init__(self, ids: int | Sequence[Any] | Ids | DatasetIndex) -> None:
        self._ids = _as_ids(ids)
        self._lookup: dict[Any, int] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} items>"

    @property
    def ids(self) -> Ids:
        """All ids, as an array of shape ``(len(self),)``."""
        return self.take(slice(0, len(self)))

    @property
    def indices(self) -> Ids:
        """The same as `ids`."""
        return self.ids

    def take(self, positions: Positions | slice) -> Ids:
        """Give the ids at some positions (array of ints, or a slice with a start and a stop)."""
        return spread(composed(self._ids, positions))

    def positions(self, ids: Iterable[Any]) -> Positions:
        """Find the positions of some ids.

        Raises
        ------
        IndexError
            If an id is not in this index; the first ones are named.
        """
        wanted = list(ids)
        found = [self._position(each) for each in wanted]
        missing = [each for each, at in zip(wanted, found, strict=True) if at is None]
        if missing:
            raise IndexError(
                f"{len(missing)} of {len(wanted)} ids are not in this index of {len(self)} items: "
                f"{', '.join(map(repr, missing[:5]))}"
            )
        return np.array(found, dtype=np.intp)

    def subset(self, positions: Positions | slice) -> Self:
        """Make the index of the items at some positions; those of a slice are not copied."""
        ids = composed(self._ids, positions)
        import copy

        part = copy.copy(self)
        part._ids = ids if isinstance(positions, slice) else _checked(spread(ids))
        part._lookup = None
        return part

    def split_positions(
        self, shares: float | Sequence[float], shuffle: batchloom.Shuffle
    ) -> dict[str, Positions]:
        """Say which positions go to which part.

        Parameters
        ----------
        shares : float or sequence of two or three floats
            The share of the training part, or of train, test and validation. What two shares leave
            over is the validation part; what one leaves over is the test part.
        shuffle : bool, int, Generator, RandomState or callable
            As in `Pipeline.run`; False takes the parts in order.

        Returns
        -------
        dict
            ``train``, ``test`` and, unless its share is nil, ``validation``: arrays of positions.

        Raises
        ------
        DataError
            For shares that are negative or sum to more than one.
        """
        made = parts(len(self), shares, shuffle)
        return {
            name: spread(range(len(self))[each]) if isinstance(each, slice) else each
            for name, each in made.items()
        }

    def _position(self, item: Any) -> int | None:
        if isinstance(self._ids, range):
            there = isinstance(item, (int, np.integer)) and int(item) in self._ids
            return self._ids.index(int(item)) if there else None
        if self._lookup is None:
            self._lookup = {each: at for at, each in enumerate(self._ids.tolist())}
        return self._lookup.get(item.item() if isinstance(item, np.generic) else item)


def parts(
    length: int, shares: float | Sequence[float], shuffle: batchloom.Shuffle
) -> dict[str, Positions | slice]:
    """Say which positions go to which part, as `DatasetIndex.split_positions` does; by slices if in order."""
    order = make_order(length, shuffle)[0].positions(0)
    bounds = np.rint(np.cumsum(_shares(shares)) * length).astype(int).tolist()
    places = itertools.starmap(slice, itertools.pairwise([0, *bounds[:-1], length]))
    chosen = (each if order is None else order[each] for each in places)
    return dict(zip(PARTS, chosen, strict=False))


def as_index(index: Any, length: int | None) -> DatasetIndex:
    """Make the index of a dataset from what its user gave, and hold it against its data's length."""
    if index is None:
        if length is None:
            raise DataError("a dataset needs an index, data, or both; neither was given")
        return DatasetIndex(length)
    made = index if isinstance(index, DatasetIndex) else DatasetIndex(index)
    if length is not None and len(made) != length:
        raise DataError(f"the index has {len(made)} items, but the data has {length} rows")
    return made


def _as_ids(ids: Any) -> Numbers:
    if isinstance(ids, DatasetIndex):
        return ids._ids
    if isinstance(ids, (bool, np.bool_)) or not hasattr(ids, "__len__"):
        return range(_count(ids))
    if isinstance(ids, range) and max(abs(ids.start), abs(ids.stop)) <= sys.maxsize:
        return ids
    array = array_of(ids) if isinstance(ids, (list, tuple)) else np.array(ids)
    if array.ndim != 1:
        raise DataError(
            f"ids must be one-dimensional, not {type(ids).__name__} of shape {array.shape}: give the index "
            "a list of ids, and the data as data="
        )
    return _checked(array)


def _checked(array: Ids) -> Numbers:
    if not array.size:
        return range(0)
    if array.dtype.kind == "f" or (array.dtype == object and any(map(_is_inexact, array.tolist()))):
        raise DataError("ids must be ints or strings: floats (and NaN) are not exact names")
    _refuse_duplicates(array)
    array.flags.writeable = False  # batches hand out views of it
    return array


def _is_inexact(item: object) -> bool:
    return isinstance(item, (float, np.floating))


def _count(ids: Any) -> int:
    is_count = isinstance(ids, (int, np.integer)) and not isinstance(ids, bool)
    if not is_count or not 0 <= ids <= sys.maxsize:
        raise DataError(
            f"an index is a sequence of ids or the number of items, not {type(ids).__name__} {ids!r}"
        )
    return int(ids)


def _refuse_duplicates(ids: Ids) -> None:
    if ids.dtype.kind in "iuSU" and _are_distinct(ids):
        return
    try:
        counts = Counter(ids.tolist())
    except TypeError as exc:
        raise DataError(f"ids must be ints or strings: {exc}") from None
    if twice := [each for each, count in counts.items() if count > 1]:
        raise DataError(
            f"{len(twice)} ids are there more than once: {', '.join(map(repr, twice[:5]))}. "
            "Every item needs an id of its own"
        )


def _are_distinct(ids: Ids) -> bool:
    # Counting them would take an object for each id, ten times the memory of the ids.
    if np.all(ids[1:] > ids[:-1]):
        return True
    in_order = np.sort(ids)
    return not np.any(in_order[1:] == in_order[:-1])


def _shares(shares: float | Sequence[float]) -> list[float]:
    several = shares if isinstance(shares, Iterable) else [shares]
    if not all(isinstance(each, numbers.Real) for each in several):
        raise DataError(f"shares={shares!r}: a share is a number between 0 and 1")
    given = [*map(float, several)]
    if not 1 <= len(given) <= len(PARTS):
        raise DataError(
            f"split takes one to three shares (train, test, validation), not {len(given)}"
        )
    rest = 1 - sum(given)
    if not all(0 <= each <= 1 for each in given) or rest < -1e-9:
        raise DataError(f"the shares {given} must not be negative nor sum to more than 1")
    if len(given) < len(PARTS) and rest > 1e-9:
        return [*given, rest]
    if len(given) == 1:
        return [*given, 0.0]
    if rest > 1e-9:
        raise DataError(f"the three shares {given} sum to {sum(given):g}: items would be left over")
    return given
