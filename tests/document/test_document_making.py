"""The document's sentences on model classes and types, on adding a model and configuring it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nearest_mean import NearestMean, nearest_mean, trained
from sklearn.linear_model import SGDClassifier

from batchloom import B, Batch, C, Dataset, V, action
from batchloom.errors import DefinitionError, ModelConfigError, ModelNotBuiltError
from batchloom.models import get_model_class

CONFIG = {"loss": "log_loss", "random_state": 0}


# Model class


@pytest.mark.parametrize(
    "standard",
    ["sklearn/SGDClassifier", get_model_class("sklearn/SGDClassifier"), SGDClassifier],
    ids=["name", "class", "the library's class"],
)
def test_standard_models_and_own_ones(my_dataset: Dataset, standard: Any) -> None:
    pipeline = (
        my_dataset.p.init_model("static", standard, "standard", CONFIG)
        .init_model("static", NearestMean, "own")
        .train_model("standard", x="images", y="labels")
        .train_model("own", x="images", y="labels")
        .run(100)
    )
    images, labels = my_dataset.column("images"), my_dataset.column("labels")
    for model in pipeline.models.values():
        assert np.mean(model.predict(x=images) == labels) > 0.8


# Model types


def test_static_is_made_at_once(my_dataset: Dataset) -> None:
    model = nearest_mean(my_dataset, "static").get_model_by_name("model")
    assert model.came_by == ["build"]
    assert model.first is None


def test_static_sees_the_pipeline(my_dataset: Dataset) -> None:
    pipeline = (
        my_dataset.pipeline(config={"alpha": 0.01})
        .init_variable("penalty", "l1")
        .init_model("static", NearestMean, "model", {"a": C.alpha, "p": V.penalty, "l": [C.alpha]})
    )
    model = pipeline.get_model_by_name("model")
    assert model.config == {"a": 0.01, "p": "l1", "l": [0.01]}
    assert model.saw.config == pipeline.config
    assert model.saw.get_variable("penalty") == "l1"
    assert model.saw.dataset is my_dataset


def test_dynamic_is_made_at_its_first_use(my_dataset: Dataset) -> None:
    pipeline = nearest_mean(my_dataset).train_model("model", x="images", y="labels")
    with pytest.raises(ModelNotBuiltError, match="Run the pipeline first"):
        pipeline.get_model_by_name("model")
    batches = pipeline.gen_batch(100)
    next(batches)
    assert pipeline.get_model_by_name("model").came_by == ["build"]
    batches.close()


def test_dynamic_is_not_made_if_nothing_uses_it(my_dataset: Dataset) -> None:
    assert nearest_mean(my_dataset).normalize().run(100).models == {}


@pytest.mark.parametrize("prefetch", [0, 4])
def test_dynamic_sees_the_first_batch(my_dataset: Dataset, prefetch: int) -> None:
    pipeline = (
        my_dataset.pipeline(config={"alpha": 0.01})
        .init_model("dynamic", NearestMean, "model", {"most": B.images, "a": C.alpha})
        .normalize()
        .train_model("model", x="images", y="labels")
        .run(100, shuffle=3, prefetch=prefetch)
    )
    model = pipeline.get_model_by_name("model")
    assert (model.first.number, model.first.size) == (0, 100)
    assert model.config["most"].max() == 1  # as it is at that point, after normalize
    assert model.config["a"] == model.saw.config["alpha"] == 0.01


def test_dynamic_adapts_to_shapes(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    for width in 16, 32:
        dataset = Dataset(data={"images": images[:, :width], "labels": labels})
        assert trained(dataset).get_model_by_name("model").sums.shape == (10, width)


# Adding a model to a pipeline


def test_a_mode_is_static_or_dynamic(my_dataset: Dataset) -> None:
    with pytest.raises(DefinitionError, match="the mode is 'static' .* or 'dynamic'"):
        my_dataset.p.init_model("statik", NearestMean)
    with pytest.raises(DefinitionError, match="the mode comes first"):
        my_dataset.p.init_model(NearestMean, "static")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (NearestMean, "NearestMean"),
        ("sklearn/GaussianNB", "GaussianNB"),
        (SGDClassifier(), "SGDClassifier"),
    ],
)
def test_default_name_is_the_class_name(my_dataset: Dataset, model: Any, name: str) -> None:
    assert list(my_dataset.p.init_model("static", model).models) == [name]


def test_configuration_is_optional(my_dataset: Dataset) -> None:
    assert my_dataset.p.init_model("static", NearestMean).models["NearestMean"].config == {}
    given = {"alpha": 0.5}
    model = my_dataset.p.init_model("static", NearestMean, config=given).models["NearestMean"]
    assert model.config == given
    assert model.config is not given


# Configuring a model


@pytest.mark.parametrize(("config", "came_by"), [({}, ["build"]), ({"build": False}, [])])
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_build(
    digits: tuple[np.ndarray, np.ndarray], mode: str, config: dict, came_by: list
) -> None:
    class MyBatch(Batch):
        components = "images", "labels"

        @action(model="model")
        def make_the_model(self, model):
            return self

    dataset = Dataset(batch_class=MyBatch, data=digits)
    pipeline = nearest_mean(dataset, mode, **config).make_the_model().run(1000)
    assert pipeline.get_model_by_name("model").came_by == came_by


@pytest.fixture
def saved(my_dataset: Dataset, tmp_path: Path) -> Path:
    trained(my_dataset).save_model("model", path=tmp_path / "saved")
    return tmp_path / "saved"


def test_load(my_dataset: Dataset, saved: Path) -> None:
    fresh = nearest_mean(my_dataset, "static").get_model_by_name("model")
    assert not fresh.counts.any()
    loaded = nearest_mean(my_dataset, "static", load=True, path=saved).get_model_by_name("model")
    assert loaded.counts.sum() == len(my_dataset)


def test_load_needs_a_path(my_dataset: Dataset) -> None:
    with pytest.raises(ModelConfigError, match="load=True needs path="):
        nearest_mean(my_dataset, "static", load=True)


def test_either_built_or_loaded(my_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "sgd"
    both = {"build": True, "load": True, "path": path}
    pipeline = my_dataset.p.init_model("dynamic", "sklearn/SGDClassifier", "clf", CONFIG)
    pipeline.train_model("clf", x="images", y="labels").run(100).save_model("clf", path=path)
    with pytest.raises(ModelConfigError, match="either built or loaded, not both"):
        my_dataset.p.init_model("static", "sklearn/SGDClassifier", config=both)
    del both["build"]
    loaded = my_dataset.p.init_model("static", "sklearn/SGDClassifier", "clf", config=both)
    assert loaded.get_model_by_name("clf").estimator.coef_.shape == (10, 64)


def test_built_and_loaded(my_dataset: Dataset, saved: Path) -> None:
    model = nearest_mean(my_dataset, "static", load=True, path=saved).get_model_by_name("model")
    assert model.came_by == ["build", "load"]
    config = {"build": False, "load": True, "path": saved}
    assert nearest_mean(my_dataset, "static", **config).models["model"].came_by == ["load"]
