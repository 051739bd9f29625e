"""What a run can be given by keyword, for type checkers: imported by nothing that runs."""

from __future__ import annotations

from concurrent.futures import Executor
from datetime import timedelta
from os import PathLike
from typing import TypedDict

from batchloom.ordering import Shuffle


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
