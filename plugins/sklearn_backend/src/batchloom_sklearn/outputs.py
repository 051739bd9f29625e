"""What ``output=`` can ask for: predictions by their short names, the loss, the score, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sklearn.base import is_classifier, is_regressor

from batchloom.errors import ModelInputError, UnknownNameError, nearest

from .inputs import Samples, takes_argument
from .losses import loss_function
from .metrics import get_metric, is_metric, metric_names

METHODS: Mapping[str, str] = {
    "predict": "predict",
    "proba": "predict_proba",
    "log_proba": "predict_log_proba",
    "decision": "decision_function",
    "transform": "transform",
    "score_samples": "score_samples",
}
"""Output -> the method of the estimator that makes it: arrays with one row for each sample."""

VALUES = ("score", "loss")
"""Outputs that are one number for the batch."""


class Outputs:
    """The outputs of one estimator.

    Parameters
    ----------
    estimator : estimator
        It need not be fitted yet.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.title = type(estimator).__name__

    def names(self) -> list[str]:
        """List the outputs that the estimator has."""
        arrays = [name for name in METHODS if hasattr(self.estimator, METHODS[name])]
        values = ["score"] if hasattr(self.estimator, "score") else []
        if loss_function(self.estimator) is not None:
            values.append("loss")
        return arrays + values

    def default(self) -> str:
        """Give what ``predict_model`` returns when nothing is asked for.

        Raises
        ------
        UnknownNameError
            The estimator can tell nothing about rows that it was not fitted on.
        """
        for name in ("predict", "transform"):
            if hasattr(self.estimator, name):
                return name
        raise UnknownNameError(
            "output",
            "predict",
            self.names(),
            f"of {self.title}",
            "Ask for one of these as output="
            if self.names()
            else "Look at what get_model_by_name(...).estimator has: attributes such as labels_ or "
            "embedding_ that tell of the rows it was fitted on, or methods of its own",
        )

    def check(self, output: Any, y: Any) -> None:
        """Refuse outputs that there are not, before anything is changed.

        Parameters
        ----------
        output : str, or list, tuple or dict of them
        y : array-like or None
            Values that compare with targets need it.

        Raises
        ------
        UnknownNameError, ModelInputError
        """
        for name in flat(output):
            self._check_name(name)
            if name not in METHODS and y is None and not self._scores_without_y(name):
                raise ModelInputError(f"output={name!r} compares with the targets: give them as y=")

    def compute(self, output: Any, samples: Samples) -> Any:
        """Compute outputs of a fitted estimator, in the structure in which they were asked for."""
        with samples.trusted():
            return _mapped(output, lambda name: self._compute_one(name, samples))

    def before_update(self, output: Any, samples: Samples, is_fitted: bool) -> Any:
        """Compute outputs, or if nothing has been learned yet NaN for numbers and None for arrays."""
        if is_fitted:
            return self.compute(output, samples)
        return _mapped(output, lambda name: None if name in METHODS else float("nan"))

    def _check_name(self, name: Any) -> None:
        if name in METHODS:
            known = hasattr(self.estimator, METHODS[name])
        else:
            known = name in self.names() if name in VALUES else is_metric(name)
        if not known:
            names, hint = self.names(), self._why_not(name)
            raise UnknownNameError("output", name, names, f"of {self.title}", hint)

    def _why_not(self, name: Any) -> str:
        if name in METHODS:
            return _reason(self.estimator, METHODS[name])
        if name == "loss":
            return "Its loss function is not one that can be computed on a batch; 'score' may do"
        hint = "The names of sklearn.metrics, such as 'accuracy', are outputs too"
        return hint + nearest(str(name), {*METHODS, *VALUES, *metric_names()} - set(self.names()))

    def _scores_without_y(self, name: str) -> bool:
        # Clusterings and decompositions are scored on their rows alone.
        supervised = is_classifier(self.estimator) or is_regressor(self.estimator)
        return name == "score" and not supervised

    def _compute_one(self, name: str, samples: Samples) -> Any:
        if name in METHODS:
            return getattr(self.estimator, METHODS[name])(samples.x)
        if name == "score":
            return self._score(samples)
        loss = loss_function(self.estimator) if name == "loss" else None
        if loss is not None:
            return loss(samples)
        return get_metric(name)(samples.y, self.estimator.predict(samples.x))

    def _score(self, samples: Samples) -> float:
        data = (samples.x,) if samples.y is None else (samples.x, samples.y)
        weights = {}
        if samples.sample_weight is not None and takes_argument(
            self.estimator.score, "sample_weight"
        ):
            weights["sample_weight"] = samples.sample_weight
        return float(self.estimator.score(*data, **weights))


def flat(output: Any) -> list[Any]:
    """List the names in an output that may be a list, a tuple or a dict of them."""
    if isinstance(output, Mapping):
        return [name for each in output.values() for name in flat(each)]
    if isinstance(output, (list, tuple)):
        return [name for each in output for name in flat(each)]
    return [output]


def _mapped(output: Any, compute: Callable[[str], Any]) -> Any:
    if isinstance(output, Mapping):
        return {key: _mapped(each, compute) for key, each in output.items()}
    if isinstance(output, (list, tuple)):
        return type(output)(_mapped(each, compute) for each in output)
    return compute(output)


def _reason(estimator: Any, method: str) -> str:
    try:
        getattr(estimator, method)
    except AttributeError as exc:
        return f"scikit-learn says: {exc.__cause__ or exc}"
    return ""
