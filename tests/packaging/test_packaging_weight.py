"""What `import batchloom` brings along beyond NumPy: little.

How long it takes is measured in benchmarks/import_time.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"pandas", "sklearn", "scipy", "skops", "xgboost", "tensorflow", "keras", "pyarrow", "tqdm"}
METADATA = {"importlib_metadata", "importlib.metadata"}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    return set(json.loads(output_of(code)))


def peak_memory_after(statement: str) -> int:
    """Bytes of memory that a fresh process has held at most."""
    code = f"{statement}\nprint(open('/proc/self/status').read())"
    (line,) = (each for each in output_of(code).splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def output_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_model_library_and_no_scan_of_what_is_installed() -> None:
    loaded = modules_after("import batchloom")
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert (loaded - modules_after("import numpy")) & METADATA == set()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_is_within_10_megabytes_of_numpy() -> None:
    more = peak_memory_after("import batchloom") - peak_memory_after("import numpy")
    assert more < 10e6, f"{more / 1e6:.1f} MB more than NumPy alone"


def test_the_version_is_the_one_of_the_distribution() -> None:
    from importlib.metadata import version

    import batchloom

    assert batchloom.__version__ == version("batchloom")
