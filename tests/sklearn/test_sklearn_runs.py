"""What a run adds to an estimator: random states, thread-local settings, predictions from threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LinearRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

STOCHASTIC = {"SGDClassifier": {}, "MLPClassifier": {"hidden_layer_sizes": (5,)},
              "RandomForestClassifier": {"n_estimators": 3}}  # fmt: skip


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_run_can_be_repeated_to_the_bit(drive, iris, name):
    answers = []
    for seed in (1, 1, 2):
        handle = drive.make(f"sklearn/{name}", STOCHASTIC[name])
        drive.train(handle, *iris, seed=seed)
        output = "decision" if name == "SGDClassifier" else "proba"
        answers.append(drive.predict(handle, iris[0], output=output))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_the_same_data_and_seed_by_hand(drive, iris):
    handle = drive.make("sklearn/SGDClassifier")
    drive.train(handle, *iris, size=150)
    state = int(np.random.SeedSequence(7).generate_state(1)[0])
    assert handle.model.estimator.random_state == state


def test_a_random_state_that_was_given_wins(drive, iris):
    handle = drive.make("sklearn/SGDClassifier", {"random_state": 42})
    drive.train(handle, *iris, size=150)
    theirs = SGDClassifier(random_state=42).partial_fit(*iris, classes=[0, 1, 2])
    np.testing.assert_array_equal(handle.model.estimator.coef_, theirs.coef_)


def test_nested_random_states_are_set_too_and_differ(drive, iris):
    handle = drive.make(BaggingClassifier(DecisionTreeClassifier(), n_estimators=2))
    handle.begin_run(drive.run_info(iris[1]))
    outer = handle.model.estimator.random_state
    inner = handle.model.estimator.estimator.random_state
    assert isinstance(outer, int) and isinstance(inner, int) and outer != inner
    kept = drive.make(BaggingClassifier(DecisionTreeClassifier(random_state=3)))
    kept.begin_run(drive.run_info(iris[1]))
    assert kept.model.estimator.estimator.random_state == 3


def test_a_second_run_keeps_the_seed_of_the_first(drive, iris):
    handle = drive.make("sklearn/SGDClassifier")
    drive.train(handle, *iris, seed=1)
    first = handle.model.estimator.random_state
    drive.train(handle, *iris, seed=2)
    assert handle.model.estimator.random_state == first


def in_a_thread(function, *args, **given):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **given).result(timeout=30)


def test_settings_of_init_model_hold_in_other_threads(drive, iris):
    """They are thread-local: set_config in the main thread does not reach a worker."""
    with sklearn.config_context(transform_output="pandas"):
        handle = drive.make("sklearn/StandardScaler")
    handle.train((), {"x": iris[0]})
    assert type(in_a_thread(drive.predict, handle, iris[0])).__name__ == "DataFrame"
    assert isinstance(StandardScaler().fit_transform(iris[0]), np.ndarray)


def test_metadata_routing_of_init_model_holds_when_a_collected_pipeline_is_fitted(drive, iris):
    x, y = iris
    weights = np.linspace(0.1, 2, 150)
    with sklearn.config_context(enable_metadata_routing=True):
        last = LinearRegression().set_fit_request(sample_weight=True)
        first = StandardScaler().set_fit_request(sample_weight=False)
        handle = drive.make(make_pipeline(first, last))
    drive.train(handle, x, y, sample_weight=weights)
    scaled = StandardScaler().fit_transform(x)
    theirs = LinearRegression().fit(scaled, y, sample_weight=weights)
    np.testing.assert_array_equal(handle.model.estimator[-1].coef_, theirs.coef_)


def test_the_settings_of_the_caller_are_restored(drive, iris):
    before = sklearn.get_config()
    handle = drive.make("sklearn/SGDClassifier")
    drive.train(handle, *iris)
    drive.predict(handle, iris[0])
    assert sklearn.get_config() == before


@pytest.mark.parametrize(
    "name", ["SGDClassifier", "RandomForestClassifier", "KNeighborsClassifier", "MLPClassifier"]
)
def test_threads_may_predict_at_once(drive, digits, name):
    x, y = digits
    handle = drive.make(f"sklearn/{name}", STOCHASTIC.get(name, {}))
    drive.train(handle, x[:500], y[:500])
    expected = [drive.predict(handle, x[part]) for part in drive.batches(1000, 50)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda part: drive.predict(handle, x[part]), drive.batches(1000, 50)))
    np.testing.assert_array_equal(np.concatenate(got), np.concatenate(expected))
    # joblib swaps the process's warning filters, so core lets what may use it predict one at a time.
    assert handle.predict_is_thread_safe == (name in ("SGDClassifier", "MLPClassifier"))


def test_checks_that_were_made_are_spared_and_only_those(drive, iris, monkeypatch):
    """The context is entered for plain arrays of finite numbers, and left to scikit-learn otherwise."""
    seen = []

    class Watching(SGDClassifier):
        def partial_fit(self, X, y, classes=None, sample_weight=None):
            seen.append(sklearn.get_config()["assume_finite"])
            return super().partial_fit(X, y, classes, sample_weight)

    x, y = iris
    handle = drive.make(Watching(random_state=0))
    drive.train(handle, x, y, size=150)
    handle.train((), {"x": x.astype(object), "y": y})
    handle.train((), {"x": x, "y": y, "sample_weight": [1.0] * 150})
    assert seen == [True, False, False]
    theirs = clone(SGDClassifier(random_state=0)).partial_fit(x, y, classes=[0, 1, 2])
    theirs.partial_fit(x, y).partial_fit(x, y)
    np.testing.assert_array_equal(handle.model.estimator.coef_, theirs.coef_)


def test_parameters_are_validated_at_the_first_batch_all_the_same(drive, iris):
    handle = drive.make("sklearn/SGDClassifier", {"alpha": "much"})
    with pytest.raises(ValueError, match="alpha"):
        drive.train(handle, *iris)
