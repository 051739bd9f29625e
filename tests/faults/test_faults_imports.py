"""Importing a backend changes nothing that belongs to the whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import importlib, os, random, sys, warnings
libraries, modules = (each.split(",") for each in sys.argv[1:])
for each in ["numpy", *libraries]:
    importlib.import_module(each)  # what a library does to the process is its own affair
import numpy as np

def look():
    numbers = random.getstate(), repr(np.random.get_state()), repr(np.geterr())
    return numbers, list(warnings.filters), dict(os.environ), os.getcwd()

before = look()
for each in modules:
    importlib.import_module(each)
assert look() == before
"""


@pytest.mark.parametrize(
    ("libraries", "modules"),
    [
        ("sklearn.pipeline,skops.io,joblib", "batchloom_sklearn.model,batchloom_sklearn.files"),
        ("xgboost,scipy.sparse", "batchloom_xgboost.model"),
        pytest.param("tensorflow,keras", "batchloom_tf.model", marks=pytest.mark.tf),
    ],
)
def test_an_import_leaves_random_state_and_warnings_alone(libraries: str, modules: str) -> None:
    pytest.importorskip(modules.partition(".")[0])
    command = [sys.executable, "-c", SCRIPT, libraries, modules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
