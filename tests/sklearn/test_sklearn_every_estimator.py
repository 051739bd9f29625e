"""Every public estimator: made by name, trained, saved, loaded, and the same afterwards."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
from joblib import parallel_config, register_parallel_backend
from joblib.parallel import SequentialBackend
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from batchloom.errors import SaveError
from batchloom.models import load_model
from batchloom_sklearn.catalogue import ESTIMATORS
from batchloom_sklearn.joblib_use import _FIT_ONLY
from batchloom_sklearn.outputs import METHODS

X, Y = load_iris(return_X_y=True)
TWO = np.column_stack([Y, Y % 2])
STEPS = [("scale", StandardScaler()), ("clf", LogisticRegression())]
CONFIGS = {
    "ClassifierChain": {"estimator": LogisticRegression()},
    "ColumnTransformer": {"transformers": [("scale", StandardScaler(), [0, 1])]},
    "FeatureUnion": {"transformer_list": [("scale", StandardScaler())]},
    "FixedThresholdClassifier": {"estimator": LogisticRegression()},
    "FrozenEstimator": {"estimator": Ridge().fit(X, Y)},
    "GaussianMixture": {"n_components": 2},
    "GridSearchCV": {"estimator": Ridge(), "param_grid": {"alpha": [1.0, 2.0]}},
    "MultiOutputClassifier": {"estimator": LogisticRegression()},
    "MultiOutputRegressor": {"estimator": Ridge()},
    "OneVsOneClassifier": {"estimator": LogisticRegression()},
    "OneVsRestClassifier": {"estimator": LogisticRegression()},
    "OutputCodeClassifier": {"estimator": LogisticRegression()},
    "Pipeline": {"steps": STEPS},
    "RFE": {"estimator": LogisticRegression()},
    "RFECV": {"estimator": LogisticRegression()},
    "RandomizedSearchCV": {"estimator": Ridge(), "param_distributions": {"alpha": [1.0, 2.0]}, "n_iter": 2},
    "RegressorChain": {"estimator": Ridge()},
    "SelectFromModel": {"estimator": LogisticRegression(), "strategy": "collect"},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "SequentialFeatureSelector": {"estimator": Ridge()},
    "SparseCoder": {"dictionary": np.eye(4)},
    "StackingClassifier": {"estimators": STEPS[1:]},
    "StackingRegressor": {"estimators": [("ridge", Ridge())]},
    "TunedThresholdClassifierCV": {"estimator": LogisticRegression()},
    "VotingClassifier": {"estimators": STEPS[1:]},
    "VotingRegressor": {"estimators": [("ridge", Ridge())]},
    "DictionaryLearning": {"max_iter": 3},
    "SparsePCA": {"max_iter": 3},
    "MiniBatchSparsePCA": {"max_iter": 3},
    "SelectKBest": {"k": 2},
    "PatchExtractor": {"patch_size": (2, 2)},
    "GaussianRandomProjection": {"n_components": 2},
    "SparseRandomProjection": {"n_components": 2},
    "GenericUnivariateSelect": {"param": 1},
}  # fmt: skip
TEXTS = ["good film", "bad film", "very good", "very bad"] * 3
DATA = {
    "CountVectorizer": (TEXTS,), "TfidfVectorizer": (TEXTS,), "HashingVectorizer": (TEXTS,),
    "DictVectorizer": ([{"a": 1, "b": 2}, {"a": 3}],), "FeatureHasher": ([{"a": 1}, {"b": 3}],),
    "TfidfTransformer": (sparse.csr_matrix(X),),
    "LabelEncoder": (Y,), "LabelBinarizer": (Y,), "MultiLabelBinarizer": ([[1, 2], [3], [1]],),
    "PatchExtractor": (np.ones((3, 8, 8)),), "IsotonicRegression": (X[:, 0], Y.astype(float)),
    "KernelCenterer": (X @ X.T,), "CategoricalNB": (np.round(X), Y),
    "ClassifierChain": (X, np.eye(3)[Y]), "MultiOutputClassifier": (X, TWO), "MultiOutputRegressor": (X, TWO),
    "RegressorChain": (X, TWO), "MultiTaskElasticNet": (X, TWO), "MultiTaskElasticNetCV": (X, TWO),
    "MultiTaskLasso": (X, TWO), "MultiTaskLassoCV": (X, TWO),
    "FixedThresholdClassifier": (X, Y % 2), "TunedThresholdClassifierCV": (X, Y % 2),
    "CCA": (X, TWO), "PLSCanonical": (X, TWO), "PLSSVD": (X, TWO),
    "GammaRegressor": (X, Y + 1.0),
}  # fmt: skip

# Each holds types of another kind in its file: trees, neighbours, losses, kernels, scorers, functions.
SAMPLE = ["AdaBoostClassifier", "BisectingKMeans", "CalibratedClassifierCV", "ExtraTreesRegressor",
          "GaussianProcessClassifier", "GradientBoostingRegressor", "GridSearchCV", "HashingVectorizer",
          "HistGradientBoostingRegressor", "IsolationForest", "KBinsDiscretizer", "KernelDensity",
          "MLPRegressor", "MiniBatchKMeans", "OneVsRestClassifier", "OutputCodeClassifier",
          "PassiveAggressiveRegressor", "RandomTreesEmbedding", "SVC", "SelectKBest", "SplineTransformer",
          "StackingClassifier", "TfidfVectorizer", "TweedieRegressor", "VotingRegressor"]  # fmt: skip

NOT_BY_SKOPS = {"Birch"}


def check_round_trip(drive, name, path):
    handle = drive.make(f"sklearn/{name}", CONFIGS.get(name, {}))
    data = DATA.get(name, (X, Y))
    drive.train(handle, *data, size=1000)
    asked = [each for each in METHODS if hasattr(handle.model.estimator, METHODS[each])]
    if name in NOT_BY_SKOPS:
        with pytest.raises(SaveError):
            handle.save(path)
        return
    handle.save(path)
    loaded = load_model(path)
    assert type(loaded.estimator) is type(handle.model.estimator)
    assert loaded.predict_is_thread_safe == handle.predict_is_thread_safe
    if asked:
        with joblib_calls() as calls:
            ours = drive.predict(handle, data[0], output=asked)
        assert not (calls and handle.predict_is_thread_safe)
        theirs = loaded.predict(data[0], output=asked)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_equal(dense(one), dense(other))


class Noting(SequentialBackend):
    supports_sharedmem = True
    calls: list = []

    def configure(self, n_jobs=1, parallel=None, **options):
        self.calls.append(parallel)
        return super().configure(1, parallel, **options)

    def effective_n_jobs(self, n_jobs):
        return 1 if n_jobs in (None, 1) else 2


register_parallel_backend("noting", Noting)


@contextlib.contextmanager
def joblib_calls():
    """Note each use of joblib.Parallel, with one worker too."""
    Noting.calls.clear()
    with parallel_config(backend="noting"):
        yield Noting.calls


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(_FIT_ONLY))
def test_what_needs_jobs_for_its_fit_alone_is_asked_by_several_threads(drive, name):
    handle = drive.make(f"sklearn/{name}", {**CONFIGS.get(name, {}), "n_jobs": 2})
    data = DATA.get(name, (X, Y))
    with parallel_config(backend="threading"):  # processes would take longer than the fit
        drive.train(handle, *data, size=1000)
    asked = [each for each in METHODS if hasattr(handle.model.estimator, METHODS[each])]
    with joblib_calls() as calls:
        for each in asked:
            drive.predict(handle, data[0], output=each)
        if hasattr(handle.model.estimator, "score"):
            handle.predict((), {"x": data[0], "y": data[1], "output": "score"})
    assert not calls
    assert handle.spec.predict_is_thread_safe
    assert handle.predict_is_thread_safe


class Own(SVC):
    pass


@pytest.mark.parametrize("jobs", [None, 2])
@pytest.mark.parametrize("estimator", [
    RandomForestClassifier(10), KNeighborsClassifier(algorithm="kd_tree"), Own(),
    make_pipeline(StandardScaler(), RandomForestClassifier(10)),
    VotingClassifier([("forest", RandomForestClassifier(10))]),
    GridSearchCV(Pipeline([("clf", SVC())]), {"clf": [RandomForestClassifier(10)]}, cv=2),
], ids=["forest", "neighbours", "own", "pipeline", "voting", "search"])  # fmt: skip
def test_what_runs_joblib_to_predict_is_asked_by_one_thread_at_a_time(drive, estimator, jobs):
    if "n_jobs" in estimator.get_params():
        estimator = clone(estimator).set_params(n_jobs=jobs)
    handle = drive.make(estimator)
    drive.train(handle, X, Y, size=1000)
    with joblib_calls() as calls:
        drive.predict(handle, X)
    assert calls or isinstance(estimator, Own)  # of which nothing is known
    assert not handle.predict_is_thread_safe
    named = drive.make("sklearn/Estimator", {"estimator": estimator})
    assert not named.predict_is_thread_safe


def dense(data):
    return data.toarray() if sparse.issparse(data) else data


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLE)
def test_round_trip(drive, tmp_path, name):
    check_round_trip(drive, name, tmp_path / "model")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - set(SAMPLE)))
def test_round_trip_of_all_others(drive, tmp_path, name):
    check_round_trip(drive, name, tmp_path / "model")


def test_every_estimator_says_when_it_learns(drive):
    by_batch = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ESTIMATORS:
            config = {k: v for k, v in CONFIGS.get(name, {}).items() if k != "strategy"}
            said = drive.make(f"sklearn/{name}", config).describe()
            by_batch += "fits once" not in said
    assert 30 < by_batch < 50
