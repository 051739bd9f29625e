"""Batchloom: data pipelines and the models in them, kept apart.

A `Pipeline` is a chain of steps over the batches of a `Dataset`. Models are put into it by registered
name; they come from packages of their own (`batchloom.models`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchloom.actions import action
from batchloom.batch import Batch
from batchloom.block_shuffle import BlockShuffle
from batchloom.dataset import Dataset
from batchloom.errors import BatchloomError, SkipBatch
from batchloom.expressions import B, C, F, V
from batchloom.index import DatasetIndex, FilesIndex

if TYPE_CHECKING:
    from batchloom.pipeline import Pipeline

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


def __getattr__(name: str) -> Any:
    # What writes and runs pipelines is the larger half of the package: imported when it is asked for.
    if name != "Pipeline":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from batchloom.pipeline import Pipeline

    globals()[name] = Pipeline
    return Pipeline


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
