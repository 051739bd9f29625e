"""Hugging Face datasets: an Arrow table handed out as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks.peers import Columns, nothing

PACKAGE = "datasets"
BUFFER = 10_000


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
    from datasets import load_dataset

    rows = load_dataset("parquet", data_files=path, streaming=True, split="train")
    shuffled = rows.shuffle(seed=1, buffer_size=BUFFER)

    def batches() -> Iterator[np.ndarray]:
        for batch in shuffled.iter(size):
            yield np.frombuffer(b"".join(batch[name]), np.uint8).reshape(-1, width)

    return batches


BATCHES = {"Hugging Face datasets": usual}
WORKING: dict[str, Any] = {}
PROCESSES: dict[str, Any] = {}
PARQUET = {"Hugging Face datasets, streaming": streaming}
