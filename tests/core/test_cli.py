"""The command ``batchloom``, run as people and programs run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BATCHLOOM = str(Path(sys.executable).with_name("batchloom"))

GOOD = """
    from batchloom.models import BaseModel
    print("a package that prints when it is imported")

    class Net(BaseModel):
        \"\"\"A net of nets,
        on two lines.

        More.
        \"\"\"
        data_args = ("x", "y")
        literal_args = ("output",)
        predict_is_thread_safe = True
        library = "numpy"

        @classmethod
        def describe_config(cls):
            return {"depth": 3, "loss": "hinge", "kind": dict, "n": ...}
"""

WATCHING = """
    from batchloom.models import hookimpl

    class Timing:
        @hookimpl(wrapper=True)
        def train_model(self):
            return (yield)

    class Taking:
        @hookimpl
        def train_model(self): pass
        @hookimpl
        def save_model(self): pass
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BATCHLOOM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture
def packages(install) -> None:
    install(
        "batchloom-acme",
        version="1.2",
        models={"acme/Net": "acme_net:Net", "acme/Again": "acme_net:Net"},
        acme_net=GOOD,
    )
    install("batchloom-new", requires=("batchloom>=9",), models={"new/*": "acme_net:Net"})
    install("batchloom-bad", models={"bad/Half": "half:Half"}, half="class Half: pass")
    install("batchloom-gone", models={"gone/A": "gone_module:A"})
    install("rival", models={"acme/Net": "acme_net:Net"})
    install(
        "watchers",
        plugins={"b": "watching:Timing", "a": "watching:Taking", "z": "watching:missing"},
        watching=WATCHING,
    )


@pytest.mark.usefixtures("packages")
def test_models_lists_namespaces_without_importing() -> None:
    ended = run("models")
    assert (ended.returncode, ended.stderr) == (0, ""), "acme_net would have printed"
    lines = [each.split(maxsplit=4) for each in ended.stdout.splitlines()]
    assert lines[0] == ["NAMESPACE", "PACKAGE", "VERSION", "NAMES", "STATE"]
    by_package = {each[1]: each for each in lines}
    assert by_package["batchloom-bad"] == ["bad", "batchloom-bad", "1.0", "1", "ready"]
    assert by_package["batchloom-new"][3:] == [
        "open",
        "wrong version: asks for batchloom>=9: pip install --upgrade batchloom batchloom-new",
    ]
    assert "two owners: also provided by batchloom-acme 1.2" in by_package["rival"][4]
    starts = {each.index("1.") for each in ended.stdout.splitlines() if " 1." in each}
    assert len(starts) == 1, "the columns are aligned"


@pytest.mark.usefixtures("packages")
def test_models_for_programs() -> None:
    rows = json.loads(run("models", "--json").stdout)
    assert {
        "namespace": "acme", "package": "batchloom-acme", "version": "1.2", "names": 2,
        "state": rows[0]["state"],
    } in rows  # fmt: skip
    assert json.loads(run("models", "acme", "--json").stdout) == ["acme/Again", "acme/Net"]
    assert run("models", "acme").stdout == "acme/Again\nacme/Net\n"


@pytest.mark.usefixtures("packages")
def test_switched_off() -> None:
    rows = json.loads(run("models", "--json", BATCHLOOM_DISABLE_PLUGINS="batchloom-bad").stdout)
    state = next(each["state"] for each in rows if each["namespace"] == "bad")
    assert state.startswith("switched off: 'batchloom-bad' in BATCHLOOM_DISABLE_PLUGINS")


@pytest.mark.usefixtures("packages")
def test_info() -> None:
    data = json.loads(run("info", "acme/Again", "--json").stdout)
    assert data == {
        "name": "acme/Again",
        "class": "acme_net:Net",
        "package": "batchloom-acme",
        "version": "1.2",
        "summary": "A net of nets, on two lines.",
        "library": "numpy",
        "data_args": ["x", "y"],
        "literal_args": ["output"],
        "predict_is_thread_safe": True,
        "load_needs_build": True,
        "config": {"depth": 3, "loss": "hinge", "kind": "<class 'dict'>", "n": "required"},
    }
    text = run("info", "acme/Again").stdout
    assert "data args              x, y\n" in text
    assert "predict is thread safe yes\n" in text
    assert (
        "\nconfig\n  depth  3\n  loss   'hinge'\n  kind   <class 'dict'>\n  n      'required'\n"
        in text
    )


@pytest.mark.usefixtures("packages")
def test_errors_are_one_paragraph_without_a_traceback() -> None:
    for arguments, message in [
        (("info", "acme/Net"), "registered by more than one package"),
        (("info", "acme/Nett"), "did you mean 'acme/Net'"),
        (("info", "new/Net"), "asks for batchloom>=9"),
        (("info", "gone/A"), "own module is not there"),
        (("info", "bad/Half"), "lacks the methods build, load, train, predict, save"),
        (("models", "quux"), "pip install batchloom-quux"),
    ]:
        ended = run(*arguments)
        assert ended.returncode == 1
        assert ended.stdout == ""
        assert message in ended.stderr
        assert ended.stderr.startswith("batchloom: ")
        assert ended.stderr.count("\n") == 1


@pytest.mark.usefixtures("packages")
def test_plugins_tells_every_state_and_what_to_do() -> None:
    ended = run("plugins", "--json")
    assert "prints when it is imported" in ended.stderr
    found = json.loads(ended.stdout)
    states = {(each["package"], each["key"]): each["state"] for each in found["entry_points"]}
    assert states["batchloom-acme", "acme/Again"] == "ready"
    assert states["batchloom-acme", "acme/Net"] == "two owners"
    assert states["rival", "acme/Net"] == "two owners"
    assert states["batchloom-new", "new/*"] == "wrong version"
    assert states["batchloom-bad", "bad/Half"] == "broken"
    assert states["batchloom-gone", "gone/A"] == "broken"
    assert states["watchers", "a"] == "ready"
    assert states["watchers", "z"] == "broken"
    assert found["hooks"] == {
        "train_model": ["watchers:b (wrapper)", "watchers:a"],
        "save_model": ["watchers:a"],
    }
    text = run("plugins").stdout
    assert "What to do\n" in text
    assert "gone/A: the entry point 'gone/A' (gone_module:A) of batchloom-gone 1.0" in text
    assert "  train_model    watchers:b (wrapper), watchers:a\n" in text


@pytest.mark.usefixtures("packages")
def test_plugins_without_loading() -> None:
    ended = run("plugins", "--json", "--no-load")
    assert ended.stderr == ""
    states = {each["key"]: each["state"] for each in json.loads(ended.stdout)["entry_points"]}
    assert states["gone/A"] == "ready", "only an import could tell"
    assert states["new/*"] == "wrong version"


def test_version_and_usage() -> None:
    assert run("--version").stdout.strip() == "0.1.0"
    assert run().returncode == 2
    assert "COMMAND" in run("--help").stdout
    ended = subprocess.run([sys.executable, "-m", "batchloom.cli", "--version"], timeout=60)
    assert ended.returncode == 0


def test_the_list_of_models_imports_no_backend() -> None:
    code = (
        "import sys; from batchloom.cli import main; main(['models']); "
        "heavy = {'sklearn', 'xgboost', 'tensorflow', 'keras', 'pandas'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.usefixtures("packages")
def test_a_reader_that_has_seen_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [BATCHLOOM, "plugins", "--no-load"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")
