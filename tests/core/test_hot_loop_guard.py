"""The loop over small batches does not get slower unnoticed: its instructions and its memory are counted.

A clock says little on a busy machine; the number of bytecode instructions that a batch takes, and of the
blocks of memory that it is made of, is the same each time. Where one of them grows by more than a tenth, a
test fails. If the growth is meant, store the new figures and say in the commit what they buy:

    python tests/core/test_hot_loop_guard.py
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.models import BaseModel

STORED = Path(__file__).with_name("hot_loop_counts.json")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SIZE, SKIPPED, COUNTED = 32, 128, 1024  # the batches counted are many of what is gathered at once
TENTH = 1.1

Count = Callable[[Callable[[], Iterator[Any]]], float]


class Small(Batch):
    components = "x", "y"

    @action
    def nothing(self) -> Small:
        return self

    @action
    def scale(self) -> Small:
        self.x = self.x * 0.5
        return self


class Stub(BaseModel):
    data_args = ("x", "y")

    def _build(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _train(self, x: np.ndarray, y: np.ndarray) -> float:
        return 0.0


def over(copy: bool = True, actions: int = 0) -> Pipeline:
    rows = SIZE * (SKIPPED + COUNTED + 128)
    data = {"x": np.zeros((rows, 16), np.float32), "y": np.zeros(rows, np.int64)}
    pipeline = Dataset(data=data, batch_class=Small, copy=copy).p
    for _ in range(actions):
        pipeline = pipeline.nothing()
    return pipeline


def as_people_use_it() -> Pipeline:
    return (
        over()
        .init_variable("losses", init_on_each_run=list)
        .init_model("dynamic", Stub, "model")
        .scale()
        .train_model("model", x="x", y="y", append_to="losses")
    )


LOOPS: dict[str, tuple[Callable[[], Pipeline], int | bool]] = {
    "in order, copy=False": (lambda: over(copy=False), False),
    "in order, owning": (over, False),
    "in order, 5 actions": (lambda: over(actions=5), False),
    "shuffled": (over, 1),
    "shuffled, 5 actions": (lambda: over(actions=5), 1),
    "as people use it": (as_people_use_it, 1),
}


def batches_of(loop: str) -> Callable[[], Iterator[Any]]:
    """What makes the batches of a loop, with all of their components there."""
    make, shuffle = LOOPS[loop]

    def batches() -> Iterator[Any]:
        for batch in make().gen_batch(SIZE, shuffle=shuffle, seed=1):
            yield batch, batch.x, batch.y

    return batches


def instructions(make: Callable[[], Iterator[Any]]) -> float:
    """Bytecode instructions that a batch takes, wherever they are."""
    batches = make()
    for _ in islice(batches, SKIPPED):
        pass
    count = (_monitored if sys.version_info >= (3, 12) else _traced)(batches)
    batches.close()  # type: ignore[attr-defined]
    return count / COUNTED


def _traced(batches: Iterator[Any]) -> int:
    count = 0

    def see(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        frame.f_trace_opcodes = True
        return see

    before = sys.gettrace()
    sys.settrace(see)
    try:
        for _ in range(COUNTED):
            next(batches)
    finally:
        sys.settrace(before)
    return count


def _monitored(batches: Iterator[Any]) -> int:
    count = 0
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    tool = monitoring.PROFILER_ID

    def see(code: CodeType, offset: int) -> None:
        nonlocal count
        count += 1

    monitoring.use_tool_id(tool, "hot loop guard")
    monitoring.register_callback(tool, monitoring.events.INSTRUCTION, see)
    monitoring.set_events(tool, monitoring.events.INSTRUCTION)
    try:
        for _ in range(COUNTED):
            next(batches)
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
        monitoring.free_tool_id(tool)
    return count


def blocks(make: Callable[[], Iterator[Any]]) -> float:
    """Blocks of memory that are there for each batch that is kept."""
    batches = make()
    kept = list(islice(batches, SKIPPED))
    kept += [None] * COUNTED
    gc.collect()
    before = sys.getallocatedblocks()
    for at in range(SKIPPED, SKIPPED + COUNTED):
        kept[at] = next(batches)
    gc.collect()
    after = sys.getallocatedblocks()
    batches.close()  # type: ignore[attr-defined]
    return (after - before) / COUNTED


COUNTS: dict[str, Count] = {"instructions": instructions, "blocks": blocks}


def stored(loop: str, what: str) -> float:
    figures = json.loads(STORED.read_text())
    if PYTHON not in figures:
        pytest.skip(f"no figures are stored for Python {PYTHON}, whose bytecode is its own")
    return figures[PYTHON][loop][what]


@pytest.mark.parametrize("what", COUNTS)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_small_batch_takes_no_more_than_it_did(loop: str, what: str) -> None:
    before = stored(loop, what)
    now = COUNTS[what](batches_of(loop))
    assert now <= before * TENTH, (
        f"{loop}: {now:.1f} {what} a batch, and {before} are stored in {STORED.name}. If that is meant, "
        f"`python tests/core/{Path(__file__).name}` stores what there is now; say in the commit what it buys"
    )


def test_what_is_counted_grows_with_the_work() -> None:
    for count in COUNTS.values():
        assert count(batches_of("as people use it")) > count(batches_of("in order, copy=False")) > 1
    assert instructions(batches_of("in order, 5 actions")) > instructions(
        batches_of("in order, owning")
    )


def store() -> None:
    """Count, and put the figures of this Python into the file."""
    figures = json.loads(STORED.read_text()) if STORED.exists() else {}
    figures[PYTHON] = {
        loop: {what: round(count(batches_of(loop)), 1) for what, count in COUNTS.items()}
        for loop in LOOPS
    }
    STORED.write_text(json.dumps(dict(sorted(figures.items())), indent=1) + "\n")
    print(STORED.read_text())


if __name__ == "__main__":
    # As tests/conftest.py has it: a plug-in that looks on at every training step is not what is counted.
    os.environ.setdefault("BATCHLOOM_DISABLE_PLUGINS", "batchloom-mlflow")
    store()
