"""The plan: a definition compiled once for a run.

Steps become operations, and the operations of each stage are parted: those before the first one that uses
something shared can prepare several batches at once; from there on batches are acted on one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from batchloom.actions import action_mark
from batchloom.batch import Batch
from batchloom.definition import Declaration, Definition
from batchloom.expressions import Component, Variable, evaluate, find_expressions, has_expressions
from batchloom.records import Record
from batchloom.runtime.operations import Operation, PlainAction, gathering, taken_over
from batchloom.steps import (
    ActionStep,
    ChanceStep,
    EvaluateStep,
    JoinStep,
    MergeStep,
    ModelStep,
    PrintVariable,
    RebatchStep,
    RepeatStep,
    Step,
    TrainStep,
    VariableStep,
    WriteVariable,
)
from batchloom.variables import CHANGES, is_immutable

if TYPE_CHECKING:
    from batchloom.runtime.model_steps import EvaluateCall, ModelCall, TrainCall
    from batchloom.runtime.state import State

NOTHING = Declaration()


class StagePlan(Record):
    """The operations between two changes of the batch size.

    Attributes
    ----------
    prepare : sequence of Operation
        Can run ahead, for several batches at once.
    act : sequence of Operation
        Run in order.
    rebatch : int or None
        The size of the batches that this stage gets; None for the run's batch size.
    """

    prepare: Sequence[Operation]
    act: Sequence[Operation]
    rebatch: int | None = None

    @property
    def only_gathers(self) -> bool:
        """Whether nothing is to be prepared but rows: no step of the user's runs ahead."""
        return all(each.step is NOTHING for each in self.prepare)


class Plan(Record):
    """What a run does.

    Attributes
    ----------
    stages : list of StagePlan
    calls : list of ModelCall
        All calls of models, for what a run does with them besides.
    partners : list of State
        The states of the pipelines that are joined or merged in.
    """

    stages: list[StagePlan]
    calls: list[ModelCall]
    partners: list[State]

    @property
    def trainings(self) -> list[TrainCall]:
        """The calls that train."""
        trains = (each for each in self.calls if isinstance(each.step, TrainStep))
        return [cast("TrainCall", each) for each in trains]

    @property
    def evaluations(self) -> list[EvaluateCall]:
        """The calls that evaluate."""
        evaluates = (each for each in self.calls if isinstance(each.step, EvaluateStep))
        return [cast("EvaluateCall", each) for each in evaluates]


class Surrounding:
    """What the compiling of a step has to know of all the others.

    Attributes
    ----------
    definition : Definition
    components : tuple of str
        The dataset's.
    state : State or None
        Of the pipeline that the steps belong to; None in another process.
    written : set of str
        The variables that steps write.
    trained : set of str
        The models that steps train, or hand to actions.
    calls : list of ModelCall
        Filled while compiling.
    joins : bool
        Whether other pipelines are joined, whose batches the next action gets.
    partners : list of State
        Filled while compiling.
    rebatched : int or None
        The size of the batches where compiling has come to, unless it is the run's batch size.
    watch : bool
        Whether steps are watched for what makes a run not repeatable.
    """

    def __init__(self, definition: Definition, state: State | None, watch: bool) -> None:
        self.definition = definition
        self.components = definition.dataset.components if definition.dataset is not None else ()
        self.state = state
        self.written: set[str] = set()
        self.trained: set[str] = set()
        self.calls: list[ModelCall] = []
        self.joins = False
        self.partners: list[State] = []
        self.rebatched: int | None = None
        self.watch = watch

    @classmethod
    def of(
        cls, definition: Definition, state: State | None = None, watch: bool = False
    ) -> Surrounding:
        """Look at all steps of a definition."""
        dataset = definition.dataset
        around = cls(definition, state, watch)
        for step in definition.all_steps():
            if isinstance(step, WriteVariable):
                around.written.add(step.name)
            elif isinstance(step, JoinStep):
                around.joins = True
            elif isinstance(step, ModelStep):
                from batchloom.runtime.destinations import Destinations

                places = Destinations(step.save_to, step.append_to, definition)
                around.written |= places.written_variables(around.components)
                if isinstance(step, TrainStep):
                    around.trained.add(step.model)
            elif isinstance(step, ActionStep) and dataset is not None:
                mark = action_mark(dataset.batch_class, step.name)
                if mark is not None and mark.model is not None:
                    around.trained.add(mark.model)
        return around


def compile_plan(
    definition: Definition,
    state: State,
    ahead: bool,
    acts: Callable[[Operation], bool],
    watch: bool = False,
) -> Plan:
    """Compile a definition.

    Parameters
    ----------
    definition : Definition
        Checked, and linked to a dataset.
    state : State
        Of the pipeline whose definition it is.
    ahead : bool
        Whether batches are prepared ahead, so that it pays to gather early what is read late.
    acts : callable
        Tells of an operation whether it acts in order even if it uses nothing shared.
    watch : bool
        Whether steps are watched for what makes a run not repeatable.
    """
    around = Surrounding.of(definition, state, watch)
    compiled: dict[Step, Operation] = {}
    stages: list[tuple[int | None, list[Operation]]] = [(None, [])]
    for step in expand(definition.steps):
        if isinstance(step, RebatchStep):
            around.rebatched = step.batch_size
            stages.append((step.batch_size, []))
        else:
            if step not in compiled:
                compiled[step] = compile_step(step, around)
            stages[-1][1].append(compiled[step])
    shared_locks = _locks_of_several([each for _, each in stages])
    parted = [_part(ops, shared_locks, ahead, acts, around) for _, ops in stages]
    plans = [StagePlan(*both, size) for (size, _), both in zip(stages, parted, strict=True)]
    return Plan(plans, around.calls, around.partners)


def expand(steps: Sequence[Step]) -> Iterator[Step]:
    """Go through the steps that do something, repeated ones as often as they are done."""
    for each in steps:
        if isinstance(each, RepeatStep):
            for _ in range(each.times):
                yield from expand(each.steps)
        elif not isinstance(each, Declaration):
            yield each


def compile_step(step: Step, around: Surrounding) -> Operation:
    """Make the operation of one step."""
    made = _compile(step, around)
    if not around.watch or isinstance(step, (ChanceStep, JoinStep, MergeStep)):
        return made  # of those that hold others, the others are watched
    from batchloom.runtime.watching import watched

    return watched(made)


def _compile(step: Step, around: Surrounding) -> Operation:
    if isinstance(step, ModelStep):
        from batchloom.runtime.model_steps import CALLS  # imported by runs that call models

        call = CALLS[type(step)](step, around)
        around.calls.append(call)
        return call.operation(around)
    for kind, make in COMPILERS.items():
        if isinstance(step, kind):
            return make(step, around)
    raise TypeError(f"no operation for {step!r}")


def _action(step: ActionStep, around: Surrounding) -> Operation:
    assert around.definition.dataset is not None
    batch_class = around.definition.dataset.batch_class
    mark = action_mark(batch_class, step.name)
    name, args, kwargs = step.name, step.args, dict(step.kwargs)
    late = has_expressions([args, kwargs])

    def call(batch: Batch) -> Batch:
        more, keywords = args, kwargs
        if late:
            assert batch.pipeline is not None
            more = evaluate(args, batch, batch.pipeline)
            keywords = evaluate(kwargs, batch, batch.pipeline)
        partners_of_batch = batch.__dict__.pop("_partners", ())
        return taken_over(getattr(batch, name)(*partners_of_batch, *more, **keywords), batch, name)

    function: Any = getattr(batch_class, name, None)
    is_plain = isinstance(function, FunctionType) and not late and not around.joins
    model, lock = (mark.model, mark.use_lock) if mark is not None else (None, None)
    return Operation(
        step.describe(),
        call,
        step,
        in_order=model is not None or bool(_variables(step) & around.written),
        here=lock is not None,
        locks=frozenset() if lock is None else frozenset({lock}),
        reads=_components([args, kwargs]),
        action=PlainAction(name, function, args, kwargs) if is_plain else None,
    )


def _variable(step: VariableStep, around: Surrounding) -> Operation:
    name = step.name

    def write(batch: Batch) -> Batch:
        assert isinstance(step, WriteVariable)
        assert batch.pipeline is not None
        value = evaluate(step.value, batch, batch.pipeline)
        batch.pipeline.variables.change(name, CHANGES[step.how], value)
        return batch

    def show(batch: Batch) -> Batch:
        assert batch.pipeline is not None
        print(f"{name} = {batch.pipeline.variables[name]!r}")
        return batch

    def write_constant(batch: Batch) -> Batch:
        # It acts in order: the batch's turn has come, and the state need not be asked for through it.
        assert isinstance(step, WriteVariable)
        assert around.state is not None
        around.state.variables.change(name, CHANGES[step.how], step.value)
        return batch

    call = write if isinstance(step, WriteVariable) else show
    if isinstance(step, WriteVariable) and around.state is not None and is_immutable(step.value):
        call = write_constant
    reads = _components(step.value) if isinstance(step, WriteVariable) else ()
    return Operation(step.describe(), call, step, in_order=True, here=True, reads=reads)


def _chance(step: ChanceStep, around: Surrounding) -> Operation:
    inner = [compile_step(each, around) for each in expand(step.steps)]

    def call(batch: Batch) -> Batch:
        if batch.random.random() < step.probability:
            for each in inner:
                batch = each.call(batch)
        return batch

    return Operation(
        step.describe(),
        call,
        step,
        in_order=any(each.in_order for each in inner),
        here=any(each.here for each in inner),
        locks=frozenset[str]().union(*(each.locks for each in inner)),
    )


def _partners(step: JoinStep | MergeStep, around: Surrounding) -> Operation:
    from batchloom.runtime.partners import joining, merging  # imported by runs that have partners

    return joining(step, around) if isinstance(step, JoinStep) else merging(step, around)


COMPILERS: dict[type[Step], Callable[[Any, Surrounding], Operation]] = {
    ActionStep: _action,
    WriteVariable: _variable,
    PrintVariable: _variable,
    ChanceStep: _chance,
    JoinStep: _partners,
    MergeStep: _partners,
}


def _variables(step: Step) -> set[str]:
    """Name the variables that a step's arguments read."""
    given = [step.args, dict(step.kwargs)] if isinstance(step, ActionStep) else []
    return {each.name for each in find_expressions(given) if isinstance(each, Variable)}


def _components(value: Any) -> tuple[str, ...]:
    return tuple(each.name for each in find_expressions(value) if isinstance(each, Component))


def _locks_of_several(stages: Sequence[Sequence[Operation]]) -> set[str]:
    """Name the locks that more than one stage uses; these are held in order only by acting in order."""
    held = [frozenset[str]().union(*(each.locks for each in ops)) for ops in stages]
    return {name for locks in held for name in locks if sum(name in each for each in held) > 1}


def _part(
    operations: list[Operation],
    shared: set[str],
    ahead: bool,
    acts: Callable[[Operation], bool],
    around: Surrounding,
) -> tuple[list[Operation], list[Operation]]:
    """Part the operations of a stage into those that can run ahead and those that act in order."""

    def stays(each: Operation) -> bool:
        return each.in_order or bool(each.locks & shared) or acts(each)

    first = next((at for at, each in enumerate(operations) if stays(each)), len(operations))
    while True:
        # A lock that is held on both sides is held in the order of batches only if all of it acts.
        later = frozenset[str]().union(*(each.locks for each in operations[first:]))
        sooner = next((at for at in range(first) if operations[at].locks & later), first)
        if sooner == first:
            break
        first = sooner
    prepare, act = operations[:first], operations[first:]
    columns = around.definition.dataset.columns if around.definition.dataset is not None else {}
    late = [name for each in act for name in each.reads if name in columns]
    if late and ahead:
        prepare = [*prepare, gathering(late, NOTHING)]
    return prepare, act
