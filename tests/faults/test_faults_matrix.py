"""The tables of faults: each row has a test, and each test that a table or the docs name is there.

`rows_of_faults.txt` has what breaks in systems like this one: A inputs, B order and repetition, C exceptions
and ends, D saving and resuming, E hostile or broken files and plug-ins, G threads. `rows_of_competitors.txt`
has what comparable systems do: K what fails there, U what their users ask for, H how they are to behave.
A test is named by its module and function, ``kit`` being the tests that every model package gets.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ROOT = TESTS.parent
KIT = ROOT / "core" / "src" / "batchloom" / "testing" / "model_tests.py"

SIZES = {
    "faults": {"A": 25, "B": 10, "C": 14, "D": 12, "E": 15, "G": 6},
    "competitors": {"K": 28, "U": 5, "H": 13},
}


def rows(table: str) -> dict[str, list[str]]:
    """The tests of each row of a table."""
    found: dict[str, list[str]] = {}
    row = ""
    for line in (HERE / f"rows_of_{table}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            found[row].append(line.strip())
        else:
            row = line.split()[0]
            assert row not in found, f"{row} is there twice"
            found[row] = []
    return found


@cache
def names_of_tests(module: str) -> frozenset[str]:
    path = KIT if module == "kit" else TESTS / f"{module}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name.removeprefix("test_")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("table", SIZES)
def test_every_row_is_there_once_and_has_a_test(table: str) -> None:
    wanted = {f"{part}{at}" for part, most in SIZES[table].items() for at in range(1, most + 1)}
    assert set(rows(table)) == wanted
    assert [row for row, tests in rows(table).items() if not tests] == []


@pytest.mark.parametrize(("table", "row"), [(table, row) for table in SIZES for row in rows(table)])
def test_the_tests_of_a_row_exist(table: str, row: str) -> None:
    for each in rows(table)[row]:
        module, name = each.split("::")
        assert name in names_of_tests(module), f"{row}: there is no test {each}"


def promises() -> list[str]:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    return re.findall(r"`tests/([\w/]+)\.py::test_(\w+)`", page)


def test_the_tests_of_the_promises_exist() -> None:
    assert len(promises()) > 20
    for module, name in promises():
        assert name in names_of_tests(module), f"docs/faults.md: no test {module}::{name}"


def test_every_promise_names_a_test() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    items = re.split(r"^- ", page, flags=re.M)[1:]
    assert [each for each in items if "::test_" not in each] == []
