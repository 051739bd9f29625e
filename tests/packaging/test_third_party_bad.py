"""Packages that are bad in every way we know, really installed: nobody else is harmed by them."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CORE = "batchloom>=0.1,<0.2"
NET = """
    from batchloom.models import BaseModel

    class Net(BaseModel):
        data_args = ("x",)
        def _build(self, *args, **kwargs):
            self.seen = 0
        def _train(self, x):
            self.seen += len(x)
        def _predict(self, x):
            return [self.seen] * len(x)
"""


@dataclass(frozen=True)
class Package:
    """A package of one module, which prints when it is imported."""

    name: str
    code: str
    points: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    requires: str = CORE

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    def entry_points(self) -> Mapping[str, Mapping[str, str]]:
        key = f"{self.name.removeprefix('batchloom-')}/Net"
        return self.points or {"models": {key: f"{self.module}:Net"}}

    def wheel(self, folder: Path) -> Path:
        """Write the wheel, as the specification of the format says."""
        info = f"{self.module}-1.5.dist-info"
        groups = [
            f"[batchloom.{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items())
            for group, points in self.entry_points().items()
        ]
        files = {
            f"{self.module}.py": f"print('imported {self.name}')\n" + textwrap.dedent(self.code),
            f"{info}/METADATA": (
                f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.5\n"
                f"Requires-Dist: {self.requires}\n"
            ),
            f"{info}/WHEEL": (
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            ),
            f"{info}/entry_points.txt": "\n".join(groups),
        }
        path = folder / f"{self.module}-1.5-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
            lines = [f"{name},{digest(text)},{len(text)}" for name, text in files.items()]
            archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))
        return path


def digest(text: str) -> str:
    found = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(found).rstrip(b"=").decode()


PACKAGES = [
    Package("batchloom-good", NET),
    Package("batchloom-crash", "raise RuntimeError('no licence for this machine')"),
    Package("batchloom-needy", "import a_library_that_is_not_there"),
    Package("batchloom-leaving", "import sys; sys.exit('call the vendor')"),
    Package("batchloom-empty", "Other = 1"),
    Package("batchloom-half", "class Net:\n    def train(self): pass"),
    Package("batchloom-twin", NET),
    Package("second-twin", NET, {"models": {"twin/Net": "second_twin:Net"}}),
    Package("batchloom-future", NET, requires="batchloom>=1,<2"),
    Package("batchloom-slow", "import time; time.sleep(3)\n" + textwrap.dedent(NET)),
    Package("batchloom-gone", NET),
    Package(
        "batchloom-hook",
        """
        from batchloom.models import hookimpl

        @hookimpl
        def train_model(model, epochs):
            return None
        """,
        {"plugins": {"hook": "batchloom_hook"}},
    ),
]
MODULES = [each.module for each in PACKAGES]

# For each bad name: the kind of error, and what it says besides distribution and version.
ERRORS = {
    "crash/Net": ("PluginImportError", "RuntimeError: no licence for this machine"),
    "needy/Net": ("PluginImportError", "needs the module 'a_library_that_is_not_there'"),
    "leaving/Net": ("PluginImportError", "SystemExit: call the vendor"),
    "empty/Net": ("PluginImportError", "Its metadata and its code may be of two versions"),
    "half/Net": ("ModelProtocolError", "lacks the methods build, load, predict, save"),
    "twin/Net": ("AmbiguousModelError", "second-twin 1.5"),
    "future/Net": ("PluginVersionError", "asks for batchloom>=1,<2"),
    "gone/Net": ("PluginImportError", "its metadata may be left over"),
}
STATES = {
    "batchloom-good": "ready",
    "batchloom-slow": "ready",
    "batchloom-crash": "broken",
    "batchloom-needy": "broken",
    "batchloom-leaving": "broken",
    "batchloom-empty": "broken",
    "batchloom-half": "broken",
    "batchloom-gone": "broken",
    "batchloom-hook": "broken",
    "batchloom-twin": "two owners",
    "second-twin": "two owners",
    "batchloom-future": "wrong version",
}

ASK = """
    import json, warnings
    warnings.simplefilter("ignore")
    from batchloom import Pipeline
    found = {}
    for name in json.loads(%r):
        try:
            Pipeline().init_model("static", name)
        except Exception as exc:
            cause = type(exc.__cause__).__name__
            found[name] = [[each.__name__ for each in type(exc).__mro__], str(exc), cause]
    print("\\n" + json.dumps(found))
"""

USE = """
    import json, sys, warnings
    from batchloom import Dataset
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = (Dataset(data={"x": range(10)}).p
               .init_model("dynamic", "good/Net", "net").init_variable("seen", [])
               .train_model("net", x="x").predict_model("net", x="x", append_to="seen").run(4))
    assert run.get_variable("seen")[-1] == [10, 10]
    print("\\n" + json.dumps({"modules": sorted(sys.modules),
                              "warnings": [str(each.message) for each in caught]}))
"""


@pytest.fixture(scope="module")
def crowd(own_environment: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The core in an environment with every bad package; of one only the metadata is left."""
    folder = tmp_path_factory.mktemp("bad")
    environment = own_environment()
    environment.add("--no-deps", *(each.wheel(folder) for each in PACKAGES))
    for each in environment.folder.glob("lib*/python*/site-packages/batchloom_gone.py"):
        each.unlink()
    yield environment
    shutil.rmtree(environment.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def errors(crowd: Any) -> dict[str, Any]:
    said = crowd.python("-c", textwrap.dedent(ASK % json.dumps(list(ERRORS))))
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def test_nothing_is_imported_or_printed_when_nobody_asks(crowd: Any) -> None:
    code = """
        import sys, batchloom, batchloom.models
        from batchloom import Dataset
        Dataset(data={"x": range(10)}).p.run(3)
        assert not set(%r) & set(sys.modules)
    """
    assert crowd.python("-W", "error", "-c", textwrap.dedent(code % MODULES)) == ""


def test_the_names_are_listed_without_an_import(crowd: Any) -> None:
    listed = crowd.command("batchloom", "models", "--json")
    assert {each["package"] for each in json.loads(listed)} == set(STATES) - {"batchloom-hook"}
    names = crowd.python("-c", "import batchloom.models as m; print(m.list_models())")
    assert "good/Net" in names
    assert "imported" not in names


def test_every_other_name_keeps_working(crowd: Any) -> None:
    *printed, last = crowd.python("-c", textwrap.dedent(USE)).splitlines()
    found = json.loads(last)
    assert set(found["modules"]) & set(MODULES) == {"batchloom_good", "batchloom_hook"}
    assert [each for each in printed if each] == [
        "imported batchloom-good",
        "imported batchloom-hook",
    ]
    (warning,) = found["warnings"]
    assert "left out the entry point 'hook'" in warning
    assert "batchloom-hook 1.5" in warning
    assert "epochs" in warning


@pytest.mark.parametrize("name", ERRORS)
def test_the_one_that_was_asked_for_says_what_is_wrong(errors: dict[str, Any], name: str) -> None:
    kinds, message, _ = errors[name]
    kind, words = ERRORS[name]
    assert kind in kinds
    assert words in message
    assert f"batchloom-{name.removesuffix('/Net')} 1.5" in message
    assert repr(name) in message, "the entry point"


def test_the_cause_is_kept(errors: dict[str, Any]) -> None:
    assert {name: cause for name, (_, _, cause) in errors.items() if cause != "NoneType"} == {
        "crash/Net": "RuntimeError",
        "needy/Net": "ModuleNotFoundError",
        "leaving/Net": "SystemExit",
        "empty/Net": "AttributeError",
        "gone/Net": "ModuleNotFoundError",
    }


def test_the_command_shows_the_state_of_each_and_what_to_do(crowd: Any) -> None:
    rows = json.loads(crowd.command("batchloom", "plugins", "--json"))["entry_points"]
    assert {each["package"]: each["state"] for each in rows} == STATES
    assert {each["package"] for each in rows if each["advice"]} == {
        name for name, state in STATES.items() if state != "ready"
    }
    advice = {each["package"]: each["advice"] for each in rows}
    assert "pip uninstall batchloom-gone" in advice["batchloom-gone"]
    assert "pip install --upgrade batchloom" in advice["batchloom-future"]
    assert "uninstall one" in advice["second-twin"]


def test_by_metadata_alone_nothing_is_imported(crowd: Any) -> None:
    rows = json.loads(crowd.command("batchloom", "plugins", "--no-load", "--json"))["entry_points"]
    states = {each["package"]: each["state"] for each in rows}
    assert states["batchloom-future"] == "wrong version"
    assert states["second-twin"] == "two owners"
