"""Hugging Face datasets: an Arrow table handed out as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import Columns, cells_as_array, nothing

PACKAGE = "datasets"
BUFFER = 10_000
SHARDS = 64


def arrow_table(columns: Columns) -> Any:
    """The arrays as a table, rows of several numbers as lists of one length, nothing copied."""
    import pyarrow as pa

    def arrow(values: np.ndarray) -> Any:
        flat = pa.array(values.reshape(-1))
        return (
            flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        )

    return pa.table({name: arrow(values) for name, values in columns.items()})


def usual(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    from datasets import Dataset

    rows = Dataset(arrow_table(columns)).with_format("numpy")

    def batches() -> Iterable[Any]:
        chosen = rows.shuffle(seed=1) if shuffle else rows
        for batch in chosen.iter(size):
            for _ in range(actions):
                batch = nothing(batch)
            yield batch

    return batches


def streaming(path: str, name: str, width: int, size: int) -> Callable[[], Iterable[Any]]:
    import datasets

    # It sleeps at the end of an epoch, in case that the interpreter is about to end: that is no reading.
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    rows = datasets.load_dataset("parquet", data_files=path, streaming=True, split="train")
    return shuffled(rows, name, width, size)


def converted(path: str, name: str, width: int, size: int) -> Callable[[], Iterable[Any]]:
    """From the Arrow file that it makes of the Parquet file, beforehand."""
    from datasets import load_dataset

    cache = str(Path(path).parent / "datasets")
    rows = load_dataset("parquet", data_files=path, split="train", cache_dir=cache)
    return shuffled(rows.to_iterable_dataset(num_shards=SHARDS), name, width, size)


def shuffled(rows: Any, name: str, width: int, size: int) -> Callable[[], Iterable[Any]]:
    """A stream of Arrow tables, which takes no detour over Python's objects."""
    tables = rows.with_format("arrow").shuffle(seed=1, buffer_size=BUFFER)

    def batches() -> Iterator[np.ndarray]:
        for table in tables.iter(size):
            yield cells_as_array(table.column(name), width)

    return batches


BATCHES = {"Hugging Face datasets": usual}
WORKING: dict[str, Any] = {}
PROCESSES: dict[str, Any] = {}
PARQUET = {
    "Hugging Face datasets, streaming": streaming,
    "Hugging Face datasets, converted": converted,
}
