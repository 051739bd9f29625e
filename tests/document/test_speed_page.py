"""What the documents say about speed is what was measured: their tables are made from the results kept."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {
    "docs/speed.md": {"goals", "plot", "machine", "workloads"},
    "README.md": {"main", "machine"},
}


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return module


@pytest.fixture
def results(benchmark_module: Any) -> Any:
    workloads = benchmark_module("__main__").WORKLOADS
    return benchmark_module("results").kept(workloads)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_tables_are_those_of_the_results(
    document: str, results: Any, benchmark_module: Any
) -> None:
    text = (ROOT / document).read_text()
    assert set(re.findall(r"<!-- made by make bench: (\w+) -->", text)) == DOCUMENTS[document]
    assert benchmark_module("page").filled(text, results) == text, "make bench writes it anew"


def test_every_workload_has_goals_that_its_results_answer(results: Any) -> None:
    for result in results:
        for goal in result.goals:
            row = result.row(goal.case, goal.who)
            assert row is not None, f"{result.name}: nothing was measured for {goal}"
            assert getattr(row, goal.what) is not None or row.note, f"{result.name}: {goal}"


def test_every_kept_result_says_where_and_with_what(results: Any) -> None:
    for result in results:
        assert {"processor", "cores", "memory"} <= result.machine.keys()
        assert {"Python", "batchloom", "numpy"} <= result.versions.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", result.date)


def test_a_goal_that_is_missed_and_a_peer_that_is_absent_are_said(benchmark_module: Any) -> None:
    cases, results = benchmark_module("cases"), benchmark_module("results")
    result = results.Result(
        "w0", "Title", "a loop", [
            results.Row("step", "Batchloom", 5.0, "µs a batch", 2.5, pairs=3),
            results.Row("step", "Slow peer", 9.0, "µs a batch", 4.5, pairs=3),
            results.Row("step", "Absent peer", note=results.NOT_INSTALLED),
        ],
        [cases.Goal("step", 2.0)],
    )  # fmt: skip
    table = benchmark_module("table")
    assert table.of_goals([result]).splitlines()[-1] == (
        "| W0 | step | ≤ 2.00 × | 2.50 × (missed) | 4.50 × (Slow peer) |"
    )
    assert "| Absent peer | not installed |" in table.of_workload(result)
