"""Outputs of models compared: to the bit, and as predictions of a kind of model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom.testing.promises import Seen


def difference(expected: Any, found: Any) -> str:
    """Say how two outputs differ in any bit; nothing if they do not."""
    ours, theirs = dict(_arrays(expected)), dict(_arrays(found))
    if ours.keys() != theirs.keys():
        return f"{sorted(theirs)} instead of {sorted(ours)}"
    for name, one in ours.items():
        other = theirs[name]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return f"{name} is {other.dtype} of shape {other.shape}, not {one.dtype} {one.shape}"
        if one.dtype == object:
            if [repr(each) for each in one.flat] != [repr(each) for each in other.flat]:
                return f"{name} differs"
        elif one.tobytes() != other.tobytes():
            return f"{name} differs{_where(one, other)}"
    return ""


def must_be_same(expected: Any, found: Any, what: str) -> None:
    """Refuse two outputs that differ in any bit.

    Raises
    ------
    Seen
        With `what` and the first difference.
    """
    if differs := difference(expected, found):
        raise Seen(f"{what}: {differs}")


def rows(output: Any) -> int | None:
    """Return the number of rows that all arrays of an output have; None if they disagree."""
    lengths = {len(each) if each.ndim else -1 for _, each in _arrays(output)}
    return lengths.pop() if len(lengths) == 1 else None


def labels(predictions: Any) -> NDArray[Any]:
    """Return classes: predictions themselves, or the columns of the largest probabilities."""
    found = np.asarray(predictions)
    if found.ndim == 2 and found.shape[1] > 1:
        return np.asarray(found.argmax(axis=1))
    return found.reshape(len(found))


def finite(output: Any) -> bool:
    """Whether no number of an output is NaN or infinite."""
    return all(
        bool(np.isfinite(each).all()) for _, each in _arrays(output) if each.dtype.kind in "fc"
    )


def _arrays(output: Any, name: str = "the output") -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(output, Mapping):
        for key, each in output.items():
            yield from _arrays(each, f"{name}[{key!r}]")
    elif isinstance(output, tuple):
        for at, each in enumerate(output):
            yield from _arrays(each, f"{name}[{at}]")
    else:
        yield name, _dense(output)


def _dense(output: Any) -> NDArray[Any]:
    if hasattr(output, "toarray"):  # a sparse matrix
        output = output.toarray()
    return np.ascontiguousarray(output)


def _where(one: NDArray[Any], other: NDArray[Any]) -> str:
    with np.errstate(all="ignore"):
        wrong = np.argwhere((one != other) & ~((one != one) & (other != other)))
    if not len(wrong):
        return " in the sign of a zero or in the bits of a NaN"
    at = tuple(int(each) for each in wrong[0])
    return f" in {len(wrong)} of {one.size} values, first at {at}: {other[at]!r}, not {one[at]!r}"
