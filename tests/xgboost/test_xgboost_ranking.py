"""Queries are put together and in order, wherever their rows come from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xgboost as xgb

from batchloom.errors import ModelInputError

CONFIG = {"n_estimators": 6, "max_depth": 3}


@pytest.fixture(scope="module")
def queries():
    """200 queries of 2 to 20 rows with relevances 0 to 3, and a weight for each query."""
    random = np.random.default_rng(0)
    qid = np.repeat(np.arange(200), random.integers(2, 21, 200))
    x = random.normal(size=(len(qid), 5)).astype(np.float32)
    y = np.clip(np.round(x[:, 0] + random.normal(size=len(qid)) + 1), 0, 3)
    return x, y, qid, random.random(200).astype(np.float32)


def expected(queries, weighted=False):
    x, y, qid, weight = queries
    ranker = xgb.XGBRanker(**CONFIG)
    return ranker.fit(x, y, qid=qid, sample_weight=weight if weighted else None).predict(x)


@pytest.mark.parametrize("size", [7, 100])  # both cut queries in two
@pytest.mark.parametrize("storage", [{}, {"spool": True, "max_bytes": 4000}])
def test_a_query_split_over_batches_is_one(queries, driving, size, storage):
    x, y, qid, _ = queries
    given = driving.batches(size, x=x, y=y, qid=qid)
    handle, _ = driving.drive("xgboost/XGBRanker", given, {**CONFIG, **storage})
    assert np.array_equal(handle.predict((), {"x": x}), expected(queries))


def test_rows_in_any_order_of_queries(queries, driving):
    x, y, qid, weight = queries
    # Queries interleaved, the rows of each in their own order: sorted by place in the query.
    place = np.concatenate([np.arange(n) for n in np.bincount(qid)])
    order = np.argsort(place, kind="stable")
    columns = {"x": x, "y": y, "qid": qid, "sample_weight": weight[qid]}
    mixed = driving.batches(50, **{name: each[order] for name, each in columns.items()})
    handle, _ = driving.drive("xgboost/XGBRanker", mixed, CONFIG)
    assert np.array_equal(handle.predict((), {"x": x}), expected(queries, weighted=True))


def test_weights_that_differ_within_a_query(queries, driving):
    x, y, qid, _ = queries
    given = driving.batches(50, x=x, y=y, qid=qid, sample_weight=np.arange(len(y)))
    with pytest.raises(ModelInputError, match="differs within a query"):
        driving.drive("xgboost/XGBRanker", given, CONFIG)


def test_queries_are_demanded(queries, driving):
    x, y, _, _ = queries
    with pytest.raises(ModelInputError, match="qid is missing"):
        driving.drive("xgboost/XGBRanker", driving.batches(50, x=x, y=y), CONFIG)
    with pytest.raises(ModelInputError, match="qid: query numbers are whole"):
        driving.drive("xgboost/XGBRanker", [{"x": x, "y": y, "qid": y - 0.5}], CONFIG)


def test_continuing_refuses_a_query_of_an_earlier_batch(queries, driving):
    x, y, qid, _ = queries
    config = {"strategy": "continue", "max_depth": 3}
    cuts = np.searchsorted(qid, [0, 100, 200])
    whole = [{"x": x[a:b], "y": y[a:b], "qid": qid[a:b]} for a, b in itertools.pairwise(cuts)]
    handle, _ = driving.drive("xgboost/XGBRanker", whole, config, n_epochs=2)
    expected = None
    for each in [*whole, *whole]:
        matrix = xgb.DMatrix(each["x"], each["y"], qid=each["qid"])
        params = {"objective": "rank:ndcg", "max_depth": 3}
        expected = xgb.train(params, matrix, 1, xgb_model=expected)
    assert np.array_equal(handle.predict((), {"x": x}), expected.predict(xgb.DMatrix(x)))
    with pytest.raises(ModelInputError, match=r"were in an earlier batch too"):
        driving.drive("xgboost/XGBRanker", driving.batches(50, x=x, y=y, qid=qid), config)


def test_held_out_queries_are_whole(queries, driving):
    x, y, qid, _ = queries
    config = {**CONFIG, "eval_fraction": 0.3, "eval_metric": "ndcg@3"}
    histories = [
        driving.drive("xgboost/XGBRanker", driving.batches(size, x=x, y=y, qid=qid), config)[1]
        for size in (33, 400)
    ]
    assert histories[0] == histories[1]
    assert histories[0][0][-1].keys() == {"round", "train-ndcg@3", "validation-ndcg@3"}


def test_relevances_that_the_gain_cannot_hold(queries, driving):
    x, y, qid, _ = queries
    high = np.where(np.arange(len(y)) == 70, 32, y)
    given = list(driving.batches(50, x=x, y=high, qid=qid))
    with pytest.raises(ModelInputError, match="y: 32 at row 20 of the batch.*ndcg_exp_gain=False"):
        driving.drive("xgboost/XGBRanker", given, CONFIG)
    config = {**CONFIG, "ndcg_exp_gain": False}
    handle, _ = driving.drive("xgboost/XGBRanker", given, config)
    known = xgb.XGBRanker(**config).fit(x, high, qid=qid).predict(x)
    assert np.array_equal(handle.predict((), {"x": x}), known)
