"""Runs of XGBoost's models that were stopped or killed go on to the same result, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import stopped_runs as runs
from resumed_runs import ResumedRuns, nothing_but_checkpoints

RUNS = ResumedRuns("stopped_xgboost")
AHEAD = [(0, 0), (0, 4), (4, 0), (4, 4)]


@pytest.mark.parametrize("case", RUNS.cases)
def test_a_stopped_run_goes_on_to_the_bit(case: str, tmp_path: Path) -> None:
    for at in (2, 17):
        assert RUNS.stopped(case, at, tmp_path / str(at)) == RUNS.in_one_go(case)


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("at", runs.ENDS_OF_INTEREST)
@pytest.mark.parametrize("case", ["collect", "continue"])
def test_wherever_it_was_stopped(
    case: str, at: int, ahead: tuple[int, int], tmp_path: Path
) -> None:
    assert RUNS.stopped(case, at, tmp_path, ahead=ahead) == RUNS.in_one_go(case)


@pytest.mark.parametrize("case", ["sparse", "continue"])
def test_the_pipeline_that_was_stopped_can_go_on_itself(case: str, tmp_path: Path) -> None:
    assert RUNS.stopped_itself(case, tmp_path) == RUNS.in_one_go(case)


@pytest.mark.parametrize(
    ("case", "where", "at"),
    [
        ("spool", "batch", 9),
        pytest.param("continue", "archive", 20, marks=pytest.mark.slow),
        pytest.param("collect", "checkpoint", 4, marks=pytest.mark.slow),
        pytest.param("continue", "save", 9, marks=pytest.mark.slow),
        pytest.param("stops early", "batch", 13, marks=pytest.mark.slow),
        pytest.param("collect", "archive", 60, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_to_the_bit(case: str, where: str, at: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert RUNS.killed(case, where, at, folder) == RUNS.in_one_go(case)
    assert nothing_but_checkpoints(folder)
