"""What is not used costs nothing, however much of it there is. Bytes and calls are counted, not seconds."""

from __future__ import annotations

import itertools
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from batchloom import B, Dataset, DatasetIndex, Pipeline

MANY = 10**12
SMALL = 100_000
"""Bytes that any batch may take; one array of positions of all items would take more."""


def peak_memory(function: Callable[[], Any]) -> int:
    """The most bytes that a call has had at once; it is called once before, for what is made once."""
    function()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_count_would_see_an_array_of_all_positions() -> None:
    assert peak_memory(lambda: np.arange(SMALL)) > 7 * SMALL


@pytest.mark.parametrize(
    ("index", "first", "last"),
    [
        (MANY, 0, MANY - 1),
        (range(MANY), 0, MANY - 1),
        (range(7, 7 + 3 * MANY, 3), 7, 7 + 3 * (MANY - 1)),
        (range(MANY, 0, -1), MANY, 1),
    ],
    ids=str,
)
def test_an_index_of_numbers_takes_no_memory(index: Any, first: int, last: int) -> None:
    def use() -> None:
        dataset = Dataset(index)
        batches = itertools.islice(dataset.gen_batch(32), 100)
        assert next(batches).indices[0] == first
        assert sum(len(each.indices) for each in batches) == 99 * 32
        assert dataset.index.positions([last, first]).tolist() == [MANY - 1, 0]

    assert peak_memory(use) < SMALL


def test_parts_in_order_take_no_memory() -> None:
    def use() -> None:
        dataset = Dataset(MANY).split([0.5, 0.25])
        inner = dataset.validation.split(0.5).test
        assert len(inner) == MANY // 8
        assert next(inner.gen_batch(3)).indices.tolist() == [MANY // 8 * 7 + k for k in range(3)]
        assert inner.index.positions([MANY - 1]).tolist() == [MANY // 8 - 1]
        with pytest.raises(IndexError, match="not in this index"):
            inner.index.positions([0])

    assert peak_memory(use) < SMALL


def test_a_subset_takes_what_it_holds() -> None:
    def use() -> None:
        dataset = Dataset(MANY)
        few, strided = dataset.subset([5, -1]), dataset.subset(slice(10, None, 1000))
        assert next(few.gen_batch(2)).indices.tolist() == [5, MANY - 1]
        assert next(strided.subset(slice(1, 3)).gen_batch(2)).indices.tolist() == [1010, 2010]

    assert peak_memory(use) < SMALL


@pytest.mark.parametrize("ids", ["sorted", "shuffled"])
def test_ids_are_compared_without_an_object_for_each(ids: str) -> None:
    numbers = np.arange(SMALL) * 3
    if ids == "shuffled":
        np.random.default_rng(1).shuffle(numbers)
    assert peak_memory(lambda: DatasetIndex(numbers)) < 4 * numbers.nbytes


def partnered(dataset: Dataset) -> Any:
    return dataset.p.merge(Dataset(data={"x": np.zeros((len(dataset), 4))}).p)


@pytest.mark.parametrize("make", [lambda dataset: dataset.p, partnered], ids=["alone", "merged"])
@pytest.mark.parametrize("shuffle", [False, 1], ids=["in order", "shuffled"])
def test_a_batch_takes_the_same_of_few_items_and_of_many(
    make: Callable[[Dataset], Any], shuffle: int
) -> None:
    def of(items: int) -> int:
        dataset = Dataset(data={"x": np.zeros((items, 4))})
        batches = make(dataset).gen_batch(8, shuffle=shuffle)
        next(batches)  # makes the order of the epoch, of all its items
        return peak_memory(lambda: [len(each.x) for each in itertools.islice(batches, 100)])

    assert of(1_000_000) < 1.5 * of(10_000) < SMALL * 2


def test_an_epoch_s_order_is_not_kept_for_longer() -> None:
    items = 1_000_000

    def use() -> None:
        batches = Dataset(items).gen_batch(100, shuffle=1, n_epochs=3)
        kept = list(itertools.islice(batches, 0, None, items // 100))
        assert [each.epoch for each in kept] == [0, 1, 2]

    assert peak_memory(use) < items * 8 * 1.5


class Counted:
    """A column that counts the rows that are read of it."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.read = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, positions: Any) -> Any:
        self.read += len(positions)
        return np.asarray(positions)


def test_components_that_are_not_used_are_not_read() -> None:
    columns = {f"c{at}": Counted(100) for at in range(64)}
    dataset = Dataset(data=columns)
    looked_at = [each.read for each in columns.values()]
    rows = [each.c3 for each in dataset.gen_batch(10, shuffle=1)]
    assert sorted(np.concatenate(rows)) == list(range(100))
    read = [each.read - before for each, before in zip(columns.values(), looked_at, strict=True)]
    assert read == [0] * 3 + [100] + [0] * 60


@pytest.mark.parametrize("shuffle", [False, 1], ids=["in order", "shuffled"])
def test_components_that_are_not_used_take_no_memory(shuffle: int) -> None:
    column = np.zeros((10_000, 16), dtype=np.float32)

    def of(components: int) -> int:
        dataset = Dataset(data={f"c{at}": column for at in range(components)})
        return peak_memory(
            lambda: [len(each.c0) for each in dataset.gen_batch(32, shuffle=shuffle)]
        )

    assert of(64) < 1.5 * of(1)


def test_a_batch_takes_memory_by_its_size() -> None:
    dataset = Dataset(data={"x": np.zeros((65_536, 16), dtype=np.float32)})
    for size in (32, 4096, 65_536):
        peak = peak_memory(
            lambda size=size: [each.size for each in dataset.gen_batch(size) if each.x.size]
        )
        # One batch is given out while the next is made; and a portion of small ones fills the cache.
        assert peak < 2 * size * 64 + 3 * (1 << 20)


def calls_in(function: Callable[[], Any]) -> int:
    """How many calls of Python functions a call makes; it is called once before."""
    function()
    counted = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counted


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "template"])
def test_a_step_is_checked_once_when_it_is_written(linked: bool) -> None:
    start = Dataset(data={"x": np.zeros(100)}).p if linked else Pipeline()

    def write(steps: int) -> None:
        pipeline = start.init_variable("seen", 0)
        for _ in range(steps):
            pipeline = pipeline.apply(np.abs, src="x").set_variable("seen", B.x)

    assert calls_in(lambda: write(50)) < 10 * calls_in(lambda: write(5)) * 1.1


def test_a_batch_of_many_steps_takes_so_many_calls() -> None:
    dataset = Dataset(data={"x": np.zeros(1000)})

    def of(steps: int) -> int:
        pipeline = dataset.p
        for _ in range(steps):
            pipeline = pipeline.apply(np.abs, src="x")
        batches = pipeline.gen_batch(10)
        return calls_in(lambda: [next(batches) for _ in range(20)])

    assert of(100) < 10 * of(10) * 1.1


@pytest.mark.parametrize("shuffle", [False, 1], ids=["in order", "shuffled"])
def test_components_that_are_not_used_take_no_calls(shuffle: int) -> None:
    column = np.zeros((10_000, 16), dtype=np.float32)

    def of(components: int) -> int:
        dataset = Dataset(data={f"c{at}": column for at in range(components)})
        return calls_in(lambda: [each.c0 for each in dataset.gen_batch(32, shuffle=shuffle)])

    assert of(64) < 1.2 * of(1)
