"""A worker that is killed at any moment: what was given out is right, the rest is an error, nothing stays."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from large_steps import large
from own_children import own_children

from batchloom.errors import WorkerError

pytestmark = pytest.mark.timeout(60)
KILLS = [0.0, 0.02, 0.1, 0.3, 0.7, 1.5]


def kill_one(after: float, over: threading.Event) -> None:
    """Kill one of this process's workers, so many seconds after there is one."""
    while not over.wait(0.001):
        if workers := [each.pid for each in own_children() if each.pid]:
            if not over.wait(after):
                os.kill(random.Random(after).choice(workers), signal.SIGKILL)
            return


def started_executor() -> ProcessPoolExecutor:
    """One whose workers are all there: it cannot stand to lose one while it starts the next."""
    made = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    list(made.map(time.sleep, [0.01] * 8))
    return made


@pytest.mark.parametrize("kind", ["own", "executor"])
@pytest.mark.parametrize("after", KILLS)
def test_a_worker_is_killed(after: float, kind: str) -> None:
    made = large(20_000).p.make().slowly(0.002)
    expected = large(20_000).p.make().gen_batch(40, seed=3)
    over = threading.Event()
    killer = threading.Thread(target=kill_one, args=(after, over))
    pool: Any = started_executor() if kind == "executor" else nullcontext(2)
    kept, began = [], time.monotonic()
    with pool as executor, pytest.raises(WorkerError, match="lost"):
        killer.start()
        try:
            for batch in made.gen_batch(40, seed=3, n_epochs=None, executor=executor):
                kept.append(batch.made if batch.number % 50 == 0 else None)
                if batch.number < 500:
                    assert np.array_equal(batch.made, next(expected).made), batch.number
        finally:
            over.set()
            killer.join()
    assert time.monotonic() - began < 30
    gc.collect()  # the exception's traceback knows this function, and so what it has kept
    again = large(20_000).p.make().gen_batch(40, seed=3)
    for number, (found, one) in enumerate(zip(kept[:500], again, strict=False)):
        assert found is None or np.array_equal(found, one.made), number
