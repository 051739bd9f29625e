"""Unusual inputs: nothing, too little, odd layouts of memory, a batch that a model refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batchloom import Batch, Dataset, action
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


def test_two_models_of_one_name_are_refused() -> None:
    made = Dataset(data={"x": X}).p.init_model("dynamic", Pairs, "m")
    with pytest.raises(DefinitionError, match="'m'"):
        made.init_model("dynamic", Pairs, "m")


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
