"""run(debug=True) finds the steps that draw from generators which belong to the whole process."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, F, Pipeline, action
from batchloom.models import BaseModel


class Draws(Batch):
    @action
    def own(self) -> Draws:
        self.x = self.x + self.random.normal(size=self.size)
        return self

    @action
    def numpys(self) -> Draws:
        self.x = self.x + np.random.normal(size=self.size)
        return self

    @action
    def pythons(self) -> Draws:
        self.x = self.x + random.random()
        return self

    @action
    def seeds(self) -> Draws:
        np.random.seed(self.number)
        self.x = self.x + np.random.rand(self.size)
        return self

    @action
    def put_back(self) -> Draws:
        before = np.random.get_state()
        np.random.seed(self.number)
        self.x = self.x + np.random.rand(self.size)
        np.random.set_state(before)
        return self

    @action
    def add(self, other: Batch) -> Draws:
        self.x = self.x + other.x
        return self

    @action
    def fail(self) -> Draws:
        random.random()
        raise ValueError("after a draw")


class Careless(BaseModel):
    data_args = ("x",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.w = 0.0

    def _train(self, x: Any) -> None:
        self.w += np.random.rand() * x.sum()


@pytest.fixture(autouse=True)
def generators_as_they_were() -> Iterator[None]:
    states = np.random.get_state(), random.getstate()
    yield
    np.random.set_state(states[0])
    random.setstate(states[1])


def over() -> Pipeline:
    return Dataset(batch_class=Draws, data={"x": np.arange(40.0)}).p


def said(made: Pipeline, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.run(4, **{"debug": True, **options})
    assert all(each.category is RuntimeWarning for each in caught)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("ahead", [0, 4])
@pytest.mark.parametrize(
    ("verb", "generator"),
    [("numpys", "np.random"), ("pythons", "(random)"), ("seeds", "np.random")],
)
def test_an_action_that_draws_from_a_global_generator_is_named_once(
    verb: str, generator: str, ahead: int
) -> None:
    made = getattr(over().own(), verb)().own()
    [warning] = said(made, prefetch=ahead)
    assert warning.startswith(f"step {verb}() changed ") and generator in warning
    assert "in batch 0" in warning and "batch.random" in warning
    assert len(said(made)) == 1  # and in the next run again


@pytest.mark.parametrize("verb", ["own", "put_back"])
def test_who_leaves_them_as_they_are_is_not_named(verb: str) -> None:
    assert said(getattr(over(), verb)()) == []


def test_steps_inside_of_others_are_named_themselves() -> None:
    chance = over().own() + (Pipeline().own().numpys() @ 1.0)
    assert [each.split(" changed")[0] for each in said(chance)] == ["step numpys()"]
    assert [each.split(" changed")[0] for each in said(over().numpys() * 3)] == ["step numpys()"]
    joined = over().join(over().pythons()).add()
    assert [each.split(" changed")[0] for each in said(joined)] == ["step pythons()"]


def test_functions_and_models_are_watched_too() -> None:
    drawn = over().apply(lambda x: x + np.random.rand(), "x")
    assert "apply(" in said(drawn)[0]
    written = over().init_variable("n", 0.0).inc_variable("n", F(lambda batch: random.random()))
    assert "inc_variable" in said(written)[0]
    trained = over().init_model("dynamic", Careless, "m").train_model("m", x="x")
    [warning] = said(trained)
    assert "train_model('m'" in warning and "a seed or a generator of its own" in warning


def test_an_exception_is_the_one_that_comes_out() -> None:
    with (
        pytest.warns(RuntimeWarning, match="fail"),
        pytest.raises(ValueError, match="after a draw"),
    ):
        over().fail().run(4, debug=True)


def test_without_it_nothing_is_watched_and_nothing_changes() -> None:
    made = over().own().init_variable("seen", init_on_each_run=list)
    made = made.update_variable("seen", F(lambda batch: batch.x.tobytes()), mode="append")

    def seen(**options: Any) -> Any:
        return made.run(4, seed=3, **options).get_variable("seen")

    assert said(over().numpys(), debug=False) == []
    with ThreadPoolExecutor(2) as executor:
        assert seen() == seen(debug=True) == seen(debug=True, prefetch=4)
        assert seen(executor=executor) == seen(debug=True, executor=executor)


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("sklearn/SGDClassifier", {"loss": "log_loss"}),
        ("sklearn/RandomForestClassifier", {"n_estimators": 3}),
        ("sklearn/MLPClassifier", {"hidden_layer_sizes": [3]}),
        ("xgboost/XGBClassifier", {"n_estimators": 3, "subsample": 0.5}),
    ],
)
def test_models_of_the_backends_draw_from_generators_of_their_own(model: str, config: Any) -> None:
    pytest.importorskip(model.split("/")[0])
    x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    data = Dataset(data={"x": x, "y": (x[:, 0] > 0).astype(int)})
    made = data.p.init_model("dynamic", model, "m", config=config)
    assert said(made.train_model("m", x="x", y="y"), n_epochs=2, seed=1) == []
