"""Parquet paths: which files are meant by a file, a folder or a pattern."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from batchloom.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def find_files(path: Paths) -> list[str]:
    """Find Parquet files: a file, several, all in a folder, or those that match a pattern.

    Raises
    ------
    DataError
        If there are none, or folders' names hold values of columns.
    """
    several = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    found = [file for each in several for file in _files_at(os.fspath(each))]
    if not found:
        raise DataError("from_parquet was given no path")
    if len(set(found)) < len(found):
        twice = sorted({each for each in found if found.count(each) > 1})
        raise DataError(f"the same file was given twice: {', '.join(twice[:5])}")
    return found


def _files_at(path: str) -> list[str]:
    if os.path.isdir(path):
        inside = sorted(Path(path).rglob("*.parquet"))
        found = [each for each in inside if not _is_hidden(each.relative_to(path))]
        parted = next((each for each in found if "=" in str(each.relative_to(path).parent)), None)
        if parted is not None:
            raise DataError(
                f"{path} is parted by values in the names of folders, {parted.relative_to(path).parent}, "
                "which are columns of no file: give a pattern of the files that you want, such as "
                f"{os.path.join(path, '**', '*.parquet')!r}"
            )
    elif glob.has_magic(path) and not os.path.exists(path):
        found = [
            Path(each) for each in sorted(glob.glob(path, recursive=True)) if os.path.isfile(each)
        ]
    else:
        found = [Path(path)] if os.path.isfile(path) else []
    if not found:
        raise DataError(f"there is no Parquet file at {path!r}: give a file, a folder or a pattern")
    return [str(each.absolute()) for each in found]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.parts)
