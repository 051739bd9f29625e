"""A run: the batches of a pipeline, one after the other, from its beginning to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from batchloom.batch import Batch
from batchloom.definition import Definition
from batchloom.errors import SkipBatch
from batchloom.ordering import is_shuffled, make_order
from batchloom.randomness import model_seed
from batchloom.runtime.ahead import Monitor
from batchloom.runtime.operations import step_of
from batchloom.runtime.options import RunOptions
from batchloom.runtime.outcomes import Problem
from batchloom.runtime.plan import compile_plan
from batchloom.runtime.pools import check_executor, depth_of, is_elsewhere, make_pool
from batchloom.runtime.progress import Bar
from batchloom.runtime.source import EpochEnd, RunEnd, Source
from batchloom.runtime.stages import Pool, Preparation, Rebatcher, Stage
from batchloom.runtime.state import Failure, State

if TYPE_CHECKING:
    from batchloom.models.handle import ModelHandle


class Run:
    """One run of a pipeline.

    Parameters
    ----------
    definition : Definition
        Checked and linked to a dataset.
    state : State
        Of the pipeline object that runs.
    options : RunOptions
    """

    def __init__(self, definition: Definition, state: State, options: RunOptions) -> None:
        assert definition.dataset is not None
        check_executor(options.executor)
        self._definition = definition
        self._dataset = definition.dataset
        self._state = state
        self._options = options
        self._elsewhere = is_elsewhere(options.executor)
        order, self._seed = make_order(len(self._dataset), options.shuffle, options.seed)
        self._source = Source(self._dataset, options, order, self._seed)
        self._monitor = Monitor()
        self._begun: dict[str, ModelHandle] = {}
        state.import_models()
        ahead = depth_of(options) > 0
        self._plan = compile_plan(definition, ahead, self._elsewhere)
        for call in self._plan.trainings:
            call.begin = self._begin_model

    @property
    def is_empty(self) -> bool:
        """Whether an epoch has no batch."""
        return self._source.batches == 0

    def batches(self) -> Iterator[Batch]:
        """Do the run; each batch is given out when all its steps are done."""
        self._begin()
        finished = self._source.epochs == 0
        pool = None
        try:
            pool = self._pool()
            stage = self._stages(pool)
            while not finished:
                item = stage.take()
                if isinstance(item, Batch):
                    # What the end of an epoch does is done before its last batch is given out, so that
                    # who counts batches finds everything done after the last one.
                    if stage.at_epoch_end():
                        finished = self._end_epoch(stage.take())
                    self._bar.batch(item.epoch, self._source.epochs)
                    yield item
                else:
                    finished = self._end_epoch(item)
        finally:
            self._close(pool, finished)

    def _begin(self) -> None:
        state = self._state
        state.seed, state.failures = self._seed, []
        state.batch_size = int(self._options.batch_size)
        state.shuffled = is_shuffled(self._options.shuffle)
        state.variables.begin_run()
        self._bar = Bar(self._options.bar, self._total())

    def _pool(self) -> Pool | None:
        shipment = None
        if self._elsewhere:
            from batchloom.runtime.shipping import Shipment

            shipment = Shipment(self._definition, self._plan.stages[0].prepare, self._state)
        return make_pool(self._options, self._monitor, shipment)

    def _stages(self, pool: Pool | None) -> Stage:
        """Chain the stages; only batches of the first one are prepared in other processes."""
        upstream: Source | Rebatcher = self._source
        stage: Stage | None = None
        for number, plan in enumerate(self._plan.stages):
            if stage is not None:
                assert plan.rebatch is not None
                upstream = Rebatcher(stage, plan.rebatch, number, self._seed)
                pool = None if self._elsewhere else pool
            stage = Stage(
                upstream,
                Preparation(plan.prepare, self._state, self._monitor, parallel=pool is not None),
                plan.act,
                pool,
                depth_of(self._options),
                self._source.most if number == 0 else 1,
                self._on_problem,
            )
        assert stage is not None
        return stage

    def _begin_model(self, handle: ModelHandle) -> None:
        """Tell a model of the run, before it is first trained in it."""
        if handle.name in self._begun:
            return
        from batchloom.models.protocol import RunInfo

        columns: dict[str, str] = {}
        for call in self._plan.trainings:
            if call.name == handle.name:
                columns |= call.arguments.columns(list(self._dataset.columns))
        seed = model_seed(self._seed, handle.name)
        self._begun[handle.name] = handle
        handle.begin_run(
            RunInfo(self._dataset, columns, seed, self._options.n_epochs, self._bar.report)
        )

    def _end_epoch(self, item: EpochEnd | RunEnd | Batch) -> bool:
        """Finish an epoch, and the run if it was the last; tell whether it was."""
        if not isinstance(item, EpochEnd):
            return True
        for name, handle in self._begun.items():
            output = handle.end_epoch(item.epoch, item.last)
            if output is not None:
                for call in self._plan.trainings:
                    if call.name == name and call.destinations:
                        call.deliver(self._state.variables, output)
        last = item.last or any(each.stop_training for each in self._begun.values())
        if last:
            for evaluation in self._plan.evaluations:
                evaluation.finish(self._state.variables)
        return last

    def _on_problem(self, problem: Problem) -> None:
        """Raise what went wrong, or record it where the user said so."""
        exc, batch = problem.exception, problem.batch
        skips = isinstance(exc, SkipBatch) or self._options.on_error == "skip"
        if batch is None or not skips or not isinstance(exc, Exception):
            raise exc
        failure = Failure(batch.epoch, batch.number, batch.indices, step_of(exc), exc)
        self._state.failures.append(failure)

    def _close(self, pool: Pool | None, finished: bool) -> None:
        """Stop everything that the run began; models drop what an unfinished run has gathered."""
        with contextlib.ExitStack() as last_of_all:
            last_of_all.callback(self._bar.close)
            if not finished:
                for handle in self._begun.values():
                    last_of_all.callback(handle.abandon_run)
            if pool is not None:
                last_of_all.callback(pool.close)
            self._monitor.cancel()

    def _total(self) -> int | None:
        rebatched = [each.rebatch for each in self._plan.stages if each.rebatch]
        if self._source.epochs is None or rebatched:
            return None
        return self._source.batches * self._source.epochs
