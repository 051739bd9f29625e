"""Categories keep their codes, in whatever order a batch brings them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from batchloom.errors import ModelInputError

CONFIG = {"n_estimators": 10, "max_cat_to_onehot": 1}


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    letters = random.choice(list("abcdefgh"), 2000)
    x = pd.DataFrame({"letter": pd.Categorical(letters), "number": random.normal(size=2000)})
    return x, np.isin(letters, ["b", "e", "g"]).astype(int)


def reordered(frame, order):
    categories = pd.Categorical(frame["letter"], categories=list(order))
    return frame.assign(letter=categories)


def test_equals_one_shot_training_on_the_frame(data, driving):
    x, y = data
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(64, x=x, y=y), CONFIG)
    expected = xgb.XGBClassifier(**CONFIG, enable_categorical=True).fit(x, y)
    given = handle.predict((), {"x": x, "output": "proba"})
    assert np.array_equal(given, expected.predict_proba(x))
    assert handle.model.categories == {"letter": list("abcdefgh")}
    assert handle.model.booster.feature_names == ["letter", "number"]
    assert handle.model.booster.feature_types == ["c", "float"]


@pytest.mark.parametrize("strategy", ["collect", "continue"])
def test_other_orders_and_sets_in_later_batches(data, driving, strategy):
    x, y = data
    config = {**CONFIG, "strategy": strategy, "classes": [0, 1]}
    given = list(driving.batches(500, x=x, y=y))
    if strategy == "continue":
        config.pop("n_estimators")
    mixed = [
        {**each, "x": reordered(each["x"], order)}
        for each, order in zip(
            given, ["abcdefgh", "hgfedcba", "gbxecadfh", "cabdefgh"], strict=True
        )
    ]
    straight, _ = driving.drive("xgboost/XGBClassifier", given, config)
    handle, _ = driving.drive("xgboost/XGBClassifier", mixed, config)
    expected = straight.predict((), {"x": x, "output": "proba"})
    for order in ("abcdefgh", "hgfedcba"):
        turned = handle.predict((), {"x": reordered(x, order), "output": "proba"})
        assert np.array_equal(turned, expected)


def test_unseen_categories(data, driving):
    x, y = data
    strange = pd.DataFrame({"letter": pd.Categorical(["a", "z"]), "number": [0.0, 0.0]})
    missing = strange.assign(letter=pd.Categorical(["a", None], categories=list("ab")))
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(64, x=x, y=y), CONFIG)
    with pytest.raises(ModelInputError, match=r"column 'letter' holds the categories \['z'\]"):
        handle.predict((), {"x": strange})
    # A category that is declared and in no row is no harm.
    assert len(handle.predict((), {"x": strange[:1]})) == 1
    lenient = {**CONFIG, "unseen_categories": "missing"}
    other, _ = driving.drive("xgboost/XGBClassifier", driving.batches(64, x=x, y=y), lenient)
    given = other.predict((), {"x": strange, "output": "margin"})
    assert np.array_equal(given, other.predict((), {"x": missing, "output": "margin"}))


def test_codes_in_an_array(data, driving):
    x, y = data
    codes = np.stack([x["letter"].cat.codes, x["number"]], axis=1).astype(np.float32)
    config = {**CONFIG, "feature_types": ["c", "q"]}
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(64, x=codes, y=y), config)
    estimator = xgb.XGBClassifier(**config, enable_categorical=True).fit(codes, y)
    given = handle.predict((), {"x": codes, "output": "proba"})
    assert np.array_equal(given, estimator.predict_proba(codes))
    with pytest.raises(ModelInputError, match="never saw"):
        handle.predict((), {"x": codes + np.float32([20, 0])})


def test_a_column_that_changes_its_kind(data, driving):
    x, y = data
    first = {"x": x[:100], "y": y[:100]}
    numbers = {"x": x[100:].assign(letter=1.0), "y": y[100:]}
    with pytest.raises(ModelInputError, match="held categories in training, and now no category"):
        driving.drive("xgboost/XGBClassifier", [first, numbers], CONFIG)
    with pytest.raises(ModelInputError, match="held numbers in training, and now categories"):
        driving.drive("xgboost/XGBClassifier", [numbers, first], CONFIG)
    with pytest.raises(ModelInputError, match="enable_categorical is off"):
        driving.drive("xgboost/XGBClassifier", [first], {"enable_categorical": False})


def test_frames_of_other_libraries(data, driving):
    pyarrow = pytest.importorskip("pyarrow")
    x, y = data
    table = pyarrow.Table.from_pandas(x, preserve_index=False)
    pieces = [{"x": table.slice(i, 500), "y": y[i : i + 500]} for i in range(0, 2000, 500)]
    handle, _ = driving.drive("xgboost/XGBClassifier", pieces, CONFIG)
    same, _ = driving.drive("xgboost/XGBClassifier", driving.batches(64, x=x, y=y), CONFIG)
    assert np.array_equal(
        handle.predict((), {"x": table, "output": "proba"}),
        same.predict((), {"x": x, "output": "proba"}),
    )


def test_nullable_columns(driving):
    frame = pd.DataFrame(
        {
            "a": pd.array([1, None, 3] * 50, "Int64"),
            "b": pd.array([True, None, False] * 50, "boolean"),
        }
    )
    y = np.arange(150) % 3
    handle, _ = driving.drive("xgboost/XGBRegressor", [{"x": frame, "y": y}], {"n_estimators": 3})
    expected = xgb.XGBRegressor(n_estimators=3).fit(frame, y)
    assert np.array_equal(handle.predict((), {"x": frame}), expected.predict(frame))
