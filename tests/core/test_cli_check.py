"""``batchloom check``: the kit from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from batchloom.cli import main
from batchloom.testing.checks import CHECKS

CODE = Path(__file__).with_name("kit_models.py").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def few_checks(monkeypatch: pytest.MonkeyPatch, install: Callable[..., Path]) -> None:
    """The report is tested here; what the checks find, beside this file."""
    install(
        "batchloom-kit",
        models={"kit/Good": "kit_models:Centroids", "kit/Bad": "kit_models:UnknownArguments"},
        kit_models=CODE,
    )
    few = {name: CHECKS[name] for name in ("learns", "unknown_arguments", "thread_safe")}
    monkeypatch.setattr("batchloom.testing.command.CHECKS", few)


def test_a_good_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "kit/Good", "--config", '{"sizes": [1]}']) == 0
    said = capsys.readouterr().out
    assert said.startswith("kit/Good, task classification, config {'sizes': [1]}\n")
    assert "3 kept, 0 broken, 0 left out" in said


def test_a_bad_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "kit/Bad"]) == 1
    said = capsys.readouterr().out
    assert "BROKEN  unknown_arguments" in said
    assert "  seen:    train(x=..., no_such_train=1) was taken without a word" in said
    assert "  written: docs/model-contract.md#unknown-arguments" in said
    assert "2 kept, 1 broken, 0 left out" in said


def test_for_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"classes": 3}')
    assert main(["check", "kit/Bad", "--json", "--config", f"@{config}"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["config"] == {"classes": 3}
    assert not found["kept"]
    assert {each["check"]: each["state"] for each in found["checks"]} == {
        "learns": "kept",
        "thread_safe": "kept",
        "unknown_arguments": "broken",
    }


@pytest.mark.parametrize(("arguments", "words"), [
    (("kit/Goood",), "did you mean 'kit/Good'"),
    (("nobody/Net",), "pip install batchloom-nobody"),
    (("kit/Good", "--task", "regresion"), "did you mean 'regression'"),
    (("kit/Good", "--config", "{alpha: 1}"), "is no JSON"),
    (("kit/Good", "--config", "[1]"), "is no JSON object"),
])  # fmt: skip
def test_what_cannot_be_checked(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 1
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
