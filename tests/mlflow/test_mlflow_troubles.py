"""What does not get into MLflow is told, and training goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pytest

from batchloom import Dataset
from batchloom.models import BaseModel
from batchloom_mlflow import TrackingWarning


class Talking(BaseModel):
    """Gives what it is told to."""

    def _train(self, x):
        return self.config["outputs"]


def test_a_server_that_does_not_answer(tracking, training, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")  # discard: nobody listens
    with pytest.warns(TrackingWarning) as caught:
        done = training().run(100, n_epochs=2)
    assert len(done.get_variable("losses")) == 6
    (warning,) = (each for each in caught if each.category is TrackingWarning)
    for part in ("http://127.0.0.1:9", "MLFLOW_TRACKING_URI", "BATCHLOOM_DISABLE_PLUGINS"):
        assert part in str(warning.message)


def test_a_user_can_make_it_an_error(tracking, training, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=TrackingWarning)
        with pytest.raises(TrackingWarning, match="no MLflow run could be started"):
            training().run(100)


def test_a_database_needs_the_whole_of_mlflow(tracking, training, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    with pytest.warns(TrackingWarning, match="pip install mlflow"):
        training().run(100)


def test_a_store_that_fails_for_a_while_gets_everything_in_the_end(
    tracking, runs, training, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    batches = training().gen_batch(100, n_epochs=3)
    next(batches)
    shutil.move(tmp_path / "store", away)
    with pytest.warns(TrackingWarning, match="they are kept, and sent when"):
        for _ in range(5):
            next(batches)
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    shutil.move(away, tmp_path / "store")
    assert len(list(batches)) == 3
    (run,) = runs()
    losses = tracking.get_metric_history(run.info.run_id, "clf/loss")
    assert sorted(each.step for each in losses) == list(range(9))
    assert run.info.status == "FINISHED"


def test_what_is_lost_is_named(tracking, training, tmp_path: Path) -> None:
    batches = training().gen_batch(100)
    next(batches)
    shutil.rmtree(tmp_path / "store")
    with pytest.warns(TrackingWarning) as caught:
        assert len(list(batches)) == 2
    messages = " ".join(str(each.message) for each in caught)
    assert "4 values were not recorded" in messages
    assert "(clf/epoch, clf/loss)" in messages
    assert "could not be ended" in messages


def test_outputs_that_are_no_numbers_are_told_once(tracking, runs) -> None:
    outputs = {
        "loss": np.float32(0.5),
        "f1 (macro)": np.array([1]),
        "deep": {"er": True},
        "probabilities": np.ones((2, 3)),
        "label": "seven",
    }
    pipeline = (
        Dataset(data={"x": np.arange(4)})
        .p.init_model("dynamic", Talking, "t", config={"outputs": outputs})
        .train_model("t", x="x")
    )
    with pytest.warns(TrackingWarning) as caught:
        pipeline.run(1)
    metrics = runs()[0].data.metrics
    assert metrics == {"t/loss": 0.5, "t/f1 _macro_": 1, "t/deep/er": 1, "t/epoch": 0}
    told = [str(each.message) for each in caught]
    assert len(told) == 2
    assert "'probabilities' of model 't' is ndarray of shape (2, 3)" in told[0]
    assert "'label' of model 't' is str" in told[1]


def test_switched_off_it_is_not_imported(tmp_path: Path) -> None:
    code = """
        import sys, numpy as np
        from batchloom import Dataset
        Dataset(data={"x": np.ones((4, 1)), "y": np.arange(4)}).p.init_model(
            "static", "sklearn/LinearRegression", "m"
        ).train_model("m", x="x", y="y").run(2)
        assert "batchloom_mlflow" not in sys.modules and "mlflow" not in sys.modules
    """
    environment = {**os.environ, "BATCHLOOM_DISABLE_PLUGINS": "batchloom-mlflow"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    subprocess.run(command, cwd=tmp_path, env=environment, timeout=100, check=True)
    assert list(tmp_path.iterdir()) == []


def test_mlflow_is_imported_only_when_something_is_trained(tmp_path: Path) -> None:
    code = """
        import sys, numpy as np
        from batchloom import Dataset
        model = (Dataset(data={"x": np.ones((4, 1))}).p
                 .init_model("static", "sklearn/StandardScaler", "m").get_model_by_name("m"))
        assert "batchloom_mlflow.plugin" in sys.modules and "mlflow" not in sys.modules
        model.train(x=np.ones((4, 1)))
        assert "mlflow" not in sys.modules
    """
    environment = {**os.environ, "BATCHLOOM_DISABLE_PLUGINS": ""}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    subprocess.run(command, cwd=tmp_path, env=environment, timeout=100, check=True)
