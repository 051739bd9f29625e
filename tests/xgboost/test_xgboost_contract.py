"""The model contract, kept by models of XGBoost."""

from __future__ import annotations

from batchloom.testing import ModelTests


class TestClassifier(ModelTests):
    name = "xgboost/XGBClassifier"
    config = {"n_estimators": 5, "max_depth": 3}


class TestRegressor(ModelTests):
    name = "xgboost/XGBRegressor"
    config = {"n_estimators": 5, "max_depth": 3}
    task = "regression"


class TestContinuingBooster(ModelTests):
    name = "xgboost/Booster"
    config = {
        "strategy": "continue",
        "rounds_per_batch": 1,
        "params": {"objective": "multi:softprob", "num_class": 3},
    }
