"""The manifest of a saved model: what it says, and which manifests are believed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from batchloom.errors import CorruptFileError, FormatVersionError, SaveError, UnsafeFileError

FORMAT = 1
NAME = "manifest.json"
MOST_BYTES = 4 * 2**20  # parsed JSON takes up to thirty times as much memory
MOST_MEMBERS = 10_000
_UNSAFE_CHARACTERS = re.compile(r'[\x00-\x1f\\:*?"<>|]')


@dataclass(frozen=True)
class Member:
    """Size in bytes and SHA-256 (hexadecimal) of one file of a backend."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a saved model says of itself.

    Attributes
    ----------
    registered_name : str or None
        What the class is found by; a path to import is never taken from a file.
    model_class : str
        ``module:Class``, to be compared and shown.
    name : str
        The model's name in its pipeline.
    packages : mapping of str to str
        Distributions and their versions when the model was saved.
    config : mapping
        The values of the model's config that JSON can hold.
    config_omitted : mapping of str to str
        The others, as text for people.
    members : mapping of str to Member
        The backend's files by their relative paths.
    """

    registered_name: str | None
    model_class: str
    name: str
    packages: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_omitted: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Write it as JSON, the same bytes for the same content.

        Raises
        ------
        SaveError
            If it is longer than a reader would accept.
        """
        content = {"format": FORMAT, **asdict(self)}
        content["class"] = content.pop("model_class")
        data = json.dumps(content, indent=1, sort_keys=True).encode()
        if len(data) > MOST_BYTES:
            longest = max(self.config, key=lambda key: len(repr(self.config[key])), default="")
            raise SaveError(
                f"the manifest would take {len(data)} bytes of at most {MOST_BYTES}. The longest "
                f"value of the config is {longest!r}: have the model save it in a file of its own"
            )
        return data

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Read and check it.

        Parameters
        ----------
        data : bytes
            JSON.
        where : str
            The file, for errors.

        Raises
        ------
        CorruptFileError, UnsafeFileError, FormatVersionError
            If it is no manifest, names files outside its archive, or is newer than this version.
        """
        content = _parsed(data, where)
        _check_format(content, where)
        _check_types(content, where)
        members = {}
        for name, each in content["members"].items():
            members[name] = _member(name, each, where)
        check_member_names(members, where)
        return cls(
            content["registered_name"],
            content["class"],
            content["name"],
            content["packages"],
            content["config"],
            content["config_omitted"],
            members,
        )


def check_member_names(names: Iterable[str], where: str) -> None:
    """Accept only relative paths of plain names that stay apart on every file system.

    Raises
    ------
    UnsafeFileError
        If one is absolute, climbs out, clashes with another, or is no plain name somewhere.
    """
    taken: dict[str, str] = {}
    for name in names:
        if fault := _name_fault(name):
            raise UnsafeFileError(f"{where}: the member {name!r} {fault}")
        if other := taken.get(name.casefold()):
            raise UnsafeFileError(f"{where}: the members {other!r} and {name!r} are one file")
        taken[name.casefold()] = name
    for folded, name in taken.items():
        parents = ("/".join(folded.split("/")[:depth]) for depth in range(1, folded.count("/") + 1))
        if clash := next((each for each in parents if each in taken), None):
            raise UnsafeFileError(f"{where}: {taken[clash]!r} is a file and the folder of {name!r}")
    if len(taken) > MOST_MEMBERS:
        raise UnsafeFileError(f"{where} has {len(taken)} members, of at most {MOST_MEMBERS}")


def split_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Part a config into what JSON can hold and what it cannot.

    Parameters
    ----------
    config : mapping
        A model's config. NumPy scalars become Python's, tuples become lists.

    Returns
    -------
    dict, dict
        The JSON values, and the texts (at most 200 characters) of the others.
    """
    kept, omitted = {}, {}
    for key, value in config.items():
        try:
            kept[key] = _plain(value)
        except (TypeError, RecursionError):
            omitted[str(key)] = repr(value)[:200]
    return kept, omitted


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): _plain(each) for key, each in value.items()}
    raise TypeError(f"JSON has no {type(value).__name__}")


def _parsed(data: bytes, where: str) -> dict[str, Any]:
    if len(data) > MOST_BYTES:
        raise CorruptFileError(f"{where}: its manifest takes {len(data)} bytes")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise CorruptFileError(f"{where}: its manifest cannot be read: {exc}") from exc
    if not isinstance(content, dict):
        raise CorruptFileError(f"{where}: its manifest is no JSON object")
    return content


def _check_format(content: dict[str, Any], where: str) -> None:
    version = content.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CorruptFileError(f"{where}: its manifest states no format version: {version!r}")
    if version > FORMAT:
        packages = content.get("packages")
        writer = packages.get("batchloom") if isinstance(packages, dict) else None
        raise FormatVersionError(
            f"{where} has format {version}, written by batchloom {writer or 'of a later version'}; "
            f"this version reads formats up to {FORMAT}: pip install --upgrade batchloom"
        )


def _check_types(content: dict[str, Any], where: str) -> None:
    expected: dict[str, type | tuple[type, ...]] = {
        "registered_name": (str, type(None)),
        "class": str,
        "name": str,
        "packages": dict,
        "config": dict,
        "config_omitted": dict,
        "members": dict,
    }
    for key, kind in expected.items():
        if key not in content or not isinstance(content[key], kind):
            raise CorruptFileError(f"{where}: its manifest has no proper {key!r}")
    for key in ("packages", "config_omitted"):
        if not all(isinstance(each, str) for each in content[key].values()):
            raise CorruptFileError(f"{where}: in its manifest, {key!r} holds more than text")


def _member(name: str, content: Any, where: str) -> Member:
    if isinstance(content, dict) and set(content) == {"size", "sha256"}:
        size, digest = content["size"], content["sha256"]
        good_size = isinstance(size, int) and not isinstance(size, bool) and size >= 0
        if good_size and isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest):
            return Member(size, digest)
    raise CorruptFileError(f"{where}: its manifest has no proper size and hash of {name!r}")


def _name_fault(name: str) -> str | None:
    parts = name.split("/")
    if name == NAME:
        return "has the name of the manifest"
    if name.startswith("/"):
        return "is an absolute path"
    if ".." in parts:
        return "climbs out of the archive"
    if _UNSAFE_CHARACTERS.search(name):
        return "has characters that are no part of a plain file name"
    if any(part in ("", ".") or part != part.rstrip(". ") for part in parts):
        return "has a part that is no plain file name"
    if len(parts) > 16 or len(name) > 1024 or any(len(part.encode()) > 255 for part in parts):
        return "is too long"
    return None
