"""What `import batchloom` brings along beyond NumPy: little.

How long it takes is measured in benchmarks/w5_start.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HEAVY = {"pandas", "sklearn", "scipy", "skops", "xgboost", "tensorflow", "keras", "pyarrow", "tqdm"}
METADATA = {"importlib_metadata", "importlib.metadata"}
SLOW = {
    "asyncio",
    "concurrent.futures",
    "copy",
    "dataclasses",
    "glob",
    "hashlib",
    "json",
    "logging",
    "multiprocessing",
    "numpy.ma",
    "numpy.random",
    "pathlib",
    "pluggy",
    "secrets",
    "tempfile",
    "traceback",
    "urllib",
    "zipfile",
}
"""What costs milliseconds to import, or imports things that do. The few that NumPy imports cost nothing."""

FOR_SOME = {
    "batchloom.batch_columns",
    "batchloom.block_shuffle",
    "batchloom.files_index",
    "batchloom.foreign_columns",
    "batchloom.merging",
    "batchloom.models.base",
    "batchloom.models.lifecycle",
    "batchloom.runtime.arguments",
    "batchloom.runtime.checkpoint",
    "batchloom.runtime.destinations",
    "batchloom.runtime.keywords",
    "batchloom.runtime.model_steps",
    "batchloom.runtime.partners",
    "batchloom.runtime.protocols",
    "batchloom.runtime.reading",
    "batchloom.runtime.rebatching",
    "batchloom.runtime.returned",
    "batchloom.runtime.sigterm",
    "batchloom.source_names",
    "batchloom.stored",
    "batchloom.windows",
}
"""What only runs with steps, models, partners or checkpoints, or over more than arrays, need."""

FIRST_BATCH = """
import numpy as np
from batchloom import Dataset
data = {{"x": np.zeros((100, 4)), "y": np.zeros(100)}}
batch = next(Dataset(data=data).gen_batch(10, shuffle={shuffle}, n_epochs=1))
assert batch.x.shape == (10, 4) and batch.y.shape == (10,)
"""
BY_HAND = "import numpy as np; np.random.default_rng(7).permutation(100)"


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


def test_nothing_slow_is_imported_before_it_is_used() -> None:
    loaded = modules_after("import batchloom; from batchloom import *") - modules_after(
        "import numpy"
    )
    assert loaded & SLOW == set()
    assert loaded >= {"batchloom.pipeline", "batchloom.dataset"}, (
        "nothing would be there to be used"
    )


def test_importing_the_package_imports_only_what_datasets_and_batches_need() -> None:
    own = {each for each in modules_after("import batchloom") if each.startswith("batchloom")}
    assert not own & (FOR_SOME | {"batchloom.expressions", "batchloom.pipeline"})
    assert len(own) <= 14, sorted(own)


@pytest.mark.parametrize("shuffle", ["7", "True", "False"])
def test_a_first_batch_imports_nothing_slow_that_a_script_would_not(shuffle: str) -> None:
    by_hand = "import numpy as np" if shuffle == "False" else BY_HAND
    loaded = modules_after(FIRST_BATCH.format(shuffle=shuffle)) - modules_after(by_hand)
    assert loaded & (SLOW | METADATA | HEAVY) == set()
    assert "batchloom.runtime.run" in loaded


def test_a_first_batch_imports_only_what_every_run_needs() -> None:
    """Each module costs its share of a millisecond: two more than there were are a decision."""
    loaded = modules_after(FIRST_BATCH.format(shuffle="7"))
    own = {each for each in loaded if each.partition(".")[0] == "batchloom"}
    assert own & FOR_SOME == set()
    assert all(map(find_spec, FOR_SOME)), "a module that is not there is not imported either"
    assert len(own) <= 40, sorted(own)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_is_within_10_megabytes_of_numpy() -> None:
    more = peak_memory_after("import batchloom") - peak_memory_after("import numpy")
    assert more < 10e6, f"{more / 1e6:.1f} MB more than NumPy alone"


def test_the_version_is_the_one_of_the_distribution() -> None:
    from importlib.metadata import version

    import batchloom

    assert batchloom.__version__ == version("batchloom")
