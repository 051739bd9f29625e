"""Checkpoints: a run that was stopped, however it was stopped, goes on as if nothing had happened.

A checkpoint holds the place in the data, the seed, the variables, the models with what they have gathered,
and what evaluations have gathered, as they are when a batch is done and before the next one begins.
Batches that were prepared ahead are not kept: they are functions of the seed, and are prepared again.
"""

from __future__ import annotations

import datetime
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchloom.block_shuffle import BlockShuffle
from batchloom.definition import DeclareModel
from batchloom.errors import CheckpointError, CorruptFileError
from batchloom.expressions import has_expressions
from batchloom.models.manifest import split_config
from batchloom.models.saved import packages, version_now
from batchloom.plain import read_plain, write_plain
from batchloom.randomness import model_seed
from batchloom.runtime import checkpoint_files as files
from batchloom.runtime.fingerprint import fingerprint
from batchloom.runtime.mismatch import COMPARED, check, run_options
from batchloom.runtime.source import Place
from batchloom.runtime.state import Failure, RestoredFailure, State
from batchloom.runtime.view import RunningPipeline

if TYPE_CHECKING:
    from batchloom.models.handle import ModelHandle
    from batchloom.runtime.run import Run

Every = int | str | datetime.timedelta


class Schedule:
    """When checkpoints are due.

    Parameters
    ----------
    every : int, timedelta or "epoch"
        Batches, time, or each epoch's end.
    """

    def __init__(self, every: Every) -> None:
        self._every = every
        self._batches = 0
        self._since = time.monotonic()

    def begin(self, batches: int) -> None:
        """Count from here."""
        self._batches, self._since = batches, time.monotonic()

    def due(self, batches: int, epoch_ended: bool) -> bool:
        """Tell whether a checkpoint is due, and begin anew if it is."""
        if isinstance(self._every, str):
            return epoch_ended
        if isinstance(self._every, int):
            due = batches - self._batches >= self._every
        else:
            due = time.monotonic() - self._since >= self._every.total_seconds()
        if due:
            self.begin(batches)
        return due


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    run : Run
    folder : path
    every : int, timedelta or "epoch"
    """

    def __init__(self, run: Run, folder: str | os.PathLike[str], every: Every) -> None:
        self._run = run
        self._folder = Path(folder)
        self._schedule = Schedule(every)
        self._fingerprint = fingerprint(run.definition)
        self._written = 0

    def write_if_due(self, place: Place, batches: int, epoch_ended: bool) -> None:
        """Write a checkpoint, if it is time to.

        Parameters
        ----------
        place : Place
        batches : int
            How many batches an epoch has.
        epoch_ended : bool
            Whether this is the end of an epoch.
        """
        number = place.epoch * batches + place.batch
        possible = self._is_possible(epoch_ended) and number != self._written
        if possible and self._schedule.due(number, epoch_ended):
            self.write(place, batches, finished=False)

    def write_last(self, place: Place, batches: int, epoch_ended: bool) -> None:
        """Write a checkpoint now, because the run has to end, or say why there is none of this place."""
        if place.epoch * batches + place.batch == self._written:
            return
        if self._is_possible(epoch_ended):
            self.write(place, batches, finished=False)
        else:
            last = f"the one after batch {self._written}" if self._written else "none yet"
            warnings.warn(
                "SIGTERM: a pipeline that rebatches is kept at the ends of epochs only, so there is no "
                f"checkpoint of batch {place.batch} of epoch {place.epoch}. The last one is {last}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _is_possible(self, epoch_ended: bool) -> bool:
        # What a rebatch holds back belongs to batches that are not done: at an epoch's end it is empty.
        return epoch_ended or len(self._run.plan.stages) == 1

    def write(self, place: Place, batches: int, finished: bool) -> None:
        """Write a checkpoint."""
        self._written = place.epoch * batches + place.batch
        files.write(self._folder, self._written, lambda to: self._fill(to, place, finished))

    def _fill(self, folder: Path, place: Place, finished: bool) -> None:
        run = self._run
        models = self._models()
        gathered = [each.gathered for each in run.plan.evaluations]
        write_plain(gathered, folder / "evaluations", "what evaluate_model has gathered")
        content = {
            "fingerprint": self._fingerprint,
            "packages": _packages(models.values()),
            "options": run_options(run),
            "place": {"epoch": place.epoch, "batch": place.batch, "rebatched": place.rebatched},
            "finished": finished,
            **_write_state(run.state, models, folder, ""),
            "partners": [
                _write_state(state, own_models(state), folder, f"partner-{at}-")
                for at, state in enumerate(run.plan.partners)
            ],
            "begun": [name for name in run.begun if name in models],
            "stopping": [name for name, each in models.items() if each.stop_training],
            "failures": [_failure(each) for each in run.state.failures],
        }
        write_plain(content, folder / "run", "the run")

    def _models(self) -> dict[str, ModelHandle]:
        """Find the models that a resumed run needs: its own, and imported ones that it trains."""
        run = self._run
        # An action may train one that no step trains.
        trained = {each.name for each in run.plan.trainings} | set(run.begun)
        also = {name: run.state.find(name) for name in run.definition.models if name in trained}
        return own_models(run.state) | {n: each for n, each in also.items() if each is not None}

    def read(self) -> Restored | None:
        """Read the newest checkpoint.

        Raises
        ------
        CheckpointMismatchError
            If it was made with another definition, other data or other options.
        """
        found = newest(self._folder, self._run.options.on_damage)
        if found is not None:
            check(found.path, found.content, self._fingerprint, self._run)
            self._written = files.number_of(found.path)
            self._schedule.begin(self._written)
        return found


@dataclass(frozen=True, slots=True)
class Restored:
    """A checkpoint that a run goes on from.

    Attributes
    ----------
    path : Path
    content : mapping
    damaged : sequence of (Path, str)
        Newer ones, and what is wrong with them.
    """

    path: Path
    content: Mapping[str, Any]
    damaged: Sequence[tuple[Path, str]] = ()

    @property
    def finished(self) -> bool:
        """Whether the run had come to its end."""
        return bool(self.content["finished"])

    @property
    def place(self) -> Place:
        """Where the run goes on."""
        return Place(**self.content["place"])

    def restore(self, run: Run) -> None:
        """Give the run's pipeline the state that was kept."""
        for path, fault in self.damaged:
            aside = files.set_aside(path)
            warnings.warn(
                f"{fault}. The run goes on from {self.path.name}; the damaged one is now {aside.name}",
                RuntimeWarning,
                stacklevel=2,
            )
        with files.opened(self.path) as folder:
            pairs = list(zip((run.state, *run.plan.partners), self._kept(), strict=True))
            # First all models, then what they have learned, then the variables: to make a model, a batch
            # is prepared again, whose actions may change any of them.
            # Partners come first: the batches of others are made with their models.
            made = [_handles(run, state, kept["models"]) for state, (kept, _) in reversed(pairs)][
                ::-1
            ]
            for (state, (_, prefix)), handles in zip(pairs, made, strict=True):
                for at, handle in enumerate(handles):
                    self._restore_model(run, state, handle, folder / f"{prefix}model-{at}")
            for state, (kept, prefix) in pairs:
                for at, name in enumerate(kept["variables"]):
                    state.variables[name] = read_plain(folder / f"{prefix}variable-{at}")
            for call, gathered in zip(
                run.plan.evaluations, read_plain(folder / "evaluations"), strict=True
            ):
                call.gathered = gathered
        # The end of an epoch comes to models in the order in which they began.
        run.begun = {name: run.begun[name] for name in self.content["begun"]}
        run.state.failures = [_restored_failure(each) for each in self.content["failures"]]

    def _kept(self) -> list[tuple[Mapping[str, Any], str]]:
        """List what was kept of the pipeline and of its partners, with what its files' names begin with."""
        partners = enumerate(self.content["partners"])
        return [(self.content, ""), *((each, f"partner-{at}-") for at, each in partners)]

    def _restore_model(self, run: Run, state: State, handle: ModelHandle, folder: Path) -> None:
        name, info = handle.name, None
        if state is run.state and name in self.content["begun"]:
            run.begun[name] = handle
            info = run.info_for(handle)
        folder.mkdir(exist_ok=True)  # an archive has no empty directories
        handle.load_checkpoint(folder, info, name in self.content["stopping"])


def newest(folder: Path, on_damage: str) -> Restored | None:
    """Read the newest checkpoint of a folder.

    Parameters
    ----------
    folder : Path
    on_damage : {"raise", "previous"}
        What to do if it is damaged.

    Raises
    ------
    CorruptFileError
        If it is, and there is no other, or no other is asked for.
    """
    damaged: list[tuple[Path, str]] = []
    paths = files.all_of(folder)
    while paths:
        path = paths.pop()
        try:
            with files.opened(path) as content:
                return Restored(path, read_plain(content / "run"), damaged)
        except CorruptFileError as exc:
            damaged.append((path, str(exc)))
            if on_damage == "raise" or not paths:
                raise CorruptFileError(_damage(damaged, paths)) from exc
    return None


def _damage(damaged: Sequence[tuple[Path, str]], before: Sequence[Path]) -> str:
    faults = "; ".join(fault for _, fault in damaged)
    if before:
        name = before[-1].name
        return f"{faults}. The checkpoint before it is {name}: on_damage='previous' goes on from it"
    return f"{faults}. There is no other checkpoint in the folder: remove it to begin anew"


def resumed_options(folder: str | os.PathLike[str], on_damage: str = "raise") -> dict[str, Any]:
    """Read the options of `Pipeline.run` that the newest checkpoint of a folder was made with.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    found = newest(Path(folder), on_damage)
    if found is None:
        raise CheckpointError(
            f"there is no checkpoint in {folder}: run(..., checkpoint={os.fspath(folder)!r}) writes them"
        )
    kept = found.content["options"]
    options = {name: kept[name] for name in (*COMPARED, "max_skipped", "seed")}
    if not kept["by_function"]:  # a callable cannot be kept: its user gives it again
        options["shuffle"] = kept["order_seed"] if kept["shuffled"] else False
    if kept["blocks"] is not None:
        options["shuffle"] = BlockShuffle(kept["order_seed"], *kept["blocks"])
    return options


def _packages(models: Iterable[ModelHandle]) -> dict[str, str]:
    """Name the packages that the run rests on, with their versions."""
    found = {name: version_now(name) for name in ("batchloom", "numpy")}
    for each in models:
        found |= packages(each)
    return found


def own_models(state: State) -> dict[str, ModelHandle]:
    """Find the models that a pipeline has made itself."""
    own = [n for n, each in state.definition.models.items() if isinstance(each, DeclareModel)]
    there = {name: state.find(name) for name in own}
    return {name: each for name, each in there.items() if each is not None}


def _write_state(
    state: State, models: Mapping[str, ModelHandle], folder: Path, prefix: str
) -> dict[str, Any]:
    """Write the variables and models of a pipeline, and say what was written."""
    for at, (name, value) in enumerate(state.variables.items()):
        write_plain(value, folder / f"{prefix}variable-{at}", f"variable {name!r}")
    for at, handle in enumerate(models.values()):
        place = folder / f"{prefix}model-{at}"
        place.mkdir()
        handle.save_checkpoint(place)
    configs = {name: _config(name, handle, state) for name, handle in models.items()}
    return {"variables": list(state.variables), "models": configs}


def _config(name: str, handle: ModelHandle, state: State) -> dict[str, Any] | None:
    """Give the config that a model was made with, if its declaration does not say it all."""
    declared = state.definition.models[name]
    if not isinstance(declared, DeclareModel) or not has_expressions(dict(declared.spec.config)):
        return None
    kept, omitted = split_config(handle.config)
    if omitted:
        raise CheckpointError(
            f"the config of model {name!r} was worked out from expressions, and a checkpoint cannot keep "
            + ", ".join(f"{key}={text}" for key, text in omitted.items())
        )
    return kept


def _handles(run: Run, state: State, configs: Mapping[str, Any]) -> list[ModelHandle]:
    return [_handle(run, state, name, config) for name, config in configs.items()]


def _handle(run: Run, state: State, name: str, config: Mapping[str, Any] | None) -> ModelHandle:
    there = state.find(name)
    if there is not None:
        return there
    declared = state.definition.models[name]
    assert isinstance(declared, DeclareModel)
    options = dict(declared.spec.config if config is None else config)
    handle = declared.spec.live(options, model_seed(run.seed, name))
    if getattr(declared.spec.model_class, "load_needs_build", True) or not options.get("load"):
        handle.build(
            (), {"pipeline": RunningPipeline(state), "batch": run.first_batch(name, state)}
        )
    state.handles[name] = handle
    return handle


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "epoch": failure.epoch,
        "number": failure.number,
        "indices": failure.indices,
        "step": failure.step,
        "exception": failure.reason,
        "traceback": failure.traceback,
    }


def _restored_failure(kept: Mapping[str, Any]) -> Failure:
    return Failure(**{**kept, "exception": RestoredFailure(kept["exception"])})
