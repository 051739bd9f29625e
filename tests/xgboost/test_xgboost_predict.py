"""Every output is the library's, from one thread or many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xgboost as xgb

from batchloom.errors import ModelInputError, UnknownNameError

NATIVE = {
    "margin": {"output_margin": True},
    "leaf": {"pred_leaf": True},
    "contribs": {"pred_contribs": True},
    "interactions": {"pred_interactions": True},
}


@pytest.fixture(scope="module", params=["gbtree", "dart"])
def fitted(request, binary, driving):
    x, y = binary
    config = {
        "n_estimators": 6,
        "max_depth": 3,
        "booster": request.param,
        "objective": "binary:logistic",
    }
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config)
    return handle, xgb.XGBClassifier(**config).fit(x, y), x


@pytest.mark.parametrize("output", NATIVE)
@pytest.mark.parametrize("rounds", [None, (2, 5)])
def test_outputs_of_trees(fitted, output, rounds):
    handle, estimator, x = fitted
    given = handle.predict((), {"x": x, "output": output, "iteration_range": rounds})
    booster = estimator.get_booster()[slice(*rounds)] if rounds else estimator.get_booster()
    expected = booster.predict(xgb.DMatrix(x), **NATIVE[output])
    assert np.array_equal(given, expected)


def test_contributions_add_up_to_the_margin(fitted):
    handle, _, x = fitted
    contributions, margin = handle.predict((), {"x": x, "output": ["contribs", "margin"]})
    assert contributions.shape == (len(x), 6)
    assert np.allclose(contributions.sum(axis=1), margin, atol=1e-4)


def test_labels_and_probabilities(fitted):
    handle, estimator, x = fitted
    assert np.array_equal(handle.predict((), {"x": x}), estimator.predict(x))
    proba = handle.predict((), {"x": x, "output": "proba"})
    assert proba.shape == (len(x), 2)
    assert np.allclose(proba, estimator.predict_proba(x), atol=1e-6)
    assert handle.model.classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("objective", "classes"),
    [("multi:softmax", 3), ("binary:logitraw", 2), ("binary:hinge", 2)],
)
def test_labels_of_other_objectives(driving, objective, classes):
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 3))
    y = (x[:, 0] > 0).astype(int) + (x[:, 0] > 1) * (classes == 3)
    config = {"n_estimators": 4, "objective": objective}
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config)
    assert np.mean(handle.predict((), {"x": x}) == y) > 0.97
    if classes == 3:
        softprob = xgb.XGBClassifier(n_estimators=4).fit(x, y)
        proba = handle.predict((), {"x": x, "output": "proba"})
        assert np.allclose(proba, softprob.predict_proba(x), atol=1e-6)
    else:
        with pytest.raises(ModelInputError, match="has no 'proba'"):
            handle.predict((), {"x": x, "output": "proba"})


def test_no_rows_keep_their_shape(fitted):
    handle, _, x = fitted
    for output in ("predict", "proba", "margin", "leaf", "contribs", "interactions"):
        whole = handle.predict((), {"x": x[:3], "output": output})
        none = handle.predict((), {"x": x[:0], "output": output})
        assert none.shape == (0, *whole.shape[1:])
        assert none.dtype == whole.dtype


@pytest.mark.parametrize(
    ("asked", "match"),
    [((0, 99), "the model has 6 rounds"), ((3, 1), "rounds"), (5, "is no")],
)
def test_rounds_that_are_not_there(fitted, asked, match):
    handle, _, x = fitted
    with pytest.raises(ModelInputError, match=f"iteration_range.*{match}"):
        handle.predict((), {"x": x, "iteration_range": asked})


def test_an_output_that_is_not_there(fitted):
    handle, _, x = fitted
    with pytest.raises(UnknownNameError, match="did you mean 'proba'"):
        handle.predict((), {"x": x, "output": "probas"})


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_many_threads_predict_what_one_does(binary, driving, booster):
    x, y = binary
    config = {"n_estimators": 6, "booster": booster}
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config)
    assert handle.predict_is_thread_safe
    pieces = [x[i : i + 50] for i in range(0, len(x), 50)]
    outputs = ["proba", "margin"] + (["contribs"] if booster == "gbtree" else [])
    expected = [handle.predict((), {"x": piece, "output": outputs}) for piece in pieces]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda p: handle.predict((), {"x": p, "output": outputs}), pieces))
    for one, other in zip(given, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_feature_importances_as_in_the_library(binary, driving):
    x, y = binary
    for kind in ("gain", "weight"):
        config = {"n_estimators": 3, "max_depth": 2, "importance_type": kind}
        handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config)
        expected = xgb.XGBClassifier(**config).fit(x, y).feature_importances_
        assert np.allclose(handle.model.feature_importances_, expected)
