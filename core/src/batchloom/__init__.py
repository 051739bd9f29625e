"""Batchloom: data pipelines and the models in them, kept apart.

A `Pipeline` is a chain of steps over the batches of a `Dataset`. Models are put into it by registered
name; they come from packages of their own (`batchloom.models`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchloom.actions import action
from batchloom.batch import Batch
from batchloom.dataset import Dataset
from batchloom.errors import BatchloomError, SkipBatch
from batchloom.index import DatasetIndex

if TYPE_CHECKING:
    from batchloom.block_shuffle import BlockShuffle
    from batchloom.expressions import B, C, F, V
    from batchloom.files_index import FilesIndex
    from batchloom.pipeline import Pipeline
    from batchloom.runtime.keywords import RunKeywords as RunKeywords
    from batchloom.runtime.keywords import Shuffle as Shuffle

__version__ = "0.1.0"

__all__ = [
    "B",
    "Batch",
    "BatchloomError",
    "BlockShuffle",
    "C",
    "Dataset",
    "DatasetIndex",
    "F",
    "FilesIndex",
    "Pipeline",
    "SkipBatch",
    "V",
    "action",
]


_MODULES = {
    "B": "expressions",
    "BlockShuffle": "block_shuffle",
    "C": "expressions",
    "F": "expressions",
    "FilesIndex": "files_index",
    "Pipeline": "pipeline",
    "RunKeywords": "runtime.keywords",  # for annotations
    "Shuffle": "runtime.keywords",
    "V": "expressions",
}


def __getattr__(name: str) -> Any:
    # What writes and runs pipelines is the larger half of the package: imported when it is asked for.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
