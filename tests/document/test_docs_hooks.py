"""The page on hooks has every hook, with the arguments that it has and an example that implements it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from batchloom.models.hooks import HOOKS, LifecycleSpecs

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^### (?P<name>\w+)\((?P<arguments>[^)]*)\)$", re.M)


def arguments(hook: str) -> list[str]:
    return list(inspect.signature(getattr(LifecycleSpecs, hook)).parameters)[1:]


def test_every_hook_has_its_section_and_no_section_is_left_over() -> None:
    assert [each["name"] for each in HEADING.finditer(PAGE)] == list(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_section_gives_the_arguments(hook: str) -> None:
    (heading,) = (each for each in HEADING.finditer(PAGE) if each["name"] == hook)
    assert heading["arguments"].split(", ") == arguments(hook)


@pytest.mark.parametrize("hook", HOOKS)
def test_an_example_implements_the_hook(hook: str) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    implemented = rf"@hookimpl[^\n]*\n    def {hook}\(self"
    assert any(re.search(implemented, each) for each in examples)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_argument_is_explained(hook: str) -> None:
    told = PAGE[PAGE.index("## The hooks") :]
    assert [each for each in arguments(hook) if f"`{each}`" not in told] == []
