"""The running pipeline as one batch, or one model, sees it.

A batch that is prepared ahead may look at the pipeline's state only when its turn has come, that is when
every batch before it is done: then what it sees, and what it leaves, is what it would be without prefetch.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from batchloom.models.runs import PipelineRun, current_run
from batchloom.ordering import is_shuffled
from batchloom.runtime.turns import ModelRead, Turn, Turns, VariableRead
from batchloom.variables import CHANGES, Variables, change_name, is_immutable

if TYPE_CHECKING:
    from pathlib import Path

    from batchloom.batch import Batch
    from batchloom.dataset import Dataset
    from batchloom.models.handle import ModelHandle
    from batchloom.runtime.ahead import Monitor
    from batchloom.runtime.state import State


class RunningPipeline:
    """A pipeline while it runs: what ``batch.pipeline`` is, and what a model gets as ``pipeline=``.

    Variables are read and written at once. Steps cannot be added.
    """

    __slots__ = ("_batch", "_run", "_state", "_turn")

    def __init__(
        self,
        state: State,
        batch: Batch | None = None,
        turn: Turn | None = None,
        run: PipelineRun | None = None,
    ) -> None:
        self._state = state
        self._run = run
        # The batch knows its pipeline: in a circle, its arrays would stay until the garbage is collected.
        self._batch = None if batch is None else weakref.ref(batch)
        self._turn = turn

    def for_batch(self, batch: Batch, state: State | None = None) -> RunningPipeline:
        """Give the view of a batch that takes the place of this one, or goes with it as a partner's."""
        if state is None:  # a view without models stays one
            return type(self)(self._state, batch, self._turn, self._run)
        return RunningPipeline(state, batch, self._turn, self._run)

    @property
    def config(self) -> Mapping[str, Any]:
        """The pipeline's config, which cannot be changed."""
        return MappingProxyType(self._state.definition.config)

    @property
    def dataset(self) -> Dataset | None:
        """The dataset, or None in a template."""
        return self._state.definition.dataset

    @property
    def seed(self) -> int | None:
        """The seed of the run."""
        run = self._current_run()
        return self._state.seed if run is None else run.seed

    @property
    def batch_size(self) -> int:
        """The batch size of the run."""
        run = self._current_run()
        return self._state.batch_size if run is None else int(run.options["batch_size"])

    @property
    def shuffled(self) -> bool:
        """Whether the run shuffles."""
        run = self._current_run()
        return self._state.shuffled if run is None else is_shuffled(run.options["shuffle"])

    @property
    def variables(self) -> Variables:
        """The variables, a mapping that can be written."""
        self._wait()
        return self._state.variables

    def get_variable(self, name: str) -> Any:
        """Give the value of a variable."""
        return self.variables[name]

    def set_variable(self, name: str, value: Any) -> None:
        """Give a variable a new value, now."""
        self.variables[name] = value

    assign_variable = set_variable

    def inc_variable(self, name: str, by: Any = 1) -> None:
        """Add to a variable, now."""
        self.variables.change(name, CHANGES["inc"], by)

    def update_variable(self, name: str, value: Any, mode: str = "set") -> None:
        """Change a variable, now; `mode` as in `Pipeline.update_variable`."""
        self.variables.change(name, CHANGES[change_name(mode)], value)

    def read_variable(self, name: str) -> Any:
        """Give a variable to an argument of a step.

        A value that nobody can change in place is read ahead of the batch's turn; if it is another one
        when the turn comes, the batch is prepared again.
        """
        if self._turn is not None and self._turn.may_read_ahead:
            value = self._state.variables[name]
            if is_immutable(value):
                self._turn.reads.append(VariableRead(self._state.variables, name, value))
                return value
        return self.variables[name]

    def get_model_by_name(self, name: str) -> Any:
        """Give a model, made from this batch if it is dynamic and this is its first use."""
        return self.handle(name).model

    @property
    def models(self) -> Mapping[str, Any]:
        """The models that were made, by name."""
        self._wait()
        return self._state.models

    def save_model(self, name: str, path: str | Path, **kwargs: Any) -> None:
        """Save a model, now."""
        self.handle(name).save(path, **kwargs)

    def handle(self, name: str) -> ModelHandle:
        """Give what core knows of a model."""
        self._wait()
        batch = None if self._batch is None else self._batch()
        return self._state.handle(name) if batch is None else self._state.handle_for(name, batch)

    def handle_to_read(self, name: str) -> ModelHandle:
        """Give a model to predict with, ahead of the batch's turn if it was made already."""
        if self._turn is not None and self._turn.may_read_ahead:
            found = self._state.existing(name)
            if found is not None:
                self._turn.reads.append(ModelRead(found, found.version))
                return found
        return self.handle(name)

    def _current_run(self) -> PipelineRun | None:
        # The state is of the run that began last, and several may be open.
        return current_run() if self._run is None else self._run

    def _wait(self) -> None:
        if self._turn is not None:
            self._turn.wait()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"pipeline.{name} is not there inside a run: an action can read and write variables "
            "(get_variable, set_variable, inc_variable, update_variable, variables), use models "
            "(get_model_by_name, models, save_model) and read config, dataset and seed; steps are added "
            "before the pipeline runs"
        )


class Views:
    """Gives each batch of a portion its view of the pipeline, when it first looks at it.

    Parameters
    ----------
    state : State
    run : PipelineRun
        What the batches belong to.
    turns : Turns, optional
        Those of batches that are prepared ahead.
    first : int
        The place of the first batch among them.
    may_read : bool
        Whether they may read ahead of their turn, because they can be prepared again.
    monitor : Monitor, optional
        Where they wait for their turn, if they may.

    Attributes
    ----------
    opened : dict of int to Turn
        The turns of the batches that have looked at it, by position.
    """

    __slots__ = ("_first", "_may_read", "_monitor", "_run", "_state", "_turns", "opened")

    def __init__(
        self,
        state: State,
        run: PipelineRun,
        turns: Turns | None = None,
        first: int = 0,
        may_read: bool = False,
        monitor: Monitor | None = None,
    ) -> None:
        self._state = state
        self._run = run
        self._turns = turns
        self._first = first
        self._may_read = may_read
        self._monitor = monitor
        self.opened: dict[int, Turn] = {}

    def of(self, batch: Batch) -> RunningPipeline:
        """Give the view of a batch."""
        turn = None if self._turns is None else self.turn(batch._position)
        return RunningPipeline(self._state, batch, turn, self._run)

    def turn(self, position: int) -> Turn:
        """Give the turn of the batch at a position."""
        assert self._turns is not None
        made = Turn(self._turns, self._first + position, self._may_read, self._monitor)
        return self.opened.setdefault(position, made)
