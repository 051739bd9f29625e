"""Rebatching: the items of one stage in batches of another size, within each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchloom.batch import Batch
from batchloom.records import replace
from batchloom.runtime.source import RUN_END, EpochEnd, RunEnd
from batchloom.runtime.stages import Item, Stage

if TYPE_CHECKING:
    from batchloom.runtime.protocols import Supply


class ReadyLot:
    """One batch that is there already, from the stage before."""

    count = 1
    repeatable = False

    def __init__(self, made: Batch, last: bool) -> None:
        self.made = made
        self.last = last

    def batch(self, position: int, again: bool = False) -> Batch:
        return self.made


class Rebatcher:
    """Puts the items of one stage into batches of another size, within each epoch.

    Parameters
    ----------
    stage : Stage
        The stage before.
    batch_size : int
    number : int
        The stage's number, a part of the key of its batches' random generators.
    seed : int
    made : int
        How many batches it has made before, in a run that goes on.
    """

    def __init__(
        self, stage: Stage, batch_size: int, number: int, seed: int, made: int = 0
    ) -> None:
        self._stage = stage
        self._size = batch_size
        self._draws = (seed, number)
        self._parts: list[Batch] = []
        self._offset = 0
        self._have = 0
        self._count = made
        self._end: EpochEnd | RunEnd | None = None

    def take(self, most: int) -> Supply:
        supply = self._next(self._stage.take)
        assert supply is not None
        return supply

    def ahead(self, most: int) -> Supply | None:
        return self._next(self._stage.ahead)

    def _next(self, pull: Callable[[], Item | None]) -> Supply | None:
        while self._have < self._size and self._end is None:
            item = pull()
            if item is None:
                return None
            if isinstance(item, Batch):
                self._parts.append(item)
                self._have += item.size
            else:
                self._end = item
        if self._have:
            batch = self._cut(min(self._size, self._have))
            return ReadyLot(batch, not self._have and self._at_epoch_end())
        end, self._end, self._parts = self._end, None, []
        if isinstance(end, EpochEnd):
            return replace(end, rebatched=(*end.rebatched, self._count))
        return end if end is not None else RUN_END

    def _at_epoch_end(self) -> bool:
        if self._end is None:
            return self._stage.at_epoch_end()
        return isinstance(self._end, EpochEnd)

    def _cut(self, size: int) -> Batch:
        """Take the first items that are left, copying each of them once."""
        parts, missing = [], size
        while missing:
            first = self._parts[0]
            stop = min(first.size, self._offset + missing)
            parts.append(
                first
                if stop - self._offset == first.size
                else first.take(slice(self._offset, stop))
            )
            missing -= stop - self._offset
            self._offset = stop
            if stop == first.size:
                self._parts.pop(0)
                self._offset = 0
        self._have -= size
        batch = self._merged(parts) if len(parts) > 1 else parts[0]
        batch.__dict__.pop("random", None)
        batch.__dict__.update(number=self._count, _draws=self._draws)
        self._count += 1
        return batch

    def _merged(self, parts: list[Batch]) -> Batch:
        try:
            return parts[0].merge(parts)
        except Exception as exc:
            first, last = parts[0], parts[-1]
            exc.add_note(
                f"in step rebatch({self._size}), which puts batches {first.number} to {last.number} of "
                f"epoch {first.epoch} together"
            )
            raise
