"""Merging: one batch of the items, or of some of the items, of others."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batchloom.columns import stack_rows, take_rows
from batchloom.errors import DataError
from batchloom.ordering import Positions

if TYPE_CHECKING:
    from batchloom.batch import Batch


def check_mergeable(batches: Sequence[Batch]) -> None:
    """Refuse batches that cannot be put together.

    Raises
    ------
    DataError
        If there are none, or their components differ.
    """
    if not batches:
        raise DataError("merge takes one or more batches, not none")
    first = batches[0]
    for each in batches[1:]:
        if set(each.components) != set(first.components):
            raise DataError(
                f"batches of different components cannot be merged: {', '.join(first.components)} "
                f"and {', '.join(each.components)}"
            )


def merged(batches: Sequence[Batch], positions: Positions | None = None) -> Batch:
    """Make one batch of several with the same components; what none has gathered stays ungathered.

    Parameters
    ----------
    batches : sequence of Batch
        The first one gives class, number, epoch and pipeline.
    positions : array of int, optional
        Which of all their items, one batch after the other, to take. Default: all of them.
    """
    made = _like(batches[0])
    for name in made.components:
        if any(name in each.__dict__ for each in batches):
            made.__dict__[name] = _values(name, batches, positions)
    parts = [(each._rows, *each._extent) for each in batches if each._rows is not None]
    same = {id(each._rows and each._rows.dataset) for each in batches}
    if len(parts) == len(batches) and len(same) == 1:
        joined = parts[0][0].joined(parts, positions)
        made.__dict__.update(_rows=joined, _extent=(0, joined.length))
    else:
        _hold_all(made, batches, positions)
    return made


def _like(batch: Batch) -> Batch:
    """Make a batch that takes the place of another, without its components."""
    made = object.__new__(type(batch))
    kept = {name: each for name, each in batch.__dict__.items() if not _is_of_items(name, batch)}
    portion = batch._portion.renamed(batch._position)
    kept |= {"components": batch.components, "_ids": None, "_portion": portion, "_position": 0}
    made.__dict__.update(kept)
    if batch.pipeline is not None:
        made.__dict__["pipeline"] = batch.pipeline.for_batch(made)
    return made


def _is_of_items(name: str, batch: Batch) -> bool:
    """Tell whether an attribute goes with the items: a component, or what was worked out once from them."""
    if name in batch.components:
        return True
    return isinstance(getattr(type(batch), name, None), functools.cached_property)


def _hold_all(made: Batch, batches: Sequence[Batch], positions: Positions | None) -> None:
    """Have a batch hold everything itself, because the items come from several datasets."""
    ids = stack_rows([each.indices for each in batches])
    ids = ids if positions is None else ids[positions]
    for name in made.components:
        if name not in made.__dict__ and all(name in each._filled() for each in batches):
            made.__dict__[name] = _values(name, batches, positions)
    made.__dict__.update(_rows=None, _ids=ids, _extent=(0, len(ids)))


def _values(name: str, batches: Sequence[Batch], positions: Positions | None) -> Any:
    pieces = [getattr(each, name) for each in batches]
    try:
        value = stack_rows(pieces)
    except Exception as exc:
        exc.add_note(f"while putting together the rows of component {name!r}")
        raise
    return value if positions is None else take_rows(name, value, positions)
