"""Checks of a definition: every name is held against what there is, when it is written if that can be."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from batchloom.actions import action_mark, action_names
from batchloom.batch import Batch, check_component_name
from batchloom.dataset import Dataset
from batchloom.definition import Declaration, DeclareModel, DeclareVariable, Definition, ImportModel
from batchloom.errors import (
    DefinitionError,
    TemplateError,
    UnknownActionError,
    UnknownComponentError,
    UnknownModelError,
    UnknownVariableError,
    nearest,
)
from batchloom.expressions import Component, Variable, find_expressions
from batchloom.steps import (
    ActionStep,
    ChanceStep,
    CompoundStep,
    EvaluateStep,
    JoinStep,
    ModelStep,
    RebatchStep,
    Step,
    TrainStep,
    VariableStep,
    WriteVariable,
    flatten,
)

if TYPE_CHECKING:
    from batchloom.runtime.destinations import Destination

JOIN_LAST = "join must be followed by an action, which gets the joined batches"


class Known:
    """The names there are at one place of a pipeline.

    Attributes
    ----------
    components : list of str
    open : bool
        Whether an action of the user's may have added components.
    variables, models : set of str
    """

    def __init__(self, components: Iterable[str]) -> None:
        self.components = list(components)
        self.open = False
        self.variables: set[str] = set()
        self.models: set[str] = set()

    def copied(self) -> Known:
        """Make a copy to which more can be added."""
        made = Known(self.components)
        made.open, made.variables, made.models = self.open, {*self.variables}, {*self.models}
        return made


def check_definition(definition: Definition) -> Known:
    """Check all names of a definition that is linked to a dataset.

    Returns
    -------
    Known
        The names there are after its last step.

    Raises
    ------
    UnknownNameError, DefinitionError
        For the first step that names something that is not there, or not there yet.
    """
    assert definition.dataset is not None
    _check_actions_can_be_called(definition.dataset.batch_class)
    return check_added(definition, Known(definition.dataset.components), 0)


@functools.cache
def _names_of_pipelines() -> list[str]:
    return [each for each in dir(Dataset.pipeline_class) if not each.startswith("_")]


def _check_actions_can_be_called(batch_class: type[Batch]) -> None:
    for name in _names_of_pipelines():
        if action_mark(batch_class, name) is not None:
            raise DefinitionError(
                f"the action {name!r} of {batch_class.__name__} could never be a step, because a pipeline "
                f"has a {name} of its own: give the action another name"
            )


def check_added(definition: Definition, before: Known, checked: int) -> Known:
    """Do what `check_definition` does when so many first steps have been checked.

    Parameters
    ----------
    definition : Definition
    before : Known
        The names there are after these first steps.
    checked : int
    """
    assert definition.dataset is not None
    known, steps = before.copied(), definition.steps[checked:]
    check_shape(steps)
    for step in steps:
        _check_step(step, known, definition, definition.dataset)
    _check_joins([*_last_doing(definition.steps[:checked]), *steps])
    return known


def check_complete(definition: Definition) -> None:
    """Check what can only be wrong once nothing more is written: a `join` that no action follows."""
    _check_joins(definition.steps)
    done = _doing(definition.steps)
    if done and isinstance(done[-1], JoinStep):
        raise DefinitionError(JOIN_LAST)


def check_action_name(name: str, batch_class: type[Batch]) -> None:
    """Refuse an action that a batch class does not have.

    Raises
    ------
    UnknownActionError
    """
    if action_mark(batch_class, name) is None:
        raise UnknownActionError(
            "action",
            name,
            action_names(batch_class),
            f"of {batch_class.__name__}",
            _hint_of_action(name, batch_class),
        )


def _hint_of_action(name: str, batch_class: type[Batch]) -> str:
    if callable(getattr(batch_class, name, None)):
        return "It is a method: mark it with @action"
    builders = (each for each in dir(Dataset.pipeline_class) if not each.startswith("_"))
    close = nearest(name, builders)
    return f"A pipeline itself has methods{close}" if close else ""


def actions_of(dataset: Dataset | None) -> list[str]:
    """List the actions that a pipeline is known to have."""
    return action_names(Batch if dataset is None else dataset.batch_class)


def check_import(name: str, definition: Definition) -> None:
    """Refuse to import a model that the other pipeline does not have.

    Raises
    ------
    UnknownModelError
    """
    if name not in definition.models:
        raise UnknownModelError(
            "model", name, definition.models, "in the pipeline that it is to be imported from"
        )


def check_partner(pipeline: Any, verb: str) -> None:
    """Refuse what cannot be joined or merged with.

    Raises
    ------
    DefinitionError, TemplateError
    """
    definition = getattr(pipeline, "_definition", None)
    if not isinstance(definition, Definition):
        raise DefinitionError(f"{verb} takes pipelines, not {pipeline!r}")
    if definition.dataset is None:
        raise TemplateError(
            f"{verb}: the other pipeline is a template; link it: template << dataset"
        )
    for step in definition.all_steps():
        if isinstance(step, (RebatchStep, TrainStep, EvaluateStep)):
            raise DefinitionError(
                f"{verb}: the other pipeline has the step {step.describe()}, which needs a run of its own"
            )


def check_shape(steps: Sequence[Step]) -> None:
    """Refuse a rebatch that only some batches would see."""
    for each in steps:
        if isinstance(each, ChanceStep) and any(
            isinstance(s, RebatchStep) for s in flatten(each.steps)
        ):
            raise DefinitionError(
                f"{each.describe()}: rebatch cannot be left to chance, because it changes all batches that "
                "follow"
            )
        if isinstance(each, CompoundStep):
            check_shape(each.steps)


def _check_step(step: Step, known: Known, definition: Definition, dataset: Dataset) -> None:
    if isinstance(step, DeclareVariable):
        known.variables.add(step.variable.name)
    elif isinstance(step, (DeclareModel, ImportModel)):
        known.models.add(step.name)
    elif isinstance(step, CompoundStep):
        for each in step.steps:
            _check_step(each, known, definition, dataset)
    elif not isinstance(step, Declaration):
        _check_expressions(step, known)
        if isinstance(step, ActionStep):
            _check_action(step, known, dataset)
        elif isinstance(step, VariableStep) and step.name not in known.variables:
            raise _unknown_variable(step.name, known, step)
        elif isinstance(step, ModelStep):
            _check_model_step(step, known, definition, dataset)


def _check_action(step: ActionStep, known: Known, dataset: Dataset) -> None:
    batch_class = dataset.batch_class
    check_action_name(step.name, batch_class)
    mark = action_mark(batch_class, step.name)
    assert mark is not None
    if mark.model is not None and mark.model not in known.models:
        raise _unknown_model(mark.model, known, definition=None, step=step)
    if (
        getattr(Batch, step.name, None) is not getattr(batch_class, step.name)
        or step.name == "load"
    ):
        known.open = True
    elif step.name == "apply":
        dst = step.kwargs.get("dst", step.args[2] if len(step.args) > 2 else ())
        known.components += [dst] if isinstance(dst, str) else list(dst or ())


def _check_model_step(
    step: ModelStep, known: Known, definition: Definition, dataset: Dataset
) -> None:
    # A pipeline without models needs none of these.
    from batchloom.runtime.arguments import Arguments
    from batchloom.runtime.destinations import Destinations

    if step.model not in known.models:
        raise _unknown_model(step.model, known, definition, step)
    declared = definition.models[step.model]
    while isinstance(declared, ImportModel) and step.model in declared.source._definition.models:
        declared = declared.source._definition.models[step.model]
    if definition.models[step.model] is declared:
        _check_expressions(declared, known)
    if isinstance(declared, DeclareModel) and not known.open:
        spec = declared.spec
        data = (*spec.data_args, "y") if isinstance(step, EvaluateStep) else spec.data_args
        given = (
            {**step.arguments, "y": step.target}
            if isinstance(step, EvaluateStep)
            else step.arguments
        )
        Arguments(given, None, data, spec.literal_args, definition).check(known.components)
    for place in Destinations(step.save_to, step.append_to, definition).places:
        _check_destination(place, step, known, dataset.batch_class)


def _check_destination(
    place: Destination, step: ModelStep, known: Known, batch_class: type[Batch]
) -> None:
    if isinstance(place.target, Component):
        if place.name not in known.components:
            check_component_name(place.name, batch_class)
        known.components.append(place.name)
        return
    is_variable = place.name in known.variables
    only_variable = (
        place.append or isinstance(place.target, Variable) or isinstance(step, EvaluateStep)
    )
    if is_variable or (not only_variable and (known.open or place.name in known.components)):
        return
    from batchloom.runtime.destinations import unknown_destination

    components = () if only_variable else known.components
    raise unknown_destination(place, only_variable, components, known.variables)


def _check_expressions(step: Step, known: Known) -> None:
    for each in find_expressions(_given(step)):
        if isinstance(each, Variable) and each.name not in known.variables:
            raise _unknown_variable(each.name, known, step)
        if isinstance(each, Component) and not known.open and each.name not in known.components:
            raise UnknownComponentError(
                "component", each.name, known.components, f"in step {step.describe()}"
            )


def _given(step: Step) -> list[Any]:
    if isinstance(step, ActionStep):
        return [step.args, dict(step.kwargs)]
    if isinstance(step, DeclareModel):
        return [dict(step.spec.config)] if step.mode == "dynamic" else []
    if isinstance(step, ModelStep):
        return [dict(step.arguments), *([step.target] if isinstance(step, EvaluateStep) else [])]
    return [step.value] if isinstance(step, WriteVariable) else []


def _doing(steps: Sequence[Step]) -> list[Step]:
    return [each for each in steps if not isinstance(each, Declaration)]


def _last_doing(steps: Sequence[Step]) -> Iterator[Step]:
    found = (each for each in reversed(steps) if not isinstance(each, Declaration))
    return itertools.islice(found, 1)


def _check_joins(steps: Sequence[Step]) -> None:
    """Refuse a join that no action follows, unless the action may still be written."""
    done = _doing(steps)
    for each in done:
        if isinstance(each, CompoundStep):
            if isinstance(each.steps[-1], JoinStep):
                raise DefinitionError(f"{each.describe()}: {JOIN_LAST}")
            _check_joins(each.steps)
    for each, after in itertools.pairwise(done):
        if isinstance(each, JoinStep) and not isinstance(after, ActionStep):
            raise DefinitionError(
                "join must be followed by an action, which gets the joined batches, not by "
                f"{after.describe()}"
            )


def _unknown_variable(name: str, known: Known, step: Step) -> UnknownVariableError:
    return UnknownVariableError(
        "variable",
        name,
        known.variables,
        f"in step {step.describe()}",
        f"Declare it before this step, with init_variable({name!r}, ...)",
    )


def _unknown_model(
    name: str, known: Known, definition: Definition | None, step: Step
) -> UnknownModelError:
    later = definition is not None and name in definition.models
    hint = (
        "It is declared further down: move init_model above this step"
        if later
        else f"Declare it before this step, with init_model(mode, model, {name!r}) or import_model"
    )
    return UnknownModelError("model", name, known.models, f"in step {step.describe()}", hint)
