"""What a booster can be asked for: labels, probabilities, margins, leaves, contributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom.errors import ModelInputError, UnknownNameError
from batchloom_xgboost.asked import names_of
from batchloom_xgboost.columns import Columns, Features
from batchloom_xgboost.library import xgboost as xgb
from batchloom_xgboost.parameters import Parameters, reason

# Outputs that need a matrix, and the argument of Booster.predict that asks for them.
_OF_TREES = {"leaf": "pred_leaf", "contribs": "pred_contribs", "interactions": "pred_interactions"}
OUTPUTS = ("predict", "proba", "margin", *_OF_TREES)


class Predictor:
    """Predictions of one fitted booster; several threads may ask at once.

    Parameters
    ----------
    booster : xgboost.Booster
    parameters : Parameters
    columns : Columns
    classes : ndarray or None
        The labels of a classifier.
    """

    def __init__(
        self,
        booster: Any,
        parameters: Parameters,
        columns: Columns,
        classes: NDArray[Any] | None,
    ) -> None:
        self.booster, self.parameters, self.columns = booster, parameters, columns
        self.classes = classes
        self._objective = parameters.native.get("objective", "")
        self._linear = parameters.native.get("booster") == "gblinear"
        # Without a matrix, dart adds up its trees in another order: the last bit differs.
        self._in_place = parameters.native.get("booster", "gbtree") == "gbtree"

    def predict(
        self,
        x: Features,
        output: str,
        base_margin: NDArray[Any] | None,
        iteration_range: tuple[int, int],
    ) -> NDArray[Any]:
        """Return one output for rows of x.

        Parameters
        ----------
        x : ndarray or csr_matrix, shape (n, columns)
        output : str
            One of `OUTPUTS`.
        base_margin : ndarray, optional
        iteration_range : tuple of int
            Rounds to use; ``(0, 0)`` for all.

        Returns
        -------
        ndarray
            Shapes are those of the library, except that ``"proba"`` has a column for each class.
        """
        try:
            if output in _OF_TREES:
                asked = {_OF_TREES[output]: True}
                return self._from_matrix(x, base_margin, iteration_range, **asked)
            if output == "predict":
                return self._labels(x, base_margin, iteration_range)
            if output == "proba":
                return self._probabilities(x, base_margin, iteration_range)
            return self._values(x, base_margin, iteration_range, margin=True)
        except xgb.core.XGBoostError as exc:
            raise ModelInputError(f"XGBoost cannot give {output!r}: {reason(exc)}") from exc

    def _values(self, x: Any, base_margin: Any, rounds: Any, *, margin: bool) -> NDArray[Any]:
        if not self._in_place:
            return self._from_matrix(x, base_margin, rounds, output_margin=margin)
        return self.booster.inplace_predict(
            x,
            iteration_range=rounds,
            predict_type="margin" if margin else "value",
            missing=self.parameters.missing,
            validate_features=False,
            base_margin=base_margin,
        )

    def _from_matrix(self, x: Any, base_margin: Any, rounds: Any, **asked: bool) -> NDArray[Any]:
        matrix = xgb.DMatrix(
            x,
            base_margin=base_margin,
            missing=self.parameters.missing,
            nthread=self.parameters.nthread,
            feature_types=self.columns.types,
            enable_categorical=True,
        )
        booster = self.booster
        if self._linear:
            rounds = (0, 0)
        elif rounds[0] and "output_margin" not in asked:
            # What is asked of single trees counts from the first: a slice begins where it is told.
            booster, rounds = booster[rounds[0] : rounds[1]], (0, 0)
        return booster.predict(matrix, iteration_range=rounds, validate_features=False, **asked)

    def _labels(self, x: Any, base_margin: Any, rounds: Any) -> NDArray[Any]:
        values = self._values(x, base_margin, rounds, margin=False)
        if self.classes is None:
            return values
        if values.ndim > 1:
            codes = values.argmax(axis=1)
        elif self._objective == "multi:softmax":
            codes = values.astype(int)
        elif self._objective == "binary:logitraw":
            codes = (values > 0).astype(int)
        else:
            codes = (values > 0.5).astype(int)
        return self.classes[codes]

    def _probabilities(self, x: Any, base_margin: Any, rounds: Any) -> NDArray[Any]:
        if self._objective == "multi:softmax":
            margin = self._values(x, base_margin, rounds, margin=True)
            exponents = np.exp(margin - margin.max(axis=1, keepdims=True))
            return exponents / exponents.sum(axis=1, keepdims=True)
        if self._objective not in ("binary:logistic", "reg:logistic", "multi:softprob"):
            raise ModelInputError(f"output: {self._objective or 'the objective'} has no 'proba'")
        values = self._values(x, base_margin, rounds, margin=False)
        return values if values.ndim > 1 else np.stack([1 - values, values], axis=1)


def check_outputs(output: Any) -> list[str]:
    """Return the outputs asked for, one or several, as a list.

    Raises
    ------
    ModelInputError
        If it is no name and no list of names.
    UnknownNameError
        If there is no such output.
    """
    asked = [output] if isinstance(output, str) else list(names_of(output))
    for each in asked:
        if each not in OUTPUTS:
            raise UnknownNameError("output", each, OUTPUTS, where="of predict")
    return asked


def check_rounds(iteration_range: Sequence[int], booster: Any) -> tuple[int, int]:
    """Return the rounds to predict with.

    Raises
    ------
    ModelInputError
        If the booster has not so many, or the range is none.
    """
    rounds = booster.num_boosted_rounds()
    try:
        first, end = (int(each) for each in iteration_range)
    except (TypeError, ValueError) as exc:
        raise ModelInputError(f"iteration_range: {iteration_range!r} is no (first, end)") from exc
    if not 0 <= first <= end <= rounds:
        raise ModelInputError(
            f"iteration_range: ({first}, {end}), and the model has {rounds} rounds"
        )
    return first, end
