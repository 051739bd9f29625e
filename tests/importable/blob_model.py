"""A model that is nothing but bytes, to be saved, damaged and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from batchloom.models import BaseModel, load_model

STATE = bytes(range(256)) * 64


class Blob(BaseModel):
    """A model that is nothing but bytes."""

    seen: list[str] = []

    def _save(self, path, **kwargs):
        (path / "state.bin").write_bytes(STATE)
        (path / "folder").mkdir()
        (path / "folder" / "more.txt").write_text("more")

    def _load(self, path, **kwargs):
        self.seen.append("loaded")
        assert (path / "state.bin").read_bytes() == STATE


def saved_in(folder: Path) -> Path:
    """Save one there."""
    model = Blob()
    model.build()
    model.save(folder / "model")
    return folder / "model"


def load(path: Path) -> Any:
    return load_model(path, model_class=Blob)
