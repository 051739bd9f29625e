"""Names, adapted objects, the missing library, and what stays of the library's settings."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import xgboost as xgb

from batchloom import C
from batchloom.errors import ModelConfigError, ModelNotFoundError
from batchloom.models import get_model_class, list_models
from batchloom.models.spec import ModelSpec
from batchloom_xgboost.adapter import adapt


def run(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )


def test_names_are_listed_without_the_library():
    ended = run(
        """
        import sys
        from batchloom.models import list_models
        print(*list_models("xgboost"))
        assert "xgboost" not in sys.modules and "scipy" not in sys.modules
        """
    )
    assert ended.returncode == 0, ended.stderr
    names = "Booster XGBClassifier XGBRFClassifier XGBRFRegressor XGBRanker XGBRegressor"
    assert ended.stdout.split() == [f"xgboost/{name}" for name in names.split()]


def test_without_the_library_the_error_names_both_packages():
    ended = run(
        """
        import sys
        sys.modules["xgboost"] = None
        from batchloom.models import get_model_class
        try:
            get_model_class("xgboost/XGBClassifier")
        except ImportError as exc:
            print(exc, exc.__cause__)
        """
    )
    assert "pip install xgboost " in ended.stdout
    assert "pip install xgboost-cpu" in ended.stdout


def test_names_that_are_not_there():
    with pytest.raises(ModelNotFoundError, match="did you mean 'xgboost/XGBClassifier'"):
        get_model_class("xgboost/XGBClasifier")


@pytest.mark.parametrize("name", list_models("xgboost"))
def test_every_config_key_that_is_described_is_taken(name):
    model_class = get_model_class(name)
    described = model_class.describe_config()
    assert {"strategy", "eval_fraction", "early_stopping_rounds"} <= set(described)
    assert ("max_depth" in described) == (name != "xgboost/Booster")
    ModelSpec.resolve(name, None, described).make(pipeline=None)


@pytest.mark.parametrize(
    "estimator",
    [
        xgb.XGBRegressor(n_estimators=3, max_depth=2),
        xgb.XGBRegressor(n_estimators=3, eta=0.1, missing=-1.0),
        xgb.XGBRFRegressor(n_estimators=3, random_state=np.random.RandomState(3)),
    ],
)
def test_an_unfitted_estimator(binary, driving, estimator):
    x, y = binary
    handle, _ = driving.drive(estimator, driving.batches(100, x=x, y=y))
    assert handle.name == type(estimator).__name__
    if isinstance(estimator, xgb.XGBRFRegressor):
        estimator = xgb.XGBRFRegressor(n_estimators=3, random_state=np.random.RandomState(3))
    assert np.array_equal(handle.predict((), {"x": x}), estimator.fit(x, y).predict(x))


def test_a_class_of_the_library(binary, driving):
    x, y = binary
    handle, _ = driving.drive(
        xgb.XGBClassifier, driving.batches(100, x=x, y=y), {"n_estimators": 2}
    )
    assert handle.registered_name == "xgboost/XGBClassifier"
    assert handle.model.booster.num_boosted_rounds() == 2


def test_a_fitted_estimator_brings_its_trees(frame_of_categories, tmp_path):
    from batchloom.models import load_model

    x, y = frame_of_categories
    estimator = xgb.XGBClassifier(n_estimators=3, enable_categorical=True).fit(x, y)
    handle = ModelSpec.resolve(estimator).make(pipeline=None)
    expected = estimator.predict_proba(x)
    assert np.array_equal(handle.predict((), {"x": x, "output": "proba"}), expected)
    turned = x.assign(c=x["c"].cat.reorder_categories(["z", "y", "x"]))
    assert np.array_equal(handle.predict((), {"x": turned, "output": "proba"}), expected)
    handle.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert np.array_equal(loaded.predict(x=turned, output="proba"), expected)
    assert np.array_equal(estimator.predict_proba(x), expected)  # ours is a copy


@pytest.fixture
def frame_of_categories():
    import pandas as pd

    random = np.random.default_rng(0)
    c = random.choice(["x", "y", "z"], 400)
    frame = pd.DataFrame({"c": pd.Categorical(c), "n": random.normal(size=400)})
    return frame, ((c == "y") ^ (frame["n"] > 0)).astype(int)


def test_a_fitted_booster(binary, driving):
    x, y = binary
    booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(x, y), 3)
    handle = ModelSpec.resolve(booster, "old").make(pipeline=None)
    assert np.array_equal(handle.predict((), {"x": x}), booster.predict(xgb.DMatrix(x)))
    with pytest.raises(ModelConfigError, match="not been trained"):
        ModelSpec.resolve(xgb.Booster()).make(pipeline=None)


def test_a_subclass_is_refused():
    class Mine(xgb.XGBClassifier):
        def fit(self, *args, **kwargs):
            raise AssertionError("never called")

    # Where the scikit-learn backend is installed as well, that one takes it and calls its fit.
    with pytest.raises(TypeError, match="Mine"):
        adapt(Mine())


def test_settings_of_the_library_hold_in_other_threads(binary, driving):
    x, y = binary
    seen = []

    class Look(xgb.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            seen.append(xgb.get_config()["verbosity"])
            return False

    config = {"n_estimators": 1, "callbacks": [Look()]}
    with xgb.config_context(verbosity=0):
        spec = ModelSpec.resolve("xgboost/XGBClassifier", None, config)
    handle = spec.make(pipeline=None)
    thread = threading.Thread(target=driving.train, args=(handle, [{"x": x, "y": y}]))
    thread.start()
    thread.join()
    assert seen == [0]


def test_a_class_says_when_it_will_be_trained():
    trees = get_model_class("xgboost/XGBClassifier")
    assert "the run's last epoch" in trees.describe_unbuilt({})
    assert "every epoch" in trees.describe_unbuilt({"fit_at": "epoch"})
    assert trees.describe_unbuilt({"strategy": C.strategy}) == ""


def test_an_estimator_that_was_stopped_early_is_there_to_predict(binary):
    x, y = binary
    estimator = xgb.XGBClassifier(n_estimators=20, early_stopping_rounds=2)
    estimator.fit(x[:2000], y[:2000], eval_set=[(x[2000:], y[2000:])], verbose=False)
    handle = ModelSpec.resolve(estimator, "old").make(pipeline=None)
    assert handle.model.best_iteration == estimator.best_iteration
    assert np.array_equal(handle.predict((), {"x": x}), estimator.predict(x))
    with pytest.raises(ModelConfigError, match="eval_fraction or eval_set"):
        handle.train((), {"x": x, "y": y})
