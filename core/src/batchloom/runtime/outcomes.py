"""What can become of a batch while it is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchloom.batch import Batch

if TYPE_CHECKING:
    from batchloom.runtime.protocols import Read


class Problem:
    """Why a batch did not get through."""

    __slots__ = ("exception",)

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception


Outcome = Batch | Problem


class Prepared:
    """What became of a batch ahead of its turn.

    Attributes
    ----------
    outcome : Batch, Problem or None
        None if it has to be prepared at its turn.
    reads : sequence of Read
        What it rests on.
    """

    __slots__ = ("outcome", "reads")

    def __init__(self, outcome: Outcome | None, reads: Sequence[Read] = ()) -> None:
        self.outcome = outcome
        self.reads = reads


Sent = tuple[Batch | None, BaseException | None, tuple[str, ...]]
"""What became of a batch in another process.

The batch, or an exception, or neither if it is to be prepared at its turn; and the variables that it read.
"""
