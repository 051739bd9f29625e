"""Which MLflow run a training goes to, and how that run ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import mlflow
import numpy as np
import pytest

from batchloom import Dataset
from batchloom.models import BaseModel
from batchloom_mlflow import TrackingWarning, run_id_of


class Failing(BaseModel):
    """Fails at its second batch, in the way that it is told to."""

    def _train(self, x):
        if x[0] > 0:
            raise self.config["exception"]
        return 1


def steps(tracking, run, name: str) -> list[int]:
    return sorted(each.step for each in tracking.get_metric_history(run.info.run_id, name))


def test_the_active_run_is_used_and_left_open(tracking, runs, training) -> None:
    with mlflow.start_run() as mine:
        training().run(100)
        assert mlflow.active_run().info.run_id == mine.info.run_id
        assert tracking.get_run(mine.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("mine", 1)
    (run,) = runs()
    assert run.info.run_id == mine.info.run_id
    assert {"clf/loss", "mine"} <= set(run.data.metrics)


def test_runs_that_share_an_active_run_go_on_counting(tracking, runs, training) -> None:
    with mlflow.start_run():
        pipeline = training()
        pipeline.run(100)
        pipeline.run(100)
    (run,) = runs()
    assert steps(tracking, run, "clf/loss") == list(range(6))


def test_other_values_of_parameters_in_a_shared_run_have_names_of_their_own(
    tracking, runs, training
) -> None:
    with mlflow.start_run():
        training().run(100, seed=1)
        training().run(100, seed=1)
        training(alpha=0.1).run(150, seed=2)
    (run,) = runs()
    assert run.data.params["batch_size"] == "100"
    later = {name: value for name, value in run.data.params.items() if name.startswith("run")}
    assert later == {"run3/batch_size": "150", "run3/seed": "2"}
    assert run.data.params["clf/alpha"] == "0.1"
    assert run.data.tags["batchloom.runs"] == "3"


def test_a_parameter_that_cannot_be_recorded_is_told(tracking, training) -> None:
    model = training(alpha=0.1).run(300).get_model_by_name("clf")
    with mlflow.start_run(), pytest.warns(TrackingWarning, match="parameter clf/alpha already"):
        mlflow.log_params({"clf/alpha": 0.2, "run1/clf/alpha": 0.3})
        model.train(x=np.ones((2, 64)), y=[0, 1])


def test_the_experiment_is_the_users(tracking, training, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "digits")
    training().run(100)
    experiment = tracking.get_experiment_by_name("digits")
    assert len(tracking.search_runs([experiment.experiment_id])) == 1


def test_a_run_that_was_asked_for_by_its_id(tracking, runs, training, monkeypatch) -> None:
    waiting = tracking.create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", waiting.info.run_id)
    training().run(100)
    (run,) = runs()
    assert (run.info.run_id, run.info.status) == (waiting.info.run_id, "FINISHED")
    assert "clf/loss" in run.data.metrics


@pytest.mark.parametrize(
    ("exception", "status"), [(ValueError("bad"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_run_that_fails(tracking, runs, exception, status: str, prefetch: int) -> None:
    pipeline = (
        Dataset(data={"x": np.arange(4)})
        .p.init_model("dynamic", Failing, "m", config={"exception": exception})
        .train_model("m", x="x")
    )
    with pytest.raises(type(exception)):
        pipeline.run(1, prefetch=prefetch)
    (run,) = runs()
    assert run.info.status == status
    assert steps(tracking, run, "m/output") == [0], "what came before the failure is there"
    assert mlflow.active_run() is None


def test_a_failure_leaves_the_users_run_to_the_user(tracking, runs, training) -> None:
    with pytest.raises(Exception, match="alpha"), mlflow.start_run():
        training(alpha=-1).run(100)
    assert [each.info.status for each in runs()] == ["FAILED"]


def test_breaking_out_finishes_the_run(tracking, runs, training) -> None:
    for _ in training().gen_batch(100):
        assert mlflow.active_run() is not None, "what the user logs meanwhile belongs here"
        mlflow.log_metric("mine", 1)
        break
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics.keys() == {"clf/loss", "mine"}
    assert mlflow.active_run() is None


def test_pipelines_that_take_turns_have_runs_of_their_own(tracking, runs, training) -> None:
    first, second = training(), training()
    for _ in zip(first.gen_batch(100), second.gen_batch(50), strict=False):
        pass
    one, other = runs()
    assert one.info.run_id == run_id_of(first.get_model_by_name("clf"))
    assert other.info.run_id == run_id_of(second.get_model_by_name("clf"))
    assert steps(tracking, one, "clf/loss") == [0, 1, 2]
    assert {each.info.status for each in runs()} == {"FINISHED"}
    training().run(100)
    assert "mlflow.parentRunId" not in runs()[2].data.tags, "nothing is left active"


def test_pipelines_in_threads_have_runs_of_their_own(tracking, runs, training) -> None:
    with ThreadPoolExecutor(4, "training") as pool:
        done = list(pool.map(lambda size: training().run(size, prefetch=2), [20, 50, 100, 150]))
    sizes = {each.info.run_id: each.data.params["batch_size"] for each in runs()}
    mine = [sizes[run_id_of(each.get_model_by_name("clf"))] for each in done]
    assert mine == ["20", "50", "100", "150"]
    for run in runs():
        size = int(run.data.params["batch_size"])
        assert steps(tracking, run, "clf/loss") == list(range(-(-300 // size)))


def test_an_iteration_that_ends_in_another_thread(tracking, runs, training) -> None:
    batches = training().gen_batch(100)
    next(batches)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(batches.close).result(20)
    assert [each.info.status for each in runs()] == ["FINISHED"]
    training().run(100)
    assert "mlflow.parentRunId" not in runs()[1].data.tags


def test_training_by_hand_goes_to_the_active_run_only(tracking, runs, digits, training) -> None:
    model = training().run(300).get_model_by_name("clf")
    images, labels = np.ones((2, 64)), [0, 1]
    model.train(x=images, y=labels, output="loss")
    assert len(runs()) == 1
    with mlflow.start_run() as mine:
        model.train(x=images, y=labels, output="loss")
        model.train(x=images, y=labels, output="loss")
    run = tracking.get_run(mine.info.run_id)
    assert steps(tracking, run, "clf/loss") == [0, 1]
    assert run.data.params["clf/model"] == "sklearn/SGDClassifier"


def test_a_model_is_saved_to_the_run_that_the_user_made_active(tracking, training, tmp_path):
    done = training().run(300)
    with mlflow.start_run() as mine:
        done.save_model("clf", path=tmp_path / "clf")
    (file,) = tracking.list_artifacts(mine.info.run_id, "models/clf")
    assert file.path == "models/clf/clf"
