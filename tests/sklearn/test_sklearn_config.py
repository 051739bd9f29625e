"""Config keys: the estimator's parameters, the backend's own, and what is refused."""

from __future__ import annotations

import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import Normalizer, StandardScaler

from batchloom.errors import ModelConfigError
from batchloom.models import get_model_class


def test_parameters_stand_in_the_config(drive):
    estimator = drive.make(
        "sklearn/SGDClassifier", {"loss": "log_loss", "alpha": 0.1}
    ).model.estimator
    assert (estimator.loss, estimator.alpha) == ("log_loss", 0.1)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"los": "hinge"}, "'loss'"),
        ({"class": [0, 1]}, "'classes'"),
        ({"params": {"alhpa": 1}}, "'alpha'"),
        ({"strategy": "colect"}, "'collect'"),
        ({"fit_at": "end"}, "'epoch'"),
        ({"max_rows": 0}, "at least 1"),
        ({"max_bytes": "4GB"}, "at least 1"),
        ({"params": ["loss"]}, "as a dict"),
        ({"loss": "hinge", "params": {"loss": "hinge"}}, "given twice"),
        ({"classes": [1]}, "two or more"),
        ({"base__alpha": 1}, "base"),
    ],
)
def test_what_is_wrong_is_refused_with_the_nearest(drive, config, told):
    with pytest.raises(ModelConfigError, match=told):
        drive.make("sklearn/SGDClassifier", config)


def test_a_parameter_called_like_a_key_goes_into_params(drive):
    with pytest.raises(ModelConfigError, match=r"params=\{'strategy': 'median'\}"):
        drive.make("sklearn/SimpleImputer", {"strategy": "median"})
    handle = drive.make("sklearn/SimpleImputer", {"params": {"strategy": "median"}})
    assert handle.model.estimator.strategy == "median"


def test_keys_with_defaults_can_be_listed():
    keys = get_model_class("sklearn/SimpleImputer").describe_config()
    assert keys["params.strategy"] == "mean" and keys["strategy"] == "auto"
    assert get_model_class("sklearn/OneVsRestClassifier").describe_config()["estimator"] is ...


@pytest.mark.parametrize(
    "steps",
    [
        ["Normalizer", "StandardScaler", "SGDClassifier"],
        ["sklearn/Normalizer", StandardScaler(), SGDClassifier],
        [("normalizer", "Normalizer"), ("standardscaler", StandardScaler),
         ("sgdclassifier", SGDClassifier())],
        [["normalizer", "preprocessing.Normalizer"], ["standardscaler", {"class": "StandardScaler"}],
         ["sgdclassifier", {"class": "SGDClassifier", "params": {"alpha": 0.3}}]],
    ],
)  # fmt: skip
def test_steps_of_a_pipeline(drive, steps):
    pipeline = drive.make(
        "sklearn/Pipeline", {"steps": steps, "sgdclassifier__alpha": 0.2}
    ).model.estimator
    assert [name for name, _ in pipeline.steps] == ["normalizer", "standardscaler", "sgdclassifier"]
    assert [type(step) for _, step in pipeline.steps] == [Normalizer, StandardScaler, SGDClassifier]
    assert pipeline[-1].alpha == 0.2


def test_objects_in_steps_are_copied(drive):
    given = SGDClassifier(alpha=0.5)
    pipeline = drive.make("sklearn/Pipeline", {"steps": [("clf", given)]}).model.estimator
    assert pipeline[-1] is not given and pipeline[-1].alpha == 0.5


@pytest.mark.parametrize(
    ("name", "wrap"),
    [("OneVsRestClassifier", lambda each: {"estimator": each}),
     ("VotingClassifier", lambda each: {"estimators": [("clf", each)]}),
     ("Pipeline", lambda each: {"steps": [("clf", each)]})],
)  # fmt: skip
def test_objects_inside_are_not_changed_by_a_run(drive, iris, name, wrap):
    given = SGDClassifier()
    drive.train(drive.make(f"sklearn/{name}", wrap(given)), *iris)
    assert given.random_state is None and not hasattr(given, "coef_")


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([("scaler", "StandadScaler")], "StandardScaler"),
        ("StandardScaler", "a list"),
        ([], "a list"),
        ([3], "no estimator"),
        ([{"class": "SGDClassifier", "params": {"alhpa": 1}}], "alhpa"),
    ],
)
def test_steps_that_are_wrong(drive, steps, told):
    with pytest.raises(ModelConfigError, match=told):
        drive.make("sklearn/Pipeline", {"steps": steps})


def test_estimators_inside_estimators_can_be_described(drive):
    inner = {"class": "SGDClassifier", "params": {"alpha": 0.3}}
    handle = drive.make("sklearn/OneVsRestClassifier", {"estimator": inner})
    assert handle.model.estimator.estimator.alpha == 0.3


def test_a_missing_parameter_is_named(drive):
    with pytest.raises(ModelConfigError, match="estimator"):
        drive.make("sklearn/OneVsRestClassifier")


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("SGDClassifier", {"early_stopping": True}, "early_stopping"),
        ("SGDClassifier", {"class_weight": "balanced"}, "class_weight"),
        ("MLPClassifier", {"early_stopping": True}, "early_stopping"),
        ("Pipeline", {"steps": ["StandardScaler", "SGDClassifier"],
                      "sgdclassifier__early_stopping": True}, "sgdclassifier__early_stopping"),
    ],
)  # fmt: skip
def test_what_partial_fit_would_refuse_is_found_when_it_is_built(drive, name, config, told):
    with pytest.raises(ModelConfigError, match=f"{told}.*strategy='collect'"):
        drive.make(f"sklearn/{name}", config)
    assert (
        "fits once" in drive.make(f"sklearn/{name}", {**config, "strategy": "collect"}).describe()
    )


def test_an_estimator_that_cannot_learn_batch_by_batch_says_so(drive):
    with pytest.raises(ModelConfigError, match=r"has no partial_fit.*collect"):
        drive.make("sklearn/RandomForestClassifier", {"strategy": "partial"})
    with pytest.raises(ModelConfigError, match=r"its step 'clf'.*no partial_fit"):
        steps = [("scaler", "StandardScaler"), ("clf", "SVC")]
        drive.make("sklearn/Pipeline", {"steps": steps, "strategy": "partial"})


def test_a_model_that_is_yet_to_be_made_says_when_it_is_fitted():
    forest = get_model_class("sklearn/RandomForestClassifier")
    assert "the run's last epoch" in forest.describe_unbuilt({})
    assert "every epoch" in forest.describe_unbuilt({"fit_at": "epoch"})
    assert forest.describe_unbuilt({"fit_at": object()}) == ""
    assert get_model_class("sklearn/SGDClassifier").describe_unbuilt({}) == ""
