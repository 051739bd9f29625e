"""Every sentence of the user's document on models that promises something, held to its word.

=======================================================================  ===================================
sentence                                                                 test
=======================================================================  ===================================
*Model class*: You can use standard models or write your own models      standard_models_and_own_ones
*Model types*: A static model is created when the pipeline is created    static_is_made_at_once
the [static] model might have an access to the pipeline, its config [..  static_sees_the_pipeline
A dynamic model is created [...] when some action uses the model         dynamic_is_made_at_its_first_use
the model has an access to the pipeline and the very first batch         dynamic_sees_the_first_batch
creating models adapting to shapes and data sizes                        dynamic_adapts_to_shapes
*Adding*: a mode (`static` or `dynamic`)                                 a_mode_is_static_or_dynamic
otherwise, a class name will be used                                     default_name_is_the_class_name
an optional configuration                                                configuration_is_optional
already created in another pipeline, it might be imported                imported_at_run
*Configuring*: `build` - whether to call `model.build`, default True     build
`load` - whether to load a model, default False                          load
Loading usually requires [...] paths                                     load_needs_a_path
For some models only one of `build` or `load` can be True                either_built_or_loaded
other models might need a building phase even if a model is loaded       built_and_loaded
*Training*: stated below an initialization action                        training_stands_below_init
arguments might be specific to a particular model                        arguments_are_the_models_own
`make_data` - a function or method which takes [...] batch and a model   make_data
`save_to` - a batch component name or a pipeline variable name           save_to_component_or_variable
output of `model.train` (if there is any)                                no_output_is_not_stored
If both [...] exist, then a batch component will be used                 save_to_prefers_the_component
`append_to` - a pipeline variable name                                   append_to
If both (`save_to` and `append_to`) [...] only `append_to`               append_to_wins
You can also write an action which works with a model directly           action_with_model
*Predicting*: `predict_model` is very similar to `train_model`           predict_takes_what_train_takes
*Saving*: You can write a model [...] at any time                        save_at_any_time
all other arguments are model specific                                   save_arguments_are_the_models_own
`save_model` is imperative                                               save_is_imperative
it cannot be a part of a pipeline's chain of actions                     save_is_no_step
`save_model` is expected to be called in an action method or after       save_in_an_action
*Templates*: not linked to any dataset and thus it will never run        template_never_runs
It might be used as a building block                                     template_is_a_building_block
Linking a pipeline to a dataset creates a new pipeline                   linking_makes_a_new_pipeline
static model is created only once [...] used in each children pipeline   static_is_shared_by_children
a separate instance of a dynamic model [...] in each children pipeline   dynamic_is_separate_in_children
*Importing*: [when] run, the model [...] will be imported                imported_at_run
*Parallel*: your model hardly learns anything                            a_model_learns_under_prefetch
a lock [...] to allow for only one concurrent execution                  lock_allows_one_at_a_time
=======================================================================  ===================================
"""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from batchloom import B, Batch, C, Dataset, Pipeline, V, action
from batchloom.errors import (
    DefinitionError,
    ModelConfigError,
    ModelNotBuiltError,
    TemplateError,
    UnknownModelError,
)
from batchloom.models import BaseModel, get_model_class, load_model

CONFIG = {"loss": "log_loss", "random_state": 0}


class NearestMean(BaseModel):
    """A whole model: each class is the mean of its items. Notes how it came to be."""

    data_args = "x", "y"

    def __init__(self, config=None, *, name=None):
        super().__init__(config, name=name)
        self.came_by: list[str] = []

    def _build(self, *args, pipeline=None, batch=None, **kwargs):
        self.came_by.append("build")
        self.saw, self.first = pipeline, batch
        width = 64 if batch is None else batch.images.shape[1]
        self.sums, self.counts = np.zeros((10, width)), np.zeros((10, 1))

    def _train(self, x, y, rate=1.0):
        before = None if not self.counts.any() else float(np.mean(self._predict(x) == y))
        np.add.at(self.sums, y, rate * x)
        np.add.at(self.counts, y, rate)
        return before

    def _predict(self, x, count=None):
        means = self.sums / np.maximum(self.counts, 1e-9)
        return ((x[:, None] - means) ** 2).sum(axis=-1).argmin(axis=-1)[:count]

    def _save(self, path, digits=17):
        np.savez(path / "means.npz", sums=self.sums.round(digits), counts=self.counts)

    def _load(self, path, **kwargs):
        self.came_by.append("load")
        with np.load(path / "means.npz") as arrays:
            self.sums, self.counts = arrays["sums"], arrays["counts"]


def nearest_mean(dataset: Dataset, mode: str = "dynamic", **config: Any) -> Pipeline:
    return dataset.p.init_model(mode, NearestMean, "model", config)


def trained(dataset: Dataset, mode: str = "dynamic") -> Pipeline:
    return nearest_mean(dataset, mode).train_model("model", x="images", y="labels").run(100)


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
def test_build(my_dataset: Dataset, mode: str, config: dict, came_by: list) -> None:
    pipeline = nearest_mean(my_dataset, mode, **config).touch().run(1000)
    assert pipeline.get_model_by_name("model").came_by == came_by


@pytest.fixture
def my_dataset(digits: tuple[np.ndarray, np.ndarray]) -> Dataset:
    """The digits, with an action that makes a dynamic model and does nothing to it."""

    class Digits(Batch):
        components = "images", "labels"

        @action
        def normalize(self):
            self.images = self.images / 16
            return self

        @action(model="model")
        def touch(self, model):
            return self

    images, labels = digits
    return Dataset(batch_class=Digits, data={"images": images, "labels": labels}).split(0.8)


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


def test_make_data_is_a_method_of_the_batch_class(my_dataset: Dataset) -> None:
    def pairs(batch, model):
        return {"x": batch.images, "y": batch.labels}

    my_dataset.batch_class.pairs = pairs
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


# Saving a model


def test_save_at_any_time(my_dataset: Dataset, tmp_path: Path) -> None:
    pipeline = nearest_mean(my_dataset).train_model("model", x="images", y="labels")
    for batch in pipeline.gen_batch(600):
        pipeline.save_model("model", path=tmp_path / str(batch.number))
    counts = [load_model(tmp_path / str(n), model_class=NearestMean).counts.sum() for n in range(3)]
    assert counts == [600, 1200, 1797]


def test_save_arguments_are_the_models_own(my_dataset: Dataset, tmp_path: Path) -> None:
    pipeline = trained(my_dataset)
    pipeline.save_model("model", path=tmp_path / "saved", digits=-3)
    sums = load_model(tmp_path / "saved", model_class=NearestMean).sums
    assert (sums == pipeline.get_model_by_name("model").sums.round(-3)).all()
    with pytest.raises(UnknownModelError, match="did you mean 'model'"):
        pipeline.save_model("modle", path=tmp_path / "saved")


def test_save_is_imperative(my_dataset: Dataset, tmp_path: Path) -> None:
    pipeline = nearest_mean(my_dataset, "static")
    pipeline.save_model("model", path=tmp_path / "at once")
    assert (tmp_path / "at once").is_file()


def test_save_is_no_step(my_dataset: Dataset, tmp_path: Path) -> None:
    pipeline = trained(my_dataset)
    before = pipeline.describe()
    assert pipeline.save_model("model", path=tmp_path / "saved") is None
    assert pipeline.describe() == before
    (tmp_path / "saved").unlink()
    pipeline.run(100)
    assert not (tmp_path / "saved").exists()


def test_save_in_an_action(digits: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    class Saving(Batch):
        components = "images", "labels"

        @action(model="model")
        def save_one(self, model):
            if self.number == 1:
                model.save(tmp_path / "by the model")
                self.pipeline.save_model("model", path=tmp_path / "by the pipeline")
            return self

    dataset = Dataset(batch_class=Saving, data=digits)
    nearest_mean(dataset).train_model("model", x="images", y="labels").save_one().run(600)
    for each in "by the model", "by the pipeline":
        assert load_model(tmp_path / each, model_class=NearestMean).counts.sum() == 1200


# Models and template pipelines


def template(mode: str) -> Pipeline:
    return (
        Pipeline()
        .init_model(mode, NearestMean, "model")
        .normalize()
        .train_model("model", x="images", y="labels")
    )


@pytest.mark.parametrize("run", ["run", "gen_batch", "next_batch"])
def test_template_never_runs(run: str) -> None:
    with pytest.raises(TemplateError, match="this pipeline is a template"):
        getattr(template("static"), run)(100)


def test_template_is_a_building_block(my_dataset: Dataset) -> None:
    block = Pipeline().normalize()
    whole = my_dataset.p.init_model("static", NearestMean, "model") + block * 2
    pipeline = whole.train_model("model", x="images", y="labels").run(100)
    sums = pipeline.get_model_by_name("model").sums
    assert np.isclose(sums.sum(), my_dataset.column("images").sum() / 16**2)


def test_linking_makes_a_new_pipeline(my_dataset: Dataset) -> None:
    made = template("dynamic")
    linked = made << my_dataset
    assert linked is not made
    assert made.dataset is None
    assert linked.run(100) is linked
    assert made.models == {}


def test_static_is_shared_by_children(my_dataset: Dataset) -> None:
    made = template("static")
    children = [(made << part).run(100) for part in (my_dataset.train, my_dataset.test)]
    model = made.get_model_by_name("model")
    assert all(each.get_model_by_name("model") is model for each in children)
    assert model.came_by == ["build"]
    assert model.counts.sum() == len(my_dataset)


def test_dynamic_is_separate_in_children(my_dataset: Dataset) -> None:
    made = template("dynamic")
    parts = my_dataset.train, my_dataset.test, my_dataset.train
    children = [(made << part).run(100) for part in parts]
    models = [each.get_model_by_name("model") for each in children]
    assert [each.counts.sum() for each in models] == [len(each) for each in parts]
    assert len({id(each) for each in models}) == 3


# Importing models


def test_imported_at_run(my_dataset: Dataset) -> None:
    source = nearest_mean(my_dataset).train_model("model", x="images", y="labels")
    inference = (
        Pipeline()
        .init_variable("predictions", init_on_each_run=list)
        .import_model("model", source)  # which has not been made yet
        .predict_model("model", x="images", append_to="predictions")
    )
    infer = inference << my_dataset.test
    with pytest.raises(ModelNotBuiltError, match="Run it first"):
        infer.run(100)
    source.run(100)
    infer.run(100)
    first = source.get_model_by_name("model")
    assert infer.get_model_by_name("model") is first
    assert len(np.concatenate(infer.get_variable("predictions"))) == len(my_dataset.test)

    source.reset("models").run(100)
    assert infer.run(100).get_model_by_name("model") is source.get_model_by_name("model")
    assert infer.get_model_by_name("model") is not first


# Parallel training


def test_a_model_learns_under_prefetch(my_dataset: Dataset) -> None:
    """What the document warns of does not happen, with a lock or without one."""

    def coefficients(prefetch: int) -> np.ndarray:
        pipeline = (
            my_dataset.p.init_model("dynamic", "sklearn/SGDClassifier", "clf", CONFIG)
            .normalize()
            .train_model("clf", x="images", y="labels")
            .run(50, shuffle=1, n_epochs=2, prefetch=prefetch)
        )
        return pipeline.get_model_by_name("clf").estimator.coef_

    reference = coefficients(0)
    assert all(np.array_equal(coefficients(prefetch), reference) for prefetch in (1, 4, 16))


def test_lock_allows_one_at_a_time(digits: tuple[np.ndarray, np.ndarray]) -> None:
    class MyBatch(Batch):
        components = "images", "labels"
        inside, most, order, threads = 0, 0, [], set()

        @action(use_lock="some_model_lock")
        def train_it(self):
            cls = type(self)
            cls.inside += 1
            cls.most = max(cls.most, cls.inside)
            time.sleep(0.001)  # long enough for another thread to come in
            cls.order.append(self.number)
            cls.threads.add(threading.get_ident())
            cls.inside -= 1
            return self

    Dataset(batch_class=MyBatch, data=digits).p.train_it().run(25, prefetch=8)
    assert MyBatch.most == 1
    assert MyBatch.order == list(range(72))
    assert len(MyBatch.threads) > 1


# This page


def test_every_test_of_the_table_is_there() -> None:
    rows = re.findall(r"  (\w+(?:, \w+)*)$", __doc__ or "", flags=re.M)
    named = {each for row in rows[1:] for each in row.split(", ")}
    there = {each.removeprefix("test_") for each in globals() if each.startswith("test_")}
    assert {each for each in named if not any(one.startswith(each) for one in there)} == set()
