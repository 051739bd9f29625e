"""The model contract, kept by estimators of each kind: incremental, gathering, without targets."""

from __future__ import annotations

from batchloom.testing import ModelTests


class TestIncrementalClassifier(ModelTests):
    name = "sklearn/SGDClassifier"
    config = {"loss": "log_loss"}


class TestGatheringClassifier(ModelTests):
    name = "sklearn/RandomForestClassifier"
    config = {"n_estimators": 5}
    predict_options = {"output": "proba"}


class TestClustering(ModelTests):
    name = "sklearn/MiniBatchKMeans"
    config = {"n_clusters": 3, "n_init": 1}
    task = "clustering"


class TestTransformer(ModelTests):
    name = "sklearn/StandardScaler"
    task = "transform"
