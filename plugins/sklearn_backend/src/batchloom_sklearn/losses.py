"""The loss of a fitted estimator on a batch: its own, as a mean over the rows, without the penalty.

=====================================================  =============================================
estimator                                              loss of a row
=====================================================  =============================================
classifiers with ``loss="log_loss"`` or no ``loss``    minus the logarithm of the probability of its
and with ``predict_proba``                             label [1]_
``hinge``, ``squared_hinge``, ``perceptron``,          of its margin; the sum over the one-versus-rest
``modified_huber``                                     problems if there are several [2]_
regressors with ``loss="squared_error"`` or none       the squared error
``absolute_error``                                     the absolute error
``huber``, ``epsilon_insensitive``,                    as scikit-learn defines them, with the
``squared_epsilon_insensitive``                        estimator's ``epsilon`` [2]_
=====================================================  =============================================

References
----------
.. [1] scikit-learn user guide, "Log loss".
.. [2] scikit-learn user guide, "Stochastic Gradient Descent: Mathematical formulation".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from batchloom.errors import ModelInputError

from .estimators import parts
from .inputs import Samples
from .labels import Classes

_MARGIN_LOSSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hinge": lambda margin: np.maximum(0.0, 1.0 - margin),
    "squared_hinge": lambda margin: np.maximum(0.0, 1.0 - margin) ** 2,
    "perceptron": lambda margin: np.maximum(0.0, -margin),
    "modified_huber": lambda margin: np.where(
        margin >= -1.0, np.maximum(0.0, 1.0 - margin) ** 2, -4.0 * margin
    ),
}

_RESIDUAL_LOSSES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "squared_error": lambda residual, _: residual**2,
    "absolute_error": lambda residual, _: residual,
    "huber": lambda residual, epsilon: np.where(
        residual <= epsilon, 0.5 * residual**2, epsilon * residual - 0.5 * epsilon**2
    ),
    "epsilon_insensitive": lambda residual, epsilon: np.maximum(0.0, residual - epsilon),
    "squared_epsilon_insensitive": lambda residual, epsilon: (
        np.maximum(0.0, residual - epsilon) ** 2
    ),
}

_NEED_EPSILON = frozenset(_RESIDUAL_LOSSES) - {"squared_error", "absolute_error"}


def loss_function(estimator: Any) -> Callable[[Samples], float] | None:
    """Find the loss of an estimator, or of the last step of a pipeline.

    Parameters
    ----------
    estimator : estimator
        It need not be fitted yet.

    Returns
    -------
    callable or None
        ``loss(samples)``, weighted if they have weights; None if there is none that is known here.
    """
    rows = _row_losses(estimator)
    if rows is None:
        return None

    def loss(samples: Samples) -> float:
        _check_single_output(samples.y)
        return float(np.average(rows(samples), weights=samples.sample_weight))

    return loss


def _row_losses(estimator: Any) -> Callable[[Samples], np.ndarray] | None:
    last = parts(estimator)[-1] if isinstance(estimator, Pipeline) else estimator
    name = getattr(last, "loss", None)
    if is_regressor(last):
        return _residual_losses(estimator, name or "squared_error", getattr(last, "epsilon", None))
    if not is_classifier(last):
        return None
    if name in _MARGIN_LOSSES and hasattr(estimator, "decision_function"):
        return lambda samples: _margin_losses(estimator, samples, _MARGIN_LOSSES[name])
    if name in (None, "log_loss") and hasattr(estimator, "predict_proba"):
        return lambda samples: _log_losses(estimator, samples)
    return None


def _residual_losses(
    estimator: Any, name: str, epsilon: float | None
) -> Callable[[Samples], np.ndarray] | None:
    formula = _RESIDUAL_LOSSES.get(name)
    if formula is None or (name in _NEED_EPSILON and epsilon is None):
        return None
    return lambda samples: formula(
        np.abs(np.asarray(samples.y) - estimator.predict(samples.x)), epsilon or 0.0
    )


def _log_losses(estimator: Any, samples: Samples) -> np.ndarray:
    proba = estimator.predict_proba(samples.x)
    own = proba[np.arange(len(proba)), _positions(estimator, samples.y)]
    smallest = np.finfo(proba.dtype).eps
    return -np.log(np.clip(own, smallest, 1 - smallest))


def _margin_losses(
    estimator: Any, samples: Samples, formula: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    decision = estimator.decision_function(samples.x)
    positions = _positions(estimator, samples.y)
    if decision.ndim == 1:
        return formula(decision * (2 * positions - 1))
    signs = np.where(np.arange(decision.shape[1]) == positions[:, None], 1.0, -1.0)
    return formula(decision * signs).sum(axis=1)


def _positions(estimator: Any, y: Any) -> np.ndarray:
    Classes(estimator.classes_, "what it was trained on").check(y)
    return np.searchsorted(estimator.classes_, np.asarray(y))


def _check_single_output(y: Any) -> None:
    if np.ndim(y) != 1:
        raise ModelInputError(
            f"the loss is that of one target, and y has the shape {np.shape(y)}. Ask for 'score'"
        )
