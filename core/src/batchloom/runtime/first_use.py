"""First use: the batch that a dynamic model was made of, prepared once more for a run that is resumed.

A checkpoint holds what a model has learned, and not the batch that told its maker of shapes and the like.
Variables that this changes get their kept values afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchloom.batch import Batch
from batchloom.portion import Portion
from batchloom.runtime.operations import Operation, perform
from batchloom.runtime.source import RunEnd, Source
from batchloom.runtime.view import RunningPipeline
from batchloom.steps import ModelStep, PrintVariable

if TYPE_CHECKING:
    from batchloom.models.handle import ModelHandle
    from batchloom.runtime.plan import StagePlan
    from batchloom.runtime.state import State


class ModelWantedError(BaseException):
    """Ends the preparation where a batch asks for a model. Never seen by users.

    Parameters
    ----------
    batch : Batch or None
        As it then is.
    """

    def __init__(self, batch: Batch | None) -> None:
        super().__init__()
        self.batch = batch


class ViewUpToModels(RunningPipeline):
    """What a batch sees up to where it asks for a model of one pipeline: the running one, or a partner.

    Parameters
    ----------
    state : State
        Of the pipeline that the batch belongs to.
    batch : Batch
    ends_at : State
        Of the pipeline whose models are not there yet.
    """

    __slots__ = ("_ends_at",)

    def __init__(self, state: State, batch: Batch, ends_at: State) -> None:
        super().__init__(state, batch)
        self._ends_at = ends_at

    def for_batch(self, batch: Batch, state: State | None = None) -> ViewUpToModels:
        return ViewUpToModels(self._state if state is None else state, batch, self._ends_at)

    def handle(self, name: str) -> ModelHandle:
        if self._state is not self._ends_at:
            return super().handle(name)
        raise ModelWantedError(None if self._batch is None else self._batch())


def batch_of_first_use(
    name: str, owner: State, state: State, stage: StagePlan, source: Source
) -> Batch | None:
    """Prepare the first batch that comes to where a model is used.

    Parameters
    ----------
    name : str
        The model.
    owner : State
        Of the pipeline that has it: the running one, or a partner.
    state : State
        Of the running one.
    stage : StagePlan
        The first one.
    source : Source
        From the run's beginning.

    Returns
    -------
    Batch or None
        None if there is no batch at all.
    """
    operations, is_by_step = _until(name if owner is state else None, stage)
    first = None
    while not isinstance(portion := source.take(1), RunEnd):
        if not isinstance(portion, Portion):
            continue
        batch = portion.batch(0)
        batch.__dict__["pipeline"] = ViewUpToModels(state, batch, owner)
        first = first or batch
        try:
            reached = perform(operations, batch)
        except ModelWantedError as wanted:
            return wanted.batch
        except Exception:
            continue  # the run left it out as well
        if is_by_step and reached.size:
            return reached
    return first


def _until(name: str | None, stage: StagePlan) -> tuple[list[Operation], bool]:
    """Give the operations before the step that uses a model, without those of other models.

    Returns
    -------
    list of Operation
    bool
        Whether there is such a step; if not, an action asks for the model.
    """
    before: list[Operation] = []
    for each in (*stage.prepare, *stage.act):
        if isinstance(each.step, ModelStep):
            if each.step.model == name:
                return before, True
        elif not isinstance(each.step, PrintVariable):
            before.append(each)
    return before, False
