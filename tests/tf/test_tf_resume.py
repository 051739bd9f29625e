"""Runs of Keras models that were stopped or killed go on to the same result, to the bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import stopped_runs as runs

from batchloom.models import load_model

pytest.importorskip("tensorflow")
from stopped_tf import CASES, CHAIN, result

pytestmark = pytest.mark.tf

AHEAD = [(0, 4), (4, 0)]  # each network is traced anew, which takes a second


@cache
def never_stopped(case: str) -> Any:
    return result(CASES[case]().run(**runs.RUN))


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_goes_on_to_the_bit(case: str, tmp_path: Path) -> None:
    for at in (2, 9):
        runs.stop(CASES[case](), at, tmp_path / str(at))
        assert result(CASES[case]().resume(tmp_path / str(at), prefetch=4)) == never_stopped(case)


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("at", runs.ENDS_OF_INTEREST)
@pytest.mark.parametrize("case", ["dynamic"])
def test_wherever_it_was_stopped(
    case: str, at: int, ahead: tuple[int, int], tmp_path: Path
) -> None:
    runs.stop(CASES[case](), at, tmp_path, prefetch=ahead[0])
    assert result(CASES[case]().resume(tmp_path, prefetch=ahead[1])) == never_stopped(case)


@pytest.mark.parametrize("case", ["static"])
def test_the_pipeline_that_was_stopped_can_go_on_itself(case: str, tmp_path: Path) -> None:
    made = CASES[case]()
    runs.stop(made, 9, tmp_path, every=4)
    assert result(made.resume(tmp_path)) == never_stopped(case)


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
    runs.kill("stopped_tf", case, at, where, folder)
    made = CASES[case]()
    if where == "save":
        saved = folder.with_suffix(".model")
        load_model(saved)  # the one before: whole
        made = made.save(str(saved))
    assert result(made.resume(folder)) == never_stopped(case)
    assert {each.name[:10] for each in folder.iterdir()} == {"checkpoint"}


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
