"""A booster that was trained elsewhere, taken over as a model's own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from batchloom.errors import ModelConfigError
from batchloom_xgboost.categories import CategoryTable
from batchloom_xgboost.classes import Classes
from batchloom_xgboost.columns import Columns
from batchloom_xgboost.learned import Learned
from batchloom_xgboost.library import xgboost as xgb
from batchloom_xgboost.parameters import Parameters


def adopt(booster: Any, parameters: Parameters, columns: Columns, classifies: bool) -> Learned:
    """Return what a trained booster knows, as if it had been trained here.

    Parameters
    ----------
    booster : xgboost.Booster
        It is copied, and stays as it is.
    parameters : Parameters
        From the config.
    columns : Columns
        To be filled.
    classifies : bool
        Whether it comes from a classifier: its labels are 0 to k - 1.

    Raises
    ------
    ModelConfigError
        If it has not been trained.
    """
    try:
        own = booster.copy()
        config = json.loads(own.save_config())["learner"]
    except xgb.core.XGBoostError as exc:
        raise ModelConfigError(
            "the booster has not been trained. Give its parameters as the config of xgboost/Booster"
        ) from exc
    columns.count = own.num_features()
    columns.names, columns.types = own.feature_names, own.feature_types
    for i, values in enumerate(_categories(own)):
        if values is not None:
            columns.tables[i] = CategoryTable(values)
    found = {
        "objective": config["objective"]["name"],
        "booster": config["gradient_booster"]["name"],
    }
    count = int(config["learner_model_param"]["num_class"])
    if count > 1:
        found["num_class"] = count
    classes = Classes(np.arange(max(2, count))) if classifies else None
    return Learned(own, parameters.with_native(**found), columns, classes)


def _categories(booster: Any) -> list[list[Any] | None]:
    """Categories by column, which a booster keeps that was trained on a frame."""
    if "c" not in (booster.feature_types or ()):
        return []
    try:
        named = booster.get_categories(export_to_arrow=True).to_arrow()
    except ImportError as exc:
        raise ModelConfigError(
            "fitted: to take over the categories of a booster, install pyarrow"
        ) from exc
    return [None if values is None else values.to_pylist() for _, values in named]
