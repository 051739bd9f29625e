"""Steps: what a pipeline does to each batch, one record for each kind.

A step says what to do and never does it: `batchloom.runtime` turns steps into calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from batchloom.records import Record, field

if TYPE_CHECKING:
    from batchloom.building import Builder


class Step(Record):
    """Anything that is done to each batch."""

    def describe(self) -> str:
        """Give the step as one line, much as it was written."""
        raise NotImplementedError


class ActionStep(Step):
    """Call an action of the batch."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> str:
        return call_text(self.name, self.args, self.kwargs)


class ModelStep(Step):
    """Call a model with data of the batch.

    Attributes
    ----------
    model : str
    make_data : callable or None
        Takes the batch and the model and returns a dict of arguments for the model.
    arguments : mapping
        Arguments for the model, as they were written.
    save_to, append_to : object
        Where the output goes: a name, an expression, or a sequence of them.
    """

    model: str
    make_data: Callable[..., Mapping[str, Any]] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    save_to: Any = None
    append_to: Any = None

    verb = "call"

    def describe(self) -> str:
        shown = {"make_data": self.make_data, **self.arguments}
        shown |= {"save_to": self.save_to, "append_to": self.append_to}
        given = {name: each for name, each in shown.items() if each is not None}
        return call_text(f"{self.verb}_model", (self.model,), given)


class TrainStep(ModelStep):
    """Train a model on the batch."""

    verb = "train"


class PredictStep(ModelStep):
    """Predict with a model."""

    verb = "predict"


class EvaluateStep(ModelStep):
    """Gather targets and predictions of the whole run, and compute metrics when it ends.

    Attributes
    ----------
    target : object
        The true values: a component's name or an expression.
    metrics : mapping of str to callable
    """

    target: Any = None
    metrics: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)

    verb = "evaluate"

    def describe(self) -> str:
        shown = {**self.arguments, "y": self.target, "metrics": list(self.metrics)}
        shown |= {"save_to": self.save_to, "append_to": self.append_to}
        given = {name: each for name, each in shown.items() if each is not None}
        return call_text("evaluate_model", (self.model,), given)


class VariableStep(Step):
    """Do something with a variable."""

    name: str


class WriteVariable(VariableStep):
    """Give a variable a new value, made from the old one and a value worked out for the batch.

    Attributes
    ----------
    how : {"set", "inc", "append", "extend", "update"}
    """

    value: Any
    how: str = "set"

    def describe(self) -> str:
        names = {"set": "set_variable", "inc": "inc_variable"}
        if self.how in names:
            return call_text(names[self.how], (self.name, self.value))
        return call_text("update_variable", (self.name, self.value), {"mode": self.how})


class PrintVariable(VariableStep):
    """Print a variable."""

    def describe(self) -> str:
        return call_text("print_variable", (self.name,))


class CompoundStep(Step):
    """Steps that are repeated or left out together."""

    steps: tuple[Step, ...]

    def _inner(self) -> str:
        return "(" + ", ".join(each.describe() for each in self.steps) + ")"


class RepeatStep(CompoundStep):
    """``pipeline * times``."""

    times: int

    def describe(self) -> str:
        return f"{self._inner()} * {self.times}"


class ChanceStep(CompoundStep):
    """``pipeline @ probability``: drawn for each batch from the batch's own generator."""

    probability: float

    def describe(self) -> str:
        return f"{self._inner()} @ {self.probability:g}"


class RebatchStep(Step):
    """Put the items into batches of another size, within each epoch."""

    batch_size: int

    def describe(self) -> str:
        return f"rebatch({self.batch_size})"


class PartnerStep(Step):
    """Bring in batches of other pipelines."""

    pipelines: tuple[Builder, ...]


class JoinStep(PartnerStep):
    """Hand batches with the same ids, from other pipelines, to the next action."""

    def describe(self) -> str:
        return f"join({', '.join(repr(each.dataset) for each in self.pipelines)})"


class MergeStep(PartnerStep):
    """Put the items of other pipelines' batches into the batch."""

    def describe(self) -> str:
        return f"merge({', '.join(repr(each.dataset) for each in self.pipelines)})"


def flatten(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Go through steps and the steps inside them."""
    for each in steps:
        yield each
        if isinstance(each, CompoundStep):
            yield from flatten(each.steps)


def call_text(
    name: str, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> str:
    """Write a call as a user would, with long values cut short."""
    said = [short(each) for each in args]
    said += [f"{key}={short(each)}" for key, each in (kwargs or {}).items()]
    return f"{name}({', '.join(said)})"


def short(value: Any, most: int = 60) -> str:
    """Give the repr of a value in one short line; functions by name."""
    name = getattr(value, "__qualname__", None)
    text = name if name and callable(value) else " ".join(repr(value).split())
    return text if len(text) <= most else text[: most - 3] + "..."
