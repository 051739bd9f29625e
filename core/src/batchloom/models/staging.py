"""Where a file is made before it is put in its place: beside it, and gone in the end."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchloom.errors import SaveError


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Make a private directory beside a target, and remove it in the end.

    What earlier processes of this machine left there when they were killed is removed as well.

    Raises
    ------
    SaveError
        If nothing can be written there.
    """
    _check_target(target)
    try:
        place = own_folder(target.parent, _staging_prefix(target))
    except OSError as exc:
        raise save_error(target, exc) from exc
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def own_folder(parent: Path, prefix: str) -> Path:
    """Make a folder whose name says which process it belongs to.

    Folders of the same prefix that belong to processes of this machine that have ended, which were
    killed before they could remove them, are removed.
    """
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    _remove_litter(parent, f"{prefix}{host}-")
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{host}-{os.getpid()}-", dir=parent))


def save_error(target: Path, exc: OSError) -> SaveError:
    """Describe why a model could not be saved."""
    free = ""
    with suppress(OSError):
        free = f" ({shutil.disk_usage(target.parent).free:,} bytes are free there)"
    error = SaveError(
        f"cannot save to {target}: {exc.strerror or exc}{free}. What was there before is "
        "untouched, and the model is still in memory: it can be saved elsewhere"
    )
    error.errno, error.filename = exc.errno, str(target)
    return error


def sync_directory(directory: Path) -> None:
    """Have the file system write down which files a directory holds."""
    if os.name != "posix":
        return
    with suppress(OSError):  # not every file system can, and the file is in place
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_target(target: Path) -> None:
    parent = target.parent
    try:
        is_there = parent.is_dir()
        mode = target.lstat().st_mode if is_there else 0
    except FileNotFoundError:
        return
    except OSError as exc:
        raise save_error(target, exc) from exc
    if not is_there:
        raise SaveError(
            f"cannot save to {target}: there is no directory {parent}. Make it, or save elsewhere: "
            "the model is still in memory"
        )
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise SaveError(f"cannot save to {target}: it is {kind}, and a saved model is one file")


def _staging_prefix(target: Path) -> str:
    # A hash, because a target's name may be as long as a name can be.
    return f".batchloom-{hashlib.sha256(target.name.encode()).hexdigest()[:8]}-"


def _remove_litter(parent: Path, prefix: str) -> None:
    if os.name != "posix":
        return  # to ask Windows whether a process lives is to end it
    for each in parent.glob(f"{prefix}*"):
        pid = each.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(each, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
