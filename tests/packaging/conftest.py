"""Real wheels of every member, and environments that hold nothing but some of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
UV = (sys.executable, "-m", "uv", "--no-config", "-q")

# Two of the libraries have a small build that serves as well on a machine without a GPU.
SMALL_BUILDS = {"batchloom-xgboost": "xgboost-cpu", "batchloom-tf": "tensorflow-cpu"}


def run(*command: object, cwd: Path, timeout: float = 300) -> str:
    """What the command prints; a test that runs a command that fails shows all that it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment_variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        asked = " ".join(str(part) for part in command)
        pytest.fail(
            f"{asked}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}", pytrace=False
        )
    return done.stdout


def environment_variables() -> dict[str, str]:
    """This process's variables, without those that would let another environment show through."""
    variables = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", **os.environ}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "BATCHLOOM_DISABLE_PLUGINS"):
        variables.pop(name, None)
    return variables


def manifest(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def run_command() -> Callable[..., str]:
    """`run`, for tests: this file cannot be imported."""
    return run


@pytest.fixture(scope="session")
def members() -> dict[str, Path]:
    """The folder of every distribution of the workspace, by the distribution's name."""
    folders = [
        ROOT / "core",
        *sorted(each.parent for each in ROOT.glob("plugins/*/pyproject.toml")),
    ]
    return {manifest(folder)["project"]["name"]: folder for folder in folders}


@pytest.fixture(scope="session")
def wheels(
    members: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A wheel of every member, as its own build back end makes it."""
    target = tmp_path_factory.mktemp("wheels")
    built = {}
    for name, folder in members.items():
        # The back end is called as any build front end calls it, without fetching it anew.
        hook = "import sys, hatchling.build as back; print(back.build_wheel(sys.argv[1]))"
        output = run(sys.executable, "-c", hook, target, cwd=folder)
        built[name] = target / output.split()[-1]
    return built


@dataclass(frozen=True)
class Environment:
    """An environment of its own, with its Python and its commands."""

    folder: Path

    def python(self, *arguments: object) -> str:
        return run(self.folder / "bin" / "python", "-I", *arguments, cwd=self.folder)

    def command(self, name: str, *arguments: object) -> str:
        return run(self.folder / "bin" / name, *arguments, cwd=self.folder)

    def add(self, *wanted: object) -> None:
        """Install further wheels or requirements."""
        run(*installer(self.folder), "-c", ROOT / "constraints.txt", *wanted, cwd=self.folder)


@pytest.fixture(scope="session")
def environment_with(
    wheels: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Environment]]:
    """Makes an environment of the named members and what they require: once for each set."""
    made: dict[frozenset[str], Environment] = {}
    base = tmp_path_factory.mktemp("environments")

    def make(*names: str) -> Environment:
        key = frozenset(("batchloom", *names))
        if key not in made:
            made[key] = Environment(base / "+".join(sorted(key)))
            install(made[key].folder, key, wheels)
        return made[key]

    yield make
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def own_environment(
    wheels: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Environment]:
    """Makes an environment of the core and of further wheels or requirements, shared with nobody."""

    def make(*extra: object) -> Environment:
        made = Environment(tmp_path_factory.mktemp("environment") / "venv")
        install(made.folder, frozenset(["batchloom"]), wheels, extra)
        return made

    return make


def install(
    folder: Path,
    names: frozenset[str],
    wheels: Mapping[str, Path],
    extra: tuple[object, ...] = (),
) -> None:
    """With uv in a second or two from its cache; with pip where there is no uv."""
    wanted: list[object] = [wheels[name] for name in sorted(names)] + list(extra)
    if find_spec("uv") is None:
        run(sys.executable, "-m", "venv", folder, cwd=ROOT)
    else:
        run(*UV, "venv", "-p", sys.executable, folder, cwd=ROOT)
        overrides = folder / "overrides.txt"
        overrides.write_text("\n".join(manifest(ROOT)["tool"]["uv"]["override-dependencies"]))
        wanted += ["--overrides", overrides, *small_builds(names)]
    run(*installer(folder), "-c", ROOT / "constraints.txt", *wanted, cwd=folder)


def installer(folder: Path) -> list[object]:
    """The command that installs into an environment."""
    if find_spec("uv") is None:
        return [folder / "bin" / "python", "-m", "pip", "install", "-q"]
    return [*UV, "pip", "install", "-p", folder]


def small_builds(names: frozenset[str]) -> list[str]:
    """What the development set-up installs in place of these members' libraries."""
    wanted = {SMALL_BUILDS[name] for name in names & SMALL_BUILDS.keys()}
    declared = manifest(ROOT)["dependency-groups"]["dev"]
    return [each for each in declared if Requirement(each).name in wanted]
