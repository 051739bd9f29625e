"""Batches that wait to be trained on several at a time, in one call of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from batchloom.models import LateOutput
from batchloom_tf.graph import Values
from batchloom_tf.outputs import Request
from batchloom_tf.steps import Checked, Steps
from batchloom_tf.tensors import shareable

if TYPE_CHECKING:
    from batchloom.batch import Batch


_SHAPE_AND_DTYPE = attrgetter("shape", "dtype")


class Entry(NamedTuple):
    """What is known of one batch that waits, beside its arrays.

    Parameters
    ----------
    request : Request
        What was asked of it.
    output : LateOutput or None
        Where that goes; None if nothing was asked.
    rows : int
    batch : Batch or None
        One that stands for it in an error; None for one that came without a pipeline.
    """

    request: Request
    output: LateOutput | None
    rows: int
    batch: Batch | None

    def give(self, values: Values) -> None:
        """Hand out what was asked of the batch."""
        if self.output is not None:
            self.output.give(self.request.fill(values))

    def drop(self) -> None:
        """Say that the batch was not learned from."""
        if self.output is not None:
            self.output.drop()


class Waiting:
    """Copies of checked batches of one shape, as many as go into a call.

    Parameters
    ----------
    most : int
        How many are trained on in one call.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._entries: list[Entry] = []
        self._stacks: list[np.ndarray] = []
        self._kind: Any = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        """Whether there are as many as go into a call."""
        return len(self._entries) >= self.most

    def has_place_for(self, batch: Checked) -> bool:
        """Whether a batch can be trained on together with those that wait, if any do."""
        return 0 < len(self._entries) < self.most and _kind(batch) == self._kind

    def make_place_for(self, batch: Checked) -> None:
        """Begin with batches of a kind, when none waits."""
        self._kind = _kind(batch)
        self._stacks = [shareable((self.most, *a.shape), a.dtype) for a in batch.arrays]

    def add(self, batch: Checked, entry: Entry) -> None:
        """Keep a copy of a batch that there is a place for."""
        number = len(self._entries)
        for stack, array in zip(self._stacks, batch.arrays, strict=True):
            stack[number] = array
        self._entries.append(entry)

    def train(self, steps: Steps) -> list[tuple[Entry, Values]]:
        """Train on all that wait, in order, and return what each gives.

        If one fails, it is left out, and those after it wait on. What the call would have given for
        those before it is lost with the call.

        Raises
        ------
        Exception
            What TensorFlow raised, with a note of the batch.
        """
        entries, self._entries = self._entries, []
        kind, self._kind = self._kind, None  # the stacks are given away
        try:
            stacks = [stack[: len(entries)] for stack in self._stacks]
            values = steps.train_several(kind[0], stacks)
        except Exception as exc:
            failed = steps.learned
            exc.add_note(self._note(entries, failed))
            self._keep(entries, failed, kind)
            raise
        except BaseException:  # Ctrl-C: nobody knows how far it came
            for entry in entries:
                entry.drop()
            raise
        return list(zip(entries, values, strict=True))

    def drop(self) -> None:
        """Forget all that wait."""
        for entry in self._entries:
            entry.drop()
        self._entries = []

    def _keep(self, entries: Sequence[Entry], failed: int, kind: Any) -> None:
        for entry in entries[: failed + 1]:
            entry.drop()
        self._entries = list(entries[failed + 1 :])
        self._kind = kind
        self._stacks = [np.roll(stack, -failed - 1, axis=0) for stack in self._stacks]

    def _note(self, entries: Sequence[Entry], failed: int) -> str:
        together = f"{len(entries)} trained on in one call (steps_per_call={self.most})"
        if failed == len(entries):
            parts = [f"the {together} were all learned from before this"]
        else:
            named = _named(entries[failed].batch)
            parts = [f"{named} failed, number {failed + 1} of {together}, and was not learned from"]
        if before := entries[:failed]:
            lost = ", but what was asked of them is lost" if any(e.output for e in before) else ""
            parts.append(f"learned from: {_numbers(before)}{lost}")
        if after := entries[failed + 1 :]:
            parts.append(f"not learned from yet: {_numbers(after)}")
        return "; ".join(parts)


def _named(batch: Batch | None) -> str:
    if batch is None:
        return "a batch"
    shown = ", ".join(map(str, batch.first_indices()))
    return f"batch {batch.number} of epoch {batch.epoch}, first indices [{shown}]"


def _numbers(entries: Sequence[Entry]) -> str:
    """Name batches by their numbers, and count those that have none."""
    numbers = [str(each.batch.number) for each in entries if each.batch is not None]
    if not numbers:
        return f"{len(entries)} without a number"
    nameless = len(entries) - len(numbers)
    return f"batch {', '.join(numbers)}" + (f" and {nameless} without a number" if nameless else "")


def _kind(batch: Checked) -> Any:
    # Texts of another length are another dtype: a stack would cut them off.
    return batch.key, list(map(_SHAPE_AND_DTYPE, batch.arrays))
