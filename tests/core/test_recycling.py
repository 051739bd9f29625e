"""Memory of large batches is used again, and never while anything refers to it."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from batchloom import Dataset
from batchloom.recycling import ALIGNMENT, Recycler

FLOAT = np.dtype("f4")
SHAPE = 4, 70_000

HOLDS: dict[str, Callable[[np.ndarray], Any]] = {
    "part": lambda array: array[1:2].T,
    "view": lambda array: array.view("u1")[..., 3:],
    "element": lambda array: array[0][5:].reshape(-1, 1),
    "same type": lambda array: array.astype("f4", copy=False),
    "broadcast": lambda array: np.broadcast_to(array, (3, *SHAPE)),
    "strides": lambda array: np.lib.stride_tricks.as_strided(array[1]),
    "subclass": lambda array: array.view(np.ma.MaskedArray)[2],
    "memoryview": memoryview,
    "array of a memoryview": lambda array: np.asarray(memoryview(array)[1:]),
    "buffer": pickle.PickleBuffer,
    "iterator": lambda array: array.flat,
    "dlpack": lambda array: np.from_dlpack(array[1:]),
}


@pytest.mark.parametrize("hold", HOLDS)
def test_what_refers_to_an_array_keeps_its_memory(hold: str) -> None:
    recycler = Recycler()
    array = recycler.empty(SHAPE, FLOAT)
    place = array.ctypes.data
    assert place % ALIGNMENT == 0 and array.shape == SHAPE and array.flags.writeable
    held = HOLDS[hold](array)
    del array
    other = recycler.empty(SHAPE, FLOAT)
    assert other.ctypes.data != place
    del held
    again = recycler.empty(SHAPE, FLOAT)
    assert again.ctypes.data == place
    del other, again
    assert not recycler.leases and len(recycler.free) == 2


def test_memory_that_is_too_small_is_not_used() -> None:
    recycler = Recycler()
    recycler.empty((100,), FLOAT)
    large = recycler.empty((1000,), FLOAT)
    large[:] = 1
    assert len(recycler.free) == 0
    del large
    small = recycler.empty((3, 5), np.dtype("<M8[s]"))
    assert small.shape == (3, 5) and len(recycler.free) == 0


def test_little_is_kept_of_what_nobody_uses() -> None:
    for size, kept in ((1 << 10, 32), (10 << 20, 6), (70 << 20, 1)):
        recycler = Recycler()
        arrays = [recycler.empty((size,), np.dtype("u1")) for _ in range(40)]
        arrays.clear()
        assert len(recycler.free) == kept


def test_an_array_may_outlive_its_recycler() -> None:
    recycler = Recycler()
    array = recycler.empty(SHAPE, FLOAT)
    array[:] = 3
    del recycler
    gc.collect()
    assert (array == 3).all()


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("options", [{}, {"prefetch": 3}], ids=str)
@pytest.mark.parametrize("shuffle", [False, 5])
def test_batches_that_are_kept_stay_as_they_were(
    shuffle: int | bool, options: dict[str, Any], copy: bool
) -> None:
    data = np.random.default_rng(0).random((3000, 400))
    made = Dataset(data={"x": data}, copy=copy).p
    kept: dict[int, Any] = {}
    for batch in made.gen_batch(100, shuffle=shuffle, n_epochs=2, **options):
        assert np.array_equal(batch.x, data[batch.indices])
        if batch.number % 3 == 0:
            kept[batch.number] = batch.indices, batch.x if batch.number % 2 else batch.x[10:].T
    for number, (indices, x) in kept.items():
        assert np.array_equal(x, data[indices] if number % 2 else data[indices][10:].T)


def test_what_is_changed_in_a_batch_is_in_no_other() -> None:
    data = np.random.default_rng(0).random((3000, 400))
    for batch in Dataset(data={"x": data}).p.gen_batch(100, shuffle=1, n_epochs=3, prefetch=2):
        assert np.array_equal(batch.x, data[batch.indices])
        batch.x[:] = np.nan


def test_positions_that_are_not_there_are_refused_for_large_arrays_too() -> None:
    column = Dataset(data={"x": np.zeros((1000, 1000))}).columns["x"]
    for wrong in (1000, -1001):
        with pytest.raises(IndexError):
            column.take(np.array([*range(200), wrong]))
    assert column.take(np.array([*range(200), -1])).shape == (201, 1000)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_large_batches_of_a_part_of_a_dataset_have_their_own_rows(prefetch: int) -> None:
    data = np.random.default_rng(0).random((3000, 400))
    dataset = Dataset(data={"x": data})
    dataset.split([0.5, 0.5], shuffle=3)
    for batch in dataset.test.p.gen_batch(100, shuffle=1, n_epochs=2, prefetch=prefetch):
        assert np.array_equal(batch.x, data[batch.indices])


def test_large_arrays_are_gathered_one_behind_the_other() -> None:
    data = np.random.default_rng(0).random((1000, 400))
    column = Dataset(data={"x": data}).columns["x"]
    positions = np.random.default_rng(1).permutation(1000)
    gather = column.taking(positions, 300)
    for at in (2, 0, 1):
        assert np.array_equal(gather(at), data[positions[300 * at :][:300]])
    assert column.taking(np.array([*range(299), 1000]), 300) is None  # `take` says what is wrong
    assert column.taking(np.array([*range(299), -1]), 300) is None
    assert column.taking(positions, 3) is None


def test_threads_may_take_and_give_back_at_once() -> None:
    recycler, wrong = Recycler(), []

    def work(value: int) -> None:
        held = []
        for step in range(400):
            array = recycler.empty((64,), FLOAT)
            array[:] = value * 1000 + step
            held.append((array, value * 1000 + step))
            if len(held) > step % 5:
                each, expected = held.pop(0)
                if not (each == expected).all():
                    wrong.append((value, step))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(value,)) for value in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong and not recycler.leases
