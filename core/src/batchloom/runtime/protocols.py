"""Protocols: what the parts of a run expect of each other. For type checkers: a run imports none of them."""

from __future__ import annotations

from typing import Protocol

from batchloom.batch import Batch
from batchloom.runtime.source import EpochEnd, RunEnd
from batchloom.runtime.work import Work


class Lot(Protocol):
    """Consecutive batches that are prepared in one go.

    Attributes
    ----------
    count : int
    repeatable : bool
        Whether a batch can be made `again`, with nothing that was done to the first one.
    last : bool
        Whether the end of the epoch is all that comes after them.
    """

    count: int
    last: bool

    @property
    def repeatable(self) -> bool: ...

    def batch(self, position: int, again: bool = False) -> Batch:
        """Make a batch of the lot."""


Supply = Lot | EpochEnd | RunEnd


class Upstream(Protocol):
    """What a stage gets its portions from."""

    def take(self, most: int) -> Supply:
        """Give what comes next, waiting for it."""

    def ahead(self, most: int) -> Supply | None:
        """Give what comes next, or None if that would mean waiting, or working out of turn."""


class Pool(Protocol):
    """Runs work outside of the thread that runs the pipeline.

    Attributes
    ----------
    may_wait : bool
        Whether its threads are the run's own, so that they may wait for the turn of a batch.
    """

    may_wait: bool

    def submit(self, job: Work) -> None: ...

    def close(self) -> None:
        """End everything; a second time does nothing."""


class Job(Protocol):
    """What a thread of a pool runs."""

    def run(self) -> None: ...


class Read(Protocol):
    """Something that was read ahead of a batch's turn."""

    def changed(self) -> bool:
        """Tell whether it is different now."""
