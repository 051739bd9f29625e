"""The files of checkpoints: a numbered archive for each, written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchloom.errors import CheckpointError, SaveError
from batchloom.models.archive import publish, verified
from batchloom.models.manifest import Manifest
from batchloom.models.staging import staging

KIND = "batchloom:checkpoint"
KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{12})\.batchloom")


def write(folder: Path, number: int, fill: Callable[[Path], None]) -> Path:
    """Write a checkpoint, and remove those that are no longer needed.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    number : int
        How many batches were done; checkpoints are told apart by it.
    fill : callable
        Writes the content into the empty directory that it is given.

    Raises
    ------
    SaveError
        If it cannot be written; the checkpoints that were there stay as they are.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SaveError(f"cannot make the folder for checkpoints {folder}: {exc}") from exc
    target = folder / f"checkpoint-{number:012d}.batchloom"
    # One name for all of them, so that the next one clears up after a process that was killed.
    with staging(folder / "checkpoint") as place:
        content = place / "files"
        content.mkdir()
        fill(content)
        publish(content, Manifest(None, KIND, "checkpoint"), place, target)
    for old in all_of(folder)[:-KEPT]:
        with suppress(OSError):
            old.unlink()
    return target


def all_of(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, the newest one last.

    Raises
    ------
    CheckpointError
        If the folder cannot be read.
    """
    try:
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(each for each in found if _NAME.fullmatch(each.name))
    except OSError as exc:
        raise CheckpointError(
            f"cannot look for checkpoints in {folder}: {exc.strerror or exc}"
        ) from exc


def set_aside(path: Path) -> Path:
    """Give a damaged checkpoint a name that is no checkpoint's, so that it is in nobody's way."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    return aside


def number_of(path: Path) -> int:
    """Say how many batches were done when a checkpoint was made."""
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Unpack a checkpoint, every byte of it checked, into a directory that goes away again.

    Raises
    ------
    SavedModelError
        If it is damaged or unsafe.
    """
    with verified(path) as (manifest, directory):
        if manifest.model_class != KIND:
            raise CheckpointError(f"{path} is a saved model and no checkpoint")
        yield directory
