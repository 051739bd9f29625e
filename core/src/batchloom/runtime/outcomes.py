"""What can become of a batch while it is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchloom.batch import Batch
from batchloom.runtime.turns import Read


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a batch did not get through."""

    exception: BaseException


Outcome = Batch | Problem


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of a batch ahead of its turn.

    Attributes
    ----------
    outcome : Batch, Problem or None
        None if it has to be prepared at its turn.
    reads : sequence of Read
        What it rests on.
    """

    outcome: Outcome | None
    reads: Sequence[Read] = ()


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
