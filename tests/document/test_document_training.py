"""The document's sentences on training a model and predicting with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nearest_mean import NearestMean, nearest_mean

from batchloom import B, Batch, Dataset, Pipeline, V, action
from batchloom.errors import UnknownModelError

# Training a model


def test_training_stands_below_init(my_dataset: Dataset) -> None:
    with pytest.raises(UnknownModelError, match="Declare it before this step"):
        my_dataset.p.train_model("model", x="images", y="labels")
    template = Pipeline().train_model("model", x="images", y="labels")
    with pytest.raises(UnknownModelError, match="move init_model above this step"):
        template.init_model("static", NearestMean, "model") << my_dataset


def test_arguments_are_the_models_own(my_dataset: Dataset) -> None:
    pipeline = nearest_mean(my_dataset).train_model("model", x="images", y="labels", rate=0.5)
    counts = pipeline.run(100).get_model_by_name("model").counts
    assert counts.sum() == len(my_dataset) / 2
    wrong = nearest_mean(my_dataset).train_model("model", x="images", y="labels", speed=0.5)
    with pytest.raises(TypeError, match="unknown argument 'speed' of train") as caught:
        wrong.run(100)
    assert any("model 'model' (NearestMean)" in note for note in caught.value.__notes__)


class MakesData:
    """What a method may do that a function cannot: it has a state."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []

    def make(self, batch, model):
        self.asked.append((batch.number, model))
        return {"x": batch.images, "y": batch.labels}


def test_make_data_is_a_function(my_dataset: Dataset) -> None:
    def make(batch, model):
        return {"x": batch.images * 2, "y": batch.labels}

    for given in ({"make_data": make}, {}):
        args = () if given else (make,)
        pipeline = nearest_mean(my_dataset).train_model("model", *args, **given).run(100)
        sums = pipeline.get_model_by_name("model").sums
        assert sums.sum() == 2 * my_dataset.column("images").sum()


def test_make_data_is_a_method(my_dataset: Dataset) -> None:
    maker = MakesData()
    pipeline = nearest_mean(my_dataset).train_model("model", make_data=maker.make, rate=0.5)
    model = pipeline.run(600).get_model_by_name("model")
    assert maker.asked == [(0, model), (1, model), (2, model)]
    assert model.counts.sum() == len(my_dataset) / 2


def test_make_data_is_a_method_of_the_batch_class(
    my_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pairs(batch, model):
        return {"x": batch.images, "y": batch.labels}

    monkeypatch.setattr(my_dataset.batch_class, "pairs", pairs, raising=False)
    pipeline = nearest_mean(my_dataset).train_model("model", my_dataset.batch_class.pairs)
    assert pipeline.run(600).get_model_by_name("model").counts.sum() == len(my_dataset)


def test_save_to_component_or_variable(my_dataset: Dataset) -> None:
    pipeline = (
        nearest_mean(my_dataset)
        .init_variable("accuracy")
        .train_model("model", x="images", y="labels", save_to="accuracy")
        .predict_model("model", x="images", save_to="labels")
        .predict_model("model", x="images", save_to=B.predicted)
    )
    last = list(pipeline.gen_batch(100))[-1]
    assert 0.8 < pipeline.get_variable("accuracy") < 1
    assert (last.labels == last.predicted).all()
    assert (last.labels != my_dataset.column("labels")[-last.size :]).any()


def test_no_output_is_not_stored(my_dataset: Dataset) -> None:
    pipeline = (
        nearest_mean(my_dataset)
        .init_variable("history", init_on_each_run=list)
        .train_model("model", x="images", y="labels", append_to="history")
        .run(100)
    )
    assert len(pipeline.get_variable("history")) == -(-1797 // 100) - 1  # none before the first


def test_save_to_prefers_the_component(my_dataset: Dataset) -> None:
    pipeline = (
        nearest_mean(my_dataset)
        .init_variable("labels", "untouched")
        .train_model("model", x="images", y="labels")
        .predict_model("model", x="images", save_to="labels")
    )
    with pytest.warns(UserWarning, match="the component is used"):
        last = list(pipeline.gen_batch(100))[-1]
    assert pipeline.get_variable("labels") == "untouched"
    assert (last.labels != my_dataset.column("labels")[-last.size :]).any()


def test_append_to(my_dataset: Dataset) -> None:
    pipeline = (
        nearest_mean(my_dataset)
        .init_variable("predictions", init_on_each_run=list)
        .train_model("model", x="images", y="labels")
        .predict_model("model", x="images", append_to="predictions")
    )
    for _ in range(2):  # a second run begins with an empty list
        pipeline.run(100)
        assert np.concatenate(pipeline.get_variable("predictions")).shape == (1797,)


def test_append_to_wins(my_dataset: Dataset) -> None:
    with pytest.warns(UserWarning, match="only append_to is used"):
        pipeline = (
            nearest_mean(my_dataset)
            .init_variable("last", "untouched")
            .init_variable("all", init_on_each_run=list)
            .train_model("model", x="images", y="labels", save_to="last", append_to="all")
        )
    pipeline.run(100)
    assert pipeline.get_variable("last") == "untouched"
    assert len(pipeline.get_variable("all")) == 17


@pytest.mark.parametrize("prefetch", [0, 4])
def test_action_with_model(digits: tuple[np.ndarray, np.ndarray], prefetch: int) -> None:
    class MyBatch(Batch):
        components = "images", "labels"

        @action(model="model")
        def train_linked_model(self, model, rate):
            model.train(self.images, self.labels, rate=rate)
            return self

    dataset = Dataset(batch_class=MyBatch, data=digits)
    pipeline = nearest_mean(dataset).train_linked_model(rate=2.0).run(100, prefetch=prefetch)
    assert pipeline.get_model_by_name("model").counts.sum() == 2 * len(dataset)
    with pytest.raises(UnknownModelError, match="unknown model 'model'"):
        dataset.p.train_linked_model(rate=2.0)


@pytest.mark.parametrize("prefetch", [0, 4])
def test_get_model_by_name(digits: tuple[np.ndarray, np.ndarray], prefetch: int) -> None:
    class MyBatch(Batch):
        components = "images", "labels"

        @action
        def train_in_batch(self, model_name):
            model = self.get_model_by_name(model_name)
            model.train(self.images, self.labels)
            return self

    dataset = Dataset(batch_class=MyBatch, data=digits)
    pipeline = nearest_mean(dataset).train_in_batch("model").run(100, prefetch=prefetch)
    assert pipeline.get_model_by_name("model").counts.sum() == len(dataset)
    with pytest.raises(UnknownModelError, match="did you mean 'model'"):
        nearest_mean(dataset).train_in_batch("modell").run(100, prefetch=prefetch)


# Predicting with a model


def test_predict_takes_what_train_takes(my_dataset: Dataset) -> None:
    def make(batch, model):
        return {"x": batch.images}

    pipeline = (
        nearest_mean(my_dataset)
        .init_variable("some", init_on_each_run=list)
        .init_variable("last")
        .train_model("model", x="images", y="labels")
        .predict_model("model", make, count=3, append_to="some")
        .predict_model("model", x=B.images, save_to=V.last)
        .run(100)
    )
    assert {len(each) for each in pipeline.get_variable("some")} == {3}
    assert pipeline.get_variable("last").shape == (97,)
