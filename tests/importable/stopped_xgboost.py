"""Pipelines of XGBoost's models that tests stop, kill and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from stopped_runs import pipeline, rows, to_bits

from batchloom import Pipeline

DRAWS = {"n_estimators": 4, "max_depth": 3, "subsample": 0.7, "colsample_bytree": 0.5}
GROWS = {"strategy": "continue", "rounds_per_batch": 2, "max_depth": 2, "subsample": 0.7}


def frame() -> dict[str, Any]:
    """Categories and labels that the first batches do not show all of."""
    import pandas as pd

    data = rows()
    named = pd.DataFrame(data["x"], columns=[f"c{i}" for i in range(data["x"].shape[1])])
    named["kind"] = pd.Categorical(np.array(["a", "b", "c", "d"])[np.arange(len(named)) // 25])
    return {"x": named, "y": np.array(["no", "so so", "yes"])[data["y"]], "w": data["w"]}


def sparse_rows() -> dict[str, Any]:
    data = rows()
    return {**data, "x": sparse.csr_matrix(np.where(data["x"] > 0, data["x"], 0))}


def rare_class() -> dict[str, Any]:
    """Two classes, one of which is in few batches only."""
    data = rows()
    return {**data, "y": (np.arange(len(data["y"])) % 45 == 0).astype(int)}


def queries() -> Pipeline:
    data = rows()
    data["w"] = np.arange(len(data["y"])) // 5
    return pipeline("xgboost/XGBRanker", DRAWS, data, qid="w")


def validation() -> dict[str, Any]:
    data = rows()
    return {"eval_set": (data["x"][:20], data["y"][:20])}


CASES: dict[str, Callable[[], Pipeline]] = {
    "collect": lambda: pipeline(
        "xgboost/XGBClassifier", {**DRAWS, "eval_fraction": 0.3}, rows(), sample_weight="w"
    ),
    "stops early": lambda: pipeline(
        "xgboost/XGBRegressor",
        {**DRAWS, "eval_fraction": 0.3, "early_stopping_rounds": 1, "fit_at": "epoch"},
        rows(),
    ),
    "warm": lambda: pipeline(
        "xgboost/XGBClassifier", {**DRAWS, "warm_start": True, "fit_at": "epoch"}, frame()
    ),
    "spool": lambda: pipeline(
        "xgboost/XGBRegressor", {**DRAWS, "spool": True, "max_bytes": 4096}, rows(), output="loss"
    ),
    "frames": lambda: pipeline("xgboost/XGBClassifier", DRAWS, frame()),
    "sparse": lambda: pipeline("xgboost/XGBRFClassifier", DRAWS, sparse_rows(), mode="static"),
    "ranks": queries,
    "continue": lambda: pipeline(
        "xgboost/XGBClassifier", {**GROWS, **validation()}, rows(), mode="static", output="loss"
    ),
    "continue, rare class": lambda: pipeline(
        "xgboost/XGBClassifier", GROWS, rare_class(), output="loss"
    ),
    "continue, frames": lambda: pipeline(
        "xgboost/XGBClassifier",
        {**GROWS, "eval_set": (frame()["x"][:20], frame()["y"][:20])},
        frame(),
    ),
    "continue, dart": lambda: pipeline(
        "xgboost/Booster",
        {**GROWS, "params": {"booster": "dart", "rate_drop": 0.5, "objective": "reg:squarederror"}},
        rows(),
    ),
}


def result(done: Pipeline) -> Any:
    """All that a run leaves: variables, trees, history, labels, predictions."""
    model = done.models["m"]
    x = done.dataset.gather("x", np.arange(len(done.dataset)))
    learned = model._fitted()
    classes = None if learned.classes is None else learned.classes.values
    kept = dict(done.variables), model.history, model.categories, classes, model.predict(x=x)
    return to_bits(kept), bytes(model.booster.save_raw("json"))
