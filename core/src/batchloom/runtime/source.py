"""Where batches come from: portions of consecutive batches, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from batchloom.dataset import Dataset
from batchloom.ordering import Order, Positions
from batchloom.portion import Portion
from batchloom.records import Record
from batchloom.rows import SHARED_BYTES, Rows
from batchloom.runtime.options import RunOptions

if TYPE_CHECKING:
    from batchloom.runtime.protocols import Supply
    from batchloom.runtime.reading import WindowReader

PORTION_BATCHES = 512
LARGE_BYTES = 1 << 18
"""A batch of this size or more is gathered by itself, smaller ones together."""

PORTION_BYTES = 1 << 24
"""A portion of large batches is no larger than this."""

AHEAD_BYTES = 1 << 23
"""Nor than this if it is prepared ahead, and all of its batches are in memory at once."""

POSITION_BYTES = 8
"""What a portion holds of each item besides its components."""


class EpochEnd(Record):
    """Comes after the last batch of an epoch.

    Attributes
    ----------
    epoch : int
    last : bool
        Whether the run ends here.
    rebatched : tuple of int
        How many batches each rebatch on the way has made by now.
    """

    epoch: int
    last: bool
    rebatched: tuple[int, ...] = ()


class Place(Record):
    """How far a run has come.

    Attributes
    ----------
    epoch : int
        The epoch it is in.
    batch : int
        How many batches of the epoch are done.
    rebatched : tuple of int
        How many batches each rebatch has made.
    """

    epoch: int = 0
    batch: int = 0
    rebatched: tuple[int, ...] = ()


class RunEnd:
    """Comes after everything else."""


RUN_END = RunEnd()


class Source:
    """The batches of a dataset in the order of each epoch.

    Parameters
    ----------
    dataset : Dataset
    options : RunOptions
    order : Order
    seed : int
        The run's seed.
    start : Place
        Where to begin.
    reader : WindowReader, optional
        If the order is one that is read in windows.
    """

    def __init__(
        self,
        dataset: Dataset,
        options: RunOptions,
        order: Order,
        seed: int,
        start: Place,
        reader: WindowReader | None = None,
    ) -> None:
        self._reader = reader
        self._dataset = dataset
        self._options = options
        self._order = order
        self._seed = seed
        self.batches = batches_in_epoch(len(dataset), options)
        ahead = options.prefetch > 0 or options.executor is not None
        self.most = portion_size(dataset, options.batch_size, ahead)
        self._start = start
        self._epoch_given = True
        self._stream = self._portions()
        self._next = 1

    @property
    def epochs(self) -> int | None:
        """How many epochs there are; None is no end."""
        return self._options.n_epochs if self.batches or self._options.n_epochs is not None else 0

    def take(self, most: int) -> Supply:
        self._next = most
        return next(self._stream, RUN_END)

    def ahead(self, most: int) -> Supply | None:
        # A shuffle callable may keep a state of its own: it is called when its epoch begins, no sooner.
        if self._epoch_given and self._order.function is not None:
            return None
        return self.take(most)

    def _portions(self) -> Iterator[Supply]:
        epoch, done = self._start.epoch, self._start.batch
        while self.epochs is None or epoch < self.epochs:
            yield from self._portions_of(epoch, done)
            done = 0
            yield EpochEnd(epoch, epoch + 1 == self.epochs)
            epoch += 1

    def _portions_of(self, epoch: int, done: int) -> Iterator[Portion]:
        # An order is only known here, so that it is gone before the next epoch's is made.
        order = self._order.positions(epoch) if self._reader is None else None
        size, items, draws = self._options.batch_size, len(self._dataset), (self._seed, 0)
        before = epoch * self.batches
        while done < self.batches:
            first, start = before + done, done * size
            count = min(self._next, self.batches - done)
            if self._reader is not None:
                count = self._reader.fitting(epoch, start, size, count)
            done += count
            rows = self._rows(epoch, start, min(done * size, items), order)
            self._epoch_given = done == self.batches
            yield Portion(rows, size, first, epoch, draws, self._epoch_given)

    def _rows(self, epoch: int, start: int, stop: int, order: Positions | None) -> Rows:
        if self._reader is not None:
            return self._reader.rows(epoch, start, stop)
        if order is None:
            return Rows(self._dataset, start, stop)
        # A copy: who keeps a batch would keep the whole order with a view of it.
        return Rows.at(self._dataset, order[start:stop].copy())


def batches_in_epoch(items: int, options: RunOptions) -> int:
    """Count the batches of an epoch."""
    full, rest = divmod(items, int(options.batch_size))
    return full + (rest > 0 and not options.drop_last)


def portion_size(dataset: Dataset, batch_size: int, ahead: bool) -> int:
    """Say how many batches are prepared in one go, and gathered together if they are small."""
    row_bytes = [int(getattr(each, "row_bytes", 0)) for each in dataset.columns.values()]
    whole = (POSITION_BYTES + sum(row_bytes)) * batch_size
    # Each component is gathered by itself, or not at all: the widest says how many batches can share that.
    widest = (POSITION_BYTES + max(row_bytes, default=0)) * batch_size
    most = SHARED_BYTES // widest if widest < LARGE_BYTES else PORTION_BYTES // whole
    most = min(most, AHEAD_BYTES // whole) if ahead else most
    return max(1, min(PORTION_BATCHES, most))
