"""Mismatch: what differs between a checkpoint and the run that would go on from it, and what is harmless.

A difference is harmless if all that the run has done so far is what it would have done with the other value
as well: going on then gives what a whole run with the new value gives.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchloom.errors import CheckpointMismatchError
from batchloom.models.saved import version_now
from batchloom.ordering import blocks_of
from batchloom.records import Record

if TYPE_CHECKING:
    from batchloom.runtime.run import Run

COMPARED = ("batch_size", "n_epochs", "drop_last", "on_error")
"""The options that the result depends on, besides the order."""


class Difference(Record):
    """Something that is other than when the checkpoint was made.

    Attributes
    ----------
    what : str
    there, here : object
        Then and now.
    harmless : str
        Why it is; empty if it is not.
    """

    what: str
    there: Any
    here: Any
    harmless: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.there} then, {self.here} now"


def check(path: Path, content: Mapping[str, Any], fingerprint: Mapping[str, str], run: Run) -> None:
    """Refuse a checkpoint of another run.

    Parameters
    ----------
    path : Path
        The checkpoint.
    content : mapping
        What it says.
    fingerprint : mapping
        Of the definition as it is now.
    run : Run
        That would go on, with ``force=True`` if harmless differences are to be let pass.

    Raises
    ------
    CheckpointMismatchError
        With all that differs.
    """
    force = run.options.force
    found = [
        *_definitions(content["fingerprint"], fingerprint),
        *_options(content, run),
        *_packages(path, content.get("packages", {})),
    ]
    harmful = [str(each) for each in found if not each.harmless]
    harmless = [f"{each} ({each.harmless})" for each in found if each.harmless]
    if harmful:
        forced = " force=True is for harmless differences, and these are not." if force else ""
        raise CheckpointMismatchError(
            f"{path} was made by another run than this one. {'; '.join([*harmful, *harmless])}.{forced} "
            "Give back what it was made with, or another folder"
        )
    if harmless and not force:
        raise CheckpointMismatchError(
            f"{path} was made by another run than this one. {'; '.join(harmless)}. That is harmless: give "
            "force=True to go on all the same, or what it was made with, or another folder"
        )


def _definitions(there: Mapping[str, str], here: Mapping[str, str]) -> Iterator[Difference]:
    """Compare two fingerprints."""
    for part in dict.fromkeys([*there, *here]):
        before, now = there.get(part, "nothing"), here.get(part, "nothing")
        if before != now:
            moved = part == "batch class" and before.split(".")[-1] == now.split(".")[-1]
            yield Difference(part, before, now, "a class of this name in another module" * moved)


def _options(content: Mapping[str, Any], run: Run) -> Iterator[Difference]:
    there, here = content["options"], run_options(run)
    compared = [*COMPARED, "shuffled", "by_function", "blocks"]
    if run.options.seed is not None:
        compared.append("seed")
    blocks = blocks_of(run.options.shuffle)
    if type(run.options.shuffle) is int or (blocks is not None and blocks.seed is not None):
        compared.append("order_seed")
    for name in compared:
        if there[name] != here[name]:
            harmless = HARMLESS[name](content, here[name]) if name in HARMLESS else ""
            yield Difference(name, repr(there[name]), repr(here[name]), harmless)


def _more_epochs(content: Mapping[str, Any], now: int | None) -> str:
    """A run of another length does the same until then, unless it has come to its last epoch's end.

    A run without end is another matter: models learn at the end of each of its epochs.
    """
    counted = now is not None and content["options"]["n_epochs"] is not None
    if counted and not content["finished"] and content["place"]["epoch"] < now:
        return "it is about epochs that are yet to come"
    return ""


def _other_policy(content: Mapping[str, Any], now: str) -> str:
    """What becomes of batches that fail says nothing of a run in which none has failed."""
    if now == "skip" or not content["failures"]:
        return "it is about batches that are yet to come"
    return ""


HARMLESS: dict[str, Callable[[Mapping[str, Any], Any], str]] = {
    "n_epochs": _more_epochs,
    "on_error": _other_policy,
}
"""Options that may be harmless: why they are in a run, or an empty text if they are not."""


def _packages(path: Path, there: Mapping[str, str]) -> Iterator[Difference]:
    """Compare versions: another major one may keep other things in its files, any other count otherwise."""
    changed = {name: (old, version_now(name)) for name, old in there.items()}
    changed = {name: both for name, both in changed.items() if both[0] != both[1]}
    incompatible = [name for name, both in changed.items() if _series(both[0]) != _series(both[1])]
    for name in incompatible:
        yield Difference(f"package {name}", *changed[name])
    if changed and not incompatible:
        said = ", ".join(f"{name} {old} then, {now} now" for name, (old, now) in changed.items())
        warnings.warn(
            f"{path} was made with other versions of packages: {said}. The run goes on; what it computes may "
            "differ from a run without the stop in the last digits",
            RuntimeWarning,
            stacklevel=2,
        )


def _series(version: str) -> object:
    """Give the part of a version that changes when things stop to fit: 2 of 2.4, but 0.1 of 0.1.3."""
    from packaging.version import InvalidVersion, Version

    try:
        release = Version(version).release
    except InvalidVersion:
        return version
    return release[: 1 if release[0] else 2]


def run_options(run: Run) -> dict[str, Any]:
    """Give the options of a run as plain data."""
    options: dict[str, Any] = {name: getattr(run.options, name) for name in COMPARED}
    order = run.order
    return {
        **options,
        "batch_size": int(run.options.batch_size),
        "max_skipped": run.options.max_skipped,
        "shuffled": order.shuffled,
        "by_function": order.function is not None,
        "blocks": None if order.blocks is None else [order.blocks.window, order.blocks.block_rows],
        "order_seed": order.seed,
        "seed": run.seed,
    }
