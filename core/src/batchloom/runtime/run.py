"""A run: the batches of a pipeline, one after the other, from its beginning to its end."""

from __future__ import annotations

import atexit
import contextlib
import sys
import warnings
import weakref
from collections.abc import Generator, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from batchloom.batch import Batch
from batchloom.columns import is_stored
from batchloom.definition import Definition
from batchloom.errors import SkipBatch, WorkerError
from batchloom.models.runs import PipelineRun, within
from batchloom.ordering import is_shuffled, make_order
from batchloom.randomness import model_seed
from batchloom.records import replace
from batchloom.runtime.ahead import Monitor
from batchloom.runtime.compiled import Compiled
from batchloom.runtime.operations import Operation, origin_of, traceback_taken
from batchloom.runtime.options import RunOptions
from batchloom.runtime.outcomes import Problem
from batchloom.runtime.pace import Pace
from batchloom.runtime.plan import compile_plan
from batchloom.runtime.pools import acts_here, check_executor, depth_of, is_elsewhere, make_pool
from batchloom.runtime.progress import Bar
from batchloom.runtime.source import EpochEnd, Place, RunEnd, Source
from batchloom.runtime.stages import Stage
from batchloom.runtime.state import Failure, State, one_too_many
from batchloom.runtime.work import Preparation

if TYPE_CHECKING:
    from os import PathLike

    from batchloom.models.handle import ModelHandle
    from batchloom.models.protocol import RunInfo
    from batchloom.runtime.checkpoint import Checkpoints, Restored
    from batchloom.runtime.protocols import Pool
    from batchloom.runtime.reading import WindowReader
    from batchloom.runtime.rebatching import Rebatcher
    from batchloom.runtime.sigterm import Sigterm

_open_runs: weakref.WeakSet[Generator[Batch, None, None]] = weakref.WeakSet()


@atexit.register
def _end_open_runs() -> None:
    """End runs that nobody finished, while there still is an interpreter to end them in."""
    for each in list(_open_runs):
        with contextlib.suppress(ValueError):  # a daemon thread is in the middle of it
            each.close()


class Run:
    """One run of a pipeline.

    Parameters
    ----------
    definition : Definition
        Checked and linked to a dataset.
    state : State
        Of the pipeline object that runs.
    options : RunOptions
    shown : bool
        Whether anybody looks at the batches; else `do` is what does the run.
    """

    def __init__(
        self, definition: Definition, state: State, options: RunOptions, shown: bool = True
    ) -> None:
        assert definition.dataset is not None
        check_executor(options.executor)
        if (
            options.debug
        ):  # generators of the whole process are watched: one batch at a time changes them
            options = replace(options, prefetch=0, executor=None)
        self.definition = definition
        self._dataset = definition.dataset
        self.state = state
        self.options = options
        self._elsewhere = is_elsewhere(options.executor)
        self.order, self.seed = make_order(len(self._dataset), options.shuffle, options.seed)
        self._monitor = Monitor()
        self.begun: dict[str, ModelHandle] = {}
        self._checkpoints: Checkpoints | None = None
        self._restored: Restored | None = None
        self._epoch_ended = False
        self._sigterm = _sigterm() if options.on_sigterm is not None else None
        if options.checkpoint is not None:
            self._find_checkpoint(options.checkpoint)
        self._place = Place() if self._restored is None else self._restored.place
        self._is_entered = not shown
        self._shown = shown or self._checkpoints is not None
        state.import_models()
        ahead = depth_of(options) > 0
        acts = acts_here(options.executor)
        self.plan = compile_plan(definition, state, ahead, acts, options.debug)
        self._reader = self._make_reader(self._monitor)
        self._source = self._make_source(self._place, self._reader)
        self._seen = PipelineRun(
            self._dataset,
            MappingProxyType(dict(definition.config)),
            MappingProxyType(options.values()),
            self.seed,
            tuple(definition.models),
            self.begin_model,
        )

    @property
    def is_empty(self) -> bool:
        """Whether an epoch has no batch."""
        return self._source.batches == 0

    def do(self) -> None:
        """Do the run, of which nobody looks at the batches."""
        within(self._seen, self._do)

    def _do(self) -> None:
        for batch in self.batches():
            del batch  # or it would be kept while the next one is made

    def batches(self) -> Generator[Batch, None, None]:
        """Do the run; each batch is given out when all its steps are done."""
        batches = self._batches()
        _open_runs.add(batches)
        return batches

    def _batches(self) -> Generator[Batch, None, None]:
        self._begin()
        finished = self._source.epochs == 0
        pool, stages = None, list[Stage]()
        try:
            if self._sigterm is not None:
                self._sigterm.begin()
            if self._seen.models:
                from batchloom.models import lifecycle

                lifecycle.begin_run(self._seen)
            finished = within(self._seen, self._restore) or finished
            pool = self._pool()
            stages = self._stages(pool)
            stage = stages[-1]
            gives = self._gives()
            while not finished:
                if gives:
                    for batches in stage.give():
                        yield from batches
                    batches = ()  # it may hold the latest batch
                self._keep(stage)
                item, finished = within(self._seen, self._next, stage)
                if isinstance(item, Batch):
                    self._bar.batch(item.epoch, self._source.epochs)
                    yield item
                del item  # or it would be kept while the next one is made
            if self._checkpoints is not None:
                self._checkpoints.write(self._place, self._source.batches, finished=True)
            if self._sigterm is not None and self._sigterm.has_come:
                self._sigterm.exit()
        finally:
            try:
                self._close(pool, stages, finished)
            finally:
                # Ctrl-C may have come before anything was stopped. Else these have nothing left to do.
                self._monitor.cancel()
                if pool is not None:
                    pool.close()

    def _gives(self) -> bool:
        """Tell whether there is nothing to be seen to between one batch and the next."""
        watched = self._checkpoints is not None or self._sigterm is not None or self.options.bar
        return len(self.plan.stages) == 1 and not watched

    def _next(self, stage: Stage) -> tuple[Batch | EpochEnd | RunEnd, bool]:
        """Go on, unless SIGTERM has ended the workers too: then nothing was done since the last batch."""
        try:
            return self._advance(stage)
        except WorkerError as exc:
            told = self._sigterm is not None and self._sigterm.has_come
            if not told or stage.done != self._place.batch + 1 or origin_of(exc) is not None:
                raise
        self._end_by_sigterm()

    def _advance(self, stage: Stage) -> tuple[Batch | EpochEnd | RunEnd, bool]:
        """Go on to the next batch, or the end of an epoch; tell whether that was the end of the run."""
        item = stage.take()
        if not isinstance(item, Batch):
            return item, self._end_epoch(item)
        if not self._shown:  # the batch can go before models learn, who may need the memory
            return item, False
        # What the end of an epoch does is done before its last batch is given out, so that
        # who counts batches finds everything done after the last one.
        return item, stage.at_epoch_end() and self._end_epoch(stage.take())

    def _find_checkpoint(self, folder: str | PathLike[str]) -> None:
        """Look for a checkpoint to go on from, which says what the order is drawn from."""
        from batchloom.runtime.checkpoint import Checkpoints

        self._checkpoints = Checkpoints(self, folder, self.options.checkpoint_every)
        self._restored = self._checkpoints.read()
        if self._restored is not None:
            kept = self._restored.content["options"]
            self.seed = kept["seed"]
            self.order = replace(self.order, seed=kept["order_seed"])

    def _restore(self) -> bool:
        """Go back to where the checkpoint was made; tell whether that was the end."""
        if self._restored is None:
            return False
        self._restored.restore(self)
        return self._restored.finished

    def first_batch(self, name: str, owner: State) -> Batch | None:
        """Prepare the batch that a model, of this pipeline or of a partner, was made of once more."""
        from batchloom.runtime.first_use import batch_of_first_use

        options = replace(self.options, n_epochs=self._place.epoch + 1)
        reader = self._make_reader(Monitor())
        source = Source(self._dataset, options, self.order, self.seed, Place(), reader)
        try:
            return batch_of_first_use(name, owner, self.state, self.plan.stages[0], source)
        finally:
            if reader is not None:
                reader.close()

    def _make_source(self, place: Place, reader: WindowReader | None) -> Source:
        return Source(self._dataset, self.options, self.order, self.seed, place, reader)

    def _make_reader(self, monitor: Monitor) -> WindowReader | None:
        """Make what reads windows, if the run's order or its data are such that there are any."""
        if self.order.blocks is None and not any(map(is_stored, self._dataset.columns.values())):
            return None
        from batchloom.runtime.reading import WindowReader
        from batchloom.windows import make_windows

        depth, size = depth_of(self.options), int(self.options.batch_size)
        windows = make_windows(self._dataset, self.order, size)
        if windows is None:
            return None
        # A stage with batches of another size holds back what those are made of.
        held = sum(
            (depth + 2) * -(-each.rebatch // size) for each in self.plan.stages if each.rebatch
        )
        return WindowReader(self._dataset, windows, self.options.n_epochs, depth + held, monitor)

    def _keep(self, stage: Stage) -> None:
        """Write a checkpoint, if there is to be one here."""
        if self._checkpoints is None:
            return
        if not self._epoch_ended:
            self._place = replace(self._place, batch=stage.done)
        self._checkpoints.write_if_due(self._place, self._source.batches, self._epoch_ended)
        if self._sigterm is not None and self._sigterm.has_come:
            self._end_by_sigterm()
        self._epoch_ended = False

    def _end_by_sigterm(self) -> NoReturn:
        """Write a last checkpoint and end the process."""
        assert self._checkpoints is not None and self._sigterm is not None
        self._checkpoints.write_last(self._place, self._source.batches, self._epoch_ended)
        self._sigterm.exit()

    def _begin(self) -> None:
        state = self.state
        state.seed, state.failures = self.seed, []
        state.batch_size = int(self.options.batch_size)
        state.shuffled = is_shuffled(self.options.shuffle)
        state.variables.begin_run()
        self._bar = Bar(self.options.bar, self._total())

    def _pool(self) -> Pool | None:
        shipment = None
        if self._elsewhere:
            from batchloom.runtime.shipping import Shipment

            shipment = Shipment(self.definition, self.plan.stages[0].prepare, self.state)
        never_waits = self._dataset.is_in_memory and all(
            each.only_gathers for each in self.plan.stages
        )
        return make_pool(self.options, self._monitor, shipment, never_waits)

    def _stages(self, pool: Pool | None) -> list[Stage]:
        """Chain the stages; a user's executor prepares batches of the first one only."""
        upstream: Source | Rebatcher = self._source
        stages: list[Stage] = []
        sizes = [int(each.rebatch or self.options.batch_size) for each in self.plan.stages]
        for number, plan in enumerate(self.plan.stages):
            if stages:
                from batchloom.runtime.rebatching import Rebatcher

                assert plan.rebatch is not None
                made = (*self._place.rebatched, *[0] * number)[number - 1]
                upstream = Rebatcher(stages[-1], plan.rebatch, number, self.seed, made)
                # Batches from a stage before cannot be made again, if an executor gives them back.
                pool = pool if pool is not None and pool.may_wait else None
            most = self._source.most if number == 0 else 1
            # Of small batches, as many as make up what the stages after this one have ahead.
            depth = depth_of(self.options) * -(-max(sizes[number:]) // sizes[number])
            is_last = number + 1 == len(sizes)
            prepare, act = (self._compiled(each) for each in (plan.prepare, plan.act))
            never_waits = self._dataset.is_in_memory and plan.only_gathers
            stage = Stage(
                upstream,
                Preparation(
                    prepare, self.state, self._monitor, pool is not None, self._seen, never_waits
                ),
                act,
                Pace(pool, depth, most, may_rest=is_last),
                self._on_problem,
            )
            stages.append(stage)
        stages[-1].done = self._place.batch  # of the epoch that a resumed run goes on in
        return stages

    def _compiled(self, operations: Sequence[Operation]) -> Compiled:
        dataset = self._dataset
        # Only models, plug-ins that follow them, and what is merged in want to know which run it is.
        asked = bool(self._seen.models or self.plan.partners)
        run = self._seen if asked and not self._is_entered else None
        return Compiled(operations, dataset.batch_class, dataset.components, run)

    def begin_model(self, handle: ModelHandle) -> None:
        """Tell a model of the pipeline of the run, before it is first trained in it."""
        if self.begun.get(handle.name) is not handle:
            if all(self.state.find(name) is not handle for name in self.definition.models):
                return
            self.begun[handle.name] = handle
            handle.begin_run(self.info_for(handle))
        handle.in_run = self._seen

    def info_for(self, handle: ModelHandle) -> RunInfo:
        """Say what a model may know of the run."""
        from batchloom.models.protocol import RunInfo

        columns: dict[str, str] = {}
        for call in self.plan.trainings:
            if call.name == handle.name:
                columns |= call.arguments.columns(list(self._dataset.columns))
        seed = model_seed(self.seed, handle.name)
        return RunInfo(self._dataset, columns, seed, self.options.n_epochs, self._bar.report)

    def _end_epoch(self, item: EpochEnd | RunEnd | Batch) -> bool:
        """Finish an epoch, and the run if it was the last; tell whether it was."""
        if not isinstance(item, EpochEnd):
            return True
        last = item.last
        if last and self._reader is not None:
            self._reader.close()  # all is read, and models that learn now may need the memory
        told_wrongly: list[str] = []
        # Those that may end the run come first: the others are told truly whether this is the end.
        for handle in sorted(self.begun.values(), key=lambda each: not each.may_stop_training):
            last = last or any(each.stop_training for each in self.begun.values())
            output = handle.end_epoch(item.epoch, last)
            if handle.stop_training and not handle.may_stop_training and not last:
                _warn_of_undeclared_stop(handle, told_wrongly)
            told_wrongly += [] if last or handle.may_stop_training else [handle.label]
            if output is not None:
                for call in self.plan.trainings:
                    if call.name == handle.name and call.destinations:
                        call.deliver(self.state.variables, output)
        self._epoch_ended = True
        self._place = Place(item.epoch + 1, 0, item.rebatched)
        last = last or any(each.stop_training for each in self.begun.values())
        if last:
            for evaluation in self.plan.evaluations:
                evaluation.finish(self.state.variables)
        return last

    def _on_problem(self, problem: Problem) -> None:
        """Raise what went wrong, or record it where the user said so."""
        exc, origin = problem.exception, origin_of(problem.exception)
        skips = isinstance(exc, SkipBatch) or self.options.on_error == "skip"
        if origin is None or not skips or not isinstance(exc, Exception):
            raise exc
        if len(self.state.failures) == self.options.max_skipped:
            raise one_too_many(exc, self.state.failures)
        where = origin.epoch, origin.number, origin.indices, origin.step
        self.state.failures.append(Failure(*where, exc, traceback_taken(exc)))

    def _close(self, pool: Pool | None, stages: Sequence[Stage], finished: bool) -> None:
        """Stop everything that the run began; models drop what an unfinished run has gathered."""
        with contextlib.ExitStack() as last_of_all:
            if self._sigterm is not None:
                last_of_all.callback(self._sigterm.end)
            last_of_all.callback(self._bar.close)
            if self._seen.models:
                from batchloom.models import lifecycle

                exception = None if finished else sys.exception()
                last_of_all.callback(lifecycle.end_run, self._seen, exception)
            for handle in self.begun.values():
                last_of_all.callback(handle.leave_run, self._seen)
                if not finished:
                    last_of_all.callback(handle.abandon_run)
            for stage in stages:
                last_of_all.callback(stage.close)
            if pool is not None:
                last_of_all.callback(pool.close)
            if self._reader is not None:
                last_of_all.callback(self._reader.close)
            last_of_all.callback(self._monitor.cancel)

    def _total(self) -> int | None:
        rebatched = [each.rebatch for each in self.plan.stages if each.rebatch]
        if self._source.epochs is None or rebatched:
            return None
        return self._source.batches * self._source.epochs


def _sigterm() -> Sigterm:
    from batchloom.runtime.sigterm import Sigterm, check_thread

    check_thread()
    return Sigterm()


def _warn_of_undeclared_stop(handle: ModelHandle, told: list[str]) -> None:
    """Say that models which learn at the end of a run were not told that this is it."""
    if told:
        warnings.warn(
            f"{handle.label} ended the run in its end of epoch, after {', '.join(told)} had been told that "
            "the run goes on: what they gathered for the run's end is not learned. A model class that "
            "does this declares may_stop_training = True, and is then asked first",
            RuntimeWarning,
            stacklevel=2,
        )
