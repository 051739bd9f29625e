"""Estimators in real pipelines over real data."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier

from batchloom import Batch, C, Dataset, Pipeline, action
from batchloom.errors import ModelInputError, ModelNotBuiltError
from batchloom.models import load_model


@pytest.fixture(scope="module")
def images(digits):
    return Dataset(data={"images": digits[0], "labels": digits[1]}).split(0.8, shuffle=42)


def learning(model, config=None, **given):
    return (
        Pipeline()
        .init_variable("history", init_on_each_run=list)
        .init_model("dynamic", model, "clf", config=config or {})
        .train_model("clf", x="images", y="labels", append_to="history", **given)
    )


def trained_by_hand(pipeline, dataset, size, seed, n_epochs):
    theirs = clone(pipeline.get_model_by_name("clf").estimator)
    for batch in dataset.gen_batch(size, shuffle=seed, n_epochs=n_epochs):
        theirs.partial_fit(batch.images, batch.labels, classes=np.arange(10))
    return theirs


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_run_learns_what_a_loop_over_the_same_batches_learns(images, prefetch):
    template = learning("sklearn/SGDClassifier", {"loss": "log_loss"}, output="loss")
    pipeline = (template << images.train).run(64, shuffle=1, n_epochs=3, seed=5, prefetch=prefetch)
    theirs = trained_by_hand(pipeline, images.train, 64, 1, 3)
    np.testing.assert_array_equal(pipeline.get_model_by_name("clf").estimator.coef_, theirs.coef_)
    history = pipeline.get_variable("history")
    assert len(history) == 3 * 23 and np.isnan(history[0]) and np.isfinite(history[1:]).all()


def test_runs_of_the_same_seed_are_the_same(images):
    template = learning("sklearn/SGDClassifier")
    runs = [(template << images.train).run(64, shuffle=1, seed=seed) for seed in (3, 3, 4)]
    first, again, other = [run.get_model_by_name("clf").estimator.coef_ for run in runs]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_estimator_that_gathers_is_fitted_when_the_run_ends(images):
    template = learning("sklearn/RandomForestClassifier", {"random_state": 0}, output="score")
    pipeline = (template << images.train).run(64, n_epochs=2)
    x, y = images.train.column("images"), images.train.column("labels")
    theirs = RandomForestClassifier(random_state=0).fit(x, y)
    held_out = images.test.column("images")
    model = pipeline.get_model_by_name("clf")
    np.testing.assert_array_equal(model.predict(held_out), theirs.predict(held_out))
    assert pipeline.get_variable("history") == [1.0]
    assert "fits once, at the end of the run's last epoch" in pipeline.describe()


class Images(Batch):
    @action(model="clf")
    def train_linked_model(self, model):
        model.train(x=self.images, y=self.labels)
        return self

    @action
    def train_in_batch(self, name):
        self.get_model_by_name(name).train(x=self.images, y=self.labels)
        return self


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("model", ["sklearn/RandomForestClassifier", "sklearn/SGDClassifier"])
def test_an_action_trains_as_a_step_does(digits, model, mode, prefetch):
    dataset = Dataset(batch_class=Images, data={"images": digits[0], "labels": digits[1]})
    config = {"classes": range(10)}
    base = dataset.p.init_model(mode, model, "clf", config)
    answers = []
    for pipeline in (
        base.train_model("clf", x="images", y="labels"),
        dataset.p.init_model(mode, model, "clf", config).train_linked_model(),
        dataset.p.init_model(mode, model, "clf", config).train_in_batch("clf"),
    ):
        pipeline.run(300, seed=3, n_epochs=2, prefetch=prefetch)
        answers.append(pipeline.get_model_by_name("clf").predict(digits[0]))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_a_training_that_asks_for_nothing_takes_no_output_from_another(digits):
    dataset = Dataset(batch_class=Images, data={"images": digits[0], "labels": digits[1]})
    template = learning("sklearn/RandomForestClassifier", {"n_estimators": 3}, output="score")
    for more in (
        template.train_in_batch("clf"),
        template.train_model("clf", x="images", y="labels"),
    ):
        (score,) = (more << dataset).run(600).get_variable("history")
        assert score > 0.9


def test_predicting_in_the_run_that_gathers(images):
    template = learning("sklearn/RandomForestClassifier")
    template = template.init_variable("answer").predict_model("clf", x="images", save_to="answer")
    with pytest.raises(ModelNotBuiltError, match="the run's last epoch"):
        (template << images.train).run(64)


def test_a_run_that_is_left_early_forgets_what_it_gathered(images):
    pipeline = learning("sklearn/RandomForestClassifier", {"n_estimators": 3}) << images.train
    for _ in pipeline.gen_batch(100):
        break
    pipeline.run(100)
    assert len(pipeline.get_model_by_name("clf").predict(images.test.column("images"))) == 359


def test_evaluation_by_the_name_of_a_metric(images):
    train = (learning("sklearn/GaussianNB") << images.train).run(64)
    test = (
        Pipeline()
        .import_model("clf", train)
        .init_variable("quality")
        .evaluate_model("clf", x="images", y="labels", metrics=["accuracy"], save_to="quality")
    )
    done = (test << images.test).run(50)
    x, y = images.test.column("images"), images.test.column("labels")
    expected = train.get_model_by_name("clf").estimator.score(x, y)
    assert done.get_variable("quality")["accuracy"] == pytest.approx(expected)


def test_save_and_load(images, tmp_path):
    train = (learning("sklearn/SGDClassifier") << images.train).run(64)
    train.save_model("clf", path=tmp_path / "digits")
    x = images.test.column("images")
    expected = train.get_model_by_name("clf").predict(x)
    np.testing.assert_array_equal(load_model(tmp_path / "digits").predict(x), expected)
    config = {"load": True, "path": tmp_path / "digits"}
    asking = (
        Pipeline()
        .init_model("static", "sklearn/SGDClassifier", "clf", config=config)
        .init_variable("answers", init_on_each_run=list)
        .predict_model("clf", x="images", append_to="answers")
    )
    asked = (asking << images.test).run(50, prefetch=2)
    np.testing.assert_array_equal(np.concatenate(asked.get_variable("answers")), expected)


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_a_pipeline_of_an_object_is_pickled_and_goes_on_to_the_bit(images, mode):
    pipeline = images.train.p.init_model(mode, SGDClassifier(random_state=0), "clf")
    pipeline = pipeline.train_model("clf", x="images", y="labels").run(64, shuffle=1)
    again = pickle.loads(pickle.dumps(pipeline))
    ours, theirs = [each.run(64, shuffle=2).get_model_by_name("clf") for each in (pipeline, again)]
    assert type(ours) is type(theirs) and ours is not theirs
    np.testing.assert_array_equal(ours.estimator.coef_, theirs.estimator.coef_)


def test_labels_that_an_action_makes_need_classes(images):
    from batchloom import Batch, action

    class Parity(Batch):
        components = "images", "labels"

        @action
        def to_parity(self):
            self.labels = np.array(["even", "odd"])[self.labels % 2]
            return self

    dataset = Dataset(images.train.index, Parity, {"images": images.train.column("images"),
                                                   "labels": images.train.column("labels")})  # fmt: skip
    for config, fails in (({}, True), ({"classes": ["even", "odd"]}, False)):
        pipeline = (
            dataset.p.init_model("dynamic", "sklearn/SGDClassifier", "clf", config=config)
            .to_parity()
            .train_model("clf", x="images", y="labels")
        )
        if fails:
            with pytest.raises(ModelInputError, match=r"config\['classes'\]"):
                pipeline.run(64)
        else:
            assert set(pipeline.run(64).get_model_by_name("clf").estimator.classes_) == {
                "even",
                "odd",
            }


def test_data_frames_and_config_references(cancer):
    columns = [f"feature{number}" for number in range(30)]
    frame = pd.DataFrame(cancer[0], columns=columns)
    pipeline = (
        Dataset(data={"table": frame, "labels": cancer[1]})
        .pipeline({"alpha": 0.01})
        .init_model("dynamic", SGDClassifier, "clf", config={"alpha": C.alpha})
        .train_model("clf", x="table", y="labels")
        .run(100)
    )
    estimator = pipeline.get_model_by_name("clf").estimator
    assert estimator.alpha == 0.01 and list(estimator.feature_names_in_) == columns
