"""Portion: consecutive batches that are made of the same rows, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchloom.rows import Rows

if TYPE_CHECKING:
    from batchloom.batch import Batch
    from batchloom.runtime.view import Views


class Portion:
    """Consecutive batches that are made of the same rows.

    A batch is a portion and a position in it: everything else is worked out when somebody asks, because
    making a batch must not cost more than slicing its arrays.

    Parameters
    ----------
    rows : Rows or None
        None for a batch that holds its items itself.
    batch_size : int
        The last batch of the portion may be smaller.
    first, epoch : int
        The number of the first batch, counted over the run, and the epoch of all of them.
    draws : tuple of int or None, and int
        The run's seed and the number of the stage, from which the batches' random numbers come.
    last : bool
        Whether the end of the epoch is all that comes after them.

    Attributes
    ----------
    count, full : int
        How many batches there are, and how many of them have `batch_size` items.
    written : dict of int to tuple of str
        By position, the components of batches that were written since their lengths were checked last,
        but for those whose lengths were seen to be right.
    views : Views or None
        None outside of a pipeline.
    """

    __slots__ = (
        "batch_size",
        "count",
        "draws",
        "epoch",
        "first",
        "full",
        "last",
        "rows",
        "views",
        "written",
    )

    repeatable = True

    def __init__(
        self,
        rows: Rows | None,
        batch_size: int,
        first: int = 0,
        epoch: int = 0,
        draws: tuple[int | None, int] = (None, 0),
        last: bool = False,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.full, rest = divmod(0 if rows is None else rows.length, max(1, batch_size))
        self.count = self.full + (rest > 0) or 1
        self.first = first
        self.epoch = epoch
        self.draws = draws
        self.last = last
        self.written: dict[int, tuple[str, ...]] = {}
        self.views: Views | None = None

    def batch(self, position: int, again: bool = False) -> Batch:
        """Make a batch of the portion; `again` with nothing that was done to the first one."""
        portion: Portion = self
        if again:
            # An action may have changed in place what the batches of these rows share.
            portion, position = self.alone(position), 0
        assert portion.rows is not None
        dataset = portion.rows.linked_dataset()
        return dataset.batch_class(portion, position, dataset.components)

    def alone(self, position: int) -> Portion:
        """Make the portion of one of the batches, with nothing gathered yet."""
        assert self.rows is not None
        rows = self.rows.part(*self.extent(position))
        return Portion(rows, rows.length, self.first + position, self.epoch, self.draws)

    def renamed(self, position: int) -> Portion:
        """Make a portion without rows for a batch that takes the place of the one at a position."""
        return Portion(None, 0, self.first + position, self.epoch, self.draws)

    def extent(self, position: int) -> tuple[int, int]:
        """Say which of the rows a batch is made of."""
        start = position * self.batch_size
        if position < self.full:
            return start, start + self.batch_size
        assert self.rows is not None
        return start, self.rows.length

    def size_of(self, position: int) -> int:
        """Say how many rows a batch is made of."""
        if position < self.full:
            return self.batch_size
        start, stop = self.extent(position)
        return stop - start

    def __getstate__(self) -> tuple[Any, ...]:
        return self.rows, self.batch_size, self.first, self.epoch, self.draws, self.last

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]
