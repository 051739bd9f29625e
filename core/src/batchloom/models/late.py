"""Outputs of training that are there later: for models that train several batches in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class LateOutput:
    """What a model will give for a batch that it has taken and not trained on yet.

    ``_train`` returns it in place of the output. ``append_to`` and ``save_to`` put its value into their
    variable, in the order of the batches; who reads the variable before that has the model finish. A
    lifecycle plug-in, and who calls ``model.train`` in an action, gets the value itself.

    Parameters
    ----------
    finish : callable
        Has the model train on what it has taken; takes the model's lock.
    """

    __slots__ = ("_finish", "_value", "state")

    def __init__(self, finish: Callable[[], None]) -> None:
        self._finish = finish
        self._value: Any = None
        self.state = "waiting"

    def give(self, value: Any) -> None:
        """Say what the output is; None is no output."""
        self._value, self.state = value, "given"

    def drop(self) -> None:
        """Say that there will be none: the batch was not trained on."""
        self.state = "dropped"

    def get(self) -> Any:
        """Return the output, and have the model finish for it; None if there is none."""
        if self.state == "waiting":
            self._finish()
        return self._value


def settled(output: Any) -> Any:
    """Return an output of training itself, if it is a late one."""
    return output.get() if isinstance(output, LateOutput) else output
