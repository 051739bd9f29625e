"""A short share of the long run of the benchmarks: nothing grows from batch to batch."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "long_run.py"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_thousands_of_small_batches_leave_the_process_as_it_was() -> None:
    seen = runpy.run_path(str(PROGRAM))["measure"](5_000)
    warm = seen[len(seen) // 5 :]
    assert len({each[2:] for each in warm}) == 1, "threads or open files come and go"
    assert warm[-1][1] - warm[0][1] < 5, "MB more than at first"
