"""Collected batches give the model of training on all rows at once, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb
from scipy import sparse


def one_shot(estimator, x, y, **fit):
    return estimator.fit(x, y, **fit).get_booster()


def margins(booster, x, **matrix):
    return booster.predict(xgb.DMatrix(x, **matrix), output_margin=True)


@pytest.mark.parametrize("size", [32, 700, 10_000])
@pytest.mark.parametrize("storage", [{}, {"spool": True, "max_bytes": 20_000}])
def test_any_batch_size_and_storage(binary, driving, size, storage):
    x, y = binary
    config = {"n_estimators": 8, "max_depth": 4, **storage}
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(size, x=x, y=y), config)
    expected = one_shot(xgb.XGBClassifier(n_estimators=8, max_depth=4), x, y)
    given = handle.predict((), {"x": x, "output": "margin"})
    assert np.array_equal(given, margins(expected, x))


def test_weights_and_base_margin(binary, driving):
    x, y = binary
    random = np.random.default_rng(1)
    weight, margin = random.random(len(x)), random.normal(size=len(x))
    columns = {"x": x, "y": x[:, 2:3] * 0 + y[:, None], "sample_weight": weight}
    columns = {**columns, "y": y.reshape(-1, 1), "base_margin": margin}
    config = {"n_estimators": 5}
    handle, _ = driving.drive("xgboost/XGBRegressor", driving.batches(64, **columns), config)
    expected = one_shot(
        xgb.XGBRegressor(n_estimators=5), x, y, sample_weight=weight, base_margin=margin
    )
    given = handle.predict((), {"x": x, "base_margin": margin, "output": "margin"})
    assert np.array_equal(given, margins(expected, x, base_margin=margin))


def test_masked_values_are_missing(binary, driving):
    x, y = binary
    config = {"n_estimators": 5}
    masked = np.ma.masked_invalid(x).copy()
    masked.data[masked.mask] = 1e6
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=masked, y=y), config)
    given = handle.predict((), {"x": masked, "output": "margin"})
    assert np.isnan(x).any()
    assert np.array_equal(given, margins(one_shot(xgb.XGBClassifier(**config), x, y), x))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("XGBRegressor", {"n_estimators": 5, "subsample": 0.5, "random_state": 3}),
        ("XGBRegressor", {"n_estimators": 5, "booster": "dart", "rate_drop": 0.5}),
        ("XGBRegressor", {"n_estimators": 5, "tree_method": "approx"}),
        ("XGBRegressor", {"n_estimators": 5, "tree_method": "exact", "max_depth": 3}),
        ("XGBRegressor", {"n_estimators": 5, "missing": -1.0, "max_bin": 16}),
        ("XGBRFRegressor", {"n_estimators": 7, "random_state": 1}),
        ("XGBRFClassifier", {"n_estimators": 7, "random_state": 1}),
        ("XGBClassifier", {"n_estimators": 5, "learning_rate": 0.1, "n_jobs": 1}),
    ],
)
def test_estimators_and_their_parameters(binary, driving, name, config):
    x, y = binary
    x = np.where(np.isnan(x), np.float32(config.get("missing", np.nan)), x)
    handle, _ = driving.drive(f"xgboost/{name}", driving.batches(100, x=x, y=y), config)
    expected = one_shot(getattr(xgb, name)(**config), x, y)
    given = handle.predict((), {"x": x, "output": "margin"})
    assert np.array_equal(given, margins(expected, x, missing=config.get("missing", np.nan)))


def test_booster_takes_native_parameters(binary, driving):
    x, y = binary
    params = {"objective": "binary:logistic", "eta": 0.2, "lambda": 2, "seed": 4, "subsample": 0.7}
    for config in ({**params, "num_boost_round": 6}, {"params": params, "num_boost_round": 6}):
        handle, _ = driving.drive("xgboost/Booster", driving.batches(100, x=x, y=y), config)
        expected = xgb.train(params, xgb.QuantileDMatrix(x, y), 6)
        assert np.array_equal(handle.predict((), {"x": x}), expected.predict(xgb.DMatrix(x)))


def test_several_classes_with_any_labels(driving):
    random = np.random.default_rng(2)
    x = random.normal(size=(900, 4))
    codes = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)
    for labels in (np.array(["mid", "top", "all"]), np.array([7, -1, 40])):
        y = labels[codes]
        config = {"n_estimators": 4}
        # Sorted by label, so that the first batches lack classes.
        order = np.argsort(y)
        handle, _ = driving.drive(
            "xgboost/XGBClassifier", driving.batches(50, x=x[order], y=y[order]), config
        )
        ranks = np.searchsorted(np.sort(labels), y)
        expected = xgb.XGBClassifier(n_estimators=4).fit(x[order], ranks[order])
        proba = handle.predict((), {"x": x, "output": "proba"})
        assert np.array_equal(proba, expected.predict_proba(x))
        predicted = handle.predict((), {"x": x})
        assert predicted.dtype == y.dtype
        assert np.array_equal(predicted, np.sort(labels)[expected.predict(x)])


def test_sparse_rows(binary, driving):
    x, y = binary
    x = sparse.random_array((2000, 20), density=0.1, format="csr", rng=0)
    y = np.asarray(x.sum(axis=1)).ravel()
    expected = one_shot(xgb.XGBRegressor(n_estimators=5), sparse.csr_matrix(x), y)
    for storage in ({}, {"spool": True, "max_bytes": 10_000}):
        handle, _ = driving.drive(
            "xgboost/XGBRegressor", driving.batches(64, x=x, y=y), {"n_estimators": 5, **storage}
        )
        given = handle.predict((), {"x": x, "output": "margin"})
        assert np.array_equal(given, margins(expected, sparse.csr_matrix(x)))


def test_external_memory_comes_near(binary, driving):
    x, y = binary
    config = {"n_estimators": 8, "memory": "external", "max_bytes": 20_000}
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config)
    expected = one_shot(xgb.XGBClassifier(n_estimators=8), x, y)
    given = handle.predict((), {"x": x, "output": "margin"})
    assert np.allclose(given, margins(expected, x), atol=1e-4)


def test_objectives_and_metrics_that_are_functions(binary, driving):
    x, y = binary

    def squared(y_true, y_pred):
        return y_pred - y_true, np.ones_like(y_true)

    def bias(y_true, y_pred):
        return float(np.mean(y_pred - y_true))

    config = {"n_estimators": 4, "objective": squared, "eval_metric": ["mae", bias]}
    handle, (history,) = driving.drive(
        "xgboost/XGBRegressor", driving.batches(100, x=x, y=y), config
    )
    expected = one_shot(xgb.XGBRegressor(n_estimators=4, objective=squared), x, y)
    assert np.array_equal(handle.predict((), {"x": x}), margins(expected, x))
    assert set(history[0]) == {"round", "train-mae", "train-bias"}


def test_several_targets(binary, driving):
    x, y = binary
    targets = np.stack([y, 1 - 2 * y], axis=1)
    config = {"n_estimators": 4}
    handle, _ = driving.drive("xgboost/XGBRegressor", driving.batches(100, x=x, y=targets), config)
    expected = one_shot(xgb.XGBRegressor(n_estimators=4), x, targets)
    assert np.array_equal(handle.predict((), {"x": x}), margins(expected, x))


def test_survival_takes_bounds_instead_of_labels(binary, driving):
    x, y = binary
    low, high = np.exp(y.astype(float)), np.where(y == 1, np.inf, 3.0)
    params = {"objective": "survival:aft", "max_depth": 3}
    handle, _ = driving.drive(
        "xgboost/Booster",
        driving.batches(100, x=x, label_lower_bound=low, label_upper_bound=high),
        {**params, "num_boost_round": 4},
    )
    matrix = xgb.QuantileDMatrix(x, label_lower_bound=low, label_upper_bound=high)
    expected = xgb.train(params, matrix, 4)
    assert np.array_equal(handle.predict((), {"x": x}), expected.predict(xgb.DMatrix(x)))


def test_linear_booster_is_reproducible(binary, driving):
    x, y = binary
    config = {"n_estimators": 5, "booster": "gblinear"}
    first, second = (
        driving.drive("xgboost/XGBRegressor", driving.batches(100, x=x, y=y), config)[0]
        for _ in range(2)
    )
    assert np.array_equal(first.predict((), {"x": x}), second.predict((), {"x": x}))


def test_a_batch_may_be_overwritten_after_the_call(binary, driving):
    x, y = binary
    buffer = np.empty((100, 5), np.float32)

    def reused():
        for start in range(0, len(x), 100):
            buffer[:] = x[start : start + 100]
            yield {"x": buffer, "y": y[start : start + 100]}

    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), {})
    from batchloom.models import RunInfo
    from batchloom.models.spec import ModelSpec

    other = ModelSpec.resolve("xgboost/XGBClassifier").make(pipeline=None)
    other.begin_run(RunInfo())
    for batch in reused():
        other.train((), batch)
    other.end_epoch(0, True)
    assert np.array_equal(handle.predict((), {"x": x}), other.predict((), {"x": x}))


def test_an_objective_of_ones_own_for_several_classes(binary, driving):
    x, y = binary
    y = y + (x[:, 2] > 1)

    def softmax(y_true, y_pred):
        odds = np.exp(y_pred - y_pred.max(axis=1, keepdims=True))
        share = odds / odds.sum(axis=1, keepdims=True)
        return share - np.eye(3)[y_true.astype(int)], share * (1 - share) + 1e-6

    config = {"n_estimators": 3, "objective": softmax}
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(500, x=x, y=y), config)
    expected = xgb.XGBClassifier(**config).fit(x, y)
    assert np.array_equal(handle.predict((), {"x": x}), expected.predict(x))
    proba = handle.predict((), {"x": x, "output": "proba"})
    assert np.array_equal(proba, expected.predict_proba(x))


@pytest.mark.parametrize(("native", "own"), [("eta", "learning_rate"), ("lambda", "reg_lambda")])
def test_a_native_name_replaces_the_default_of_the_estimators(binary, driving, native, own):
    x, y = binary
    given = []
    for name in (native, own):
        batches = driving.batches(500, x=x, y=y)
        config = {"n_estimators": 4, name: 0.25}
        handle, _ = driving.drive("xgboost/XGBRFRegressor", batches, config)
        given.append(handle.predict((), {"x": x}))
    assert np.array_equal(*given)
