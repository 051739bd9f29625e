"""Checkpoints: a run that was stopped, however it was stopped, goes on as if nothing had happened.

A checkpoint holds the place in the data, the seed, the variables, the models with what they have gathered,
and what evaluations have gathered, as they are when a batch is done and before the next one begins.
Batches that were prepared ahead are not kept: they are functions of the seed, and are prepared again.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchloom.definition import DeclareModel
from batchloom.errors import CheckpointError, CheckpointMismatchError
from batchloom.expressions import has_expressions
from batchloom.models.manifest import split_config
from batchloom.plain import read_plain, write_plain
from batchloom.randomness import model_seed
from batchloom.runtime import checkpoint_files as files
from batchloom.runtime.fingerprint import differences, fingerprint
from batchloom.runtime.source import Place
from batchloom.runtime.state import Failure
from batchloom.runtime.view import RunningPipeline

if TYPE_CHECKING:
    from batchloom.models.handle import ModelHandle
    from batchloom.runtime.run import Run

Every = int | str | datetime.timedelta
COMPARED = ("batch_size", "n_epochs", "drop_last", "on_error")
"""The options that the result depends on, besides the order."""


class RestoredFailure(Exception):  # noqa: N818  (stands for an exception of another process)
    """What is left of an exception after a resumed run: its type's name and its text."""


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

    def due(self, batches: int, epoch_ended: bool) -> bool:
        """Tell whether a checkpoint is due, and begin anew if it is."""
        if isinstance(self._every, str):
            return epoch_ended
        if isinstance(self._every, int):
            due = batches - self._batches >= self._every
        else:
            due = time.monotonic() - self._since >= self._every.total_seconds()
        if due:
            self._batches, self._since = batches, time.monotonic()
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
        # What a rebatch holds back belongs to batches that are not done: at an epoch's end it is empty.
        possible = epoch_ended or len(self._run.plan.stages) == 1
        number = place.epoch * batches + place.batch
        if possible and number != self._written and self._schedule.due(number, epoch_ended):
            self.write(place, batches, finished=False)

    def write(self, place: Place, batches: int, finished: bool) -> None:
        """Write a checkpoint."""
        self._written = place.epoch * batches + place.batch
        files.write(self._folder, self._written, lambda to: self._fill(to, place, finished))

    def _fill(self, folder: Path, place: Place, finished: bool) -> None:
        run = self._run
        models = self._models()
        for at, (name, value) in enumerate(run.state.variables.items()):
            write_plain(value, folder / f"variable-{at}", f"variable {name!r}")
        for at, handle in enumerate(models.values()):
            (folder / f"model-{at}").mkdir()
            handle.save_checkpoint(folder / f"model-{at}")
        gathered = [each.gathered for each in run.plan.evaluations]
        write_plain(gathered, folder / "evaluations", "what evaluate_model has gathered")
        content = {
            "fingerprint": self._fingerprint,
            "options": run_options(run),
            "place": {"epoch": place.epoch, "batch": place.batch, "rebatched": place.rebatched},
            "finished": finished,
            "variables": list(run.state.variables),
            "models": {name: _config(name, handle, run) for name, handle in models.items()},
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
        own = {n for n, each in run.definition.models.items() if isinstance(each, DeclareModel)}
        there = {name: run.state.find(name) for name in run.definition.models}
        return {n: each for n, each in there.items() if each is not None and n in own | trained}

    def read(self) -> Restored | None:
        """Read the newest checkpoint.

        Raises
        ------
        CheckpointMismatchError
            If it was made with another definition, other data or other options.
        """
        path = files.latest(self._folder)
        if path is None:
            return None
        with files.opened(path) as folder:
            content = read_plain(folder / "run")
            unlike = differences(content["fingerprint"], self._fingerprint)
            unlike += _unlike_options(content["options"], self._run)
            if unlike:
                raise CheckpointMismatchError(
                    f"{path} was made by another run than this one. {'; '.join(unlike)}. Give back what it "
                    "was made with, or another folder"
                )
        return Restored(path, content)


@dataclass(frozen=True, slots=True)
class Restored:
    """A checkpoint that a run goes on from.

    Attributes
    ----------
    path : Path
    content : mapping
    """

    path: Path
    content: Mapping[str, Any]

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
        with files.opened(self.path) as folder:
            for at, name in enumerate(self.content["variables"]):
                run.state.variables[name] = read_plain(folder / f"variable-{at}")
            for call, gathered in zip(
                run.plan.evaluations, read_plain(folder / "evaluations"), strict=True
            ):
                call.gathered = gathered
            for at, (name, config) in enumerate(self.content["models"].items()):
                self._restore_model(run, _handle(run, name, config), folder / f"model-{at}")
        run.state.failures = [_restored_failure(each) for each in self.content["failures"]]

    def _restore_model(self, run: Run, handle: ModelHandle, folder: Path) -> None:
        name, info = handle.name, None
        if name in self.content["begun"]:
            run.begun[name] = handle
            info = run.info_for(handle)
        folder.mkdir(exist_ok=True)  # an archive has no empty directories
        handle.load_checkpoint(folder, info, name in self.content["stopping"])


def run_options(run: Run) -> dict[str, Any]:
    """Give the options of a run as plain data."""
    options: dict[str, Any] = {name: getattr(run.options, name) for name in COMPARED}
    order = run.order
    return {
        **options,
        "batch_size": int(run.options.batch_size),
        "shuffled": order.shuffled,
        "by_function": order.function is not None,
        "order_seed": order.seed,
        "seed": run.seed,
    }


def resumed_options(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the options of `Pipeline.run` that the newest checkpoint of a folder was made with.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    path = files.latest(Path(folder))
    if path is None:
        raise CheckpointError(
            f"there is no checkpoint in {folder}: run(..., checkpoint={os.fspath(folder)!r}) writes them"
        )
    with files.opened(path) as content:
        kept = read_plain(content / "run")["options"]
    options = {name: kept[name] for name in (*COMPARED, "seed")}
    if not kept["by_function"]:  # a callable cannot be kept: its user gives it again
        options["shuffle"] = kept["order_seed"] if kept["shuffled"] else False
    return options


def _unlike_options(there: Mapping[str, Any], run: Run) -> Sequence[str]:
    here = run_options(run)
    compared = [*COMPARED, "shuffled", "by_function"]
    if run.options.seed is not None:
        compared.append("seed")
    if type(run.options.shuffle) is int:
        compared.append("order_seed")
    return [
        f"{name}: {there[name]!r} then, {here[name]!r} now"
        for name in compared
        if there[name] != here[name]
    ]


def _config(name: str, handle: ModelHandle, run: Run) -> dict[str, Any] | None:
    """Give the config that a model was made with, if its declaration does not say it all."""
    declared = run.definition.models[name]
    if not isinstance(declared, DeclareModel) or not has_expressions(dict(declared.spec.config)):
        return None
    kept, omitted = split_config(handle.config)
    if omitted:
        raise CheckpointError(
            f"the config of model {name!r} was worked out from expressions, and a checkpoint cannot keep "
            + ", ".join(f"{key}={text}" for key, text in omitted.items())
        )
    return kept


def _handle(run: Run, name: str, config: Mapping[str, Any] | None) -> ModelHandle:
    there = run.state.find(name)
    if there is not None:
        return there
    declared = run.definition.models[name]
    assert isinstance(declared, DeclareModel)
    options = dict(declared.spec.config if config is None else config)
    handle = declared.spec.live(options, model_seed(run.seed, name))
    if getattr(declared.spec.model_class, "load_needs_build", True) or not options.get("load"):
        handle.build((), {"pipeline": RunningPipeline(run.state), "batch": run.first_batch()})
    run.state.handles[name] = handle
    return handle


def _failure(failure: Failure) -> dict[str, Any]:
    text = f"{type(failure.exception).__name__}: {failure.exception}"
    return {
        "epoch": failure.epoch,
        "number": failure.number,
        "indices": failure.indices,
        "step": failure.step,
        "exception": text,
        "traceback": failure.traceback,
    }


def _restored_failure(kept: Mapping[str, Any]) -> Failure:
    return Failure(**{**kept, "exception": RestoredFailure(kept["exception"])})
