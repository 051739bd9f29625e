"""What can become of a batch while it is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchloom.batch import Batch
from batchloom.runtime.turns import Read


@dataclass(frozen=True, slots=True)
class Problem:
    """A batch that did not get through.

    Attributes
    ----------
    exception : BaseException
    batch : Batch or None
        As far as it had come; None if it could not even be made.
    """

    exception: BaseException
    batch: Batch | None


Outcome = Batch | Problem


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of a batch ahead of its turn.

    Attributes
    ----------
    outcome : Batch, Problem, BaseException or None
        An exception was raised in another process, where its batch is too. None: the batch has to be
        prepared at its turn.
    reads : sequence of Read
        What it rests on.
    """

    outcome: Outcome | BaseException | None
    reads: Sequence[Read] = ()

    @property
    def holds(self) -> bool:
        """Whether it is there, and still what it would be if it were prepared now."""
        return self.outcome is not None and not any(each.changed() for each in self.reads)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a batch in another process: neither a batch nor an exception if it is not there.

    Attributes
    ----------
    batch : Batch or None
    exception : BaseException or None
    reads : sequence of str
        The variables it read.
    """

    batch: Batch | None = None
    exception: BaseException | None = None
    reads: Sequence[str] = ()
