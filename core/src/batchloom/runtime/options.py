"""The options of a run, checked before anything is done."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import batchloom
from batchloom.errors import DefinitionError, UnknownArgumentError, nearest
from batchloom.ordering import check_seed, check_shuffle
from batchloom.records import Record, fields, replace

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from datetime import timedelta
    from os import PathLike

CHOICES = {
    "on_error": ("raise", "skip"),
    "on_damage": ("raise", "previous"),
    "on_sigterm": (None, "checkpoint"),
}
SWITCHES = ("drop_last", "bar", "force", "debug")
FOR_CHECKPOINTS = ("on_sigterm", "on_damage", "force")
"""Options that mean nothing without a checkpoint."""


class RunOptions(Record):
    """How a pipeline is run; see `Pipeline.run`."""

    batch_size: int
    shuffle: batchloom.Shuffle = False
    n_epochs: int | None = 1
    drop_last: bool = False
    prefetch: int = 0
    executor: Executor | int | None = None
    seed: int | None = None
    bar: bool = False
    on_error: str = "raise"
    max_skipped: int | None = None
    checkpoint: str | PathLike[str] | None = None
    checkpoint_every: int | str | timedelta = "epoch"
    on_sigterm: str | None = None
    on_damage: str = "raise"
    force: bool = False
    debug: bool = False

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        if self.n_epochs is not None:
            _check_count("n_epochs", self.n_epochs, least=0, also=", or None for no end")
        _check_count("prefetch", self.prefetch, least=0)
        check_shuffle(self.shuffle)
        check_seed(self.seed)
        if self.max_skipped is not None:
            _check_count("max_skipped", self.max_skipped, least=0, also=", or None for no limit")
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise DefinitionError(f"{name}={getattr(self, name)!r}: give True or False")
        for name, choices in CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        self._check_checkpoint()
        _check_executor(self.executor)

    def _check_checkpoint(self) -> None:
        if self.checkpoint is not None:
            if not hasattr(self.checkpoint, "__fspath__") and not isinstance(self.checkpoint, str):
                raise DefinitionError(f"checkpoint={self.checkpoint!r}: give a folder, a path")
            _check_every(self.checkpoint_every)
            return
        for name in FOR_CHECKPOINTS:
            if getattr(self, name) != getattr(type(self), name):
                raise DefinitionError(
                    f"{name}={getattr(self, name)!r} is about checkpoints, and the run keeps none: give "
                    "checkpoint=, a folder, as well"
                )

    @classmethod
    def gather(
        cls, stored: RunOptions | None, batch_size: Any, given: Mapping[str, Any], method: str
    ) -> RunOptions:
        """Make the options from a call, on top of those that ``run(lazy=True)`` stored.

        Raises
        ------
        UnknownArgumentError
            For an argument that there is not; the nearest one is named.
        """
        known = fields(cls)
        for name in given:
            if name not in known:
                raise UnknownArgumentError("argument", name, known, f"of {method}")
        if batch_size is not None:
            given = {**given, "batch_size": batch_size}
        if stored is not None:
            return replace(stored, **given)
        if "batch_size" not in given:
            raise DefinitionError(f"{method} needs a batch_size, the number of items in a batch")
        return cls(**given)

    def same_as(self, other: RunOptions) -> bool:
        """Tell whether these are the same options."""
        mine, others = self.values(), other.values()
        return all(each is others[name] or each == others[name] for name, each in mine.items())

    def describe(self) -> str:
        """Give the options that are not the default ones, as they are written."""
        return ", ".join(
            f"{name}={getattr(self, name)!r}"
            for name, each in fields(self).items()
            if getattr(self, name) != each.default
        )

    def values(self) -> dict[str, Any]:
        """Give all options by name."""
        return {name: getattr(self, name) for name in fields(self)}


def check_batch_size(size: object) -> int:
    """Return a batch size as an int, or refuse it."""
    return _check_count("batch_size", size, least=1)


def _check_executor(executor: object) -> None:
    if executor is None or callable(getattr(executor, "submit", None)):
        return
    if not isinstance(executor, numbers.Integral) or isinstance(executor, bool) or executor < 1:
        raise DefinitionError(
            f"executor={executor!r}: give a number of worker processes, 1 or more, or an executor as in "
            "concurrent.futures, which has submit()"
        )


def _check_choice(name: str, value: object, choices: tuple[str | None, ...]) -> None:
    if not isinstance(value, str | None) or value not in choices:
        raise DefinitionError(
            f"{name}={value!r}: give one of {', '.join(map(repr, choices))}"
            + (nearest(value, filter(None, choices)) if isinstance(value, str) else "")
        )


def _check_every(every: object) -> None:
    from datetime import timedelta

    if every != "epoch" and not isinstance(every, timedelta):
        _check_count("checkpoint_every", every, least=1, also=" (batches), a timedelta, or 'epoch'")


def _check_count(name: str, value: object, least: int, also: str = "") -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise DefinitionError(f"{name}={value!r}: give an int of {least} or more{also}")
    return int(value)
