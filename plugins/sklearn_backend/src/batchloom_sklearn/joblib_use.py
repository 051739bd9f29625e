"""Which estimators run joblib when they are asked, and so may be asked by one thread at a time only.

joblib's hand-over to its workers, a single one included, swaps the process's warning filters: two
threads at a time would leave each other's behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from .making import default_parameters

#: Classes of scikit-learn whose ``n_jobs`` is for ``fit`` alone; what they are made of counts as well.
_FIT_ONLY = frozenset({
    "CalibratedClassifierCV", "ElasticNetCV", "GaussianProcessClassifier", "GraphicalLassoCV",
    "GridSearchCV", "LarsCV", "LassoCV", "LassoLarsCV", "LinearRegression", "LogisticRegression",
    "LogisticRegressionCV", "MeanShift", "MultiTaskElasticNetCV", "MultiTaskLassoCV",
    "OneVsOneClassifier", "OneVsRestClassifier", "OrthogonalMatchingPursuitCV", "OutputCodeClassifier",
    "PassiveAggressiveClassifier", "Perceptron", "RFECV", "RandomizedSearchCV", "SGDClassifier",
    "SequentialFeatureSelector", "StackingClassifier", "StackingRegressor", "TheilSenRegressor",
    "TunedThresholdClassifierCV", "VotingClassifier", "VotingRegressor",
})  # fmt: skip


def may_run_joblib(estimator: Any) -> bool:
    """Whether an estimator, or anything that it is made of, may run joblib when it predicts.

    Parameters
    ----------
    estimator : estimator
        It need not be fitted; those in its parameters count, and in a search those it chooses from.
    """
    classes: set[type] = {type(part) for part in _estimators_in(estimator)}
    return any(map(class_may_run_joblib, classes))


@cache
def class_may_run_joblib(estimator_class: type) -> bool:
    """Whether estimators of a class may, whatever they are made of.

    Nothing is known of a class that is not scikit-learn's own: it may.
    """
    if not estimator_class.__module__.startswith("sklearn."):
        return True
    return (
        "n_jobs" in default_parameters(estimator_class)
        and estimator_class.__name__ not in _FIT_ONLY
    )


def _estimators_in(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _estimators_in(each)
    elif hasattr(value, "get_params") and not isinstance(value, type):
        yield value
        for each in value.get_params(deep=False).values():
            yield from _estimators_in(each)
