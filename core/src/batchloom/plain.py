"""Plain data: values written as JSON and arrays, so that reading them back can run no code.

A checkpoint keeps the values of variables this way. What is read has the type that was written, to the
bit; an object of any other class is refused when it is written.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from batchloom.errors import CheckpointError, CorruptFileError

TAG = "~"
KINDS = (
    "None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, deque, "
    "NumPy scalars and arrays"
)
SEQUENCES: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


def write_plain(value: Any, folder: Path, what: str) -> None:
    """Write a value into a folder, which must be empty.

    Parameters
    ----------
    value : object
    folder : Path
    what : str
        What the value is, for errors.

    Raises
    ------
    CheckpointError
        If something in it is of a class that plain data has no place for.
    """
    folder.mkdir()
    arrays: list[np.ndarray[Any, Any]] = []
    tree = _Packer(arrays, what).pack(value)
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array, allow_pickle=False)
    (folder / "tree.json").write_text(json.dumps(tree), encoding="utf-8")


def read_plain(folder: Path) -> Any:
    """Read what `write_plain` wrote.

    Raises
    ------
    CorruptFileError
        If it is not what `write_plain` writes.
    """
    try:
        tree = json.loads((folder / "tree.json").read_text(encoding="utf-8"))
        return _unpack(tree, lambda number: _array(folder, number))
    except (ValueError, KeyError, TypeError, IndexError, OSError, RecursionError) as exc:
        raise CorruptFileError(f"the plain data in {folder} cannot be read: {exc}") from exc


def is_plain(value: Any) -> bool:
    """Tell whether `write_plain` would take a value."""
    try:
        _Packer([], "it").pack(value)
    except (CheckpointError, TypeError, ValueError, RecursionError):
        return False
    return True


class _Packer:
    def __init__(self, arrays: list[np.ndarray[Any, Any]], what: str) -> None:
        self._arrays = arrays
        self._what = what
        self._inside: set[int] = set()

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if np.isfinite(value) else {TAG: "float", "text": repr(value)}
        if kind is complex:
            return {TAG: "complex", "items": [self.pack(value.real), self.pack(value.imag)]}
        if kind is bytes:
            return {TAG: "bytes", "text": base64.b64encode(value).decode()}
        if isinstance(value, np.generic) or kind is np.ndarray:
            return self._array(value)
        return self._container(value)

    def _container(self, value: Any) -> Any:
        if id(value) in self._inside:
            raise CheckpointError(f"{self._what} holds itself, and cannot be kept in a checkpoint")
        self._inside.add(id(value))
        try:
            return self._items(value)
        finally:
            self._inside.remove(id(value))

    def _items(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return [self.pack(each) for each in value]
        if kind.__name__ in SEQUENCES and kind is SEQUENCES[kind.__name__]:
            return {TAG: kind.__name__, "items": [self.pack(each) for each in value]}
        if kind is deque:
            return {TAG: "deque", "items": [self.pack(e) for e in value], "most": value.maxlen}
        if kind in (dict, OrderedDict):
            name = "dict" if kind is dict else "ordered"
            return {TAG: name, "items": [[self.pack(k), self.pack(v)] for k, v in value.items()]}
        raise CheckpointError(
            f"{self._what} holds {kind.__module__}.{kind.__qualname__}, which cannot be kept in a "
            f"checkpoint as plain data. Plain data is {KINDS}"
        )

    def _array(self, value: Any) -> Any:
        array = np.asarray(value)
        if array.dtype.hasobject:
            if array.dtype != object:
                raise CheckpointError(
                    f"{self._what} holds a structured array with objects in it, which cannot be kept"
                )
            items = [self.pack(each) for each in array.ravel().tolist()]
            return {TAG: "objects", "items": items, "shape": list(array.shape)}
        self._arrays.append(array)
        kind = "scalar" if isinstance(value, np.generic) else "array"
        return {TAG: kind, "number": len(self._arrays) - 1}


def _unpack(tree: Any, array: Callable[[int], np.ndarray[Any, Any]]) -> Any:
    if isinstance(tree, list):
        return [_unpack(each, array) for each in tree]
    if not isinstance(tree, dict):
        return tree
    kind = tree[TAG]
    if kind == "float":
        return float(tree["text"])
    if kind == "bytes":
        return base64.b64decode(tree["text"], validate=True)
    if kind in ("array", "scalar"):
        found = array(tree["number"])
        return found[()] if kind == "scalar" else found
    items = _unpack(tree["items"], array)
    if kind in ("dict", "ordered"):
        return {key: each for key, each in items} if kind == "dict" else OrderedDict(items)
    if kind == "objects":
        return _objects(items, tree["shape"])
    if kind == "complex":
        return complex(*items)
    if kind == "deque":
        return deque(items, tree["most"])
    return SEQUENCES[kind](items)


def _objects(items: list[Any], shape: list[int]) -> np.ndarray[Any, Any]:
    flat = np.empty(len(items), dtype=object)
    for at, each in enumerate(items):  # not flat[:]: NumPy would look inside lists
        flat[at] = each
    return flat.reshape(shape)


def _array(folder: Path, number: int) -> np.ndarray[Any, Any]:
    if type(number) is not int:
        raise ValueError(f"{number!r} is no number of an array")
    found: np.ndarray[Any, Any] = np.load(folder / f"{number}.npy", allow_pickle=False)
    return found
