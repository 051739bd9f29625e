"""Batches and epochs: none crosses an epoch's end, each item comes once an epoch, only the last is short."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchloom import Batch, Dataset, action
from batchloom.errors import DataError, DefinitionError
from batchloom.models import BaseModel


def backwards(order: np.ndarray) -> np.ndarray:
    return order[::-1]


SHUFFLES: dict[str, Callable[[], object]] = {
    "no": lambda: False,
    "numpy no": lambda: np.False_,
    "yes": lambda: True,
    "seed": lambda: 0,
    "Generator": lambda: np.random.default_rng(1),
    "RandomState": lambda: np.random.RandomState(1),
    "function": lambda: backwards,
}


def dataset(n: int = 10) -> Dataset:
    return Dataset(data={"x": np.arange(n)})


def ids(pipeline: object, size: int, **options: object) -> list[list[int]]:
    return [each.indices.tolist() for each in pipeline.gen_batch(size, **options)]


@given(
    n=st.integers(0, 50),
    size=st.integers(1, 60),
    n_epochs=st.integers(0, 3),
    shuffle=st.sampled_from(sorted(SHUFFLES)),
    drop_last=st.booleans(),
    prefetch=st.sampled_from([0, 0, 3]),
)
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore:drop_last=True leaves no batch")
def test_epochs_are_respected(
    n: int, size: int, n_epochs: int, shuffle: str, drop_last: bool, prefetch: int
) -> None:
    batches = list(
        dataset(n).p.gen_batch(
            size,
            n_epochs=n_epochs,
            shuffle=SHUFFLES[shuffle](),
            drop_last=drop_last,
            prefetch=prefetch,
        )
    )
    full, rest = divmod(n, size)
    sizes = [size] * full + ([rest] if rest and not drop_last else [])
    assert [each.size for each in batches] == sizes * n_epochs
    assert [each.number for each in batches] == list(range(len(batches)))
    epochs = itertools.groupby(batches, key=lambda batch: batch.epoch)
    for expected, (epoch, of_epoch) in enumerate(epochs):
        assert epoch == expected
        items = np.concatenate([each.x for each in of_epoch])
        assert len(set(items.tolist())) == len(items) == sum(sizes)
        if not drop_last:
            assert sorted(items) == list(range(n))


def test_the_third_of_ten_batches_holds_the_third_ten_items() -> None:
    assert ids(dataset(100), 10)[2] == list(range(20, 30))


def test_the_order_follows_from_the_seed_and_the_epoch() -> None:
    def order(**options: object) -> list[list[int]]:
        return ids(dataset(50), 50, n_epochs=2, **options)

    first, second = order(shuffle=3)
    assert first != second
    assert [first, second] == order(shuffle=3) == order(shuffle=3, prefetch=4)
    assert [first, second] == order(shuffle=3, seed=99)  # the order's own seed wins for the order
    assert order(shuffle=True, seed=5) == order(shuffle=True, seed=5)
    assert order(shuffle=True) != order(shuffle=True)
    assert order(shuffle=np.random.default_rng(1)) == order(shuffle=np.random.default_rng(1))
    assert order(shuffle=0) != order(shuffle=False)
    generator = np.random.default_rng(1)
    assert order(shuffle=generator) != order(shuffle=generator)


def test_the_seed_of_a_run_that_named_none_can_be_read_and_used_again() -> None:
    pipeline = dataset(50).p
    first = ids(pipeline, 50, shuffle=True)
    assert ids(dataset(50).p, 50, shuffle=True, seed=pipeline.seed) == first


def test_a_shuffle_function_is_called_once_an_epoch_in_turn() -> None:
    calls: list[int] = []

    def rotate(order: np.ndarray) -> np.ndarray:
        calls.append(len(order))
        return np.roll(order, len(calls))

    stream = dataset(4).p.gen_batch(2, n_epochs=3, shuffle=rotate, prefetch=4)
    assert next(stream).indices.tolist() == [3, 0]
    assert len(calls) == 1
    assert [each.indices.tolist() for each in stream][1:3] == [[2, 3], [0, 1]]
    assert calls == [4, 4, 4]


@pytest.mark.parametrize(
    "wrong",
    [lambda order: order[:-1], lambda order: order * 0, lambda order: None, lambda order: "abcd"],
)
def test_a_shuffle_function_must_reorder(wrong: Callable) -> None:
    with pytest.raises(DataError, match="permutation"):
        dataset(4).p.run(2, shuffle=wrong)


@pytest.mark.parametrize("shuffle", [None, "yes", 1.5, -1, [1, 0]])
def test_what_is_no_shuffle_is_refused(shuffle: object) -> None:
    with pytest.raises(DefinitionError, match=r"shuffle=|seed="):
        dataset().p.run(2, shuffle=shuffle)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_batch_size_over_the_length_gives_one_short_batch(prefetch: int) -> None:
    assert ids(dataset(3), 100, prefetch=prefetch, n_epochs=2) == [[0, 1, 2]] * 2
    with pytest.warns(UserWarning, match="batch_size=100 is more than the 3 items"):
        assert ids(dataset(3), 100, prefetch=prefetch, drop_last=True) == []


def test_no_epoch_does_nothing() -> None:
    class Fails(Batch):
        @action
        def fail(self) -> Fails:
            raise AssertionError("an action ran")

    pipeline = Dataset(3, Fails).p.init_variable("v", init_on_each_run=list).fail()
    assert pipeline.run(2, n_epochs=0).get_variable("v") == []


@pytest.mark.parametrize("prefetch", [0, 3])
def test_without_end(prefetch: int) -> None:
    stream = dataset(5).p.gen_batch(2, n_epochs=None, prefetch=prefetch)
    batches = list(itertools.islice(stream, 100))
    stream.close()
    assert [each.size for each in batches[:6]] == [2, 2, 1, 2, 2, 1]
    assert batches[-1].epoch == 33
    with pytest.raises(DefinitionError, match="gen_batch or next_batch"):
        dataset().p.run(2, n_epochs=None)


# next_batch


@pytest.mark.parametrize("prefetch", [0, 3])
def test_next_batch_goes_on_and_begins_again_after_the_end(prefetch: int) -> None:
    pipeline = dataset(5).p
    options = {"n_epochs": 2, "prefetch": prefetch}
    for _ in range(2):
        batches = [pipeline.next_batch(2, **options) for _ in range(6)]
        assert [each.size for each in batches] == [2, 2, 1] * 2
        assert [each.number for each in batches] == list(range(6))
        assert [each.epoch for each in batches] == [0, 0, 0, 1, 1, 1]
        with pytest.raises(StopIteration):
            pipeline.next_batch(2, **options)


def test_next_batch_without_options_goes_on_with_those_it_has() -> None:
    pipeline = dataset(5).p
    pipeline.next_batch(2, shuffle=1)
    assert pipeline.next_batch().size == 2
    with pytest.raises(DefinitionError, match=r"batch_size=2, shuffle=1.*batch_size=3.*reset\(\)"):
        pipeline.next_batch(3, shuffle=1)
    assert pipeline.next_batch(2, shuffle=1).size == 1
    with pytest.raises(DefinitionError, match="needs a batch_size"):
        dataset().p.next_batch()


def test_reset_goes_back_to_the_beginning() -> None:
    pipeline = dataset(5).p
    pipeline.next_batch(2, prefetch=2)
    assert pipeline.reset() is pipeline
    assert pipeline.next_batch(3).indices.tolist() == [0, 1, 2]
    pipeline.reset("iteration").reset("all").reset()
    assert pipeline.next_batch(1).indices.tolist() == [0]


def test_a_failed_next_batch_can_be_called_again() -> None:
    class Fails(Batch):
        @action
        def fail(self) -> Fails:
            raise OSError("once")

    pipeline = Dataset(3, Fails).p.fail()
    for _ in range(2):
        with pytest.raises(OSError, match="once"):
            pipeline.next_batch(2, prefetch=1)


def test_threads_that_ask_for_the_next_batch_at_the_same_time_repeat_and_lose_none() -> None:
    asked, answered = threading.Event(), threading.Event()

    class Waits(Batch):
        @action
        def wait(self) -> Waits:
            asked.set()
            assert answered.wait(10)
            return self

    pipeline = Dataset(batch_class=Waits, data={"x": np.arange(6)}).p.wait()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(pipeline.next_batch, 2)
        assert asked.wait(10)
        with pytest.raises(DefinitionError, match="at work already"):
            pipeline.next_batch(2)
        answered.set()
        assert first.result().number == 0
    assert [pipeline.next_batch(2).number for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("of", [lambda dataset: dataset.p, lambda dataset: dataset])
def test_threads_that_begin_at_the_same_time_begin_once(of: Callable[[Dataset], Any]) -> None:
    together = threading.Barrier(4)

    def number(shared: Any) -> int:
        together.wait(10)
        while True:
            try:
                return int(shared.next_batch(1).number)
            except DefinitionError:
                time.sleep(0)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            shared = of(Dataset(data={"x": np.arange(4)}))
            assert sorted(pool.map(number, [shared] * 4)) == [0, 1, 2, 3]


def test_two_iterations_do_not_disturb_each_other() -> None:
    pipeline = dataset(6).p
    first, second = pipeline.gen_batch(2), pipeline.gen_batch(3, prefetch=2)
    assert next(first).indices.tolist() == [0, 1]
    assert next(second).indices.tolist() == [0, 1, 2]
    assert next(first).indices.tolist() == [2, 3]
    assert [each.indices.tolist() for each in second] == [[3, 4, 5]]
    assert [each.indices.tolist() for each in first] == [[4, 5]]


def test_arguments_are_checked_when_gen_batch_is_called_not_when_it_is_read() -> None:
    with pytest.raises(DefinitionError, match="batch_size=0"):
        dataset().p.gen_batch(0)


def test_drop_last_drops_in_each_epoch() -> None:
    assert ids(dataset(5), 2, n_epochs=2, drop_last=True) == [[0, 1], [2, 3]] * 2


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_batch_sees_the_run_that_it_belongs_to(prefetch: int) -> None:
    """Also while another run of the same pipeline has begun since."""

    class Looking(Batch):
        @action
        def look(self) -> Batch:
            pipeline = self.pipeline
            assert pipeline is not None
            self.add_component("seen", np.full(self.size, pipeline.seed))
            self.add_component("size_of_run", np.full(self.size, pipeline.batch_size))
            return self

    looking = Dataset(batch_class=Looking, data={"x": np.arange(40)}).p.look()
    first = looking.gen_batch(2, seed=7, prefetch=prefetch)
    next(first)
    second = looking.gen_batch(5, seed=8, prefetch=prefetch)
    next(second)
    for batch in first:
        assert (set(batch.seen), set(batch.size_of_run)) == ({7}, {2})
    for batch in second:
        assert (set(batch.seen), set(batch.size_of_run)) == ({8}, {5})


@pytest.mark.parametrize("prefetch", [0, 2])
def test_no_batch_is_held_while_models_learn_at_the_end_of_an_epoch(prefetch: int) -> None:
    """They may need the memory; only who iterates gets the last batch after that."""
    batches: weakref.WeakSet[Batch] = weakref.WeakSet()
    held: list[int] = []

    class Learns(BaseModel):
        def _build(self, **kwargs: object) -> None: ...

        def _train(self, x: object, batch: Batch | None = None) -> None:
            assert batch is not None
            batches.add(batch)

        def _predict(self, x: object) -> None: ...

        def _end_epoch(self, epoch: int, last: bool) -> None:
            held.append(len(batches))

    pipeline = dataset().p.init_model("dynamic", Learns, "m").train_model("m", x="x")
    gc.collect()
    gc.disable()
    try:
        pipeline.run(3, n_epochs=2, prefetch=prefetch)
    finally:
        gc.enable()
    assert held == [0, 0]
