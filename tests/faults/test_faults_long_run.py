"""A short share of the long run of the benchmarks: nothing grows from batch to batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEASURE = "import json; from benchmarks.long_run import measure; print(json.dumps(measure(5_000)))"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_thousands_of_small_batches_leave_the_process_as_it_was() -> None:
    # A process of its own: in this one, what other tests have used opens and closes files when it likes.
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert not done.returncode, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    warm = seen[len(seen) // 5 :]
    assert len({tuple(each[2:]) for each in warm}) == 1, "threads or open files come and go"
    assert warm[-1][1] - warm[0][1] < 5, "MB more than at first"
