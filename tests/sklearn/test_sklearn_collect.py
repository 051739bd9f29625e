"""Gathering batches and fitting once: when, on what, and within which bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from batchloom import Dataset
from batchloom.errors import ModelConfigError, ModelInputError, ModelNotBuiltError

FOREST = {"n_estimators": 5, "random_state": 0}


def test_one_fit_on_everything_to_the_bit(drive, digits):
    x, y = digits
    handle = drive.make("sklearn/RandomForestClassifier", FOREST)
    drive.train(handle, x[:1000], y[:1000], size=77)
    theirs = RandomForestClassifier(**FOREST).fit(x[:1000], y[:1000])
    np.testing.assert_array_equal(
        drive.predict(handle, x[1000:], output="proba"), theirs.predict_proba(x[1000:])
    )


def test_it_fits_once_in_a_run_of_epochs_on_the_rows_of_the_last(drive, iris):
    x, y = iris
    seen = []
    steps = [
        FunctionTransformer(lambda z: seen.append(len(z)) or z),
        RandomForestClassifier(**FOREST),
    ]
    handle = drive.make(make_pipeline(*steps))
    drive.train(handle, x, y, n_epochs=3)
    assert seen == [150]


def test_fit_at_epoch_fits_at_the_end_of_each(drive, iris):
    x, y = iris
    seen = []
    steps = [
        FunctionTransformer(lambda z: seen.append(len(z)) or z),
        RandomForestClassifier(**FOREST),
    ]
    handle = drive.make(make_pipeline(*steps), {"fit_at": "epoch"})
    drive.train(handle, x, y, n_epochs=3)
    assert seen == [150] * 3
    assert "end of every epoch" in handle.describe()


def test_predicting_before_says_when_it_will_be_fitted(drive, iris):
    handle = drive.make("sklearn/LogisticRegression")
    with pytest.raises(ModelNotBuiltError, match="the run's last epoch"):
        drive.predict(handle, iris[0])
    drive.train(handle, *iris, end=False)
    with pytest.raises(ModelNotBuiltError, match="the run's last epoch"):
        drive.predict(handle, iris[0])


def test_a_gaussian_process_does_not_predict_from_its_prior(drive, iris):
    handle = drive.make("sklearn/GaussianProcessRegressor")
    with pytest.raises(ModelNotBuiltError, match="not been fitted yet"):
        drive.predict(handle, iris[0])


def test_an_abandoned_run_leaves_nothing(drive, iris):
    x, y = iris
    handle = drive.make("sklearn/RandomForestClassifier", FOREST)
    drive.train(handle, x[:50], y[:50] * 0, end=False)
    handle.abandon_run()
    drive.train(handle, x, y)
    theirs = RandomForestClassifier(**FOREST).fit(x, y)
    np.testing.assert_array_equal(drive.predict(handle, x), theirs.predict(x))


def test_a_run_without_a_last_epoch_is_refused(drive, iris):
    handle = drive.make("sklearn/LogisticRegression")
    with pytest.raises(ModelConfigError, match="fit_at='epoch'"):
        handle.begin_run(drive.run_info(iris[1], n_epochs=None))
    drive.make("sklearn/LogisticRegression", {"fit_at": "epoch"}).begin_run(
        drive.run_info(iris[1], n_epochs=None)
    )


@pytest.mark.parametrize(
    ("config", "told"),
    [({"max_rows": 100}, "128 rows.*max_rows=100"), ({"max_bytes": 4000}, "bytes")],
)
def test_bounds(drive, iris, config, told):
    handle = drive.make("sklearn/RidgeClassifier", config)
    with pytest.raises(ModelInputError, match=f"{told}.*None for no bound"):
        drive.train(handle, *iris)
    drive.train(drive.make("sklearn/RidgeClassifier", {"max_rows": 150, "max_bytes": None}), *iris)


def test_what_is_gathered_is_the_models_own(drive, iris):
    x, y = iris[0].copy(), iris[1].copy()
    handle = drive.make("sklearn/RandomForestClassifier", FOREST)
    handle.begin_run(drive.run_info(y))
    for part in drive.batches(150, 50):
        batch, labels = x[part].copy(), y[part].copy()
        handle.train((), {"x": batch, "y": labels})
        batch[:], labels[:] = -1, 0  # a later action, or the next batch in the same memory
    handle.end_epoch(0, True)
    theirs = RandomForestClassifier(**FOREST).fit(x, y)
    np.testing.assert_array_equal(drive.predict(handle, x), theirs.predict(x))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array, sparse.csc_array])
def test_sparse_batches(drive, digits, kind):
    x, y = digits[0][:300] / 16, digits[1][:300]
    handle = drive.make("sklearn/LogisticRegression", {"max_iter": 1000})
    drive.train(handle, sparse.csr_array(x) if kind is sparse.csc_array else kind(x), y)
    theirs = LogisticRegression(max_iter=1000).fit(sparse.csr_matrix(x), y)
    np.testing.assert_array_equal(handle.model.estimator.coef_, theirs.coef_)


def frame(cancer):
    x, y = cancer
    bins = pd.cut(x[:, 1], [0, 15, 20, 100], labels=["low", "middle", "high"])
    data = pd.DataFrame({"radius": x[:, 0], "texture": bins, "area": x[:, 3].astype("float32")})
    return data, pd.Series(y, name="label")


def test_data_frames_keep_names_dtypes_and_categories(drive, cancer):
    data, y = frame(cancer)
    handle = drive.make(
        "sklearn/HistGradientBoostingClassifier", {"max_iter": 5, "random_state": 0}
    )
    drive.train(handle, data, y)
    theirs = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(data, y)
    assert list(handle.model.estimator.feature_names_in_) == ["radius", "texture", "area"]
    np.testing.assert_array_equal(handle.model.estimator.is_categorical_, [False, True, False])
    np.testing.assert_array_equal(
        drive.predict(handle, data, output="proba"), theirs.predict_proba(data)
    )


def test_batches_that_know_some_of_the_categories_only(drive, cancer):
    data, y = frame(cancer)
    data["texture"] = data["texture"].cat.as_unordered()
    handle = drive.make("sklearn/HistGradientBoostingClassifier", {"max_iter": 2})
    handle.begin_run(drive.run_info(y))
    for level in ("low", "high", "middle"):
        mine = data["texture"] == level
        batch = data[mine].assign(texture=data["texture"][mine].cat.remove_unused_categories())
        handle.train((), {"x": batch, "y": y[mine]})
    handle.end_epoch(0, True)
    assert handle.model.estimator.is_categorical_.tolist() == [False, True, False]


def test_ordered_categories_have_to_be_the_same(drive, cancer):
    data, y = frame(cancer)
    handle = drive.make("sklearn/HistGradientBoostingClassifier")
    handle.begin_run(drive.run_info(y))
    handle.train((), {"x": data, "y": y})
    low = data[data["texture"] == "low"]
    low = low.assign(texture=low["texture"].cat.remove_unused_categories())
    with pytest.raises(ModelInputError, match=r"'texture'.*same for all"):
        handle.train((), {"x": low, "y": y[low.index]})


KINDS_OF_LABELS = {
    "Index": pd.Index,
    "Categorical": pd.Categorical,
    "array": lambda labels: pd.array(labels, dtype="string"),
    "polars": lambda labels: pytest.importorskip("polars").Series(labels),
}


@pytest.mark.parametrize("kind", KINDS_OF_LABELS)
def test_labels_of_any_kind_are_put_together_and_compared(cancer, kind):
    x, y = cancer
    words = np.array(["benign", "malignant"])[y]
    training = (
        Dataset(data={"x": x, "y": KINDS_OF_LABELS[kind](words)})
        .p.init_model("dynamic", "sklearn/RandomForestClassifier", "clf", config=FOREST)
        .train_model("clf", x="x", y="y")
        .run(64)
    )
    theirs = RandomForestClassifier(**FOREST).fit(x, words)
    predicted = training.get_model_by_name("clf").predict(x=x)
    np.testing.assert_array_equal(predicted, theirs.predict(x))
    scores = (
        training.dataset.p.import_model("clf", training)
        .init_variable("scores")
        .evaluate_model("clf", x="x", y="y", metrics="accuracy", save_to="scores")
        .run(64)
        .get_variable("scores")
    )
    assert scores == {"accuracy": theirs.score(x, words)}


def test_polars_frames(drive, cancer):
    pl = pytest.importorskip("polars")
    x, y = cancer
    data = pl.DataFrame({"a": x[:, 0], "b": x[:, 1]})
    handle = drive.make("sklearn/Ridge")
    drive.train(handle, data, y)
    assert list(handle.model.estimator.feature_names_in_) == ["a", "b"]
    np.testing.assert_array_equal(handle.model.estimator.coef_, Ridge().fit(data, y).coef_)


@pytest.mark.parametrize("chunks", [1, 3])
def test_arrow_tables_and_labels(drive, cancer, chunks):
    pa = pytest.importorskip("pyarrow")
    x, y = cancer
    words = np.array(["benign", "malignant"])[y]
    table = pa.table({f"f{i}": x[:, i] for i in range(x.shape[1])})
    labels = pa.chunked_array(np.array_split(words, chunks))
    handle = drive.make("sklearn/RandomForestClassifier", FOREST)
    drive.train(handle, table, labels if chunks > 1 else labels.combine_chunks())
    theirs = RandomForestClassifier(**FOREST).fit(x, words)
    np.testing.assert_array_equal(drive.predict(handle, table), theirs.predict(x))


@pytest.mark.parametrize("name", ["RandomForestClassifier", "SGDClassifier"])
def test_masks_are_not_dropped_in_silence(drive, iris, name):
    x, y = iris
    handle = drive.make(f"sklearn/{name}", {"random_state": 0, "classes": [0, 1, 2]})
    masked = np.ma.masked_greater(x, 7)
    with pytest.raises(ModelInputError, match="x has masked values"):
        drive.train(handle, masked, y)
    drive.train(handle, np.ma.array(x), y)
    assert len(drive.predict(handle, x)) == len(x)


def test_weights_are_gathered_too(drive, iris):
    x, y = iris
    weights = np.linspace(0.1, 3, 150)
    handle = drive.make("sklearn/Ridge")
    drive.train(handle, x, y, sample_weight=weights)
    np.testing.assert_array_equal(
        handle.model.estimator.coef_, Ridge().fit(x, y, sample_weight=weights).coef_
    )
    pipeline = drive.make(make_pipeline(StandardScaler(), Ridge()), {"strategy": "collect"})
    drive.train(pipeline, x, y, sample_weight=weights)
    theirs = make_pipeline(StandardScaler(), Ridge()).fit(x, y, ridge__sample_weight=weights)
    np.testing.assert_array_equal(pipeline.model.estimator[-1].coef_, theirs[-1].coef_)


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"x": [[1.0, 2.0]]}, "of one kind"),
        ({"x": np.ones((1, 3))}, "shape"),
        ({"sample_weight": np.ones(1)}, "not given"),
        ({"y": np.array(["a"])}, "dtype"),
    ],
)
def test_batches_that_do_not_go_together(drive, second, told):
    handle = drive.make("sklearn/LogisticRegression")
    handle.begin_run(drive.run_info())
    handle.train((), {"x": np.ones((2, 2)), "y": np.array([0, 1])})
    with pytest.raises(ModelInputError, match=told):
        handle.train((), {"x": np.ones((1, 2)), "y": np.array([0]), **second})


def test_columns_in_another_order_are_refused(drive, cancer):
    data, y = frame(cancer)
    handle = drive.make("sklearn/HistGradientBoostingClassifier")
    handle.begin_run(drive.run_info(y))
    handle.train((), {"x": data[:50], "y": y[:50]})
    for columns, told in (
        (["area", "radius", "texture"], "order"),
        (["radius", "texture"], "area"),
    ):
        with pytest.raises(ModelInputError, match=told):
            handle.train((), {"x": data[50:][columns], "y": y[50:]})


def test_outputs_come_at_the_end_of_the_epoch(drive, iris):
    x, y = iris
    handle = drive.make("sklearn/RandomForestClassifier", {**FOREST, "fit_at": "epoch"})
    outputs = drive.train(handle, x, y, n_epochs=2, output=["score", "predict"])
    theirs = RandomForestClassifier(**FOREST).fit(x, y)
    assert [each[0] for each in outputs] == [theirs.score(x, y)] * 2
    np.testing.assert_array_equal(outputs[0][1], theirs.predict(x))


def test_a_strategy_of_choice(drive, iris):
    x, y = iris
    handle = drive.make("sklearn/SGDClassifier", {"strategy": "collect", "random_state": 0})
    drive.train(handle, x, y)
    from sklearn.linear_model import SGDClassifier

    np.testing.assert_array_equal(
        handle.model.estimator.coef_, SGDClassifier(random_state=0).fit(x, y).coef_
    )


def test_labels_outside_the_classes_of_the_config(drive, iris):
    handle = drive.make("sklearn/LogisticRegression", {"classes": [0, 1]})
    with pytest.raises(ModelInputError, match=r"\[2\]"):
        drive.train(handle, *iris)


def test_memory_is_not_held_twice(drive):
    """The pieces are let go of while they are put together."""
    from batchloom_sklearn.gather import joined

    pieces = [np.ones((100, 3)) * each for each in range(10)]
    whole = joined(pieces)
    assert pieces == [] and whole.shape == (1000, 3)
    np.testing.assert_array_equal(whole[::100, 0], np.arange(10))
