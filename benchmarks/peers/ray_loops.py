"""Ray Data: blocks in the object store, batches shuffled through a buffer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks.peers import Columns, Work, cells_as_array, nothing

PACKAGE = "ray"
BUFFER = 10_000


def start() -> Any:
    """Ray for this process alone, and quiet."""
    import ray

    if not ray.is_initialized():
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
            object_store_memory=2 * 2**30,
        )  # fmt: skip
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def table(columns: Columns) -> Any:
    """The arrays as an Arrow table of tensors."""
    import pyarrow as pa

    def arrow(values: np.ndarray) -> Any:
        return (
            pa.array(values)
            if values.ndim == 1
            else pa.FixedShapeTensorArray.from_numpy_ndarray(values)
        )

    return pa.table({name: arrow(values) for name, values in columns.items()})


def usual(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    ray = start()
    rows = ray.data.from_arrow(table(columns)).materialize()
    buffer = {"local_shuffle_buffer_size": BUFFER, "local_shuffle_seed": 1} if shuffle else {}

    def batches() -> Iterator[Any]:
        for batch in rows.iter_batches(
            batch_size=size, batch_format="numpy", prefetch_batches=prefetch or 1, **buffer
        ):
            for _ in range(actions):
                batch = nothing(batch)
            yield batch

    return batches


def mapped(work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]:
    ray = start()

    def made(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"x": work(int(batch["id"][0]))[None]}

    def batches() -> Iterator[Any]:
        results = ray.data.range(count, override_num_blocks=2).map_batches(made, batch_size=1)
        return iter(results.iter_batches(batch_size=1, prefetch_batches=ahead))

    return batches


def from_parquet(path: str, name: str, width: int, size: int) -> Callable[[], Iterable[Any]]:
    ray = start()
    # The newer way of reading starts processes for every epoch, which take longer than reading the file.
    ray.data.DataContext.get_current().use_datasource_v2 = False
    rows = ray.data.read_parquet(path, columns=[name])

    def batches() -> Iterator[np.ndarray]:
        for batch in rows.iter_batches(
            batch_size=size, batch_format="pyarrow", local_shuffle_buffer_size=BUFFER,
            local_shuffle_seed=1,
        ):  # fmt: skip
            yield cells_as_array(batch.column(name), width)

    return batches


BATCHES = {"Ray Data": usual}
WORKING = {"Ray Data, map_batches": mapped}
PROCESSES = {"Ray Data, map_batches": mapped}
PARQUET = {"Ray Data": from_parquet}
