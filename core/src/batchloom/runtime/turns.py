"""Turns: when a batch that is prepared ahead may look at what batches share.

A batch's turn comes when every batch before it is done. Before, it may read what nobody can change in
place, and what it read is held against what is there when its turn has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchloom.models.handle import ModelHandle
    from batchloom.runtime.ahead import Monitor
    from batchloom.runtime.protocols import Read
    from batchloom.variables import Variables


class NotNowError(BaseException):
    """Gives a batch up, to be prepared at its turn. Never seen by users.

    Parameters
    ----------
    turn : Turn
        Of the batch: runs can be nested, and the one that the batch belongs to takes it back.
    """

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn


class VariableRead:
    """A variable's value that was read ahead."""

    __slots__ = ("name", "value", "variables")

    def __init__(self, variables: Variables, name: str, value: Any) -> None:
        self.variables = variables
        self.name = name
        self.value = value

    def changed(self) -> bool:
        """Tell whether it is another one now."""
        return self.variables[self.name] is not self.value


class ModelRead:
    """The version of a model that predicted ahead."""

    __slots__ = ("handle", "version")

    def __init__(self, handle: ModelHandle, version: int) -> None:
        self.handle = handle
        self.version = version

    def changed(self) -> bool:
        """Tell whether the model has been written to."""
        return self.handle.version != self.version


class Turns:
    """The turns of the batches of a stage.

    Attributes
    ----------
    granted : int
        How many of them have got their turn.
    """

    __slots__ = ("granted",)

    def __init__(self) -> None:
        self.granted = 0


class Turn:
    """The turn of one batch.

    Parameters
    ----------
    turns : Turns
    ticket : int
        The batch's place among them.
    may_read : bool
        Whether it may read ahead of its turn, because it can be prepared again.
    monitor : Monitor, optional
        Where it waits for its turn; without one it may not, because the thread is not the run's own, or is
        the one that grants it.

    Attributes
    ----------
    reads : list of Read
        What it read before its turn came; empty once that was found to be still so.
    """

    __slots__ = ("_may_read", "_monitor", "_ticket", "_turns", "reads")

    def __init__(
        self, turns: Turns, ticket: int, may_read: bool, monitor: Monitor | None = None
    ) -> None:
        self._turns = turns
        self._ticket = ticket
        self._may_read = may_read
        self._monitor = monitor
        self.reads: list[Read] = []

    @property
    def has_come(self) -> bool:
        """Whether every batch before it is done."""
        return self._turns.granted > self._ticket

    @property
    def may_read_ahead(self) -> bool:
        """Whether what nobody can change in place may be read now, and must be noted in `reads`."""
        return self._may_read and not self.has_come

    def settle(self) -> bool:
        """Tell, when the turn has come, whether all that was read ahead is still so; look no more then."""
        if self.reads and any(each.changed() for each in self.reads):
            return False
        self.reads = []  # from here on only this batch changes anything
        return True

    def wait(self) -> None:
        """Wait for the turn.

        Raises
        ------
        NotNowError
            If something that was read ahead has changed since, or nobody may wait here.
        """
        if not self.has_come:
            if self._monitor is None:
                raise NotNowError(self)
            self._monitor.wait_until(lambda: self.has_come)
        # The turn may have come long after the reading: it is held against what is there in any case.
        if self.reads and not self.settle():
            raise NotNowError(self)
