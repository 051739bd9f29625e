"""W5: starting: the import, the first shuffled batch of a process, and the first model by its name."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL, PIPE
from time import perf_counter

from benchmarks.cases import OURS, Goal
from benchmarks.in_turn import Figure, Measured, compare_programs, fresh
from benchmarks.results import NOT_INSTALLED, Result, Row
from benchmarks.timing import Effort

NAME = "w5"
TITLE = "Start: import, and the first shuffled batch of a fresh process"
LIMIT = (
    "importing NumPy, and a script of NumPy alone; the start of Python itself is not counted, and everything "
    "was imported before, so that its bytecode is there"
)
IMPORT, FIRST_BATCH = "import", "process start to first batch"
COLD, WARM = "first model by name, 200 packages", "the next model by name"
BY_HAND = "by hand, NumPy"

GOALS = [
    Goal(IMPORT, 1.15),
    Goal(FIRST_BATCH, 1.15),
    Goal(COLD, 60.0, "value"),
    Goal(WARM, 50.0, "value"),
]

DATA = """
import numpy as np
X = np.arange(16_000_000, dtype=np.float32).reshape(-1, 16)
Y = np.arange(1_000_000)
"""

# What is imported, and how the first shuffled batch of 32 is had.
PROGRAMS: dict[str, tuple[str, str]] = {
    BY_HAND: (
        "numpy",
        "idx = np.random.default_rng(1).permutation(1_000_000)[:32]\nX[idx], Y[idx]",
    ),
    OURS: (
        "batchloom",
        "from batchloom import Dataset\n"
        "batch = next(Dataset(data={'x': X, 'y': Y}).gen_batch(32, shuffle=1))\nbatch.x, batch.y",
    ),
    "PyTorch DataLoader": (
        "torch",
        "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\n"
        "next(iter(DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), 32, shuffle=True)))",
    ),
    "Grain": (
        "grain",
        "import grain\n"
        "next(iter(grain.MapDataset.source(range(1_000_000)).shuffle(seed=1)"
        ".map(lambda i: (X[i], Y[i])).batch(32)))",
    ),
    "tf.data": (
        "tensorflow",
        "import tensorflow as tf\n"
        "next(tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(10_000).batch(32).as_numpy_iterator())",
    ),
    "Hugging Face datasets": (
        "datasets",
        "import pyarrow as pa\nfrom datasets import Dataset\n"
        "rows = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), 16)\n"
        "table = Dataset(pa.table({'x': rows, 'y': pa.array(Y)})).with_format('numpy')\n"
        "next(iter(table.shuffle(seed=1).iter(32)))",
    ),
    "Ray Data": (
        "ray.data",
        "import logging, ray\n"
        "ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)\n"
        "import pyarrow as pa\n"
        "rows = pa.FixedShapeTensorArray.from_numpy_ndarray(X)\n"
        "data = ray.data.from_arrow(pa.table({'x': rows, 'y': pa.array(Y)}))\n"
        "next(iter(data.iter_batches(batch_size=32, local_shuffle_buffer_size=10_000)))",
    ),
    "batchflow": (
        "batchflow",
        "from batchflow import Batch, Dataset\n"
        "class Arrays(Batch):\n    components = 'x', 'y'\n"
        "Dataset(1_000_000, Arrays).p.load(src=(X, Y)).next_batch(32, shuffle=True)",
    ),
}

IMPORTING = """
import json, time
begin = time.perf_counter()
import {}
print(json.dumps(time.perf_counter() - begin))
"""

# The first name is looked up among what is installed, the second in what is then known.
NAMED = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import batchloom
from batchloom.models import get_model_class

def timed(name):
    begin = time.perf_counter()
    get_model_class(name)
    return time.perf_counter() - begin

print(json.dumps({"cold": 1e3 * timed("p100/Model"), "warm": 1e6 * timed("p101/Model")}))
"""


# Processes in one round, of what starts fast enough.
REPEATED = {BY_HAND: 7, OURS: 7}
DONE = "done"


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    fewer = replace(effort, rounds=min(effort.rounds, 3))
    programs = {who: partial(started, who) for who, each in PROGRAMS.items() if _is_there(each[0])}
    figures = [Figure("import", IMPORT, "ms"), Figure("first", FIRST_BATCH, "ms")]
    with bytecode_kept():
        for who in programs:
            if who == BY_HAND or fewer.includes(who):
                say(f"compiling {who}")
                with suppress(RuntimeError):  # what fails here says so when it is measured
                    _process(DATA + PROGRAMS[who][1])
        rows = compare_programs(programs, BY_HAND, figures, fewer, say, times=REPEATED)
        named = by_name(fewer, say)
    rows += [
        Row(case, who, note=NOT_INSTALLED)
        for who in PROGRAMS
        if who not in programs
        for case in (IMPORT, FIRST_BATCH)
    ]
    return Result(NAME, TITLE, LIMIT, rows + named, GOALS)


@contextmanager
def bytecode_kept() -> Iterator[None]:
    """Have processes that are started meanwhile keep the bytecode of what they import, and find it again.

    That is how Python starts, unless it is told otherwise, or may not write to where things are installed.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="batchloom-") as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _is_there(name: str) -> bool:
    return find_spec(name.partition(".")[0]) is not None


def started(who: str) -> Measured:
    """Milliseconds of the import, and of a whole process less those of an empty one."""
    name, first_batch = PROGRAMS[who]
    imported = fresh(IMPORTING.format(name))["seconds"]
    return {"import": 1e3 * imported, "first": 1e3 * (_process(DATA + first_batch) - _process(""))}


def _process(code: str) -> float:
    """Seconds until a process has done its work; how it ends is its own affair."""
    begin = perf_counter()
    command = [sys.executable, "-c", f"{code}\nprint({DONE!r}, flush=True)"]
    with subprocess.Popen(command, stdout=PIPE, stderr=DEVNULL, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.strip() == DONE:
                return perf_counter() - begin
    raise RuntimeError("it ended before it had a batch")


def by_name(effort: Effort, say: Callable[[str], None]) -> list[Row]:
    """Two hundred packages that each bring one model: find two of them."""
    with tempfile.TemporaryDirectory(prefix="batchloom-") as folder:
        for number in range(200):
            write_package(Path(folder), f"p{number}")
        programs = {OURS: partial(fresh, NAMED, folder)}
        fresh(NAMED, folder)  # leaves its bytecode
        figures = [Figure("cold", COLD, "ms"), Figure("warm", WARM, "µs")]
        rows = compare_programs(programs, OURS, figures, effort, say, times=REPEATED)
    for row in rows:
        row.relative = None
    return rows


def write_package(folder: Path, name: str) -> None:
    info = folder / f"batchloom_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: batchloom-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[batchloom.models]\n{name}/Model = batchloom.models:BaseModel\n"
    )
