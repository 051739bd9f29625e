"""Pipelines of scikit-learn's estimators that tests stop, kill and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from stopped_runs import pipeline, rows, to_bits

from batchloom import Pipeline

SGD = {"loss": "log_loss", "penalty": "elasticnet", "average": 3}


class Doubler(TransformerMixin, BaseEstimator):
    """A user's own transformer: of a type that only the definition knows."""

    def fit(self, X: Any, y: Any = None) -> Doubler:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X * 2


def frame() -> dict[str, Any]:
    import pandas as pd

    data = rows()
    named = pd.DataFrame(data["x"], columns=[f"c{i}" for i in range(data["x"].shape[1])])
    named["kind"] = pd.Categorical(np.where(data["y"] == 1, "one", "other"))
    named["many"] = pd.array(np.arange(len(named)) % 7, dtype="Int64")
    return {"x": named, "y": data["y"], "w": data["w"]}


def of_frames() -> Pipeline:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    chosen = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    forest = make_pipeline(chosen, RandomForestClassifier(n_estimators=5))
    return pipeline(forest, {"strategy": "collect"}, frame(), output="accuracy")


def of_sparse_rows() -> Pipeline:
    data = rows()
    data["x"] = sparse.csr_array(np.where(data["x"] > 0, data["x"], 0))
    return pipeline("sklearn/LogisticRegression", {"strategy": "collect"}, data, output="score")


def of_texts() -> Pipeline:
    data = rows()
    words = np.array(["red", "green", "blue", "a longer word"])
    data["x"] = np.array(
        [" ".join(words[(each > 0).nonzero()[0] % 4]) for each in data["x"]], object
    )
    config = {"steps": ["CountVectorizer", "MultinomialNB"]}
    return pipeline("sklearn/Pipeline", config, data, output="accuracy")


CASES: dict[str, Callable[[], Pipeline]] = {
    "sgd": lambda: pipeline("sklearn/SGDClassifier", SGD, rows(), output="loss"),
    "network": lambda: pipeline(
        "sklearn/MLPClassifier", {"hidden_layer_sizes": [5]}, rows(), output=["loss", "proba"]
    ),
    "scaled": lambda: pipeline(
        "sklearn/Pipeline", {"steps": ["StandardScaler", Doubler(), "SGDClassifier"]}, rows()
    ),
    "static": lambda: pipeline(
        "sklearn/SGDRegressor", {}, rows(), mode="static", sample_weight="w", output="predict"
    ),
    "clusters": lambda: pipeline("sklearn/MiniBatchKMeans", {"n_clusters": 3}, rows(), y=None),
    "forest": lambda: pipeline(
        "sklearn/RandomForestClassifier",
        {"n_estimators": 5},
        rows(),
        sample_weight="w",
        output="proba",
    ),
    "every epoch": lambda: pipeline(
        "sklearn/HistGradientBoostingClassifier",
        {"fit_at": "epoch", "max_iter": 3},
        rows(),
        output=("score", "loss"),
    ),
    "frames": of_frames,
    "sparse": of_sparse_rows,
    "texts": of_texts,
}


def result(done: Pipeline) -> Any:
    """All that a run leaves: variables and the estimator."""
    return to_bits(dict(done.variables)), to_bits(done.models["m"].estimator)
