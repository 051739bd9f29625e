"""Lifecycle plug-ins in wheels of their own act in the order that is documented and shown."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = """
    [build-system]
    requires = ["hatchling"]
    build-backend = "hatchling.build"

    [project]
    name = "{name}"
    version = "1.0"
    dependencies = ["batchloom>=0.1,<0.2"]

    [project.entry-points."batchloom.plugins"]
    {entries}

    [tool.hatch.build.targets.wheel]
    only-include = ["{name}.py"]
"""

# What stands inside sees the MLflow run that stands outside of it, and the other way round.
PLUGIN = """
    from batchloom.models import hookimpl

    def tell(word):
        import mlflow
        print(word, "tracked" if mlflow.active_run() else "untracked")

    class Wrapping:
        @hookimpl(wrapper=True)
        def train_model(self):
            tell("{name}:wrapping")
            result = yield
            tell("{name}:wrapped")
            return result

    class Asked:
        @hookimpl
        def train_model(self):
            tell("{name}:asked")

    class Late:
        @hookimpl(trylast=True, wrapper=True)
        def train_model(self):
            tell("{name}:late")
            return (yield)
"""

TRAIN = """
    import numpy as np, mlflow
    from batchloom import Dataset
    from batchloom.models import BaseModel

    class Mean(BaseModel):
        def _train(self, x):
            print("the model")
            return float(np.mean(x))

    mlflow.set_tracking_uri("runs")
    Dataset(data={"x": np.ones(2)}).p.init_model("static", Mean).train_model("Mean", x="x").run(2)
"""


@pytest.fixture(scope="module")
def environment(environment_with: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory):
    """The core, batchloom-mlflow, and two packages of third parties on either side of it."""
    made = environment_with("batchloom-mlflow")
    for name, keys in {"zebra": ("a-late", "asked", "wrapping"), "aardvark": ("wrapping",)}.items():
        folder = tmp_path_factory.mktemp(name)
        classes = {"a-late": "Late", "asked": "Asked", "wrapping": "Wrapping"}
        entries = "\n".join(f'{key} = "{name}:{classes[key]}"' for key in keys)
        project = textwrap.dedent(PROJECT).format(name=name, entries=entries)
        (folder / "pyproject.toml").write_text(project)
        (folder / f"{name}.py").write_text(textwrap.dedent(PLUGIN).format(name=name))
        put_in(made, folder, name)
    return made


def put_in(environment: Any, folder: Path, name: str) -> None:
    """Build a wheel and install it, as pip does without dependencies: a wheel is an archive."""
    import os
    import subprocess
    import zipfile

    hook = "import sys, hatchling.build as back; print(back.build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", hook, str(folder)]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    site = environment.python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    with zipfile.ZipFile(folder / built.stdout.split()[-1]) as wheel:
        wheel.extractall(os.fspath(Path(site.strip())))


def test_the_documented_order_is_the_one_shown_and_the_one_taken(
    environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    lines = environment.python("-c", textwrap.dedent(TRAIN)).splitlines()
    assert (
        lines
        == [
            "aardvark:wrapping untracked",  # by the names of the packages: aardvark, batchloom-mlflow, zebra
            "zebra:wrapping tracked",
            "zebra:late tracked",  # trylast takes precedence over names
            "zebra:asked tracked",  # wrappers act round those that are asked
            "the model",
            "zebra:wrapped tracked",
            "aardvark:wrapped tracked",
        ]
    )
    shown = json.loads(environment.command("batchloom", "plugins", "--json"))
    assert shown["hooks"]["train_model"] == [
        "aardvark:wrapping (wrapper)",
        "batchloom-mlflow:mlflow (wrapper)",
        "zebra:wrapping (wrapper)",
        "zebra:a-late (wrapper)",
        "zebra:asked",
    ]
    assert shown["hooks"]["end_run"] == ["batchloom-mlflow:mlflow"]
    text = environment.command("batchloom", "plugins")
    assert "in order" in text
    assert ", ".join(shown["hooks"]["train_model"]) in text


def test_the_client_comes_without_the_whole_of_mlflow(environment_with: Any) -> None:
    tracking = environment_with("batchloom-mlflow")
    look = "from importlib.metadata import distributions as d; print(*(e.name for e in d()))"
    names = set(tracking.python("-c", look).lower().split())
    assert "mlflow-skinny" in names
    assert not names & {"mlflow", "pandas", "scikit-learn", "pyarrow", "matplotlib", "sqlalchemy"}
