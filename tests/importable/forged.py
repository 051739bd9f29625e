"""Checkpoints and saved models that somebody has changed, with hashes that fit; and what they would do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np


class Payload:
    """What leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def pickled(mark: Path) -> bytes:
    """A pickle that leaves a mark: shown to work before it is used."""
    data = pickle.dumps(Payload(mark))
    pickle.loads(data)
    mark.unlink()
    return data


def object_array(mark: Path) -> bytes:
    """A file of NumPy's that holds such a pickle."""
    sink = io.BytesIO()
    np.save(sink, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    np.load(io.BytesIO(sink.getvalue()), allow_pickle=True)
    mark.unlink()
    return sink.getvalue()


def newest(folder: Path) -> Path:
    return max(folder.glob("checkpoint-*"))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forge(path: Path, changes: dict[str, bytes | None]) -> None:
    """Replace, add or (None) take out members, and make the manifest fit."""
    content = {**members(path), **changes}
    manifest = json.loads(content.pop("manifest.json") or b"{}")
    kept = {name: data for name, data in content.items() if data is not None}
    manifest["members"] = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in kept.items()
    }
    kept["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in kept.items():
            archive.writestr(name, data)
