"""batchflow: a dataset in memory and a pipeline over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.peers import Columns, Work

PACKAGE = "batchflow"


def usual(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    from batchflow import Batch, Dataset, action

    class Arrays(Batch):
        components = tuple(columns)

        @action
        def nothing(self) -> Any:
            return self

    length = len(next(iter(columns.values())))
    pipeline = Dataset(length, Arrays).p.load(src=tuple(columns.values()))
    for _ in range(actions):
        pipeline = pipeline.nothing()
    return lambda: pipeline.gen_batch(size, shuffle=shuffle, n_epochs=1, prefetch=prefetch)


def prefetching(
    work: Work, count: int, ahead: int, processes: bool = False
) -> Callable[[], Iterable[Any]]:
    from batchflow import Dataset

    batch_class = _working(work)
    pipeline = Dataset(count, batch_class).p.work()
    target = {"target": "mpc"} if processes else {}
    return lambda: pipeline.gen_batch(1, shuffle=False, n_epochs=1, prefetch=ahead, **target)


def in_processes(work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]:
    return prefetching(work, count, ahead, processes=True)


def _working(work: Work) -> Any:
    from batchflow import Batch, action

    class Worked(Batch):
        components = ("x",)

        @action
        def work(self) -> Any:
            self.x = work(int(self.indices[0]))
            return self

    # A worker process finds the class by its name.
    Worked.__qualname__ = "Worked"
    globals()["Worked"] = Worked
    return Worked


BATCHES = {"batchflow": usual}
WORKING = {"batchflow, prefetch": prefetching}
PROCESSES = {"batchflow, prefetch mpc": in_processes}
