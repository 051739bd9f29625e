"""The demo, run as its users run it: what it prints and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(420)

ROOT = Path(__file__).resolve().parents[2]
FIGURES = re.compile(r"^(\S+/\S+) +(\d\.\d{3}) +([\d.]+) s +(\d+) MB", re.M)


def demo(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "examples/demo.py", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=400,
    )


def accuracies(text: str) -> dict[str, float]:
    return {model: float(accuracy) for model, accuracy, _, _ in FIGURES.findall(text)}


@pytest.mark.tf
def test_every_backend_side_by_side(tmp_path: Path) -> None:
    done = demo("--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    reached = accuracies(done.stdout)
    least = {
        "sklearn/SGDClassifier": 0.94,
        "sklearn/MLPClassifier": 0.94,
        "sklearn/RandomForestClassifier": 0.96,
        "xgboost/XGBClassifier": 0.94,
        "tf/Sequential": 0.94,
    }
    assert list(reached) == list(least)
    assert {name: each for name, each in reached.items() if not least[name] <= each <= 1} == {}
    assert done.stdout.count("the same predictions for all 359 held-out images") == len(least)
    memory = {model: int(mb) for model, _, _, mb in FIGURES.findall(done.stdout)}
    assert 30 < min(memory.values()) <= memory["sklearn/SGDClassifier"] < memory["tf/Sequential"]
    assert done.stderr == ""


def test_a_backend_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    models = "sklearn/SGDClassifier", "xgboost/XGBClassifier"
    done = demo(*models, "--out", tmp_path, BATCHLOOM_DISABLE_PLUGINS="xgboost")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(accuracies(done.stdout)) == ["sklearn/SGDClassifier"]
    assert "left out 'xgboost/XGBClassifier'" in done.stdout


def test_the_advice_of_how_to_install_a_backend_comes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    import demo as module

    assert module.compete({"acme/Forecaster": {}}, tmp_path) == {}
    assert "pip install batchloom-acme" in capsys.readouterr().out


def test_other_predictions_of_the_loading_process_end_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    import demo as module

    name = "sklearn/SGDClassifier"
    file = module.file_of(name, tmp_path)
    row = module.train(name, module.MODELS[name], file)
    other = module.Row(row.accuracy, 0.0, None, row.predicted[::-1], "")
    assert not module.reload({name: other}, tmp_path)
    assert "OTHER PREDICTIONS" in capsys.readouterr().out
    assert module.reload({name: row}, tmp_path)
