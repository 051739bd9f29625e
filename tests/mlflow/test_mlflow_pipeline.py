"""What a real tracking store holds after real pipelines were run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from batchloom.models import load_model
from batchloom_mlflow import run_id_of


def history(tracking, run, name: str) -> dict[int, float]:
    return {each.step: each.value for each in tracking.get_metric_history(run.info.run_id, name)}


@pytest.mark.parametrize("prefetch", [0, 4])
def test_parameters_outputs_and_epochs(tracking, runs, training, prefetch: int) -> None:
    done = training(alpha=0.01).run(64, shuffle=1, n_epochs=2, prefetch=prefetch)
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "batch_size": "64",
        "n_epochs": "2",
        "shuffle": "1",
        "drop_last": "False",
        "seed": "1",
        "n_items": "300",
        "clf/model": "sklearn/SGDClassifier",
        "clf/loss": "log_loss",
        "clf/alpha": "0.01",
    }
    losses = history(tracking, run, "clf/loss")
    kept = done.get_variable("losses")
    assert list(losses) == list(range(10))
    np.testing.assert_array_equal(list(losses.values()), kept)
    assert history(tracking, run, "clf/epoch") == {4: 0, 9: 1}
    assert run.data.tags["batchloom.version"] == "0.1.0"
    assert run_id_of(done.get_model_by_name("clf")) == run.info.run_id


def test_the_pipelines_config_is_a_parameter(tracking, runs, digits, training) -> None:
    config = {"lr": 0.1, "deep": {"er": [1, 2]}, "way": np.mean}
    (digits.pipeline(config) + training()).run(300)
    parameters = runs()[0].data.params
    assert parameters["config/lr"] == "0.1"
    assert parameters["config/deep/er"] == "[1, 2]"
    assert parameters["config/way"] == "numpy.mean"


class Settled:
    def get_config(self):
        return {"rate": 0.1, "inner": object(), "none": None}


class Silent:
    def get_config(self):
        raise NotImplementedError


def test_objects_are_written_by_what_they_are_and_not_where(
    tracking, runs, digits, training
) -> None:
    config = {"told": Settled(), "silent": Silent(), "several": [object()], "text": "is at 0x7f"}
    (digits.pipeline(config) + training()).run(300)
    parameters = runs()[0].data.params
    assert parameters["config/told"] == "Settled(rate=0.1, inner=<object object>)"
    assert parameters["config/silent"] == f"<{__name__}.Silent object>"
    assert parameters["config/several"] == "[<object object>]"
    assert parameters["config/text"] == "is at 0x7f"


def test_each_run_of_a_pipeline_has_a_run_of_its_own(tracking, runs, training) -> None:
    pipeline = training()
    pipeline.run(100).run(50)
    assert [each.data.params["batch_size"] for each in runs()] == ["100", "50"]
    assert run_id_of(pipeline.get_model_by_name("clf")) == runs()[1].info.run_id


def test_two_models_in_one_run(tracking, runs, training) -> None:
    pipeline = (
        training()
        .init_model("dynamic", "sklearn/GaussianNB", "naive bayes")
        .train_model("naive bayes", x="images", y="labels", output=["accuracy", "loss"])
    )
    pipeline.run(150)
    (run,) = runs()
    assert len(history(tracking, run, "clf/loss")) == 2
    assert len(history(tracking, run, "naive bayes/accuracy")) == 2
    assert run.data.params["naive bayes/model"] == "sklearn/GaussianNB"


def test_a_model_that_gathers_its_batches_gives_its_output_at_the_end(tracking, runs, digits):
    (
        digits.p.init_model("dynamic", "sklearn/RandomForestClassifier", "forest")
        .train_model("forest", x="images", y="labels", output="accuracy")
        .run(100, seed=1)
    )
    assert history(tracking, runs()[0], "forest/accuracy") == {2: 1.0}


def test_a_history_has_a_step_for_each_of_its_rounds(tracking, runs, digits) -> None:
    done = (
        digits.p.init_model("dynamic", "xgboost/XGBClassifier", "trees", {"n_estimators": 3})
        .init_variable("history")
        .train_model("trees", x="images", y="labels", save_to="history")
        .run(100, seed=1)
    )
    kept = {each["round"]: each["train-mlogloss"] for each in done.get_variable("history")}
    assert list(kept) == [0, 1, 2]
    assert history(tracking, runs()[0], "trees/train-mlogloss") == kept


def test_saved_models_are_artefacts(tracking, runs, training, tmp_path: Path) -> None:
    done = training().run(100)
    done.save_model("clf", path=tmp_path / "clf.model")
    (run,) = runs()
    (file,) = tracking.list_artifacts(run.info.run_id, "models/clf")
    fetched = tracking.download_artifacts(run.info.run_id, file.path, str(tmp_path))
    loaded, images = load_model(fetched), np.ones((1, 64))
    assert loaded.predict(x=images) == done.get_model_by_name("clf").predict(x=images)


def test_a_pipeline_that_trains_nothing_has_no_run(tracking, runs, training, digits) -> None:
    done = training().run(100)
    digits.p.import_model("clf", done).init_variable("p").normalize().predict_model(
        "clf", x="images", save_to="p"
    ).run(100)
    digits.p.normalize().run(100)
    assert len(runs()) == 1


def test_the_model_learns_the_same_with_and_without(tracking, training, monkeypatch) -> None:
    from batchloom.models import registry

    with_it = training().run(64, shuffle=2).get_model_by_name("clf").estimator.coef_
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", "batchloom-mlflow")
    registry.refresh()
    without = training().run(64, shuffle=2).get_model_by_name("clf").estimator.coef_
    np.testing.assert_array_equal(with_it, without)


def test_many_steps_are_sent_in_bulk(tracking, runs, training) -> None:
    training().run(1, n_epochs=4)
    losses = history(tracking, runs()[0], "clf/loss")
    assert sorted(losses) == list(range(1200))
