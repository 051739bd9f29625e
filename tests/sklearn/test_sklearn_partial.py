"""Learning batch by batch: what a hand-written loop over partial_fit learns, to the bit."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.utils import all_estimators

from batchloom.errors import ModelConfigError, ModelInputError

# Every class with partial_fit that takes a table of numbers as it is, with what keeps it quick.
QUICK = {"MLPClassifier": {"hidden_layer_sizes": (8,)}, "MLPRegressor": {"hidden_layer_sizes": (8,)},
         "BernoulliRBM": {"n_components": 4}, "LatentDirichletAllocation": {"n_components": 3},
         "MiniBatchDictionaryLearning": {"n_components": 4, "max_iter": 2},
         "MiniBatchNMF": {"n_components": 4}, "MiniBatchKMeans": {"n_clusters": 4, "n_init": 1},
         "IncrementalPCA": {"n_components": 4}}  # fmt: skip
NEED_AN_ESTIMATOR = {"MultiOutputClassifier", "MultiOutputRegressor", "OneVsRestClassifier",
                     "OneVsOneClassifier", "SelectFromModel"}  # fmt: skip
LEARNERS = sorted(
    name
    for name, each in all_estimators()
    if hasattr(each, "partial_fit") and name not in NEED_AN_ESTIMATOR | {"HashingVectorizer"}
)


def fitted_arrays(estimator):
    """All numbers that an estimator has learned, by attribute."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and isinstance(value, (np.ndarray, list, float, int))
    }


def assert_same_state(ours, theirs):
    left, right = fitted_arrays(ours), fitted_arrays(theirs)
    assert left and left.keys() == right.keys()
    for name in left:
        np.testing.assert_equal(left[name], right[name], err_msg=name)


def loop(estimator, x, y, parts, sample_weight=None):
    """What a user writes by hand."""
    first = {}
    if "classes" in inspect.signature(estimator.partial_fit).parameters:
        first = {"classes": np.unique(y)}
    for part in parts:
        weights = {} if sample_weight is None else {"sample_weight": sample_weight[part]}
        estimator.partial_fit(x[part], y[part], **first, **weights)
    return estimator


def test_there_are_as_many_as_the_documentation_says():
    assert len(LEARNERS) + len(NEED_AN_ESTIMATOR - {"OneVsOneClassifier"}) >= 25


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("name", LEARNERS)
def test_every_estimator_learns_what_a_loop_learns(drive, digits, name):
    x, y = digits[0][:320] / 16, digits[1][:320]
    if name == "CategoricalNB":
        x = np.round(x)
        x[0] = 1
    parts = list(drive.batches(len(x), 64))
    handle = drive.make(f"sklearn/{name}", QUICK.get(name, {}))
    drive.train(handle, x, y, size=64)
    assert handle.describe() == f"model {name!r} (sklearn/{name})"
    assert_same_state(handle.model.estimator, loop(clone(handle.model.estimator), x, y, parts))


@pytest.mark.parametrize(("n", "size"), [(40, 1), (400, 17), (400, 64), (400, 10_000)])
def test_digits_to_the_bit_over_epochs(drive, digits, n, size):
    x, y = digits[0][:n], digits[1][:n]
    handle = drive.make("sklearn/SGDClassifier", {"loss": "log_loss"})
    drive.train(handle, x, y, size=size, n_epochs=3, seed=11)
    by_hand = SGDClassifier(loss="log_loss", random_state=handle.model.estimator.random_state)
    loop(by_hand, x, y, list(drive.batches(len(x), size)) * 3)
    np.testing.assert_array_equal(handle.model.estimator.coef_, by_hand.coef_)
    np.testing.assert_array_equal(
        drive.predict(handle, x, output="proba"), by_hand.predict_proba(x)
    )


@pytest.mark.parametrize("name", ["SGDClassifier", "GaussianNB", "MLPClassifier", "SGDRegressor"])
def test_weights_pass_through(drive, iris, name):
    x, y = iris
    weights = np.random.default_rng(1).uniform(0.5, 2, len(x))
    handle = drive.make(f"sklearn/{name}")
    drive.train(handle, x, y, size=50, sample_weight=weights)
    parts = list(drive.batches(len(x), 50))
    theirs = loop(clone(handle.model.estimator), x, y, parts, weights)
    assert_same_state(handle.model.estimator, theirs)
    assert not np.array_equal(
        vars(theirs).get("coef_", 0), vars(loop(clone(theirs), x, y, parts)).get("coef_", 1)
    )


def test_unsupervised_estimators_need_no_y(drive, digits):
    x = digits[0]
    handle = drive.make("sklearn/MiniBatchKMeans", {"n_clusters": 5, "n_init": 1})
    drive.train(handle, x, size=200)
    theirs = clone(handle.model.estimator)
    for part in drive.batches(len(x), 200):
        theirs.partial_fit(x[part])
    np.testing.assert_array_equal(handle.model.estimator.cluster_centers_, theirs.cluster_centers_)


def sorted_iris(iris):
    order = np.argsort(iris[1], kind="stable")
    return iris[0][order], iris[1][order]


def test_classes_come_from_the_column_of_the_dataset(drive, iris):
    x, y = sorted_iris(iris)  # the first batch holds one class of three
    handle = drive.make("sklearn/SGDClassifier")
    drive.train(handle, x, y, size=30)
    np.testing.assert_array_equal(handle.model.estimator.classes_, [0, 1, 2])


def test_classes_come_from_the_config_first(drive, iris):
    x, y = sorted_iris(iris)
    handle = drive.make("sklearn/SGDClassifier", {"classes": [3, 2, 1, 0]})
    drive.train(handle, x, y, size=30)
    np.testing.assert_array_equal(handle.model.estimator.classes_, [0, 1, 2, 3])


@pytest.mark.parametrize("name", ["SGDClassifier", "GaussianNB", "MLPClassifier", "Perceptron"])
def test_without_classes_the_first_batch_says_how_to_give_them(drive, iris, name):
    handle = drive.make(f"sklearn/{name}")
    handle.begin_run(drive.run_info())
    with pytest.raises(ModelInputError, match=r"config=\{'classes': \[0, 1, 2\]\}"):
        handle.train((), {"x": iris[0][:5], "y": iris[1][:5]})
    assert not hasattr(handle.model.estimator, "classes_")


def test_labels_may_be_texts(drive, iris):
    x, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    for labels in (names, names.astype(object), list(names)):
        handle = drive.make("sklearn/SGDClassifier", {"classes": sorted(set(names))})
        drive.train(handle, x, labels)
        assert set(drive.predict(handle, x)) <= set(names)


def test_a_column_of_measurements_is_no_column_of_labels(drive, diabetes):
    x, _ = diabetes
    handle = drive.make("sklearn/SGDClassifier")
    with pytest.raises(ModelInputError, match=r"'labels'.*continuous"):
        drive.train(handle, x, x[:, 0])


def test_classes_survive_a_second_run_with_other_data(drive, iris):
    x, y = iris
    handle = drive.make("sklearn/SGDClassifier")
    drive.train(handle, x, y)
    drive.train(handle, x[y < 2], y[y < 2])
    np.testing.assert_array_equal(handle.model.estimator.classes_, [0, 1, 2])


def test_classes_for_an_estimator_without_them(drive):
    with pytest.raises(ModelConfigError, match="has no classes"):
        drive.make("sklearn/SGDRegressor", {"classes": [0, 1]})


def test_a_pipeline_is_driven_step_by_step(drive, cancer):
    x, y = cancer
    steps = [
        ("norm", "Normalizer"),
        ("none", "passthrough"),
        ("scale", "StandardScaler"),
        ("clf", "SGDClassifier"),
    ]
    handle = drive.make("sklearn/Pipeline", {"steps": steps})
    drive.train(handle, x, y, n_epochs=2)
    assert handle.describe() == "model 'Pipeline' (sklearn/Pipeline)"
    norm, scale, clf = Normalizer(), StandardScaler(), clone(handle.model.estimator[-1])
    for part in list(drive.batches(len(x), 64)) * 2:
        z = norm.transform(x[part])
        z = scale.partial_fit(z, y[part]).transform(z)
        clf.partial_fit(z, y[part], classes=[0, 1])
    assert_same_state(handle.model.estimator[-1], clf)
    assert_same_state(handle.model.estimator[2], scale)
    np.testing.assert_array_equal(
        drive.predict(handle, x), clf.predict(scale.transform(norm.transform(x)))
    )


def test_pipelines_inside_pipelines(drive, cancer):
    x, y = cancer
    nested = make_pipeline(
        make_pipeline(MinMaxScaler(), StandardScaler()), SGDClassifier(random_state=0)
    )
    flat = make_pipeline(MinMaxScaler(), StandardScaler(), SGDClassifier(random_state=0))
    answers = []
    for pipeline in (nested, flat):
        handle = drive.make(pipeline)
        drive.train(handle, x, y)
        answers.append(drive.predict(handle, x, output="decision"))
    np.testing.assert_array_equal(*answers)


def test_texts_through_a_pipeline(drive):
    texts = ["good film", "bad film", "very good", "very bad"] * 10
    labels = np.array([1, 0, 1, 0] * 10)
    steps = [("hash", HashingVectorizer(n_features=64)), ("clf", SGDClassifier(random_state=0))]
    handle = drive.make("sklearn/Pipeline", {"steps": steps})
    drive.train(handle, texts, labels, size=8)
    np.testing.assert_array_equal(drive.predict(handle, ["good", "bad"]), [1, 0])


def test_weights_go_to_the_last_step(drive, cancer):
    x, y = cancer
    weights = np.where(y == 0, 5.0, 1.0)
    handle = drive.make(make_pipeline(StandardScaler(), SGDClassifier(random_state=0)))
    drive.train(handle, x, y, sample_weight=weights)
    scale, clf = StandardScaler(), SGDClassifier(random_state=0)
    for part in drive.batches(len(x), 64):
        z = scale.partial_fit(x[part]).transform(x[part])
        clf.partial_fit(z, y[part], classes=[0, 1], sample_weight=weights[part])
    np.testing.assert_array_equal(handle.model.estimator[-1].coef_, clf.coef_)


@pytest.mark.parametrize(
    "given",
    [
        OneVsRestClassifier(SGDClassifier()),
        Pipeline([("scale", StandardScaler()), ("clf", OneVsRestClassifier(SGDClassifier()))]),
    ],
)
def test_estimators_of_estimators_learn_batch_by_batch(drive, digits, given):
    x, y = digits
    handle = drive.make(given)
    drive.train(handle, x[:1000], y[:1000])
    assert "fits once" not in handle.describe()
    assert drive.predict(handle, x[1000:], y=y[1000:], output="score") > 0.7


def test_a_selection_learns_batch_by_batch(drive, digits):
    x, y = digits
    handle = drive.make(SelectFromModel(SGDClassifier(random_state=0)))
    drive.train(handle, x, y)
    theirs = SGDClassifier(random_state=0)
    loop(theirs, x, y, list(drive.batches(len(x), 64)))
    np.testing.assert_array_equal(handle.model.estimator.estimator_.coef_, theirs.coef_)
    assert drive.predict(handle, x).shape[1] < x.shape[1]


def test_a_selection_before_a_learner_is_collected(drive, digits):
    """The columns that it selects change from batch to batch."""
    steps = [("select", SelectFromModel(SGDClassifier())), ("clf", GaussianNB())]
    assert "fits once" in drive.make(Pipeline(steps)).describe()
    with pytest.raises(ModelConfigError, match=r"'select'.*other columns"):
        drive.make(Pipeline(steps), {"strategy": "partial"})


def test_several_outputs_have_classes_each(drive, iris):
    x, y = iris
    both = np.column_stack([y, y % 2])
    for config in ({}, {"classes": [[0, 1, 2], [0, 1]]}):
        handle = drive.make(MultiOutputClassifier(SGDClassifier(random_state=0)), config)
        drive.train(handle, x, both)
        assert drive.predict(handle, x).shape == (150, 2)


def test_a_meta_estimator_over_one_that_cannot_is_collected(drive):
    from sklearn.svm import SVC

    assert "fits once" in drive.make(OneVsRestClassifier(SVC())).describe()


def test_regressors_learn_batch_by_batch(drive, diabetes):
    x, y = diabetes
    handle = drive.make("sklearn/SGDRegressor")
    drive.train(handle, x, y, n_epochs=5)
    by_hand = SGDRegressor(random_state=handle.model.estimator.random_state)
    loop(by_hand, x, y, list(drive.batches(len(x), 64)) * 5)
    np.testing.assert_array_equal(handle.model.estimator.coef_, by_hand.coef_)


def test_a_transformer_that_needs_no_fit_has_nothing_to_gather(drive, digits):
    x = digits[0]
    handle = drive.make("sklearn/Normalizer")
    before = drive.predict(handle, x)
    drive.train(handle, x)
    np.testing.assert_array_equal(before, Normalizer().transform(x))
    np.testing.assert_array_equal(drive.predict(handle, x), before)
    assert "fits once" not in handle.describe()
