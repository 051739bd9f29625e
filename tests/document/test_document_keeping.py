"""The document's sentences on saving and importing models, on templates and parallel training."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from nearest_mean import NearestMean, nearest_mean, trained

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.errors import ModelNotBuiltError, TemplateError, UnknownModelError
from batchloom.models import load_model

CONFIG = {"loss": "log_loss", "random_state": 0}


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
