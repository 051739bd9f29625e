"""The definition of a pipeline: its steps and declarations, its dataset and config. Never changed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchloom.errors import DefinitionError
from batchloom.records import Record, field, replace
from batchloom.steps import ChanceStep, RepeatStep, Step, call_text, flatten, short
from batchloom.variables import VariableDeclaration

if TYPE_CHECKING:
    from batchloom.building import Builder
    from batchloom.dataset import Dataset
    from batchloom.models.handle import ModelHandle, ModelSpec
    from batchloom.runtime.options import RunOptions


class Declaration(Step):
    """Says that a name exists from here on; does nothing to batches."""

    @property
    def subject(self) -> tuple[str, str]:
        """What is declared: its kind and its name."""
        raise NotImplementedError


class DeclareVariable(Declaration):
    """``init_variable``."""

    variable: VariableDeclaration

    @property
    def subject(self) -> tuple[str, str]:
        return "variable", self.variable.name

    def describe(self) -> str:
        said = self.variable
        options = {
            "default": said.default,
            "init": said.init,
            "init_on_each_run": said.init_on_each_run,
        }
        given = {name: each for name, each in options.items() if each is not None}
        return call_text("init_variable", (said.name,), given)


class DeclareModel(Declaration):
    """``init_model``.

    Attributes
    ----------
    mode : {"static", "dynamic"}
    name : str
    spec : ModelSpec
    handle : ModelHandle or None
        The model itself if it is static: every pipeline with this declaration shares it.
    """

    mode: str
    name: str
    spec: ModelSpec
    handle: ModelHandle | None = None

    @property
    def subject(self) -> tuple[str, str]:
        return "model", self.name

    def describe(self) -> str:
        config = {"config": dict(self.spec.config)} if self.spec.config else {}
        given = self.spec.registered_name or self.spec.model_class
        return call_text("init_model", (self.mode, given, self.name), config)


class ImportModel(Declaration):
    """``import_model``."""

    name: str
    source: Builder

    @property
    def subject(self) -> tuple[str, str]:
        return "model", self.name

    def describe(self) -> str:
        return f"import_model({self.name!r}, <pipeline over {self.source.dataset!r}>)"


class Definition(Record):
    """What a pipeline does, over what.

    Attributes
    ----------
    steps : tuple of Step
        In order; declarations are among them, never inside a compound step.
    dataset : Dataset or None
        None for a template.
    config : mapping
    run_options : RunOptions or None
        What ``run(..., lazy=True)`` was told.
    """

    steps: tuple[Step, ...] = ()
    dataset: Dataset | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    run_options: RunOptions | None = None

    @functools.cached_property
    def variables(self) -> dict[str, VariableDeclaration]:
        """The declared variables by name."""
        return {s.variable.name: s.variable for s in self.steps if isinstance(s, DeclareVariable)}

    @functools.cached_property
    def models(self) -> dict[str, DeclareModel | ImportModel]:
        """The declared and imported models by name."""
        return {s.name: s for s in self.steps if isinstance(s, (DeclareModel, ImportModel))}

    def then(self, *steps: Step) -> Definition:
        """Add steps at the end.

        Raises
        ------
        DefinitionError
            If a name is declared a second time.
        """
        if not any(isinstance(each, Declaration) for each in steps):
            return replace(self, steps=(*self.steps, *steps))
        there = {each.subject: each for each in self.steps if isinstance(each, Declaration)}
        added = []
        for step in steps:
            if isinstance(step, Declaration):
                if there.get(step.subject) is step:
                    continue  # both sides of a `+` come from one pipeline
                _refuse_second(there.get(step.subject), step)
                there[step.subject] = step
            added.append(step)
        return replace(self, steps=(*self.steps, *added))

    def repeated(self, times: int) -> Definition:
        """Do all steps several times to each batch; what is declared stays declared once."""
        declarations, steps = self._parted()
        return replace(
            self, steps=(*declarations, RepeatStep(steps, times)) if steps else declarations
        )

    def chanced(self, probability: float) -> Definition:
        """Do all steps, or none of them, to each batch."""
        declarations, steps = self._parted()
        return replace(
            self, steps=(*declarations, ChanceStep(steps, probability)) if steps else declarations
        )

    def joined(self, other: Definition) -> Definition:
        """Put another definition's steps behind these."""
        both = replace(
            self,
            dataset=_one_of("dataset", self.dataset, other.dataset),
            config=_both_configs(self.config, other.config),
            run_options=_one_of("run(lazy=True) options", self.run_options, other.run_options),
        )
        return both.then(*other.steps)

    def without_variable(self, name: str) -> Definition:
        """Take a variable's declaration out."""
        left = (
            s
            for s in self.steps
            if not (isinstance(s, DeclareVariable) and s.variable.name == name)
        )
        return replace(self, steps=tuple(left))

    def all_steps(self) -> list[Step]:
        """List all steps, those inside compound steps too."""
        return list(flatten(self.steps))

    def _parted(self) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        declarations = tuple(each for each in self.steps if isinstance(each, Declaration))
        return declarations, tuple(each for each in self.steps if not isinstance(each, Declaration))


def _refuse_second(first: Declaration | None, second: Declaration) -> None:
    if first is not None:
        kind, name = second.subject
        raise DefinitionError(
            f"{kind} {name!r} is declared twice: by {first.describe()} and by {second.describe()}. "
            "Give one of them another name"
        )


def _one_of(what: str, left: Any, right: Any) -> Any:
    if left is not None and right is not None and left is not right:
        raise DefinitionError(
            f"both pipelines have a {what} ({left!r} and {right!r}): link the sum to one of them with <<"
        )
    return right if left is None else left


def _both_configs(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    unequal = [each for each in left if each in right and not _same(left[each], right[each])]
    if unequal:
        raise DefinitionError(
            "the two pipelines' configs disagree on "
            + ", ".join(
                f"{each!r} ({short(left[each])} and {short(right[each])})" for each in unequal
            )
        )
    return {**left, **right}


def _same(left: Any, right: Any) -> bool:
    if left is right:
        return True
    try:
        return bool(left == right)
    except Exception:  # arrays and frames compare by element
        return False
