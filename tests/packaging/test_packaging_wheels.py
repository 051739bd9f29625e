"""What a wheel of each member holds, and what it declares."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

BACKENDS = ["batchloom-sklearn", "batchloom-xgboost", "batchloom-tf"]
PLUGINS = [*BACKENDS, "batchloom-mlflow"]
DISTRIBUTIONS = ["batchloom", *PLUGINS]

LIBRARIES = {
    "batchloom": {"numpy", "pluggy", "importlib-metadata", "packaging"},
    "batchloom-sklearn": {"batchloom", "joblib", "numpy", "scikit-learn", "scipy", "skops"},
    "batchloom-xgboost": {"batchloom", "numpy", "xgboost"},
    "batchloom-tf": {"batchloom", "numpy", "packaging", "tensorflow", "keras"},
    "batchloom-mlflow": {"batchloom", "numpy", "mlflow-skinny"},
}
ENTRY_POINTS = {
    "batchloom-sklearn": {"sklearn/*", "sklearn"},
    "batchloom-xgboost": {"xgboost/*", "xgboost"},
    "batchloom-tf": {"tf/*", "keras"},
    "batchloom-mlflow": {"mlflow"},
}


def files(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def read(wheel: Path, name: str) -> str:
    """A file of the wheel's ``dist-info``."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (each for each in archive.namelist() if each.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


def metadata(wheel: Path) -> Message:
    return Parser().parsestr(read(wheel, "METADATA"))


def requirements(wheel: Path) -> list[Requirement]:
    return [Requirement(each) for each in metadata(wheel).get_all("Requires-Dist", [])]


def package(distribution: str) -> str:
    return distribution.replace("-", "_")


def test_every_member_is_known_here(members: Mapping[str, Path]) -> None:
    assert sorted(members) == sorted(DISTRIBUTIONS)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_contents(wheels: Mapping[str, Path], name: str) -> None:
    names = files(wheels[name])
    tops = {PurePosixPath(each).parts[0] for each in names}
    assert tops == {package(name), f"{package(name)}-0.1.0.dist-info"}
    assert f"{package(name)}/py.typed" in names
    assert f"{package(name)}-0.1.0.dist-info/licenses/LICENSE" in names
    for each in map(PurePosixPath, names):
        if "templates" in each.parts:  # files of packages that are yet to be written
            continue
        assert not {"tests", "__pycache__"} & set(each.parts), each
        assert not each.name.startswith(("test_", "conftest")), each


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_metadata(wheels: Mapping[str, Path], name: str) -> None:
    declared = metadata(wheels[name])
    assert declared["Name"] == name
    assert declared["Version"] == "0.1.0"
    assert declared["License-Expression"] == "MIT"
    assert declared["Requires-Python"] == ">=3.11"
    assert declared["Summary"]
    assert len(declared.get_payload().split()) > 10, "the README is the description"


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_requirements(wheels: Mapping[str, Path], name: str) -> None:
    declared = requirements(wheels[name])
    assert {each.name for each in declared if not each.marker} == LIBRARIES[name]
    assert not [str(each) for each in declared if "==" in str(each.specifier)]
    assert [str(each) for each in declared if not each.specifier] == []


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_takes_a_range_of_cores(wheels: Mapping[str, Path], name: str) -> None:
    (core,) = (each for each in requirements(wheels[name]) if each.name == "batchloom")
    assert core.specifier.contains("0.1.0")
    assert core.specifier.contains("0.1.9")
    assert not core.specifier.contains("0.2.0")


@pytest.mark.parametrize("name", PLUGINS)
def test_entry_points_name_modules_of_the_wheel(wheels: Mapping[str, Path], name: str) -> None:
    lines = [line for line in read(wheels[name], "entry_points.txt").splitlines() if "=" in line]
    points = dict(line.split(" = ") for line in lines)
    assert set(points) >= ENTRY_POINTS[name]
    for value in points.values():
        module = value.partition(":")[0].replace(".", "/")
        assert {f"{module}.py", f"{module}/__init__.py"} & set(files(wheels[name])), value


def test_backends_are_laid_out_alike(wheels: Mapping[str, Path]) -> None:
    for name in BACKENDS:
        for each in ("__init__.py", "adapter.py", "resolver.py", "model.py"):
            assert f"{package(name)}/{each}" in files(wheels[name]), name
