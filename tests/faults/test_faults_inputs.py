"""Unusual inputs: nothing, too little, odd layouts of memory, a batch that a model refuses."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from batchloom import Batch, Dataset, F, action
from batchloom.errors import BatchloomError, DefinitionError, ModelNotBuiltError
from batchloom.models import BaseModel

X = np.arange(48.0).reshape(12, 4)


class Pairs(BaseModel):
    """Learns from two items at least, as a batch normalisation does."""

    data_args = ("x",)

    def _build(self, *args, **kwargs):
        self.total = np.zeros(4)

    def _train(self, x):
        if len(x) < 2:
            raise ValueError("two items are needed")
        self.total = self.total + x.std(axis=0)

    def _predict(self, x):
        return x @ self.total


class Doubling(Batch):
    components = ("x",)

    @action
    def double(self):
        self.x *= 2
        return self


def training(x: np.ndarray, mode: str = "dynamic"):
    return Dataset(data={"x": x}).p.init_model(mode, Pairs, "m").train_model("m", x="x")


def test_of_an_empty_dataset_nothing_is_made(tmp_path: Path) -> None:
    run = (
        Dataset(data={"x": X[:0]})
        .p.init_variable("seen", init_on_each_run=list)
        .init_model("dynamic", Pairs, "m")
        .train_model("m", x="x")
        .run(8, n_epochs=3, prefetch=2)
    )
    assert run.get_variable("seen") == []
    with pytest.raises(ModelNotBuiltError):
        run.save_model("m", tmp_path / "model")
    with pytest.raises(StopIteration):
        run.next_batch(8)


def test_a_last_batch_too_small_for_its_model_is_the_models_error_with_its_number() -> None:
    with pytest.raises(ValueError, match="two items") as caught:
        training(X[:9]).run(4)
    assert any("batch 2" in note for note in caught.value.__notes__)


def test_a_refused_batch_leaves_the_model_as_the_one_before_left_it() -> None:
    run = training(X[:9])
    with pytest.raises(ValueError, match="two items"):
        run.run(4)
    assert (run.models["m"].total == training(X[:8]).run(4).models["m"].total).all()


@pytest.mark.parametrize(
    "laid_out",
    [
        lambda x, _: np.asfortranarray(x),
        lambda x, _: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x, _: x[::-1][::-1],
        lambda x, _: x.astype(">f8"),
        lambda x, _: (x.setflags(write=False), x)[1],
        lambda x, folder: _mapped(x, folder),
    ],
    ids=["fortran", "strided", "reversed", "big-endian", "read-only", "memory map"],
)
def test_a_layout_of_memory_changes_nothing(laid_out: Callable, tmp_path: Path) -> None:
    def doubled(x):
        dataset = Dataset(data={"x": x}, batch_class=Doubling)
        return [each.x for each in dataset.p.double().gen_batch(5, shuffle=3)]

    given = laid_out(X.copy(), tmp_path)
    for one, other in zip(doubled(given), doubled(X), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(given, X)


def _mapped(x: np.ndarray, folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


def test_an_in_place_action_on_views_that_cannot_be_written_says_so() -> None:
    dataset = Dataset(data={"x": X}, batch_class=Doubling, copy=False)
    with pytest.raises(ValueError, match="read-only") as caught:
        dataset.p.double().run(5)
    assert any("double" in note for note in caught.value.__notes__)


def test_no_column_and_no_dimension() -> None:
    assert next(Dataset(data={"x": X[:, :0]}).p.gen_batch(5)).x.shape == (5, 0)
    with pytest.raises(BatchloomError):
        Dataset(data={"x": np.float64(1)})


WORDS = np.array(["a", "a much longer word", "", "ÿ", "日本"] * 8)


@pytest.mark.parametrize(
    "column",
    [WORDS, WORDS.astype(object), [*WORDS], np.array([None, 1, "b", 2.5, (1,)] * 8, dtype=object)],
    ids=["fixed width", "objects", "list", "mixed"],
)
def test_texts_and_objects_stay_as_they_are_wherever_they_go(column, tmp_path: Path) -> None:
    """In threads, in processes and in checkpoints: none is cut to the length of another."""

    def run(**options):
        made = Dataset(data={"x": column}).p.init_variable("seen", init_on_each_run=list)
        made = made.rebatch(3) if options.pop("rebatch", False) else made
        made = made.update_variable("seen", F(lambda batch: batch.x.tolist()), mode="extend")
        return made, {"batch_size": 2, "shuffle": 1, "seed": 2, **options}

    def seen(**options):
        made, options = run(**options)
        return made.run(**options).get_variable("seen")

    expected = [list(column)[at] for at in seen_ids(len(column))]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        for options in ({}, {"prefetch": 3}, {"rebatch": True}, {"executor": processes}):
            assert seen(**options) == expected
    made, options = run()
    for batch in made.gen_batch(**options, checkpoint=tmp_path, checkpoint_every=1):
        if batch.number == 7:
            break
    assert run()[0].resume(tmp_path).get_variable("seen") == expected


def seen_ids(n: int) -> list[int]:
    made = Dataset(n).p.gen_batch(n, shuffle=1, seed=2)
    return next(made).indices.tolist()


def test_an_array_larger_than_memory_should_be_is_read_where_it_lies(tmp_path: Path) -> None:
    """Three gigabytes that take no room on the disk: only the rows of a batch are read."""
    rows, width = 3 * 2**30 // 8 // 1000, 1000
    mapped = np.memmap(tmp_path / "x", dtype="f8", mode="w+", shape=(rows, width))
    mapped[-1], mapped[7] = 1.0, 2.0
    with resource_of_memory() as grown:
        dataset = Dataset(data={"x": mapped})
        batches = [next(dataset.p.gen_batch(100, shuffle=each)).x for each in range(3)]
        last = dataset.batch_at(np.array([rows - 1, 7, 0])).x
    assert [each.shape for each in batches] == [(100, width)] * 3
    assert last[:, 0].tolist() == [1.0, 2.0, 0.0]
    assert grown() < 200 * 2**20


@contextmanager
def resource_of_memory():
    """How many bytes this process has come to hold besides what it maps."""

    def held() -> int:
        with open("/proc/self/statm") as file:
            total, shared = file.read().split()[1:3]
        return (int(total) - int(shared)) * os.sysconf("SC_PAGE_SIZE")

    before = held()
    yield lambda: held() - before


def test_two_models_of_one_name_are_refused() -> None:
    made = Dataset(data={"x": X}).p.init_model("dynamic", Pairs, "m")
    with pytest.raises(DefinitionError, match="'m'"):
        made.init_model("dynamic", Pairs, "m")
    with pytest.raises(DefinitionError, match="'m'"):
        made.import_model("m", Dataset(data={"x": X}).p.init_model("dynamic", Pairs, "m"))


@pytest.mark.parametrize(("mode", "is_shared"), [("static", True), ("dynamic", False)])
def test_children_of_one_template(mode: str, is_shared: bool) -> None:
    template = Dataset(data={"x": X}).p.init_variable("n", 0).init_model(mode, Pairs, "m")
    template = template.train_model("m", x="x").inc_variable("n")
    one = (template << Dataset(data={"x": X})).run(4)
    other = (template << Dataset(data={"x": X[:4]})).run(4)
    assert (one.models["m"] is other.models["m"]) == is_shared
    assert (one.get_variable("n"), other.get_variable("n")) == (3, 1)


def test_a_copied_pipeline_goes_its_own_way() -> None:
    run = training(X).run(4)
    other = copy.deepcopy(run)
    other.run(4)
    assert (run.models["m"].total * 2 == other.models["m"].total).all()
