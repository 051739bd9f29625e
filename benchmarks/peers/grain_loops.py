"""Grain: record by record as documented, and at its best, with whole batches as its elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.peers import Columns, Work, nothing

PACKAGE = "grain"
BUFFER = 10_000


class Rows:
    """A source of records."""

    def __init__(self, columns: Columns) -> None:
        self.columns = dict(columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {name: each[at] for name, each in self.columns.items()}


def usual(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    import grain

    records = grain.MapDataset.source(Rows(columns))
    if shuffle:
        records = records.shuffle(seed=1)
    return _iterated(records.batch(size), actions, prefetch)


def best(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    import grain

    arrays = tuple(columns.values())
    length = len(arrays[0])
    order = np.random.default_rng(1).permutation(length)

    def rows(at: int) -> tuple[np.ndarray, ...]:
        where: Any = slice(at * size, (at + 1) * size)
        if shuffle:
            where = order[where]
        return tuple(each[where] for each in arrays)

    return _iterated(grain.MapDataset.range(-(-length // size)).map(rows), actions, prefetch)


def _iterated(batches: Any, actions: int, prefetch: int) -> Callable[[], Iterable[Any]]:
    import grain

    for _ in range(actions):
        batches = batches.map(nothing)
    # Its default, 16 threads, costs two hundred microseconds a batch.
    ahead = grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
    return lambda: batches.to_iter_dataset(ahead)


def threads(work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]:
    import grain

    made = grain.MapDataset.range(count).map(work)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=ahead)
    return lambda: made.to_iter_dataset(options)


def in_processes(work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]:
    import grain

    made = grain.MapDataset.range(count).map(work)
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead)
    workers = grain.MultiprocessingOptions(num_workers=2, per_worker_buffer_size=ahead)
    return lambda: made.to_iter_dataset(reading).mp_prefetch(workers)


def parquet_rows(path: str, name: str, width: int, size: int) -> Callable[[], Iterable[Any]]:
    import grain

    rows = grain.experimental.ParquetIterDataset(path)
    arrays = rows.map(lambda row: np.frombuffer(row[name], np.uint8))
    shuffled = grain.experimental.WindowShuffleIterDataset(arrays, window_size=BUFFER, seed=1)
    return lambda: shuffled.batch(size)


BATCHES = {"Grain, records": usual, "Grain, a batch an element": best}
WORKING = {"Grain, threads": threads}
PROCESSES = {"Grain, 2 processes": in_processes}
PARQUET = {"Grain": parquet_rows}
