"""Reading and writing the items of a batch as files, one file an item."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from batchloom.columns import array_of
from batchloom.errors import DataError
from batchloom.files_index import FilesIndex
from batchloom.index import DatasetIndex
from batchloom.steps import short

if TYPE_CHECKING:
    from batchloom.batch import Batch

READERS: dict[str, Callable[[str], Any]] = {
    "npy": lambda path: np.load(path, allow_pickle=False),
    "npz": lambda path: np.load(path, allow_pickle=False),
    "text": lambda path: Path(path).read_text(encoding="utf-8"),
    "txt": lambda path: Path(path).read_text(encoding="utf-8"),
    "bytes": lambda path: Path(path).read_bytes(),
}


def read_items(
    index: DatasetIndex,
    reader: Callable[[Any], Any] | None,
    names: tuple[str, ...],
    fmt: str | None,
) -> list[Any]:
    """Read every item and stack what was read, a column for each name."""
    if reader is not None and not callable(reader):
        raise DataError(f"load: src is a mapping of columns or a function, not {short(reader)}")
    files = index.paths if isinstance(index, FilesIndex) else None
    if reader is None and files is None:
        raise DataError(
            "load: without src= there must be files to read: make the dataset of a FilesIndex"
        )
    if not names:
        raise DataError("load: say which components to fill: components=...")
    items = [_read(each, reader, names, fmt) for each in (files or index.ids.tolist())]
    return [stack_items([each[at] for each in items]) for at in range(len(names))]


def write_items(batch: Batch, folder: str | os.PathLike[str], names: tuple[str, ...]) -> None:
    """Write one ``<id>.npz`` for each item; each file is put in place whole."""
    target = Path(folder)
    items = [str(each) for each in batch.indices.tolist()]
    _check_file_names(items)
    target.mkdir(parents=True, exist_ok=True)
    values = {each: getattr(batch, each) for each in names}
    for at, item in enumerate(items):
        path = target / f"{item}.npz"
        partial = target / f".{item}.{os.getpid()}.part.npz"
        try:
            arrays: dict[str, Any] = {name: np.asarray(each[at]) for name, each in values.items()}
            np.savez(partial, **arrays)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _check_file_names(items: list[str]) -> None:
    advice = "Write them with a function of the batch: dump(my_writer)"
    for item in items:
        if os.path.basename(item) != item:
            raise DataError(f"dump: the id {item!r} cannot be the name of a file. {advice}")
    if len(set(items)) < len(items):
        twice = next(each for each in items if items.count(each) > 1)
        raise DataError(
            f"dump: the batch has more than one item with the id {twice}, and one file would take the "
            f"place of the other. {advice}"
        )


def stack_items(items: list[Any]) -> np.ndarray[Any, Any]:
    """Stack the values of items; those of unequal shape become elements of an object array."""
    arrays = [np.asarray(each) for each in items]
    if not any(each.ndim for each in arrays):
        return array_of(items)
    if len({each.shape for each in arrays}) <= 1:
        return np.stack(arrays)
    stacked = np.empty(len(items), dtype=object)
    stacked[:] = items
    return stacked


def _read(
    item: Any, reader: Callable[[Any], Any] | None, names: tuple[str, ...], fmt: str | None
) -> tuple[Any, ...]:
    read = reader or _reader(item, fmt)
    try:
        value = read(item)
    except Exception as exc:
        exc.add_note(f"load: while reading {item!r}")
        raise
    if isinstance(value, np.lib.npyio.NpzFile):
        with value:
            return tuple(value[each] for each in names)
    values = value if isinstance(value, tuple) and len(names) > 1 else (value,)
    if len(values) != len(names):
        raise DataError(
            f"load: {item!r} gave {len(values)} values for {len(names)} components ({', '.join(names)})"
        )
    return values


def _reader(path: str, fmt: str | None) -> Callable[[str], Any]:
    name = fmt or Path(path).suffix.lstrip(".")
    if name not in READERS:
        raise DataError(
            f"load: no reader for {name or 'files without an extension'!r} ({path}); there is "
            f"{', '.join(sorted(READERS))}. Give another as a function: src=my_reader"
        )
    return READERS[name]
