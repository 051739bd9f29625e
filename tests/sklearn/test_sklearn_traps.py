"""Input that scikit-learn takes for something else, or refuses too late: refused before anything changes."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC

from batchloom.errors import ModelInputError, UnknownArgumentError, UnknownNameError

NAIVE_BAYES = ["BernoulliNB", "CategoricalNB", "ComplementNB", "GaussianNB", "MultinomialNB"]


def state(estimator):
    learned = vars(estimator).items()
    return copy.deepcopy(
        {name: each for name, each in learned if isinstance(each, np.ndarray | list)}
    )


@pytest.mark.parametrize("name", [*NAIVE_BAYES, "SGDClassifier", "MLPClassifier", "Perceptron"])
def test_labels_outside_the_classes(drive, iris, name):
    x, y = iris
    handle = drive.make(f"sklearn/{name}", {"classes": [0, 1]})
    handle.begin_run(drive.run_info())
    two = y < 2
    handle.train((), {"x": x[two], "y": y[two]})
    before = state(handle.model.estimator)
    assert len(before) > 1
    with pytest.raises(ModelInputError, match=r"labels \[2\] are not among the classes \[0, 1\]"):
        handle.train((), {"x": x, "y": y})
    np.testing.assert_equal(state(handle.model.estimator), before)


@pytest.mark.parametrize("name", NAIVE_BAYES)
def test_labels_outside_the_classes_in_the_first_batch(drive, iris, name):
    handle = drive.make(f"sklearn/{name}", {"classes": [0, 1]})
    with pytest.raises(ModelInputError, match=r"\[2\]"):
        handle.train((), {"x": iris[0], "y": iris[1]})
    assert not hasattr(handle.model.estimator, "classes_")


def test_no_step_of_a_pipeline_learns_from_a_batch_that_is_refused(drive, iris):
    x, y = iris
    handle = drive.make(
        "sklearn/Pipeline", {"steps": ["StandardScaler", "GaussianNB"], "classes": [0, 1]}
    )
    handle.train((), {"x": x[y < 2], "y": y[y < 2]})
    with pytest.raises(ModelInputError):
        handle.train((), {"x": x, "y": y})
    assert handle.model.estimator[0].n_samples_seen_ == 100


@pytest.mark.parametrize(
    "y", [np.array([0.5, 1.0]), np.array([np.nan, 1.0]), ["0", "1"], [None, 1]]
)
def test_labels_of_another_kind(drive, y):
    handle = drive.make("sklearn/SGDClassifier", {"classes": [0, 1]})
    with pytest.raises(ModelInputError, match="not among the classes"):
        handle.train((), {"x": np.eye(2), "y": y})


def test_whole_numbers_as_floats_are_labels(drive, iris):
    x, y = iris
    answers = []
    for labels in (y, y.astype(float)):
        handle = drive.make("sklearn/SGDClassifier", {"classes": [0, 1, 2], "random_state": 0})
        handle.train((), {"x": x, "y": labels})
        answers.append(drive.predict(handle, x))
    np.testing.assert_array_equal(*answers)


TEXTS = [
    np.array([["1.5", "2"], ["3", "4"]], dtype=object),
    np.array([["1.5", "2"], ["3", "4"]]),
    np.array([[b"1", b"2"], [b"3", b"4"]]),
    [["1.5", "2"], ["3", "4"]],
    pd.DataFrame({"a": [1.0, 2.0], "b": ["3", "4"]}),
    pd.DataFrame({"a": [1.0, 2.0], "b": ["3", "4"]}, dtype=object),
]


@pytest.mark.parametrize("kind", ["string", "arrow", "polars"])
def test_texts_in_frames_of_other_kinds(drive, kind):
    texts = ["1.5", "2"]
    if kind == "polars":
        x = pytest.importorskip("polars").DataFrame({"a": [1.0, 2.0], "b": texts})
    elif kind == "arrow":
        dtype = pd.ArrowDtype(pytest.importorskip("pyarrow").string())
        x = pd.DataFrame({"b": pd.array(texts, dtype=dtype)})
    else:
        x = pd.DataFrame({"b": pd.array(texts, dtype="string")})
    with pytest.raises(ModelInputError, match="columns b"):
        drive.make("sklearn/StandardScaler").train((), {"x": x})


@pytest.mark.parametrize("x", TEXTS)
@pytest.mark.parametrize("name", ["SGDRegressor", "StandardScaler", "RandomForestRegressor"])
def test_texts_are_not_taken_for_numbers(drive, name, x):
    handle = drive.make(f"sklearn/{name}")
    with pytest.raises(ModelInputError, match="texts"):
        handle.train((), {"x": x, "y": np.array([1.0, 2.0])})
    assert not hasattr(handle.model.estimator, "n_features_in_")


def test_texts_are_not_taken_for_numbers_when_predicting(drive, iris):
    handle = drive.make("sklearn/SGDClassifier")
    drive.train(handle, *iris)
    with pytest.raises(ModelInputError, match="texts"):
        drive.predict(handle, iris[0].astype(str))


def test_texts_are_not_taken_for_targets(drive):
    handle = drive.make("sklearn/SGDRegressor")
    with pytest.raises(ModelInputError, match="y holds texts"):
        handle.train((), {"x": np.eye(2), "y": np.array(["1.5", "2"])})


@pytest.mark.parametrize(
    "given",
    [
        OneHotEncoder(),
        make_pipeline(OneHotEncoder(), SVC()),
        SimpleImputer(strategy="most_frequent"),
        make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder()),
    ],
)
def test_texts_are_welcome_where_they_are_understood(drive, given):
    handle = drive.make(given)
    x = np.array([["red"], ["blue"], ["red"], ["green"]], dtype=object)
    drive.train(handle, x, np.array([0, 1, 0, 1]))
    assert drive.predict(handle, x).shape[0] == 4


def test_numbers_in_object_arrays_are_numbers(drive, iris):
    x, y = iris
    handle = drive.make("sklearn/SGDClassifier", {"random_state": 0})
    drive.train(handle, x.astype(object), y)
    other = drive.make("sklearn/SGDClassifier", {"random_state": 0})
    drive.train(other, x, y)
    np.testing.assert_array_equal(handle.model.estimator.coef_, other.model.estimator.coef_)


@pytest.mark.parametrize("column", [lambda y: y[:, None], lambda y: pd.DataFrame({"label": y})])
@pytest.mark.parametrize("name", ["SGDClassifier", "RandomForestClassifier", "LinearRegression"])
def test_a_column_of_labels_is_a_vector(drive, iris, name, column):
    x, y = iris
    answers = []
    for labels in (y, column(y)):
        handle = drive.make(
            f"sklearn/{name}", {} if name == "LinearRegression" else {"random_state": 0}
        )
        drive.train(handle, x, labels)
        answers.append(drive.predict(handle, x))
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("name", "parameter"), [("MiniBatchKMeans", "n_clusters"), ("IncrementalPCA", "n_components")]
)
def test_a_first_batch_that_is_too_small(drive, digits, name, parameter):
    x = digits[0]
    for handle in (
        drive.make(f"sklearn/{name}", {parameter: 10}),
        drive.make(
            "sklearn/Pipeline",
            {"steps": ["StandardScaler", {"class": name, "params": {parameter: 10}}]},
        ),
    ):
        with pytest.raises(ModelInputError, match=f"{parameter}=10.*at least 10.*batch_size"):
            handle.train((), {"x": x[:5]})
        handle.train((), {"x": x[:50]})
        handle.train((), {"x": x[50:55]})


def test_columns_in_another_order(drive, cancer):
    x = pd.DataFrame(cancer[0][:, :3], columns=["a", "b", "c"])
    y = cancer[1]
    for name in ("SGDClassifier", "GaussianNB"):
        handle = drive.make(f"sklearn/{name}")
        drive.train(handle, x, y)
        with pytest.raises(ValueError, match="order"):
            handle.train((), {"x": x[["b", "a", "c"]], "y": y})
        with pytest.raises(ValueError, match="order"):
            drive.predict(handle, x[["b", "a", "c"]])


@pytest.mark.parametrize("name", ["PassiveAggressiveClassifier", "KNeighborsClassifier"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_for_an_estimator_that_takes_none(drive, iris, name):
    handle = drive.make(f"sklearn/{name}")
    with pytest.raises(ModelInputError, match="takes no sample_weight"):
        drive.train(handle, *iris, sample_weight=np.ones(150))
    assert not hasattr(handle.model.estimator, "classes_")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"y": np.zeros(9)}, "x has 10, y has 9"),
        ({"sample_weight": np.ones(11)}, "sample_weight has 11"),
        ({"x": np.zeros((10, 8, 8))}, r"Reshape it to \(10, 64\)"),
        ({"x": np.zeros(10)}, "n_samples, n_features"),
        ({"y": None}, "give them as y="),
    ],
)
@pytest.mark.parametrize("name", ["SGDClassifier", "RandomForestClassifier"])
def test_shapes(drive, name, given, told):
    handle = drive.make(f"sklearn/{name}", {"classes": [0, 1]})
    with pytest.raises(ModelInputError, match=told):
        handle.train((), {"x": np.zeros((10, 2)), "y": np.zeros(10, dtype=int), **given})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "y", "sample_weight"])
@pytest.mark.parametrize("name", ["SGDRegressor", "MLPRegressor", "SGDClassifier"])
def test_numbers_that_are_none_are_found(drive, diabetes, name, where, bad):
    """Sparing scikit-learn its check of finiteness must not lose it."""
    x, y = diabetes
    if name == "SGDClassifier":
        y = (y > 100).astype(float)
    given = {"x": x.copy(), "y": y.copy(), "sample_weight": np.ones(len(y))}
    handle = drive.make(f"sklearn/{name}", {"classes": [0, 1]} if name == "SGDClassifier" else {})
    handle.train((), dict(given))
    before = handle.model.predict(x)
    given[where][-1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity|not among"):
        handle.train((), given)
    np.testing.assert_array_equal(handle.model.predict(x), before)
    if where == "x":
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            handle.model.predict(given["x"])


def test_missing_values_reach_estimators_that_know_them(drive, iris):
    x, y = iris[0].copy(), iris[1]
    x[::7, 1] = np.nan
    handle = drive.make(
        "sklearn/Pipeline", {"steps": ["StandardScaler", "SimpleImputer", "SGDClassifier"]}
    )
    drive.train(handle, x, y)
    forest = drive.make("sklearn/HistGradientBoostingClassifier", {"max_iter": 2})
    drive.train(forest, x, y)
    scaler = drive.make("sklearn/StandardScaler")
    drive.train(scaler, x)
    assert (
        len(drive.predict(handle, x))
        == len(drive.predict(forest, x))
        == len(drive.predict(scaler, x))
    )


def test_huge_numbers_are_finite(drive):
    x = np.full((4, 2), 1e308)
    handle = drive.make("sklearn/MinMaxScaler")
    handle.train((), {"x": x})
    assert handle.model.estimator.data_max_[0] == 1e308


def test_sparse_input_batch_by_batch(drive, digits):
    x, y = digits[0] / 16, digits[1]
    answers = []
    for kind in (np.asarray, sparse.csr_matrix, sparse.csr_array):
        handle = drive.make("sklearn/MultinomialNB")
        drive.train(handle, kind(x), y)
        answers.append(drive.predict(handle, kind(x), output="proba"))
    np.testing.assert_allclose(answers[0], answers[1])
    np.testing.assert_array_equal(answers[1], answers[2])


@pytest.mark.parametrize("method", ["train", "predict"])
def test_a_misspelt_argument(drive, iris, method):
    handle = drive.make("sklearn/SGDClassifier", {"classes": [0, 1, 2]})
    handle.train((), {"x": iris[0], "y": iris[1]})
    with pytest.raises(UnknownArgumentError, match="'output'"):
        getattr(handle, method)((), {"x": iris[0], "y": iris[1], "outptu": "score"})


def test_what_partial_fit_takes_and_the_config_has_here(drive, iris):
    handle = drive.make("sklearn/SGDClassifier")
    with pytest.raises(UnknownArgumentError, match=r"config=\{'classes': \.\.\.\}"):
        handle.train((), {"x": iris[0], "y": iris[1], "classes": [0, 1, 2]})


@pytest.mark.parametrize("weight", [2.0, np.float32(2), np.array(2.0)])
def test_one_weight_for_all_rows_is_refused(drive, iris, weight):
    handle = drive.make("sklearn/SGDClassifier", {"classes": [0, 1, 2]})
    with pytest.raises(ModelInputError, match="sample_weight is .*one for each row"):
        handle.train((), {"x": iris[0], "y": iris[1], "sample_weight": weight})


@pytest.mark.parametrize(
    ("name", "said"), [("KernelDensity", "output="), ("NearestNeighbors", "methods of its own")]
)
def test_what_has_nothing_to_predict_says_what_it_has(drive, iris, name, said):
    handle = drive.make(f"sklearn/{name}")
    drive.train(handle, iris[0])
    with pytest.raises(UnknownNameError, match=said):
        drive.predict(handle, iris[0])
