"""Names below sklearn/, and estimators and classes that stand in a name's place."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC
from sklearn.utils import all_estimators

from batchloom.errors import (
    ModelConfigError,
    ModelNotFoundError,
    ModelProtocolError,
    UnknownNameError,
)
from batchloom.models import get_model_class, list_models
from batchloom.models.metrics import get_metric
from batchloom.models.spec import ModelSpec
from batchloom_sklearn.catalogue import ESTIMATORS
from batchloom_sklearn.resolver import find_estimator, resolver


class Majority(ClassifierMixin, BaseEstimator):
    """A classifier of another package."""

    def __init__(self, bonus=0):
        self.bonus = bonus

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.winner_ = self.classes_[counts.argmax()]
        return self

    def predict(self, X):
        return np.full(len(X), self.winner_)


def test_every_public_estimator_is_in_the_catalogue():
    assert set(ESTIMATORS) == {name for name, _ in all_estimators()}


def test_every_name_gives_the_class_of_that_name():
    for name, estimator_class in all_estimators():
        assert find_estimator(name) is estimator_class
        assert find_estimator(f"{ESTIMATORS[name]}.{name}") is estimator_class


def test_names_are_listed_by_core():
    names = list_models("sklearn")
    assert "sklearn/SGDClassifier" in names and "sklearn/Estimator" in names
    assert set(resolver.names()) == {name.removeprefix("sklearn/") for name in names}


def test_listing_names_imports_no_scikit_learn():
    code = (
        "import sys; from batchloom_sklearn.resolver import resolver; import batchloom_sklearn.adapter; "
        "assert len(resolver.names()) > 200; print('sklearn' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["HalvingGridSearchCV", "IterativeImputer"])
def test_experimental_estimators_need_no_enabling(name):
    assert get_model_class(f"sklearn/{name}").estimator_class.__name__ == name


def test_a_name_gives_one_class_however_it_is_written():
    short = get_model_class("sklearn/SGDClassifier")
    assert get_model_class("sklearn/linear_model.SGDClassifier") is short
    assert short.registered_name == "sklearn/SGDClassifier"
    assert "alpha" in short.describe_config() and "strategy" in short.describe_config()
    assert "scikit-learn's SGDClassifier" in short.__doc__ and "``fit_at``" in short.__doc__


@pytest.mark.parametrize("name", ["SGDClasifier", "linear_model.SGDClasifier", "sgdclassifier"])
def test_an_unknown_name_gets_the_nearest(name):
    with pytest.raises(ModelNotFoundError, match="SGDClassifier"):
        get_model_class(f"sklearn/{name}")


@pytest.mark.parametrize(
    "name",
    ["BaseEstimator", "base.BaseEstimator", "_private.Thing", "linear_model.Ridge.fit", "KFold"],
)
def test_what_is_no_public_estimator_is_refused(name):
    with pytest.raises(LookupError):
        resolver(name)


def test_an_object_is_cloned(drive, iris):
    given = SGDClassifier(loss="log_loss", random_state=3)
    handle = drive.make(given)
    drive.train(handle, *iris)
    assert not hasattr(given, "coef_")
    assert handle.model.estimator.loss == "log_loss"
    assert handle.name == "SGDClassifier" and handle.registered_name == "sklearn/Estimator"


def test_a_fitted_object_keeps_what_it_learned_and_is_not_changed(drive, iris):
    x, y = iris
    given = SGDClassifier(random_state=3).fit(x[:100], y[:100])
    before = given.coef_.copy()
    handle = drive.make(given)
    np.testing.assert_array_equal(drive.predict(handle, x), given.predict(x))
    drive.train(handle, x, y)
    np.testing.assert_array_equal(given.coef_, before)
    assert not np.array_equal(handle.model.estimator.coef_, before)


def test_parameters_beside_an_object_are_set_on_the_copy(drive):
    given = SGDClassifier(alpha=0.5)
    assert drive.make(given, {"alpha": 0.25}).model.estimator.alpha == 0.25
    assert given.alpha == 0.5


def test_a_class_takes_its_parameters_from_the_config(drive):
    handle = drive.make(RandomForestClassifier, {"n_estimators": 3})
    assert handle.registered_name == "sklearn/RandomForestClassifier"
    assert handle.model.estimator.n_estimators == 3


@pytest.mark.parametrize("given", [Majority(bonus=2), Majority])
def test_estimators_of_other_packages(drive, iris, given):
    handle = drive.make(given, {"bonus": 2})
    drive.train(handle, *iris)
    assert handle.name == "Majority" and handle.model.estimator.bonus == 2
    assert set(drive.predict(handle, iris[0])) == {handle.model.estimator.winner_}


def test_the_name_estimator_takes_an_object(drive, iris):
    handle = drive.make("sklearn/Estimator", {"estimator": Majority()})
    drive.train(handle, *iris)
    assert len(drive.predict(handle, iris[0])) == 150


def test_a_parameter_called_estimator_belongs_to_the_estimator(drive):
    handle = drive.make(GridSearchCV(SVC(), {"C": [1.0]}))
    assert isinstance(handle.model.estimator, GridSearchCV)
    named = drive.make("sklearn/GridSearchCV", {"estimator": SVC(), "param_grid": {"C": [1.0]}})
    assert isinstance(named.model.estimator.estimator, SVC)


@pytest.mark.parametrize("config", [{}, {"estimator": 3}, {"estimator": None}])
def test_the_name_estimator_without_an_estimator(drive, config):
    with pytest.raises(ModelConfigError, match="estimator"):
        drive.make("sklearn/Estimator", config)


@pytest.mark.parametrize("ask", [lambda: ModelSpec.resolve(SVC()), lambda: get_metric("accuracy")])
def test_what_is_installed_and_switched_off_is_not_said_to_be_missing(monkeypatch, ask):
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", "sklearn")
    with pytest.raises((ModelProtocolError, UnknownNameError), match="switched off by 'sklearn'"):
        ask()
