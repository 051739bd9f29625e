"""Memory that was freed goes back to the system before XGBoost trains on what was collected."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from batchloom_xgboost.freed import give_back

def held():
    with open("/proc/self/status") as lines:
        return next(int(each.split()[1]) for each in lines if each.startswith("RssAnon")) / 1024

arrays = [np.ones(8_000) for _ in range(1_000)]
last = np.ones(8_000)  # behind them: as long as it is there, the C library keeps all
del arrays
before = held()
give_back()
print(before - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only asked of Linux")
def test_freed_memory_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not the GNU C library")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) > 40  # megabytes, of 61
