"""PyTorch's DataLoader: item by item as in its tutorials, and at its best, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks.peers import Columns, Work, nothing

PACKAGE = "torch"


class Arrays:
    """A dataset that is asked for a whole batch of rows at once."""

    def __init__(self, columns: Columns, actions: int) -> None:
        self.columns, self.actions = tuple(columns.values()), actions

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, rows: Any) -> tuple[np.ndarray, ...]:
        batch = tuple(each[rows] for each in self.columns)
        for _ in range(self.actions):
            batch = nothing(batch)
        return batch


class BatchSampler:
    """Row numbers of one batch after the other, as slices or arrays."""

    def __init__(self, length: int, size: int, shuffle: bool) -> None:
        self.length, self.size, self.shuffle = length, size, shuffle

    def __len__(self) -> int:
        return -(-self.length // self.size)

    def __iter__(self) -> Iterator[Any]:
        starts = range(0, self.length, self.size)
        if not self.shuffle:
            return (slice(start, start + self.size) for start in starts)
        order = np.random.default_rng(1).permutation(self.length)
        return (order[start : start + self.size] for start in starts)


class Worked:
    """A dataset whose items are made by a function."""

    def __init__(self, work: Work, count: int, tensors: bool) -> None:
        self.work, self.count, self.tensors = work, count, tensors

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: int) -> Any:
        from torch import from_numpy

        made = self.work(int(at))
        return from_numpy(made) if self.tensors else made


def usual(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    from torch import from_numpy
    from torch.utils.data import DataLoader, TensorDataset

    tensors = TensorDataset(*map(from_numpy, columns.values()))

    def collate(rows: list[Any]) -> Any:
        from torch.utils.data import default_collate

        batch = default_collate(rows)
        for _ in range(actions):
            batch = nothing(batch)
        return batch

    return lambda: DataLoader(
        tensors, size, shuffle=shuffle, collate_fn=collate, num_workers=prefetch
    )


def best(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    from torch.utils.data import DataLoader

    rows = Arrays(columns, actions)
    sampler = BatchSampler(len(rows), size, shuffle)
    return lambda: DataLoader(
        rows, batch_size=None, sampler=sampler, collate_fn=nothing, num_workers=prefetch
    )


def _workers(work: Work, count: int, ahead: int, tensors: bool) -> Callable[[], Iterable[Any]]:
    from torch.utils.data import DataLoader

    items = Worked(work, count, tensors)
    return lambda: DataLoader(
        items, batch_size=None, num_workers=2, prefetch_factor=ahead, collate_fn=nothing
    )


def tensor_workers(work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]:
    return _workers(work, count, ahead, tensors=True)


def array_workers(work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]:
    return _workers(work, count, ahead, tensors=False)


BATCHES = {
    "PyTorch DataLoader, usual": usual,
    "PyTorch DataLoader, batch sampler": best,
}
WORKING = {"PyTorch DataLoader, 2 workers": tensor_workers}
PROCESSES = {
    "PyTorch DataLoader, 2 workers": tensor_workers,
    "PyTorch DataLoader, 2 workers, arrays": array_workers,
}
