"""Positions of items or rows: arrays of ints, or ranges where they are in order, which take no memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchloom.ordering import Positions

Numbers = np.ndarray[Any, Any] | range
"""What stands at each position: ids, or numbers of rows."""


def selected(which: Any, length: int) -> Positions:
    """Give the positions that an array of int, a boolean mask or a slice selects of so many.

    Raises
    ------
    IndexError
        For what selects nothing, or a position that is not there.
    """
    if isinstance(which, slice):
        return spread(range(length)[which])
    which = np.asarray(which)
    if which.dtype == bool and which.shape == (length,):
        return np.flatnonzero(which)
    if which.ndim != 1 or (which.size and which.dtype.kind not in "iu"):
        raise IndexError(
            f"of {length} items, some are selected by an array of ints, a mask of length {length} or a "
            f"slice, not by {which.dtype} of shape {which.shape}"
        )
    if which.size and not -length <= which.min() <= which.max() < length:
        wrong = which[(which < -length) | (which >= length)]
        raise IndexError(f"position {wrong[0]} is asked for, and there are {length} items")
    positions: Positions = which.astype(np.intp)  # an empty list is of floats
    positions[positions < 0] += length
    return positions


def composed(numbers: Numbers, where: Positions | slice) -> Numbers:
    """Give what stands at some positions; a slice of a range is a range."""
    if not isinstance(numbers, range):
        return numbers[where]
    if isinstance(where, slice):
        return numbers[where]
    return where + numbers.start if numbers.step == 1 else where * numbers.step + numbers.start


def spread(numbers: Numbers) -> np.ndarray[Any, Any]:
    """Make an array of what may be a range."""
    if isinstance(numbers, range):
        return np.arange(numbers.start, numbers.stop, numbers.step)
    return numbers
