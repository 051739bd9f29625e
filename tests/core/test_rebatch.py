"""rebatch: batches of another size, exact in number and order, within each epoch."""

from __future__ import annotations

import functools
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchloom import B, Batch, Dataset, action
from batchloom.errors import DataError, DefinitionError
from batchloom.models import BaseModel

N = 60
PAIRS = [(1, 10), (10, 1), (20, 30), (30, 20), (13, 17), (17, 13), (1, 60), (60, 1), (60, 60)]
PAIRS += [(7, 100), (100, 7), (59, 2), (4, 4), (16, 8)]


class Noted(Batch):
    @action
    def note(self, what: str) -> Noted:
        self.pipeline.variables[what].append((self.epoch, self.number, self.indices.tolist()))
        return self


class Grows(BaseModel):
    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.sizes: list[int] = []

    def _train(self, x: np.ndarray) -> int:
        self.sizes.append(len(x))
        return len(self.sizes)


def chunks(order: list[int], size: int) -> list[list[int]]:
    return [order[at : at + size] for at in range(0, len(order), size)]


@pytest.mark.parametrize(("size", "other"), PAIRS)
@pytest.mark.parametrize("prefetch", [0, 1, 8])
@pytest.mark.parametrize("shuffle", [False, 5])
def test_batches_before_and_after_are_exact(
    size: int, other: int, prefetch: int, shuffle: int
) -> None:
    data = Dataset(batch_class=Noted, data={"x": np.arange(float(N))})
    logs = data.p.init_variable("before", init_on_each_run=list)
    logs = logs.init_variable("after", init_on_each_run=list)
    pipeline = logs.note("before").rebatch(other).note("after")
    given = list(pipeline.gen_batch(size, n_epochs=2, prefetch=prefetch, shuffle=shuffle))
    order = [each.indices.tolist() for each in data.gen_batch(N, n_epochs=2, shuffle=shuffle)]
    for what, each in (("before", size), ("after", other)):
        expected = [(epoch, ids) for epoch in (0, 1) for ids in chunks(order[epoch], each)]
        assert len(expected) == 2 * ceil(N / each)
        assert pipeline.get_variable(what) == [
            (epoch, number, ids) for number, (epoch, ids) in enumerate(expected)
        ]
    for each in given:
        assert each.x.tolist() == each.indices.tolist()


@given(
    st.integers(0, 40),
    st.integers(1, 45),
    st.lists(st.integers(1, 45), min_size=1, max_size=3),
    st.sampled_from([0, 3]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_several_changes_of_size_lose_nothing(
    n: int, size: int, others: list[int], prefetch: int, drop_last: bool
) -> None:
    pipeline = Dataset(data={"x": np.arange(n)}).p
    for each in others:
        pipeline = pipeline.apply(np.negative, "x").rebatch(each)
    left = n - n % size if drop_last and n >= size else (0 if drop_last else n)
    options: dict[str, Any] = {"n_epochs": 2, "prefetch": prefetch, "drop_last": drop_last}
    if drop_last and 0 < n < size:
        with pytest.warns(UserWarning, match="leaves no batch"):
            batches = list(pipeline.gen_batch(size, **options))
    else:
        batches = list(pipeline.gen_batch(size, **options))
    sign = (-1) ** len(others)
    expected = chunks([sign * i for i in range(left)], others[-1]) * 2
    assert [each.x.tolist() for each in batches] == expected
    assert [each.number for each in batches] == list(range(len(expected)))


def test_variables_models_config_and_new_components_are_kept() -> None:
    pipeline = (
        Dataset(batch_class=Noted, data={"x": np.arange(10)})
        .pipeline({"lr": 1})
        .init_variable("sizes", init_on_each_run=list)
        .init_model("static", Grows, "m")
        .train_model("m", x="x")
        .apply(lambda x: x * 10, "x", "ten")
        .rebatch(5)
        .train_model("m", x="ten", append_to="sizes")
    )
    batches = list(pipeline.gen_batch(4))
    assert [each.ten.tolist() for each in batches] == [list(range(k, k + 50, 10)) for k in (0, 50)]
    assert pipeline.get_model_by_name("m").sizes == [4, 4, 5, 2, 5]
    assert pipeline.get_variable("sizes") == [3, 5]
    assert dict(batches[0].pipeline.config) == {"lr": 1}


def test_ids_are_kept() -> None:
    ids = list("abcdefg")
    pipeline = Dataset(index=ids, data={"x": range(7)}).p.rebatch(3)
    assert [each.indices.tolist() for each in pipeline.gen_batch(2)] == chunks(ids, 3)


def test_rebatched_batches_draw_random_numbers_of_their_own() -> None:
    pipeline = Dataset(data={"x": np.arange(12)}).p.rebatch(3)
    draws = [each.random.random() for each in pipeline.gen_batch(2, seed=1)]
    assert len(set(draws)) == 4
    assert draws == [each.random.random() for each in pipeline.gen_batch(2, seed=1, prefetch=4)]
    before = [each.random.random() for each in pipeline.dataset.gen_batch(3, seed=1)]
    assert not set(draws) & set(before)


def test_a_batch_changed_in_place_after_rebatching_reaches_no_other() -> None:
    pipeline = Dataset(data={"x": np.zeros(9)}).p.apply(lambda x: x).rebatch(2)
    batches = list(pipeline.gen_batch(3))
    for number, each in enumerate(batches):
        each.x += number + 1
    assert [each.x.tolist() for each in batches] == [[1, 1], [2, 2], [3, 3], [4, 4], [5]]


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8", None])
def test_only_sizes_are_sizes(size: object) -> None:
    with pytest.raises(DefinitionError, match=f"batch_size={size!r}"):
        Dataset(3).p.rebatch(size)


def test_rebatch_cannot_be_left_to_chance() -> None:
    with pytest.raises(DefinitionError, match="chance"):
        Dataset(3).p.rebatch(2) @ 0.5
    with pytest.raises(DefinitionError, match="chance"):
        (Dataset(3).p.rebatch(2) * 2) @ 0.5
    assert [each.size for each in (Dataset(5).p.rebatch(2) * 2).gen_batch(5)] == [2, 2, 1]


def test_predictions_made_before_are_rebatched_with_the_items() -> None:
    class Double(Grows):
        def _predict(self, x: np.ndarray) -> np.ndarray:
            return x * 2

    pipeline = (
        Dataset(data={"x": np.arange(10)})
        .p.init_model("static", Double, "m")
        .predict_model("m", x="x", save_to=B.twice)
        .rebatch(4)
    )
    assert [each.twice.tolist() for each in pipeline.gen_batch(3)] == [
        [0, 2, 4, 6],
        [8, 10, 12, 14],
        [16, 18],
    ]


def test_batches_that_cannot_be_put_together_are_named_with_the_step() -> None:
    class Uneven(Batch):
        @action
        def add(self) -> Uneven:
            if self.number == 1:
                self.add_component("z", self.x)
            return self

    uneven = Dataset(batch_class=Uneven, data={"x": np.arange(6)}).p.add().rebatch(4)
    with pytest.raises(DataError, match="x and x, z") as caught:
        uneven.run(2)
    assert "in step rebatch(4), which puts batches 0 to 1 of epoch 0" in caught.value.__notes__[0]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_what_was_worked_out_of_items_is_worked_out_anew_of_others(prefetch: int) -> None:
    class Summed(Batch):
        @functools.cached_property
        def total(self) -> int:
            return int(self.x.sum())

        @action
        def look(self) -> Summed:
            assert self.total == self.x.sum() == self.total
            return self

        @action
        def halve(self) -> Summed:
            return self.take(self.x % 2 == 0)

    summed = Dataset(batch_class=Summed, data={"x": np.arange(12)}).p.look().halve().look()
    summed.rebatch(4).look().run(3, prefetch=prefetch)
