"""Runs of Keras models that were stopped or killed go on to the same result, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stopped_runs as runs
from resumed_runs import ResumedRuns, nothing_but_checkpoints

from batchloom import Dataset, Pipeline
from batchloom.errors import CheckpointMismatchError
from batchloom.models import load_model

pytest.importorskip("tensorflow")
from stopped_tf import CHAIN

pytestmark = pytest.mark.tf

RUNS = ResumedRuns("stopped_tf")
AHEAD = [(0, 4), (4, 0)]  # each network is traced anew, which takes a second


@pytest.mark.parametrize("case", RUNS.cases)
def test_a_stopped_run_goes_on_to_the_bit(case: str, tmp_path: Path) -> None:
    for at in (2, 9):
        assert RUNS.stopped(case, at, tmp_path / str(at)) == RUNS.in_one_go(case)


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("at", runs.ENDS_OF_INTEREST)
@pytest.mark.parametrize("case", ["dynamic"])
def test_wherever_it_was_stopped(
    case: str, at: int, ahead: tuple[int, int], tmp_path: Path
) -> None:
    assert RUNS.stopped(case, at, tmp_path, ahead=ahead) == RUNS.in_one_go(case)


@pytest.mark.parametrize("case", ["static"])
def test_the_pipeline_that_was_stopped_can_go_on_itself(case: str, tmp_path: Path) -> None:
    assert RUNS.stopped_itself(case, tmp_path) == RUNS.in_one_go(case)


@pytest.mark.parametrize(
    ("case", "where", "at"),
    [
        ("dynamic", "batch", 9),
        pytest.param("callbacks", "archive", 200, marks=pytest.mark.slow),
        pytest.param("static", "checkpoint", 4, marks=pytest.mark.slow),
        pytest.param("dynamic", "save", 9, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_to_the_bit(case: str, where: str, at: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert RUNS.killed(case, where, at, folder) == RUNS.in_one_go(case)
    assert nothing_but_checkpoints(folder)


def test_a_callback_that_cannot_be_kept_is_named_before_anything_is_lost(tmp_path: Path) -> None:
    import keras

    from batchloom.errors import CheckpointError

    class Opaque(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.seen = object()

    config = {**CHAIN, "callbacks": [Opaque()]}
    made = runs.pipeline("tf/Sequential", config, runs.rows())
    with pytest.raises(CheckpointError, match="Opaque keeps 'seen'.*get_state"):
        made.run(**runs.RUN, checkpoint=tmp_path, checkpoint_every=1)
    assert not list(tmp_path.iterdir())


def of_objects(units: int = 4, rate: float = 0.01) -> Pipeline:
    import keras

    config = {
        "layers": [keras.layers.Dense(units, "relu"), keras.layers.Dense(2, "softmax")],
        "optimizer": keras.optimizers.Adam(rate),
        "loss": "sparse_categorical_crossentropy",
    }
    x = np.random.default_rng(0).normal(size=(60, 3))
    return (
        Dataset(data={"x": x, "y": (x[:, 0] > 0).astype(int)})
        .p.init_model("dynamic", "tf/Sequential", "net", config=config)
        .train_model("net", x="x", y="y")
    )


def weights_of(run: Pipeline) -> list[np.ndarray]:
    return run.get_model_by_name("net").network.get_weights()  # type: ignore[no-any-return]


def test_objects_that_are_made_again_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 10, "n_epochs": 2, "seed": 1}
    for batch in of_objects().gen_batch(**options, checkpoint=tmp_path, checkpoint_every=2):
        if batch.number == 7:
            break
    with pytest.raises(CheckpointMismatchError, match="units=4.* then, .*units=5.* now"):
        of_objects(units=5).resume(tmp_path)
    with pytest.raises(CheckpointMismatchError, match="learning_rate"):
        of_objects(rate=0.1).resume(tmp_path)
    resumed = weights_of(of_objects().resume(tmp_path))
    for mine, known in zip(resumed, weights_of(of_objects().run(**options)), strict=True):
        assert np.array_equal(mine, known)


def carrying() -> Pipeline:
    import keras

    def network() -> Any:
        layers = [keras.Input(batch_shape=(10, 4, 2)), keras.layers.GRU(3, stateful=True)]
        return keras.Sequential(layers)

    random = np.random.default_rng(0)
    data = {"x": random.normal(size=(60, 4, 2)), "y": random.normal(size=(60, 3))}
    config = {"model": network, "loss": "mse"}
    return (
        Dataset(data=data)
        .p.init_variable("losses", init_on_each_run=list)
        .init_model("dynamic", "tf/Model", "net", config=config)
        .train_model("net", x="x", y="y", output="loss", append_to="losses")
    )


def test_states_that_are_carried_from_batch_to_batch_are_kept(tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 10, "n_epochs": 2, "seed": 1}
    whole = carrying().run(**options)
    for batch in carrying().gen_batch(**options, checkpoint=tmp_path / "kept", checkpoint_every=2):
        if batch.number == 7:
            break
    resumed = carrying().resume(tmp_path / "kept")
    assert resumed.get_variable("losses") == whole.get_variable("losses")
    whole.save_model("net", path=tmp_path / "net.model")
    x = whole.dataset.column("x")[:10]
    loaded = load_model(tmp_path / "net.model").predict(x=x)
    assert np.array_equal(loaded, whole.get_model_by_name("net").predict(x=x))
