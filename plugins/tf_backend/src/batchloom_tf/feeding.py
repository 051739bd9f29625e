"""From the arguments of train and predict to what goes into the network: `x`, `y`, `feed_dict`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from batchloom.errors import ModelInputError, UnknownArgumentError, listing, nearest

ARGUMENTS = ("x", "y", "sample_weight")


class Feed(NamedTuple):
    """What was fed, sorted out and not yet checked."""

    x: Any
    y: Any = None
    sample_weight: Any = None


def bind(
    given: Mapping[str, Any],
    feed_dict: Mapping[str, Any] | None,
    unknown: Mapping[str, Any],
    input_names: Collection[str] = (),
) -> Feed:
    """Sort out what was fed.

    Parameters
    ----------
    given : mapping
        The arguments `x`, `y` and `sample_weight`; None stands for one that was not given.
    feed_dict : mapping, optional
        The same names, or names of the network's inputs.
    unknown : mapping
        Arguments that nobody takes: refused with the nearest names.
    input_names : collection of str
        The inputs' names, if there are several and they are known already. One called ``"x"`` or
        ``"y"`` is meant before the argument of that name.

    Raises
    ------
    UnknownArgumentError
        For a misspelt argument.
    ModelInputError
        If something is fed twice, or nothing is.
    """
    for name in unknown:
        known = (*ARGUMENTS, "output", "fetches", "feed_dict")
        raise UnknownArgumentError("argument", name, known, "of a Keras model")
    found = {name: value for name, value in given.items() if value is not None}
    inputs = {}
    for name, value in (feed_dict or {}).items():
        if name not in ARGUMENTS or name in input_names:
            inputs[name] = value
        elif name in found:
            raise ModelInputError(f"{name} is given twice, as an argument and in feed_dict")
        else:
            found[name] = value
    if inputs and "x" in found:
        raise ModelInputError(
            f"x and the inputs {sorted(inputs)} are both fed: name the inputs, or give x as a dict"
        )
    if inputs:
        found["x"] = inputs
    if "x" not in found:
        raise ModelInputError("x is missing: nothing is fed to the network")
    return Feed(**found)


def shapes_of(x: Any) -> Any:
    """Return the shape of each input without its rows, in the structure in which x is fed."""
    if isinstance(x, Mapping):
        return {name: np.shape(value)[1:] for name, value in x.items()}
    if is_several(x):
        return [np.shape(value)[1:] for value in x]
    return np.shape(x)[1:]


def by_name(given: Mapping[str, Any], argument: str, kind: str, known: list[str]) -> list[Any]:
    """Give the values of a dict in the order of a network's inputs or outputs.

    Raises
    ------
    ModelInputError
        If one is missing or unknown.
    """
    for name in given:
        if name not in known:
            raise ModelInputError(
                f"{argument} has {name!r}, which is no {kind} of the network"
                f"{nearest(str(name), known) or '.'} {listing(kind, known)}"
            )
    if missing := [name for name in known if name not in given]:
        raise ModelInputError(f"{argument} lacks the {kind}(s) {missing}. {listing(kind, known)}")
    return [given[name] for name in known]


def is_several(x: Any) -> bool:
    """Whether x is a tuple, or a list of arrays: the inputs of a network by position."""
    return isinstance(x, tuple) or (isinstance(x, list) and any(hasattr(e, "shape") for e in x))


def first_row(feed: Feed) -> Feed:
    """Return the first row of each array: enough to make the same network again."""

    def row(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: row(each) for name, each in value.items()}
        if is_several(value):
            return type(value)(map(row, value))
        return None if value is None else np.array(np.asarray(value)[:1])

    return Feed(row(feed.x), row(feed.y))
