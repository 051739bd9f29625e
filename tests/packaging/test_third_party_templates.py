"""Packages that `batchloom new-plugin` writes: built, installed beside the core alone, and used."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

USE = """
    import json, sys
    import numpy as np
    from batchloom import Dataset
    from batchloom.models import load_model
    from batchloom.testing.samples import sample
    columns = sample(%r)
    trained = (Dataset(data=columns).p.init_model("dynamic", %r, "model")
               .train_model("model", x="x", y="y").run(16, n_epochs=2, seed=1))
    expected = trained.get_model_by_name("model").predict(x=columns["x"])
    trained.save_model("model", path=sys.argv[1])
    loaded = load_model(sys.argv[1])
    assert np.array_equal(loaded.predict(x=columns["x"]), expected)
    print(type(loaded).__module__)
"""


@pytest.fixture(scope="module")
def environment(own_environment: Callable[..., Any]) -> Any:
    """The core alone, and what the packages' own tests need."""
    made = own_environment("pytest")
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def written(environment: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a package and returns its folder."""
    folder = tmp_path_factory.mktemp("packages")

    def write(name: str, *options: str) -> Path:
        environment.command("batchloom", "new-plugin", name, "--dir", folder, *options)
        return folder / f"batchloom-{name}"

    return write


@pytest.fixture(scope="module")
def built(run_command: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Builds a wheel of a folder, by the build back end that it names."""
    target = tmp_path_factory.mktemp("wheels")

    def build(folder: Path) -> Path:
        hook = "import sys, hatchling.build as back; print(back.build_wheel(sys.argv[1]))"
        return target / run_command(sys.executable, "-c", hook, target, cwd=folder).split()[-1]

    return build


@pytest.fixture(scope="module")
def acme(environment: Any, written: Any, built: Any) -> Path:
    """The model's template, unchanged, installed."""
    folder: Path = written("acme")
    environment.add("--no-deps", built(folder))
    return folder


@pytest.fixture(scope="module")
def watch(environment: Any, written: Any, built: Any) -> Path:
    """The lifecycle plug-in's template, unchanged, installed."""
    folder: Path = written("watch", "--kind", "lifecycle")
    environment.add("--no-deps", built(folder))
    return folder


@pytest.fixture(scope="module")
def boosted(environment: Any, written: Any, built: Any) -> Path:
    """The model's template with a model of LightGBM put into it, installed."""
    folder: Path = written("boosted")
    source = Path(__file__).with_name("lightgbm_model.py")
    shutil.copy(source, folder / "src" / "batchloom_boosted" / "model.py")
    declared = folder / "pyproject.toml"
    text = declared.read_text()
    text = text.replace("boosted/Ridge", "boosted/Trees").replace("model:Ridge", "model:Trees")
    declared.write_text(text.replace('"numpy>=2.2",', '"numpy>=2.2",\n    "lightgbm>=4.5",'))
    environment.add(built(folder))
    return folder


def test_a_wheel_holds_what_it_should(acme: Path, built: Any) -> None:
    names = set(zipfile.ZipFile(built(acme)).namelist())
    package = {f"batchloom_acme/{each}" for each in ("__init__.py", "model.py", "py.typed")}
    assert package < names
    assert "batchloom_acme-0.1.0.dist-info/licenses/LICENSE" in names
    assert not [each for each in names if "test" in each]
    assert {".github/workflows/test.yml", "README.md", ".gitignore"} <= {
        each.relative_to(acme).as_posix() for each in acme.rglob("*") if each.is_file()
    }


def test_the_model_passes_its_own_tests(environment: Any, acme: Path) -> None:
    said = environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", acme)
    assert " passed" in said
    assert "skipped" not in said


def test_the_plugin_passes_its_own_tests(environment: Any, watch: Path) -> None:
    said = environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", watch)
    assert "2 passed" in said
    found = json.loads(environment.command("batchloom", "plugins", "--json"))
    assert found["hooks"]["train_model"] == ["batchloom-watch:timing (wrapper)"]
    assert {each["state"] for each in found["entry_points"]} == {"ready"}


@pytest.mark.usefixtures("acme")
def test_the_model_is_found_trained_saved_and_loaded(environment: Any, tmp_path: Path) -> None:
    assert environment.command("batchloom", "models", "acme") == "acme/Ridge\n"
    code = textwrap.dedent(USE % ("regression", "acme/Ridge"))
    assert "batchloom_acme.model" in environment.python("-c", code, tmp_path / "saved")


@pytest.mark.usefixtures("boosted")
def test_a_real_library_is_found_trained_saved_and_loaded(environment: Any, tmp_path: Path) -> None:
    assert "lightgbm" in environment.command("batchloom", "info", "boosted/Trees")
    code = textwrap.dedent(USE % ("classification", "boosted/Trees"))
    assert "batchloom_boosted.model" in environment.python("-c", code, tmp_path / "saved")


@pytest.mark.usefixtures("boosted")
def test_a_real_library_keeps_the_contract(environment: Any) -> None:
    """The command fails the test if a promise is broken."""
    said = environment.command("batchloom", "check", "boosted/Trees", "--json")
    states = {each["check"]: each["state"] for each in json.loads(said)["checks"]}
    assert states["saved_and_loaded_elsewhere"] == states["same_with_prefetch"] == "kept"
    assert states.pop("thread_safe") == "left out"
    assert set(states.values()) == {"kept"}
