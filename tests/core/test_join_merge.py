"""join hands batches of the same ids to the next action; merge adds the items of other pipelines' batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.errors import DefinitionError, TemplateError
from batchloom.models import BaseModel


class Images(Batch):
    @action
    def add_masks(self, masks: Batch, by: float = 1) -> Images:
        self._partners_ids = masks.indices.tolist()
        self.x = self.x + by * masks.m
        return self

    @action
    def subtract(self, first: Batch, second: Batch) -> Images:
        self.x = first.m - second.m
        return self

    @action
    def scale(self, by: float) -> Images:
        self.x = self.x * by
        return self

    @action
    def jitter(self) -> Images:
        self.x = self.x + self.random.random(self.size)
        return self


class Masks(Batch):
    @action
    def negate(self) -> Masks:
        self.m = -self.m
        return self


IDS = np.array([f"id {i}" for i in range(20)])


def images() -> Dataset:
    return Dataset(index=IDS, batch_class=Images, data={"x": np.arange(20.0)})


def masks(seed: int = 1) -> Dataset:
    """Masks of the same ids in another order: mask i is 100 * i."""
    order = np.random.default_rng(seed).permutation(20)
    return Dataset(index=IDS[order], batch_class=Masks, data={"m": order * 100.0})


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("shuffle", [False, 2])
def test_join_aligns_by_id(prefetch: int, shuffle: int) -> None:
    pipeline = images().p.join(masks().p).add_masks()
    batches = list(pipeline.gen_batch(3, shuffle=shuffle, prefetch=prefetch, n_epochs=2))
    for each in batches:
        numbers = np.array([int(name.split()[1]) for name in each.indices])
        assert each._partners_ids == each.indices.tolist()
        assert each.x.tolist() == (numbers * 101.0).tolist()
    assert len(batches) == 14


def test_join_does_the_steps_of_the_other_pipeline_first_and_passes_arguments_after() -> None:
    pipeline = images().p.join(masks().p.negate()).add_masks(by=2)
    assert next(pipeline.gen_batch(2)).x.tolist() == [0.0, -199.0]


def test_several_pipelines_come_in_order() -> None:
    pipeline = images().p.join(masks().p, masks(2).p.negate()).subtract()
    assert next(pipeline.gen_batch(3)).x.tolist() == [0.0, 200.0, 400.0]


def test_a_join_can_be_run_again_and_repeated() -> None:
    pipeline = images().p.join(masks().p).add_masks()
    for _ in range(3):
        assert next(pipeline.gen_batch(2)).x.tolist() == [0.0, 101.0]
    assert next((pipeline * 2).gen_batch(2)).x.tolist() == [0.0, 201.0]


def test_join_refuses_ids_that_the_other_one_lacks() -> None:
    few = masks().subset(slice(0, 10))
    with pytest.raises(IndexError, match="not in this index") as caught:
        images().p.join(few.p).add_masks().run(5)
    assert any("join(" in note for note in caught.value.__notes__)


def numbers(n: int, start: int = 0) -> Dataset:
    return Dataset(batch_class=Images, data={"x": np.arange(start, start + n, dtype=float)})


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("shuffle", [False, 3])
@pytest.mark.parametrize("partners", [1, 2])
def test_merge_multiplies_the_batch(prefetch: int, shuffle: int, partners: int) -> None:
    others = [numbers(20, 100 * (k + 1)).p.scale(-1) for k in range(partners)]
    pipeline = numbers(20).p.merge(*others)
    batches = list(pipeline.gen_batch(6, shuffle=shuffle, prefetch=prefetch))
    assert [each.size for each in batches] == [size * (1 + partners) for size in (6, 6, 6, 2)]
    everything = np.concatenate([each.x for each in batches])
    expected = [
        *range(20),
        *(-v for k in range(partners) for v in range(100 * k + 100, 100 * k + 120)),
    ]
    assert sorted(everything) == sorted(expected)
    if not shuffle:
        assert batches[1].x.tolist()[:8] == [6, 7, 8, 9, 10, 11, -106, -107]


def test_merge_is_reproducible_and_in_the_same_order_however_it_is_prepared() -> None:
    pipeline = numbers(30).p.merge(numbers(17, 100).p.jitter()).jitter()

    def run(**options: Any) -> list[list[float]]:
        return [each.x.tolist() for each in pipeline.gen_batch(4, seed=5, n_epochs=2, **options)]

    assert run(shuffle=True) == run(shuffle=True, prefetch=1) == run(shuffle=True, prefetch=8)


def test_a_partner_that_is_used_up_begins_again() -> None:
    pipeline = numbers(10).p.merge(numbers(4, 100).p)
    merged = [each.x.tolist()[each.size // 2 :] for each in pipeline.gen_batch(2)]
    assert merged == [[100, 101], [102, 103]] * 2 + [[100, 101]]
    shuffled = numbers(40).p.merge(numbers(4, 100).p)
    batches = [each.x[2:] for each in shuffled.gen_batch(2, shuffle=1)]
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert sorted([*first, *second]) == [100, 101, 102, 103]
    assert len({tuple(each) for each in batches}) > 2  # each round has an order of its own


def test_a_pipeline_merges_with_itself() -> None:
    base = numbers(4).p
    batches = list(base.merge(base).gen_batch(2))
    assert [each.x.tolist() for each in batches] == [[0, 1, 0, 1], [2, 3, 2, 3]]
    assert [each.indices.tolist() for each in batches] == [[0, 1, 0, 1], [2, 3, 2, 3]]


def test_merge_after_rebatch_has_batches_of_that_size() -> None:
    pipeline = numbers(6).p.rebatch(3).merge(numbers(6, 100).p)
    assert [each.x.tolist() for each in pipeline.gen_batch(2)] == [
        [0, 1, 2, 100, 101, 102],
        [3, 4, 5, 103, 104, 105],
    ]
    assert [each.size for each in pipeline.rebatch(4).gen_batch(2)] == [4, 4, 4]


def test_what_a_partner_gives_does_not_depend_on_runs_of_its_own() -> None:
    def merged(partner: Pipeline) -> list[list[float]]:
        outer = numbers(6).p.merge(partner)
        return [each.x.tolist() for each in outer.gen_batch(2, shuffle=True, seed=9)]

    fresh = numbers(6, 100).p.merge(numbers(6, 200).p)
    used = numbers(6, 100).p.merge(numbers(6, 200).p)
    used.run(5, shuffle=False, seed=1)
    assert merged(fresh) == merged(used)
    assert [len(each) for each in merged(fresh)] == [6, 6, 6]


class Shift(BaseModel):
    data_args = ("x",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.by = self.config.get("by", 1000.0)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x) + self.by


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_partner_may_have_models_and_variables_of_its_own(prefetch: int) -> None:
    partner = (
        numbers(10)
        .p.init_variable("batches", init_on_each_run=0)
        .init_model("dynamic", Shift, "shift")
        .inc_variable("batches")
        .predict_model("shift", x="x", save_to="x")
    )
    pipeline = numbers(10).p.merge(partner).init_variable("batches", 7)
    for _ in range(2):
        values = [each.x.tolist() for each in pipeline.gen_batch(5, prefetch=prefetch)]
        assert values == [[*range(k, k + 5), *range(k + 1000, k + 1005)] for k in (0, 5)]
    assert partner.get_variable("batches") == 2
    assert pipeline.get_variable("batches") == 7
    assert "shift" not in pipeline.models


@pytest.mark.parametrize("verb", ["join", "merge"])
def test_what_cannot_be_a_partner_is_refused_when_it_is_written(verb: str) -> None:
    build = getattr(numbers(4).p, verb)
    with pytest.raises(DefinitionError, match="one or more"):
        build()
    for wrong in (numbers(4), None, "pipeline"):
        with pytest.raises(DefinitionError, match="takes pipelines"):
            build(wrong)
    with pytest.raises(TemplateError, match="template << dataset"):
        build(Pipeline().scale(2))
    with pytest.raises(DefinitionError, match=r"rebatch\(2\)"):
        build(numbers(4).p.rebatch(2))
    trained = numbers(4).p.init_model("static", Shift, "m").train_model("m", x="x")
    with pytest.raises(DefinitionError, match="train_model"):
        build(trained)


def test_merge_refuses_other_components() -> None:
    with pytest.raises(ValueError, match="different components"):
        numbers(4).p.merge(masks().p).run(2)
