"""What output= gives back, from training and from predicting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import linear_model, metrics
from sklearn.base import clone

from batchloom.errors import ModelInputError, UnknownNameError
from batchloom_sklearn.metrics import get_metric

METHODS = {"predict": "predict", "proba": "predict_proba", "log_proba": "predict_log_proba",
           "decision": "decision_function"}  # fmt: skip


def trained(drive, data, name, **config):
    handle = drive.make(f"sklearn/{name}", config)
    drive.train(handle, *data)
    return handle


@pytest.mark.parametrize("output", METHODS)
def test_predictions_by_their_short_names(drive, iris, output):
    name = "GaussianNB" if output == "log_proba" else "SGDClassifier"
    handle = trained(drive, iris, name, **({} if name == "GaussianNB" else {"loss": "log_loss"}))
    theirs = getattr(handle.model.estimator, METHODS[output])(iris[0])
    np.testing.assert_array_equal(drive.predict(handle, iris[0], output=output), theirs)


def test_the_default_is_predict_and_of_transformers_transform(drive, iris):
    x = iris[0]
    classifier = trained(drive, iris, "GaussianNB")
    np.testing.assert_array_equal(
        drive.predict(classifier, x), classifier.model.estimator.predict(x)
    )
    scaler = drive.make("sklearn/StandardScaler")
    drive.train(scaler, x)
    np.testing.assert_array_equal(drive.predict(scaler, x), scaler.model.estimator.transform(x))


def test_several_outputs_keep_their_structure(drive, iris):
    x, y = iris
    handle = trained(drive, iris, "SGDClassifier", loss="log_loss")
    pair = drive.predict(handle, x, output=["predict", "proba"])
    assert isinstance(pair, list) and pair[1].shape == (150, 3)
    assert isinstance(drive.predict(handle, x, output=("predict",)), tuple)
    named = drive.predict(handle, x, y=y, output={"how good": "score", "raw": ["decision"]})
    assert set(named) == {"how good", "raw"} and named["raw"][0].shape == (150, 3)


def test_clusters_and_densities(drive, iris):
    x = iris[0]
    clusters = drive.make("sklearn/MiniBatchKMeans", {"n_clusters": 3, "n_init": 1})
    drive.train(clusters, x)
    assert drive.predict(clusters, x, output="transform").shape == (150, 3)
    assert drive.predict(clusters, x, output="score") == clusters.model.estimator.score(x)
    density = drive.make("sklearn/KernelDensity")
    drive.train(density, x)
    assert drive.predict(density, x, output="score_samples").shape == (150,)


def test_values_are_those_before_the_update(drive, digits):
    x, y = digits[0][:600], digits[1][:600]
    handle = drive.make("sklearn/SGDClassifier", {"loss": "log_loss"})
    outputs = drive.train(handle, x, y, size=100, output=["loss", "score", "accuracy", "predict"])
    theirs = clone(handle.model.estimator)
    for number, part in enumerate(drive.batches(600, 100)):
        loss, score, accuracy, predictions = outputs[number]
        if number == 0:
            assert np.isnan([loss, score, accuracy]).all() and predictions is None
        else:
            proba = theirs.predict_proba(x[part])
            assert loss == pytest.approx(metrics.log_loss(y[part], proba, labels=theirs.classes_))
            assert score == accuracy == theirs.score(x[part], y[part])
            np.testing.assert_array_equal(predictions, theirs.predict(x[part]))
        theirs.partial_fit(x[part], y[part], classes=np.arange(10))


def test_without_output_nothing_comes_back(drive, iris):
    assert drive.train(drive.make("sklearn/SGDClassifier"), *iris) == []


def test_asking_for_values_does_not_change_what_is_learned(drive, digits):
    models = [drive.make("sklearn/SGDClassifier") for _ in range(2)]
    drive.train(models[0], *digits, output=["loss", "score", "predict"])
    drive.train(models[1], *digits)
    np.testing.assert_array_equal(*[each.model.estimator.coef_ for each in models])


def ovr_margins(estimator, x, y):
    decision = estimator.decision_function(x)
    return decision * np.where(estimator.classes_ == y[:, None], 1, -1)


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("hinge", lambda z: np.maximum(0, 1 - z)),
        ("squared_hinge", lambda z: np.maximum(0, 1 - z) ** 2),
        ("perceptron", lambda z: np.maximum(0, -z)),
        ("modified_huber", lambda z: np.where(z >= 1, 0, np.where(z >= -1, (1 - z) ** 2, -4 * z))),
    ],
)
def test_losses_of_the_margin(drive, iris, loss, formula):
    x, y = iris
    handle = trained(drive, iris, "SGDClassifier", loss=loss)
    expected = formula(ovr_margins(handle.model.estimator, x, y)).sum(axis=1)
    assert drive.predict(handle, x, y=y, output="loss") == pytest.approx(expected.mean())
    weights = np.linspace(0, 2, 150)
    weighted = drive.predict(handle, x, y=y, sample_weight=weights, output="loss")
    assert weighted == pytest.approx(np.average(expected, weights=weights))


def test_the_hinge_of_two_classes_is_scikit_learns(drive, cancer):
    x, y = cancer
    handle = trained(drive, cancer, "SGDClassifier")
    expected = metrics.hinge_loss(y, handle.model.estimator.decision_function(x))
    assert drive.predict(handle, x, y=y, output="loss") == pytest.approx(expected)


@pytest.mark.parametrize("name", ["GaussianNB", "MLPClassifier", "LogisticRegression", "SVC"])
def test_log_loss_of_probabilities(drive, iris, name):
    config = {"max_iter": 2000} if name == "LogisticRegression" else {}
    handle = trained(drive, iris, name, **config)
    if name == "SVC":  # it has no probabilities, and no loss that can be computed
        with pytest.raises(UnknownNameError, match="'loss' of SVC"):
            drive.predict(handle, iris[0], y=iris[1], output="loss")
        return
    expected = metrics.log_loss(iris[1], drive.predict(handle, iris[0], output="proba"))
    got = drive.predict(handle, iris[0], y=iris[1], output="loss")
    assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
)
def test_losses_of_regressors(drive, diabetes, loss):
    x, y = diabetes
    handle = trained(drive, (x, y), "SGDRegressor", loss=loss, epsilon=30.0)
    r = np.abs(y - handle.model.estimator.predict(x))
    expected = {
        "squared_error": r**2,
        "huber": np.where(r < 30, r**2 / 2, 30 * r - 450),
        "epsilon_insensitive": np.maximum(0, r - 30),
        "squared_epsilon_insensitive": np.maximum(0, r - 30) ** 2,
    }[loss].mean()
    assert drive.predict(handle, x, y=y, output="loss") == pytest.approx(expected)
    forest = trained(drive, diabetes, "LinearRegression")
    theirs = metrics.mean_squared_error(y, forest.model.estimator.predict(x))
    assert drive.predict(forest, x, y=y, output="loss") == pytest.approx(theirs)


def test_the_loss_of_a_pipeline_is_that_of_its_last_step(drive, cancer):
    x, y = cancer
    handle = trained(drive, cancer, "Pipeline", steps=["StandardScaler", "GaussianNB"])
    expected = metrics.log_loss(y, drive.predict(handle, x, output="proba"))
    assert drive.predict(handle, x, y=y, output="loss") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "output", "told"),
    [
        ("SGDClassifier", "probba", "'proba'"),
        ("SGDClassifier", "proba", "probability estimates are not available for loss='hinge'"),
        ("SGDClassifier", "acuracy", "'accuracy'"),
        ("StandardScaler", "predict", "transform"),
        ("SGDClassifier", ["score", "los"], "'loss'"),
        ("MiniBatchKMeans", "loss", "'loss' of MiniBatchKMeans"),
    ],
)
def test_outputs_that_there_are_not_are_refused_before_the_update(drive, iris, name, output, told):
    handle = drive.make(f"sklearn/{name}")
    with pytest.raises(UnknownNameError, match=told):
        drive.train(handle, *iris, output=output)
    assert not hasattr(handle.model.estimator, "n_features_in_")


@pytest.mark.parametrize("output", ["score", "loss", "accuracy"])
def test_values_that_compare_need_targets(drive, iris, output):
    handle = trained(drive, iris, "GaussianNB")
    with pytest.raises(ModelInputError, match="y="):
        drive.predict(handle, iris[0], output=output)


def test_estimators_that_tell_only_of_the_rows_they_were_fitted_on(drive, iris):
    handle = drive.make("sklearn/DBSCAN")
    drive.train(handle, iris[0])
    with pytest.raises(UnknownNameError, match="labels_"):
        drive.predict(handle, iris[0])
    assert len(handle.model.estimator.labels_) == 150


def test_metrics_by_name():
    assert get_metric("accuracy") is get_metric("accuracy_score") is metrics.accuracy_score
    assert get_metric("mean_squared_error") is metrics.mean_squared_error
    assert get_metric("adjusted_rand") is metrics.adjusted_rand_score
    for name in ("acuracy", "ConfusionMatrixDisplay", "make_scorer", "silhouette_score"):
        with pytest.raises(LookupError):
            get_metric(name)
    with pytest.raises(LookupError, match="'accuracy'"):
        get_metric("acuracy")


def test_metrics_reach_core():
    from batchloom.models.metrics import get_metric as of_core

    assert of_core("accuracy") is metrics.accuracy_score


def test_estimators_have_the_outputs_of_their_class(drive, diabetes):
    handle = trained(drive, diabetes, "SGDRegressor")
    theirs = linear_model.SGDRegressor.score(handle.model.estimator, *diabetes)
    got = drive.predict(handle, diabetes[0], y=diabetes[1], output=["score", "r2"])
    assert got == [theirs, theirs]
