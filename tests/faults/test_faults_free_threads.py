"""Threads without the global lock of the interpreter: the tests of threads, in a Python that has none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("python3.14t", "python3.13t")
NAMED_BY = "FREE_THREADED_PYTHON"
NEEDED = ("numpy", "pluggy", "importlib_metadata", "packaging", "pytest", "pytest_timeout")
TESTS = (
    "tests/faults/test_faults_threads.py",
    "tests/core/test_models_lock.py",
    "tests/core/test_locks.py",
    "tests/core/test_prefetch_redo.py",
    "tests/core/test_prefetch_ends.py",
    "tests/core/test_registry.py::test_many_threads_get_one_class",
    "tests/core/test_models_hooks.py::test_many_threads_load_the_plugins_once",
)

FACTS = f"""
import importlib.util, sysconfig
print(bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
print(*(each for each in {NEEDED} if importlib.util.find_spec(each) is None))
"""


def free_threaded_python() -> str:
    """The interpreter, or why there is none to test with."""
    names = [os.environ[NAMED_BY]] if NAMED_BY in os.environ else PYTHONS
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no Python without a global lock is installed: {', '.join(names)}")
    said = subprocess.run([found, "-c", FACTS], capture_output=True, text=True, timeout=60)
    free, missing = [*said.stdout.splitlines(), "", ""][:2]
    if free != "True":
        pytest.skip(f"{found} has a global lock, or does not run: {said.stderr}")
    if missing:
        pytest.skip(f"{found} lacks {missing}: {found} -m pip install {missing}")
    return found


@pytest.mark.timeout(600)
def test_the_tests_of_threads_hold_without_the_global_lock() -> None:
    python = free_threaded_python()
    environment = {
        **os.environ,
        "PYTHON_GIL": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "core" / "src"), *without_ours()]),
    }
    asked = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(
        asked, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def without_ours() -> list[str]:
    """Where this process was told to look, without what is of its own interpreter."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [each for each in given if each and not each.startswith(sys.prefix)]
