"""What XGBoost lets pass in silence, and what would only show after the night: refused at the batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from batchloom.errors import (
    ModelConfigError,
    ModelInputError,
    ModelNotBuiltError,
    UnknownNameError,
)
from batchloom.models import RunInfo
from batchloom.models.spec import ModelSpec

BOTH = pytest.mark.parametrize("strategy", ["collect", "continue"])


def begun(model="xgboost/XGBRegressor", **config):
    handle = ModelSpec.resolve(model, "gbm", config).make(pipeline=None)
    handle.begin_run(RunInfo())
    return handle


def batch(n=20, columns=3, **more):
    x = np.random.default_rng(n).normal(size=(n, columns))
    return {"x": x, "y": (x[:, 0] > 0).astype(int), **more}


@BOTH
@pytest.mark.parametrize("argument", ["y", "sample_weight", "base_margin"])
def test_a_later_batch_lacks_what_the_first_had(strategy, argument):
    handle = begun(strategy=strategy)
    first = batch(sample_weight=np.ones(20), base_margin=np.zeros(20))
    handle.train((), first)
    later = {name: value for name, value in first.items() if name != argument}
    with pytest.raises(ModelInputError, match=argument) as caught:
        handle.train((), later)
    assert "model 'gbm' (xgboost/XGBRegressor)" in caught.value.__notes__
    handle.abandon_run()


@BOTH
def test_a_later_batch_brings_what_the_first_had_not(strategy):
    handle = begun(strategy=strategy)
    handle.train((), batch())
    with pytest.raises(ModelInputError, match="with sample_weight, which the first batch had not"):
        handle.train((), batch(sample_weight=np.ones(20)))


@BOTH
def test_number_of_columns(strategy):
    handle = begun(strategy=strategy)
    handle.train((), batch())
    with pytest.raises(ModelInputError, match="4 columns, and the first batch had 3"):
        handle.train((), batch(columns=4))
    handle.end_epoch(0, True)
    with pytest.raises(ModelInputError, match="2 columns"):
        handle.predict((), {"x": np.zeros((1, 2))})


@BOTH
def test_order_of_named_columns(strategy):
    handle = begun(strategy=strategy)
    given = batch()
    frame = pd.DataFrame(given["x"], columns=["a", "b", "c"])
    handle.train((), {**given, "x": frame})
    swapped = frame[["b", "a", "c"]]
    with pytest.raises(ModelInputError, match="the same columns in another order"):
        handle.train((), {**given, "x": swapped})
    handle.end_epoch(0, True)
    for x, match in (
        (swapped, "another order"),
        (frame.rename(columns={"b": "z"}), "columns lost: b; new: z"),
        (frame.to_numpy(), "without names"),
    ):
        with pytest.raises(ModelInputError, match=match):
            handle.predict((), {"x": x})


@BOTH
def test_no_rows(strategy):
    with pytest.raises(ModelInputError, match="no rows"):
        begun(strategy=strategy).train((), batch(n=0))


@pytest.mark.parametrize(
    ("config", "y", "match"),
    [
        ({"objective": "multi:softprob", "num_class": 3}, [0, 1, 3], "3 at row 2.*from 0 to 2"),
        ({"objective": "multi:softprob", "num_class": 3}, [0, 1.5, 1], "whole numbers"),
        ({"objective": "binary:logistic"}, [0, 2, 1], "from 0 to 1"),
        ({"objective": "count:poisson"}, [0, -1, 1], "-1 at row 1"),
        ({}, [0, np.nan, 1], "nan at row 1"),
        ({}, [0, 1], "x has 3 rows"),
        ({}, ["a", "b", "c"], "not of numbers"),
    ],
)
def test_labels_out_of_range_for_a_booster(config, y, match):
    handle = begun("xgboost/Booster", **config)
    with pytest.raises(ModelInputError, match=f"y: .*{match}"):
        handle.train((), {"x": np.zeros((3, 2)), "y": np.array(y)})


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\)"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.array([["1", "2"]] * 3), "not of numbers"),
        (np.array([[1, None]] * 3), "not of numbers"),
        (np.array([[1.0, np.inf]] * 3), "infinite"),
        (np.array([[1.0, 1e300]] * 3), "float32 cannot hold"),
        (pd.DataFrame({"when": pd.to_datetime(["2020-01-01"] * 3)}), "column 'when'"),
        (pd.DataFrame({"word": ["a", "b", "c"]}), r"column 'word'.*astype"),
        (pd.DataFrame({"a[0]": [1, 2, 3]}), r"no column names with"),
    ],
)
def test_features_that_are_no_numbers(x, match):
    with pytest.raises(ModelInputError, match=f"x: .*{match}"):
        begun().train((), {"x": x, "y": np.arange(3)})


@pytest.mark.parametrize(
    ("weight", "match"),
    [([1, 1, -1], "negative at row 2"), ([1, np.nan, 1], "nan at row 1"), ([1], "x has 3 rows")],
)
def test_weights(weight, match):
    given = {"x": np.zeros((3, 2)), "y": np.arange(3), "sample_weight": np.array(weight)}
    with pytest.raises(ModelInputError, match=f"sample_weight: .*{match}"):
        begun().train((), given)


@pytest.mark.parametrize(
    ("model", "config", "match"),
    [
        ("XGBClassifier", {"max_dpth": 3}, "'max_dpth': did you mean 'max_depth'"),
        ("XGBClassifier", {"startegy": "collect"}, "'startegy': did you mean 'strategy'"),
        ("XGBClassifier", {"n_estimater": 3}, "did you mean 'n_estimators'"),
        ("Booster", {"params": {"lamda": 1}}, "did you mean 'lambda'"),
        ("Booster", {"params": {"eta": 1}, "eta": 2}, "eta given twice"),
        ("Booster", {"n_estimators": 5}, "'n_estimators'"),
        ("XGBRegressor", {"booster": "gblinear", "max_depth": 3}, "'max_depth'"),
        ("XGBRegressor", {"max_depth": "deep"}, "refuses.*max_depth"),
        ("XGBRegressor", {"objective": "binary:logistik"}, "did you mean 'binary:logistic'"),
        ("XGBRegressor", {"eval_metric": "logloss2"}, "logloss2"),
        ("XGBRegressor", {"n_estimators": 0}, "n_estimators=0"),
        ("XGBRegressor", {"strategy": "partial"}, "'collect', 'continue'"),
        ("XGBRegressor", {"rounds_per_batch": 3}, "does nothing with strategy='collect'"),
        ("XGBRegressor", {"strategy": "continue", "spool": True}, "spool does nothing"),
        ("XGBRegressor", {"early_stopping_rounds": 3}, "eval_fraction or eval_set"),
        ("XGBRegressor", {"eval_fraction": 1.5}, "between 0 and 1"),
        ("XGBRegressor", {"eval_set": np.zeros(3)}, "eval_set: give"),
        ("XGBRFRegressor", {"strategy": "continue"}, "random forest"),
        ("XGBRegressor", {"warm_start": "no"}, "warm_start='no' is neither True nor False"),
        ("XGBRegressor", {"spool": 1}, "spool=1 is neither True, False nor a folder"),
        ("XGBRegressor", {"eta": 0.1, "learning_rate": 0.2}, "eta=0.1 and learning_rate=0.2"),
        ("Booster", {"seed": 1, "params": {"random_state": 2}}, "values of one parameter"),
    ],
)
def test_configs_that_cannot_be_meant(model, config, match):
    with pytest.raises(ModelConfigError, match=match) as caught:
        ModelSpec.resolve(f"xgboost/{model}", None, config).make(pipeline=None)
    assert model in caught.value.__notes__[0]


@BOTH
def test_an_unknown_output_of_train_is_refused_before_any_work(strategy):
    handle = begun("xgboost/XGBClassifier", strategy=strategy, classes=[0, 1])
    with pytest.raises(UnknownNameError, match="did you mean 'loss'"):
        handle.train((), batch(output="los"))


def test_labels_of_a_classifier():
    handle = begun("xgboost/XGBClassifier", classes=["a", "b"])
    x = np.zeros((2, 2))
    with pytest.raises(ModelInputError, match=r"labels \['c'\] are none of \['a', 'b'\]"):
        handle.train((), {"x": x, "y": np.array(["a", "c"])})
    with pytest.raises(ModelInputError, match="labels of the types"):
        begun("xgboost/XGBClassifier").train((), {"x": x, "y": np.array(["a", None])})
    handle = begun("xgboost/XGBClassifier")
    handle.train((), {"x": x, "y": np.array(["a", "a"])})
    with pytest.raises(ModelInputError, match="two classes at least"):
        handle.end_epoch(0, True)


def test_parameters_without_effect_on_the_classes_found(binary):
    x, y = binary
    handle = begun("xgboost/XGBClassifier", scale_pos_weight=2)
    handle.train((), {"x": x, "y": y + (x[:, 2] > 1)})
    with pytest.raises(ModelConfigError, match="scale_pos_weight"):
        handle.end_epoch(0, True)


def test_predicting_before_the_end_says_what_is_waited_for():
    handle = begun()
    handle.train((), batch())
    with pytest.raises(ModelNotBuiltError, match="20 rows wait for the end of the epoch"):
        handle.predict((), {"x": np.zeros((1, 3))})
    with pytest.raises(ModelNotBuiltError, match="not been trained"):
        handle.save("model.blm")


@BOTH
@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"monotone_constraints": {"agee": 1}}, "'agee', and x has no such column.*'age'"),
        ({"monotone_constraints": (1, 0, 0, 0)}, "4 entries, and x 3 columns"),
        ({"interaction_constraints": [["age", "weight"]]}, "'weight', and x has no such column"),
        ({"feature_weights": [1, 2], "colsample_bynode": 0.5}, "2 entries, and x 3 columns"),
    ],
)
def test_parameters_of_columns_that_are_not_there(strategy, config, match):
    given = batch()
    given["x"] = pd.DataFrame(given["x"], columns=["age", "height", "sex"])
    handle = begun(strategy=strategy, **config)
    with pytest.raises(ModelConfigError, match=match):
        handle.train((), given)


def test_columns_without_names_cannot_be_named():
    handle = begun(interaction_constraints=[[0, 1]])
    with pytest.raises(ModelConfigError, match="x has no names: give a string of numbers"):
        handle.train((), batch())


def test_a_number_of_classes_that_is_not_that_of_the_labels():
    config = {"objective": "multi:softprob", "num_class": 4}
    handle = begun("xgboost/XGBClassifier", **config)
    handle.train((), batch())
    with pytest.raises(ModelInputError, match="2 classes, and num_class=4. Leave num_class out"):
        handle.end_epoch(0, True)
    with pytest.raises(ModelInputError, match="2 classes, and num_class=4"):
        continuing = begun("xgboost/XGBClassifier", strategy="continue", classes=[0, 1], **config)
        continuing.train((), batch())
    agreed = begun("xgboost/XGBClassifier", **{**config, "num_class": 2}, n_estimators=1)
    agreed.train((), batch())
    agreed.end_epoch(0, True)
    assert agreed.predict((), {"x": batch()["x"], "output": "proba"}).shape == (20, 2)


@pytest.mark.parametrize("output", [None, 3, ["proba", 3]])
def test_an_output_that_is_no_name(output):
    handle = begun()
    with pytest.raises(ModelInputError, match="is no name"):
        handle.predict((), {"x": batch()["x"], "output": output})


@BOTH
@pytest.mark.parametrize(("low", "high"), [(-1, 2), (3, 2)])
def test_bounds_that_are_no_span(strategy, low, high):
    handle = begun("xgboost/Booster", objective="survival:aft", strategy=strategy)
    x, lower, upper = np.zeros((3, 2)), np.array([1, low, 1]), np.array([np.inf, high, 1])
    with pytest.raises(ModelInputError, match=f"label_lower_bound: {low} at row 1.*{high}"):
        handle.train((), {"x": x, "label_lower_bound": lower, "label_upper_bound": upper})
