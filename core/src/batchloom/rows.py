"""Rows: the share of a dataset that one or several consecutive batches are made of.

Components are gathered when they are first asked for. Several small batches share one gather, because
most of its price is set-up: each of them gets a view of its own rows, which no other batch sees. Large
ones are gathered one by one, so that each stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from batchloom.index import Ids
from batchloom.ordering import Positions

if TYPE_CHECKING:
    from batchloom.dataset import Dataset


SHARED_BYTES = 1 << 20
"""Batches share a gather that is no larger than this."""


class Rows:
    """A run of a dataset's items in the order in which an epoch visits them.

    Parameters
    ----------
    dataset : Dataset
    start, stop : int
        The run, as positions in the epoch's order.
    order : array of int, optional
        The epoch's order; without one, the dataset's own.

    Attributes
    ----------
    asked : dict of str to int
        How often each component was asked for.
    """

    __slots__ = ("_gathered", "asked", "dataset", "length", "positions", "start")

    def __init__(
        self, dataset: Dataset, start: int, stop: int, order: Positions | None = None
    ) -> None:
        self.dataset: Dataset | None = dataset
        self.start = start
        self.length = stop - start
        self.positions = None if order is None else order[start:stop]
        self._gathered: dict[str, Any] = {}
        self.asked: dict[str, int] = {}

    @classmethod
    def at(cls, dataset: Dataset, positions: Positions) -> Rows:
        """Make the rows at some positions of a dataset."""
        return cls(dataset, 0, len(positions), positions)

    def part(self, start: int, stop: int) -> Rows:
        """Make the rows of items ``start .. stop - 1``, with nothing gathered yet."""
        if self.positions is None:
            return Rows(self.linked_dataset(), self.start + start, self.start + stop)
        return Rows.at(self.linked_dataset(), self.positions[start:stop])

    @staticmethod
    def joined(parts: list[tuple[Rows, int, int]], chosen: Positions | None) -> Rows:
        """Make the rows of items of one dataset that are in several rows, or of some chosen ones of them."""
        where = [rows.positions_of(start, stop) for rows, start, stop in parts]
        positions = np.concatenate(where) if len(where) > 1 else where[0]
        positions = positions if chosen is None else positions[chosen]
        return Rows.at(parts[0][0].linked_dataset(), positions)

    def ids(self, start: int, stop: int) -> Ids:
        """Give the ids of items ``start .. stop - 1`` of these rows."""
        return self.linked_dataset().index.take(self.where(start, stop))

    def where(self, start: int, stop: int) -> Positions | slice:
        """Say where in the dataset items ``start .. stop - 1`` of these rows are."""
        if self.positions is None:
            return slice(self.start + start, self.start + stop)
        return self.positions[start:stop]

    def positions_of(self, start: int, stop: int) -> Positions:
        """Give the positions in the dataset of items ``start .. stop - 1``, as an array."""
        where = self.where(start, stop)
        return np.arange(where.start, where.stop) if isinstance(where, slice) else where

    def has(self, name: str) -> bool:
        """Tell whether the dataset has a column of that name."""
        return name in self._gathered or name in self.linked_dataset().columns

    def shares(self, name: str) -> bool:
        """Tell whether one gather of a component serves all batches of these rows."""
        row_bytes = getattr(self.linked_dataset().columns[name], "row_bytes", None)
        return row_bytes is not None and self.length * row_bytes <= SHARED_BYTES

    def component(self, name: str, start: int, stop: int) -> Any:
        """Gather one component of items ``start .. stop - 1``; the result belongs to the caller."""
        self.asked[name] = self.asked.get(name, 0) + 1
        shared = self._gathered.get(name)
        if shared is None:
            if stop - start == self.length or not self.shares(name):
                return self.gather(name, start, stop)
            shared = self.whole(name)
        return shared[start:stop]

    def whole(self, name: str) -> Any:
        """Gather one component of all items; each of them is for one batch only."""
        shared = self._gathered.get(name)
        if shared is None:
            # setdefault: batches of these rows may be in two threads, and must end up with one array.
            shared = self._gathered.setdefault(name, self.gather(name, 0, self.length))
        return shared

    def gather(self, name: str, start: int, stop: int) -> Any:
        """Gather one component of items ``start .. stop - 1``, for them alone."""
        return self.linked_dataset().gather(name, self.where(start, stop))

    def gathering(self, name: str, size: int) -> Callable[[int], Any]:
        """Give what gathers one component of the batch at a position, each of so many items, for it alone."""
        taking = None
        if self.positions is not None:
            taking = self.linked_dataset().taking(name, self.positions, size)
        if taking is not None:
            return taking
        return lambda position: self.component(name, position * size, (position + 1) * size)

    def asked_for(self, times: int) -> tuple[str, ...]:
        """Name the components that were asked for so many times."""
        return tuple(name for name, asked in self.asked.items() if asked >= times)

    def __getstate__(self) -> tuple[int, int, Positions | None]:
        # Only pickled on the way to and from worker processes, which have the dataset already.
        return self.start, self.length, self.positions

    def __setstate__(self, state: tuple[int, int, Positions | None]) -> None:
        self.start, self.length, self.positions = state
        self.dataset = None
        self._gathered = {}
        self.asked = {}

    def linked_dataset(self) -> Dataset:
        """Give the dataset; rows that come from another process have to be linked to it first."""
        if self.dataset is None:
            raise RuntimeError("these rows were unpickled and not linked to their dataset again")
        return self.dataset
