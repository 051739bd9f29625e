"""An index of files: which there are, what they are called, and where they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from batchloom.errors import DataError
from batchloom.index import DatasetIndex

if TYPE_CHECKING:
    from pathlib import Path


class FilesIndex(DatasetIndex):
    """An index of files: each item is a file, its id is the file's name.

    Parameters
    ----------
    path : str, path or sequence of them
        Paths and glob patterns; ``**`` stands for any number of folders.
    dirs : bool, default False
        Take folders instead of files.
    no_ext : bool, default False
        Leave the extension out of the ids.

    Raises
    ------
    DataError
        If no file matches, one of the paths is not there, or two files would have the same id.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        dirs: bool = False,
        no_ext: bool = False,
    ) -> None:
        patterns = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        paths = _matching(patterns, dirs)
        names = [each.stem if no_ext else each.name for each in paths]
        self._paths = dict(zip(names, paths, strict=True))
        if len(self._paths) < len(names):
            _refuse_same_names(names, paths)
        super().__init__(np.array(names, dtype=str))

    @property
    def paths(self) -> list[str]:
        """The full paths of all items, in order."""
        return [str(self._paths[each]) for each in self.ids.tolist()]

    def path(self, item: str) -> str:
        """Give the full path of one item.

        Raises
        ------
        IndexError
            If there is no such item.
        """
        self.positions([item])
        return str(self._paths[str(item)])


def _matching(patterns: Sequence[str | os.PathLike[str]], dirs: bool) -> list[Path]:
    import glob
    from pathlib import Path

    kind = "folder" if dirs else "file"
    found = set()
    for pattern in [os.fspath(each) for each in patterns]:
        # A path that is there is that path, whatever its name looks like.
        is_path = os.path.exists(pattern) or not glob.has_magic(pattern)
        matches = glob.glob(glob.escape(pattern) if is_path else pattern, recursive=True)
        paths = {Path(each).absolute() for each in matches if os.path.isdir(each) == dirs}
        if is_path and not paths:
            raise DataError(f"no {kind} matches {pattern}")
        found |= paths
    if not found:
        raise DataError(f"no {kind} matches {', '.join(os.fspath(p) for p in patterns)}")
    return sorted(found)


def _refuse_same_names(names: list[str], paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        if name in seen:
            raise DataError(
                f"two files would have the id {name!r}: {seen[name]} and {path}. "
                "Give them different names, or index the folders apart"
            )
        seen[name] = path
