"""Runs of scikit-learn's estimators that were stopped or killed go on to the same result, to the bit."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import stopped_runs as runs
from stopped_sklearn import CASES, result

from batchloom.models import load_model

AHEAD = [(0, 0), (0, 4), (4, 0), (4, 4)]


@cache
def never_stopped(case: str) -> Any:
    return result(CASES[case]().run(**runs.RUN))


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_goes_on_to_the_bit(case: str, tmp_path: Path) -> None:
    for at in (2, 17):
        runs.stop(CASES[case](), at, tmp_path / str(at), every=2)
        assert result(CASES[case]().resume(tmp_path / str(at), prefetch=4)) == never_stopped(case)


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("at", runs.ENDS_OF_INTEREST)
@pytest.mark.parametrize("case", ["sgd", "forest"])
def test_wherever_it_was_stopped(
    case: str, at: int, ahead: tuple[int, int], tmp_path: Path
) -> None:
    runs.stop(CASES[case](), at, tmp_path, prefetch=ahead[0])
    assert result(CASES[case]().resume(tmp_path, prefetch=ahead[1])) == never_stopped(case)


def test_the_pipeline_that_was_stopped_can_go_on_itself(tmp_path: Path) -> None:
    made = CASES["static"]()
    runs.stop(made, 9, tmp_path, every=4)
    assert result(made.resume(tmp_path)) == never_stopped("static")


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
    runs.kill("stopped_sklearn", case, at, where, folder)
    made = CASES[case]()
    if where == "save":
        saved = folder.with_suffix(".model")
        load_model(saved)  # the one before: whole
        made = made.save(str(saved))
    assert result(made.resume(folder)) == never_stopped(case)
    assert {each.name[:10] for each in folder.iterdir()} == {"checkpoint"}
