"""What a run can be given by keyword, for annotations: imported by who reads them, and nothing that runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta
from os import PathLike
from typing import Any, TypeAlias, TypedDict

import numpy as np

from batchloom.block_shuffle import BlockShuffle

Shuffle: TypeAlias = (
    bool | int | str | BlockShuffle | np.random.Generator | np.random.RandomState
    | Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
)  # fmt: skip
"""What ``shuffle=`` takes."""


class RunKeywords(TypedDict, total=False):
    """The keywords of `Pipeline.run`, `gen_batch` and `next_batch`."""

    shuffle: Shuffle
    n_epochs: int | None
    drop_last: bool
    prefetch: int
    executor: Executor | int | None
    seed: int | None
    bar: bool
    on_error: str
    max_skipped: int | None
    checkpoint: str | PathLike[str] | None
    checkpoint_every: int | str | timedelta
    on_sigterm: str | None
    on_damage: str
    force: bool
    debug: bool
