"""Saving and loading: what comes back, what is refused, and that no file runs code unasked."""

from __future__ import annotations

import os
import sys
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import Birch
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from batchloom.errors import ModelConfigError, SaveError, UnsafeFileError
from batchloom.models import load_model
from batchloom_sklearn import files


class Payload:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


class Halve(TransformerMixin, BaseEstimator):
    """A transformer of another package; named in full it is this module's."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X / 2


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("SGDClassifier", {"loss": "log_loss", "average": True}),
        ("MLPClassifier", {"hidden_layer_sizes": (7,)}),
        ("GaussianNB", {}),
        ("Pipeline", {"steps": [("scale", "StandardScaler"), ("clf", "SGDClassifier")]}),
    ],
)
def test_training_goes_on_after_loading_to_the_bit(drive, tmp_path, digits, name, config):
    x, y = digits
    whole = drive.make(f"sklearn/{name}", config)
    halved = drive.make(f"sklearn/{name}", config)
    for handle in (whole, halved):
        drive.train(handle, x[:600], y[:600])
    halved.save(tmp_path / "model")
    config = {"load": True, "path": tmp_path / "model"}
    loaded = drive.make(f"sklearn/{name}", config)
    for handle in (whole, loaded):
        handle.begin_run(drive.run_info())  # the classes are in the file
        for part in drive.batches(300, 50):
            handle.train((), {"x": x[600:][part], "y": y[600:][part]})
    output = "decision" if name == "Pipeline" else "proba"
    np.testing.assert_array_equal(
        drive.predict(whole, x, output=output), drive.predict(loaded, x, output=output)
    )


def test_a_loaded_model_refuses_the_labels_that_it_refused_before(drive, tmp_path, iris):
    x, y = iris
    handle = drive.make("sklearn/GaussianNB")
    drive.train(handle, x[y < 2], y[y < 2])
    handle.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    with pytest.raises(ValueError, match=r"\[2\].*trained on before"):
        loaded.train(x, y)


def test_an_object_comes_back_without_its_config(drive, tmp_path, iris):
    handle = drive.make(LogisticRegression(max_iter=5000), {"C": 0.5})
    drive.train(handle, *iris)
    handle.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.registered_name == "sklearn/Estimator" and loaded.estimator.C == 0.5
    np.testing.assert_array_equal(loaded.predict(iris[0]), drive.predict(handle, iris[0]))


def test_a_file_of_another_estimator(drive, tmp_path, iris):
    handle = drive.make("sklearn/GaussianNB")
    drive.train(handle, *iris)
    handle.save(tmp_path / "model")
    with pytest.raises(Exception, match="GaussianNB"):
        drive.make("sklearn/SGDClassifier", {"load": True, "path": tmp_path / "model"})


def test_parameters_beside_load_that_contradict_the_file(drive, tmp_path, iris):
    handle = drive.make("sklearn/SGDClassifier", {"alpha": 0.1})
    drive.train(handle, *iris)
    handle.save(tmp_path / "model")
    config = {"load": True, "path": tmp_path / "model"}
    assert (
        drive.make("sklearn/SGDClassifier", {**config, "alpha": 0.1}).model.estimator.alpha == 0.1
    )
    with pytest.raises(ModelConfigError, match=r"alpha=0.5.*alpha=0.1"):
        drive.make("sklearn/SGDClassifier", {**config, "alpha": 0.5})


def test_an_unknown_format(drive, tmp_path, iris):
    handle = drive.make("sklearn/GaussianNB")
    drive.train(handle, *iris)
    with pytest.raises(ModelConfigError, match="'skops'"):
        handle.save(tmp_path / "model", format="skop")


def local_function():
    def half(x):
        return x / 2

    return half


class InMain(Halve):
    pass


InMain.__module__ = "__main__"


@pytest.mark.parametrize(
    "strange", [FunctionTransformer(lambda x: x), FunctionTransformer(local_function()), InMain()]
)
def test_what_could_never_be_loaded_is_refused_when_it_is_saved(drive, tmp_path, iris, strange):
    handle = drive.make(make_pipeline(strange, RandomForestClassifier(n_estimators=2)))
    drive.train(handle, *iris)
    with pytest.raises(SaveError, match=r"format='joblib'.*allow_pickle=True"):
        handle.save(tmp_path / "model", trusted=["__main__.InMain"])
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_pickled_either(drive, tmp_path, iris):
    handle = drive.make(make_pipeline(FunctionTransformer(lambda x: x), RandomForestClassifier()))
    drive.train(handle, *iris)
    with pytest.raises(SaveError, match="cannot be pickled either"):
        handle.save(tmp_path / "model", format="joblib")


def test_what_skops_cannot_write(drive, tmp_path, iris):
    handle = drive.make(Birch(n_clusters=3))
    drive.train(handle, iris[0])
    with pytest.raises(SaveError, match=r"Birch.*format='joblib'"):
        handle.save(tmp_path / "model")
    handle.save(tmp_path / "model", format="joblib")
    loaded = load_model(tmp_path / "model", allow_pickle=True)
    np.testing.assert_array_equal(loaded.predict(iris[0]), drive.predict(handle, iris[0]))


def test_a_pickle_is_loaded_only_for_those_who_ask(drive, tmp_path, iris):
    handle = drive.make(SGDClassifier())
    drive.train(handle, *iris)
    handle.model.estimator.surprise_ = Payload(tmp_path / "mark")
    handle.save(tmp_path / "model", format="joblib")
    with pytest.raises(UnsafeFileError, match="allow_pickle=True"):
        load_model(tmp_path / "model")
    assert not (tmp_path / "mark").exists()
    load_model(tmp_path / "model", allow_pickle=True)
    assert (tmp_path / "mark").exists()


def test_a_pickle_in_the_place_of_a_skops_file_is_not_run(tmp_path):
    joblib.dump(Payload(tmp_path / "mark"), tmp_path / files.FORMATS["skops"])
    with pytest.raises(Exception, match="zip"):
        files.load(tmp_path, allow_pickle=False, trusted=())
    assert not (tmp_path / "mark").exists()


def test_types_of_other_packages_are_vouched_for_twice(drive, tmp_path, iris, monkeypatch):
    monkeypatch.setitem(sys.modules, "acme_scaling", sys.modules[__name__])
    monkeypatch.setattr(Halve, "__module__", "acme_scaling")
    handle = drive.make(make_pipeline(Halve(), RandomForestClassifier(n_estimators=2)))
    drive.train(handle, *iris)
    with pytest.raises(SaveError, match=r"trusted=\['acme_scaling.Halve'\]"):
        handle.save(tmp_path / "model")
    handle.save(tmp_path / "model", trusted=["acme_scaling.Halve"])
    with pytest.raises(UnsafeFileError, match=r"acme_scaling.Halve"):
        load_model(tmp_path / "model")
    loaded = load_model(tmp_path / "model", trusted=["acme_scaling.Halve"])
    np.testing.assert_array_equal(loaded.predict(iris[0]), drive.predict(handle, iris[0]))


@pytest.mark.parametrize("file_format", ["skops", "joblib"])
def test_another_version_is_reported_once(drive, tmp_path, iris, monkeypatch, file_format):
    handle = drive.make("sklearn/RandomForestClassifier", {"n_estimators": 5})
    drive.train(handle, *iris)
    with monkeypatch.context() as older:
        older.setattr("sklearn.base.__version__", "1.7.2")
        handle.save(tmp_path / "model", format=file_format)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_model(tmp_path / "model", allow_pickle=True)
    told = [each for each in caught if "1.7.2" in str(each.message)]
    assert len(told) == 1 and not issubclass(told[0].category, InconsistentVersionWarning)


def test_a_model_that_gathers_comes_back_as_it_was_fitted(drive, tmp_path, iris):
    x, y = iris
    handle = drive.make("sklearn/RandomForestClassifier", {"n_estimators": 2, "fit_at": "epoch"})
    drive.train(handle, x, y)
    handle.train((), {"x": x, "y": y})
    handle.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert "every epoch" in loaded._describe()
    np.testing.assert_array_equal(loaded.predict(x), drive.predict(handle, x))
