"""constraints.txt pins whatever the members declare, and names no host."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
STANDS_IN = {"xgboost": "xgboost-cpu", "tensorflow": "tensorflow-cpu"}


def machine(python: str, system: str, machine: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
    }


MACHINES = [
    machine("3.11", "linux", "x86_64"),
    machine("3.13", "linux", "x86_64"),
    machine("3.12", "linux", "aarch64"),
    machine("3.12", "darwin", "arm64"),
    machine("3.12", "win32", "AMD64"),
]


def holds(marker: Marker | None, where: Mapping[str, str]) -> bool:
    return marker is None or marker.evaluate(dict(where))


def pinned(where: Mapping[str, str]) -> dict[str, str]:
    """The versions that a machine gets; a name that it would get twice is an error."""
    lines = [Requirement(line) for line in LINES]
    valid = [each for each in lines if holds(each.marker, where)]
    versions = {canonicalize_name(each.name): str(each.specifier).strip("=") for each in valid}
    assert len(versions) == len(valid)
    return versions


def declared(members: Mapping[str, Path]) -> list[Requirement]:
    everything: list[str] = []
    for folder in members.values():
        everything += tomllib.loads((folder / "pyproject.toml").read_text())["project"][
            "dependencies"
        ]
    everything += tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    return [Requirement(each) for each in everything]


def test_a_line_is_a_version_and_perhaps_a_marker_and_nothing_else() -> None:
    form = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][\w.]*( ; [^#/]+)?")
    assert LINES
    assert [line for line in LINES if not form.fullmatch(line)] == []


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: "-".join(list(where.values())[1:4]))
def test_what_is_declared_is_pinned_within_its_range(
    members: Mapping[str, Path], where: Mapping[str, str]
) -> None:
    versions = pinned(where)
    for requirement in declared(members):
        name = canonicalize_name(requirement.name)
        if name in members or not holds(requirement.marker, where):
            continue
        version = versions.get(name) or versions.get(STANDS_IN.get(name, name))
        assert version, f"{name} is not pinned: run `make constraints`"
        assert requirement.specifier.contains(version), f"{requirement}, but {version} is pinned"


@pytest.mark.parametrize("where", MACHINES, ids=lambda where: "-".join(list(where.values())[1:4]))
def test_a_library_comes_in_one_build_only(where: Mapping[str, str]) -> None:
    for large, small in STANDS_IN.items():
        assert len({large, small} & set(pinned(where))) == 1
