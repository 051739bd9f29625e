"""A short share of the long run of the benchmarks: nothing grows from batch to batch."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_thousands_of_small_batches_leave_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    seen = importlib.import_module("benchmarks.long_run").measure(5_000)
    warm = seen[len(seen) // 5 :]
    assert len({each[2:] for each in warm}) == 1, "threads or open files come and go"
    assert warm[-1][1] - warm[0][1] < 5, "MB more than at first"
