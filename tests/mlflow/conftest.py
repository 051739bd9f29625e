"""A real tracking store in a folder of the test, and the plug-in switched on for this test only.

Everywhere else it is switched off (see tests/conftest.py): what is trained there is nobody's record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_digits

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.models import registry


class Digits(Batch):
    components = "images", "labels"

    @action
    def normalize(self):
        self.images = self.images / 16
        return self


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MLflow's client of an empty file store; the plug-in is on."""
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("BATCHLOOM_DISABLE_PLUGINS", raising=False)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    registry.refresh()
    yield mlflow.MlflowClient()
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)
    monkeypatch.undo()
    registry.refresh()


@pytest.fixture
def runs(tracking: Any) -> Callable[[], list[Any]]:
    """All runs that the store holds, the oldest first."""

    def found() -> list[Any]:
        experiments = [each.experiment_id for each in tracking.search_experiments()]
        return sorted(tracking.search_runs(experiments), key=lambda each: each.info.start_time)

    return found


@pytest.fixture(scope="session")
def digits() -> Dataset:
    images, labels = load_digits(return_X_y=True)
    return Dataset(batch_class=Digits, data={"images": images[:300], "labels": labels[:300]})


@pytest.fixture
def training(digits: Dataset) -> Callable[..., Pipeline]:
    """A pipeline that trains a linear classifier, and says what its loss is."""

    def make(output: Any = "loss", **config: Any) -> Pipeline:
        options = {"loss": "log_loss", **config}
        return (
            digits.p.init_model("dynamic", "sklearn/SGDClassifier", "clf", config=options)
            .init_variable("losses", init_on_each_run=list)
            .normalize()
            .train_model("clf", x="images", y="labels", output=output, append_to="losses")
        )

    return make
