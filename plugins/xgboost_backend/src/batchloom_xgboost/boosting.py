"""Boosting itself: rounds, their history, and their progress in the bar."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchloom.errors import ModelInputError
from batchloom_xgboost.library import xgboost as xgb
from batchloom_xgboost.parameters import Parameters, reason

History = list[dict[str, float]]
Progress = Callable[[str, int, "int | None"], None]


def boost(
    parameters: Parameters,
    train: Any,
    evaluated: Mapping[str, Any],
    *,
    start: Any = None,
    progress: Progress,
) -> tuple[Any, History]:
    """Train a booster.

    Parameters
    ----------
    parameters : Parameters
    train : xgboost.DMatrix
    evaluated : mapping of str to xgboost.DMatrix
        What metrics are computed on after each round. The last one decides on early stopping.
    start : Booster, optional
        Trees to add to. It begins like one that was just loaded: its draws of ``subsample`` and
        ``colsample_*`` follow from the seed. In a live booster they would go on from wherever the last
        training in this thread, of whatever model, had left the library's generator.
    progress : callable
        ``progress(what, done, total)``.

    Returns
    -------
    Booster, list of dict
        The history has a dict for each round: ``{"round": 0, "train-logloss": 0.5, ...}``.

    Raises
    ------
    ModelInputError
        If XGBoost refuses the data.
    """
    evals_result: dict[str, dict[str, list[float]]] = {}
    try:
        with xgb.config_context(verbosity=_verbosity(parameters)):
            booster = xgb.train(
                parameters.native,
                train,
                parameters.rounds,
                evals=[(matrix, name) for name, matrix in evaluated.items()],
                obj=parameters.objective,
                custom_metric=parameters.metric,
                early_stopping_rounds=parameters.early_stopping_rounds,
                evals_result=evals_result,
                verbose_eval=False,
                xgb_model=None if start is None else start.save_raw(),
                callbacks=[
                    *_fresh(parameters.callbacks),
                    _RoundsInBar(parameters.rounds, progress),
                ],
            )
    except xgb.core.XGBoostError as exc:
        raise ModelInputError(f"XGBoost refuses to train: {reason(exc)}") from exc
    return booster, rounds_of(evals_result)


def new_booster(parameters: Parameters, matrix: Any) -> Any:
    """Return a booster without trees, for data like a matrix."""
    return xgb.Booster(parameters.native, [matrix])


def grow(booster: Any, matrix: Any, parameters: Parameters, rounds: int) -> None:
    """Add trees to a live booster, from one batch alone.

    The booster is put into the state of one that was just loaded: the draws of ``subsample`` and
    ``colsample_*`` then depend on the seed and the round only (with ``seed_per_iteration``), not on
    what other boosters draw or on whether this one was saved and loaded in between.
    """
    try:
        with xgb.config_context(verbosity=_verbosity(parameters)):
            booster.load_config(booster.save_config())
            done = booster.num_boosted_rounds()
            for each in range(done, done + rounds):
                booster.update(matrix, each, fobj=parameters.objective)
    except xgb.core.XGBoostError as exc:
        raise ModelInputError(f"XGBoost refuses to train: {reason(exc)}") from exc


def evaluate(booster: Any, matrices: Mapping[str, Any], parameters: Parameters) -> dict[str, float]:
    """Return the metrics of a booster, by names such as ``"validation-logloss"``."""
    said = booster.eval_set(
        [(matrix, name) for name, matrix in matrices.items()],
        feval=parameters.metric,
        output_margin=parameters.objective is not None,  # as xgb.train has it
    )
    pairs = (each.rpartition(":") for each in said.split("\t")[1:])
    return {name: float(value) for name, _, value in pairs}


def rounds_of(evals_result: Mapping[str, Mapping[str, Sequence[Any]]]) -> History:
    """Turn XGBoost's evaluation result into one plain dict for each round."""
    columns = {
        f"{data}-{metric}": values
        for data, metrics in evals_result.items()
        for metric, values in metrics.items()
    }
    n = max(map(len, columns.values()), default=0)
    return [{"round": i, **{k: _value(v[i]) for k, v in columns.items()}} for i in range(n)]


def _fresh(callbacks: Sequence[Any]) -> list[Any]:
    """Copy the library's own callbacks: early stopping would go on from the training before."""
    return [
        copy.deepcopy(each) if type(each).__module__.startswith("xgboost.") else each
        for each in callbacks
    ]


def _value(entry: Any) -> float:
    # xgboost.cv gives (mean, standard deviation); training gives numbers.
    return float(entry[0] if isinstance(entry, tuple) else entry)


def _verbosity(parameters: Parameters) -> int:
    if parameters.verbosity is None:
        return int(xgb.get_config()["verbosity"])
    return parameters.verbosity


class _RoundsInBar(xgb.callback.TrainingCallback):
    """Shows the rounds in the bar of the run."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress = total, progress

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._progress("boosting rounds", epoch + 1, self._total)
        return False
