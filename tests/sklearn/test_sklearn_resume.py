"""Runs of scikit-learn's estimators that were stopped or killed go on to the same result, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import stopped_runs as runs
from resumed_runs import ResumedRuns, nothing_but_checkpoints

RUNS = ResumedRuns("stopped_sklearn")
AHEAD = [(0, 0), (0, 4), (4, 0), (4, 4)]


@pytest.mark.parametrize("case", RUNS.cases)
def test_a_stopped_run_goes_on_to_the_bit(case: str, tmp_path: Path) -> None:
    for at in (2, 17):
        assert RUNS.stopped(case, at, tmp_path / str(at), every=2) == RUNS.in_one_go(case)


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("at", runs.ENDS_OF_INTEREST)
@pytest.mark.parametrize("case", ["sgd", "forest"])
def test_wherever_it_was_stopped(
    case: str, at: int, ahead: tuple[int, int], tmp_path: Path
) -> None:
    assert RUNS.stopped(case, at, tmp_path, ahead=ahead) == RUNS.in_one_go(case)


def test_the_pipeline_that_was_stopped_can_go_on_itself(tmp_path: Path) -> None:
    assert RUNS.stopped_itself("static", tmp_path) == RUNS.in_one_go("static")


@pytest.mark.parametrize(
    ("case", "where", "at"),
    [
        pytest.param("network", "batch", 9, marks=pytest.mark.slow),
        ("forest", "archive", 20),
        pytest.param("sgd", "checkpoint", 4, marks=pytest.mark.slow),
        pytest.param("sgd", "save", 9, marks=pytest.mark.slow),
        pytest.param("every epoch", "batch", 13, marks=pytest.mark.slow),
        pytest.param("forest", "checkpoint", 8, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_to_the_bit(case: str, where: str, at: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert RUNS.killed(case, where, at, folder) == RUNS.in_one_go(case)
    assert nothing_but_checkpoints(folder)
