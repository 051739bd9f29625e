"""Pipeline: a chain of steps over batches, which nothing changes, and what a run of it leaves."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Generator, Iterator, Mapping
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

import batchloom
from batchloom import checks
from batchloom.batch import Batch
from batchloom.building import Builder
from batchloom.dataset import Dataset
from batchloom.definition import Definition
from batchloom.errors import DefinitionError, TemplateError, UnknownArgumentError
from batchloom.records import replace
from batchloom.runtime.options import RunOptions
from batchloom.runtime.state import Failure
from batchloom.variables import Variables

if TYPE_CHECKING:
    from batchloom.runtime.run import Run

    _Iteration = tuple[RunOptions, Generator[Batch, None, None]]

_beginning = threading.Lock()


class Pipeline(Builder):
    """A chain of steps over batches.

    Every builder method and operator returns a new pipeline and leaves this one as it is. Any action
    of the batch class is a builder method: ``pipeline.scale(by=16)``. Variables, models and the place
    in the data belong to one pipeline object; only static models are shared with the pipelines that
    are built from it.

    Parameters
    ----------
    config : mapping, optional
        Options that steps and models can refer to as ``C.name``.

    Examples
    --------
    >>> template = Pipeline().scale().train_model("clf", x="images", y="labels")
    >>> train = (template << digits.train).run(64, shuffle=1, n_epochs=10, prefetch=4)
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        if config is not None and not isinstance(config, Mapping):
            raise DefinitionError(f"a pipeline's config is a mapping, not {config!r}")
        self._begin(Definition(config=dict(config or {})))

    def _begin(self, definition: Definition) -> None:
        super()._begin(definition)
        self._iteration: _Iteration | None = None

    # Running

    def run(
        self,
        batch_size: int | None = None,
        *,
        lazy: bool = False,
        **options: Unpack[batchloom.RunKeywords],
    ) -> Pipeline:
        """Run over the whole dataset.

        Parameters
        ----------
        batch_size : int
            The number of items in a batch; the last one of an epoch may have fewer.
        shuffle : bool, int, "blocks", BlockShuffle, Generator, RandomState or callable, default False
            Whether, and from what seed, each epoch visits the items in an order of its own. ``"blocks"``
            and a `BlockShuffle` read data that is larger than memory in large pieces.
        n_epochs : int or None, default 1
            None runs without end, in `gen_batch` and `next_batch`.
        drop_last : bool, default False
            Leave out a last batch that is not full.
        prefetch : int, default 0
            How many batches are prepared ahead, in threads. The result is the same.
        executor : int or concurrent.futures.Executor, optional
            Prepares batches there instead: so many worker processes, spawned for this run, or an
            executor of threads or of processes that are spawned.
        seed : int, optional
            What every random number of the run comes from. Default: the int given as `shuffle`, else a
            fresh one, which `seed` tells afterwards.
        bar : bool, default False
            Show a progress bar.
        on_error : {"raise", "skip"}, default "raise"
            ``"skip"`` leaves out a batch that fails, and records it in `failures`.
        max_skipped : int, optional
            The most batches that a run may leave out, by `on_error` or because an action raised
            `SkipBatch`. The exception of the one after them ends the run. Default: no limit.
        checkpoint : path, optional
            A folder. The state of the run is kept there from time to time, and a run that finds a
            checkpoint of its own there goes on from it, with the result it would have had without the
            stop. What is kept is plain data; no code is run when it is read.
        checkpoint_every : int, timedelta or "epoch", default "epoch"
            Batches, time, or the end of each epoch. A pipeline that rebatches is kept at the end of
            epochs only.
        on_sigterm : {None, "checkpoint"}, default None
            ``"checkpoint"``: when the process is asked to end with SIGTERM, finish the batch at hand,
            write a last checkpoint, stop all workers and raise ``SystemExit(143)``. It takes the place of
            the handler of SIGTERM for the time of the run, which must be in the main thread, and puts it
            back. A second SIGTERM does not wait for the batch. Default: SIGTERM is left alone.
        on_damage : {"raise", "previous"}, default "raise"
            What to do if the newest checkpoint is damaged: raise `CorruptFileError`, which names the one
            before it; or set it aside and go on from the one before.
        force : bool, default False
            Go on from a checkpoint also where something differs that is harmless, because what was done
            so far would have been the same: another `n_epochs`, if the epochs in question are yet to come;
            another `on_error`, if no batch has been left out or any may be; a batch class of the same name
            in another module. Anything else is refused all the same.
        debug : bool, default False
            Warn of actions that draw from the global generators of NumPy or of `random`, with which a run
            can be neither repeated nor resumed. Batches are then prepared one by one in this thread,
            whatever `prefetch` and `executor` say.
        lazy : bool, default False
            Do not run; return a pipeline that remembers these options, for a ``run()`` without any.

        Returns
        -------
        Pipeline
            This pipeline.
        """
        if not isinstance(lazy, bool):
            raise DefinitionError(f"lazy={lazy!r}: give True or False")
        if lazy:
            stored = RunOptions.gather(self._definition.run_options, batch_size, options, "run")
            return self._made(replace(self._definition, run_options=stored))
        chosen = self._options(batch_size, options, "run")
        if chosen.n_epochs is None:
            raise DefinitionError(
                "run(n_epochs=None) would never end: iterate with gen_batch or next_batch"
            )
        self._begun(chosen, shown=False).do()
        return self

    def resume(
        self, folder: str | PathLike[str], **options: Unpack[batchloom.RunKeywords]
    ) -> Pipeline:
        """Go on with a run from its newest checkpoint, to its end.

        Parameters
        ----------
        folder : path
            The one that ``run(..., checkpoint=...)`` was given.
        **options : object
            Those of `run` that the result does not depend on (``prefetch``, ``executor``, ``bar``,
            ``checkpoint_every``, ``on_sigterm``, ``max_skipped``), a `shuffle` that was a callable,
            ``on_damage``, and with ``force=True`` what differs and is harmless.

        Returns
        -------
        Pipeline
            This pipeline.

        Raises
        ------
        CheckpointError
            If there is no checkpoint.
        CheckpointMismatchError
            If it is one of another definition, other data, other options or other versions of packages.
        CorruptFileError
            If it is damaged.
        """
        from batchloom.runtime.checkpoint import resumed_options

        kept = resumed_options(folder, options.get("on_damage", "raise"))
        return self.run(**{**kept, **options, "checkpoint": folder})

    def gen_batch(
        self, batch_size: int | None = None, **options: Unpack[batchloom.RunKeywords]
    ) -> Iterator[Batch]:
        """Iterate over the batches, each with all steps done; the parameters are those of `run`."""
        return self._begun(self._options(batch_size, options, "gen_batch")).batches()

    def next_batch(
        self, batch_size: int | None = None, **options: Unpack[batchloom.RunKeywords]
    ) -> Batch:
        """Give the next batch, from one call to the next; the parameters are those of `run`.

        Raises
        ------
        StopIteration
            When the epochs are over. The next call begins anew.
        DefinitionError
            If the options are not those the iteration was begun with: `reset` first. If another thread is
            in the middle of a call.
        """
        iteration = self._iteration
        if iteration is None or batch_size is not None or options:
            chosen = self._options(batch_size, options, "next_batch")
            iteration = iteration or self._iterating(chosen)
            if not chosen.same_as(iteration[0]):
                raise DefinitionError(
                    f"next_batch was begun with {iteration[0].describe()}, and is now asked for "
                    f"{chosen.describe()}: call reset() to begin anew"
                )
        try:
            return next(iteration[1])
        except BaseException as exc:
            if iteration[1].gi_frame is None:  # type: ignore[attr-defined]  # it has ended
                self._iteration = None
            elif isinstance(exc, ValueError):  # Python's, of a generator that is asked twice
                raise _at_work_already() from None
            raise

    def _iterating(self, options: RunOptions) -> _Iteration:
        begun = options, self._begun(options).batches()
        with _beginning:  # several threads may call next_batch for the first time
            self._iteration = self._iteration or begun
            return self._iteration

    def reset(self, *what: str) -> Pipeline:
        """Go back to the beginning.

        Parameters
        ----------
        *what : {"iteration", "variables", "models", "all"}
            Default: the place in the data that `next_batch` has come to.
        """
        known = ("iteration", "variables", "models", "all")
        for each in what:
            if each not in known:
                raise UnknownArgumentError("argument", each, known, "of reset")
        chosen = known[:3] if "all" in what else what or ("iteration",)
        if "iteration" in chosen and self._iteration is not None:
            self._iteration[1].close()
            self._iteration = None
        for each in chosen:
            if each != "iteration":
                self._state.forget(each)
        return self

    # Looking

    @property
    def config(self) -> Mapping[str, Any]:
        """The config, which cannot be changed."""
        return MappingProxyType(dict(self._definition.config))

    @property
    def variables(self) -> Variables:
        """The variables, a mapping by name."""
        return self._state.variables

    def get_variable(self, name: str) -> Any:
        """Give the value of a variable."""
        return self._state.variables[name]

    @property
    def models(self) -> Mapping[str, Any]:
        """The models that exist, by name."""
        return self._state.models

    def get_model_by_name(self, name: str) -> Any:
        """Give a model.

        Raises
        ------
        UnknownModelError
            If the pipeline declares no such model.
        ModelNotBuiltError
            If it is dynamic and no run has used it yet.
        """
        return self._state.handle(name).model

    def save_model(self, name: str, path: str | PathLike[str], **kwargs: Any) -> None:
        """Save a model, now, into one file.

        Parameters
        ----------
        name : str
        path : str or Path
        **kwargs : object
            Options of the model's own.
        """
        self._state.handle(name).save(path, **kwargs)

    @property
    def failures(self) -> list[Failure]:
        """The batches that the last run left out, with their exceptions."""
        return self._state.failures

    @property
    def seed(self) -> int | None:
        """The seed of the last run."""
        return self._state.seed

    def describe(self) -> str:
        """Tell in words what the pipeline does: dataset, steps and models."""
        from batchloom.description import describe

        return describe(self)

    def __repr__(self) -> str:
        return self.describe()

    def _repr_html_(self) -> str:
        from batchloom.description import describe_html

        return describe_html(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"_definition": self._definition, "_state": self._state, "_iteration": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _options(self, batch_size: int | None, given: Mapping[str, Any], method: str) -> RunOptions:
        if self.dataset is None:
            raise TemplateError(
                f"{method}: this pipeline is a template, linked to no dataset: (template << dataset).{method}"
                "(...)"
            )
        return RunOptions.gather(self._definition.run_options, batch_size, given, method)

    def _begun(self, options: RunOptions, shown: bool = True) -> Run:
        """Make a run."""
        from batchloom.runtime.run import Run

        checks.check_definition(self._definition)
        checks.check_complete(self._definition)
        run = Run(self._definition, self._state, options, shown)
        if run.is_empty and len(self._dataset_of()) > 0:
            warnings.warn(
                f"drop_last=True leaves no batch: batch_size={options.batch_size} is more than the "
                f"{len(self._dataset_of())} items",
                stacklevel=3,
            )
        return run

    def _dataset_of(self) -> Dataset:
        assert self.dataset is not None
        return self.dataset


def _at_work_already() -> DefinitionError:
    return DefinitionError(
        "next_batch is at work already, in another thread or in a step that calls it: threads that share a "
        "pipeline take turns with a lock of theirs, or each has a pipeline of its own"
    )


Dataset.pipeline_class = Pipeline
