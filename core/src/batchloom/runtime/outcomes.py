"""What can become of a batch while it is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchloom.batch import Batch
from batchloom.variables import Variables


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


class NotThere:
    """Stands for a batch that another process could not prepare: it is prepared here, at its turn."""


NOT_THERE = NotThere()
Outcome = Batch | Problem


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of a batch in another process: neither a batch nor an exception if it is not there.

    Attributes
    ----------
    batch : Batch or None
    exception : BaseException or None
    reads : dict
        The variables it read, with the values it saw.
    """

    batch: Batch | None = None
    exception: BaseException | None = None
    reads: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RemoteRead:
    """A variable's value as another process saw it."""

    variables: Variables
    name: str
    value: Any

    def changed(self) -> bool:
        """Tell whether it is another one now."""
        now = self.variables[self.name]
        return type(now) is not type(self.value) or bool(now != self.value)
