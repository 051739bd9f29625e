"""Large arrays come back from worker processes through shared memory, as they would be without."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from large_steps import KINDS, large, state_of

from batchloom import Dataset
from batchloom.runtime import slots

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not slots.AVAILABLE, reason="this system has no anonymous files"),
]


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as made:
        list(made.map(abs, range(4)))
        yield made


def open_slots() -> int:
    """How many files of slots this process has open; each slot has two."""
    names = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
    return sum("batchloom-slot" in os.readlink(each) for each in names if os.path.islink(each))


def lies_in_a_slot(array: Any) -> bool:
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, _, last = line.split(maxsplit=1)[0].partition("-")
        if int(first, 16) <= address < int(last, 16):
            return "batchloom-slot" in line
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_come_back_as_they_were(kind: str, executor: ProcessPoolExecutor) -> None:
    made = large().p.make(kind)
    alone = {each.number: state_of(each.made.copy(order="K")) for each in run(made)}
    there = {each.number: state_of(each.made) for each in run(made, executor=executor)}
    assert there.keys() == alone.keys() == set(range(10))
    for number in alone:
        assert there[number] == alone[number], number


def run(pipeline: Any, **options: Any) -> Iterator[Any]:
    return pipeline.gen_batch(40, seed=3, **options)  # type: ignore[no-any-return]


def test_they_lie_in_slots(executor: ProcessPoolExecutor) -> None:
    for kind in ("C order", "Fortran order", "every second column", "axes swapped", "strings"):
        for batch in run(large().p.make(kind), executor=executor):
            assert lies_in_a_slot(batch.made), kind
            assert batch.made.ctypes.data % 64 == 0
            assert not lies_in_a_slot(batch.x)  # small
    del batch
    assert not open_slots()


def test_an_array_that_cannot_be_written_to_stays_so(executor: ProcessPoolExecutor) -> None:
    for batch in run(large().p.make().read_only(), executor=executor):
        assert lies_in_a_slot(batch.made)
        with pytest.raises(ValueError, match="read-only"):
            batch.made[0] = 1
    for batch in run(large().p.make(), executor=executor):
        batch.made[0] = 1


def test_one_array_by_two_names_stays_one(executor: ProcessPoolExecutor) -> None:
    for batch in run(large().p.make().same_twice(), executor=executor):
        batch.made[0] = 7
        assert (batch.again[0] == 7).all() and lies_in_a_slot(batch.again)


def test_what_is_kept_stays_as_it_was(executor: ProcessPoolExecutor) -> None:
    """A slot is used again only when nothing of it is left; who keeps everything gets copies."""
    made = large(8000).p.make()
    depth = 3
    kept, most = [], 0
    for batch in run(made, executor=executor, prefetch=depth):
        kept.append(batch.made if batch.number % 2 else batch)
        most = max(most, open_slots())
    assert 0 < most <= 2 * (2 * depth + slots.KEPT)
    assert len(kept) == 200
    for each, expected in zip(kept, run(made), strict=True):
        found = each if isinstance(each, np.ndarray) else each.made
        assert found.tobytes() == expected.made.tobytes(), expected.number
    del each, found, kept, batch
    assert not open_slots()


def test_views_of_a_part_hold_the_slot(executor: ProcessPoolExecutor) -> None:
    made = large(8000).p.make()
    kept = {}
    for batch in run(made, executor=executor):
        if batch.number % 25 == 0:
            kept[batch.number] = batch.made[3:5, ::7].T
    del batch
    for expected in run(made):
        if expected.number in kept:
            assert np.array_equal(kept[expected.number], expected.made[3:5, ::7].T)


def test_what_is_changed_in_place_changes_nothing_else(executor: ProcessPoolExecutor) -> None:
    made = large(4000).p.make()
    for batch, expected in zip(run(made, executor=executor), run(made), strict=True):
        assert batch.made.tobytes() == expected.made.tobytes()
        batch.made[:] = np.nan


def test_slots_are_used_again(executor: ProcessPoolExecutor) -> None:
    most = 0
    for batch in run(large(8000).p.make(), executor=executor, prefetch=4):
        assert lies_in_a_slot(batch.made)
        most = max(most, open_slots())
    assert most < 2 * 20  # of two hundred batches


def test_a_worker_gets_slots_that_it_has_written_to() -> None:
    """To map a slot costs a worker ten times as much as to fill it."""
    made = slots.Slots(4, workers=2)
    first, second = [made.take(each) for each in (0, 1)]
    assert first and second and first is not second
    for slot in (first, second):
        made.lend(slot, [])  # nothing is lent, so that it comes back at once
    assert [made.take(each) for each in (0, 1)] == [first, second]
    made.close()


def test_a_worker_gets_one_of_another_before_more_than_one_for_each_are_free() -> None:
    made = slots.Slots(4, workers=2)
    taken = [made.take(0) for _ in range(3)]
    for slot in taken:
        assert slot
        made.lend(slot, [])
    found = [made.take(1) for _ in range(3)]
    assert found[:2] == taken[:0:-1]
    assert found[2] not in taken
    assert made.take(0) is taken[0]
    made.close()


def test_slots_grow(executor: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SLOT_BYTES", 1 << 16)
    inside = []
    for batch in run(large(8000).p.make_in_places(), executor=executor):
        assert (batch.made == batch.number).all()
        assert batch.made.shape == (40, 300 * (1 + batch.number % 20))
        inside.append(lies_in_a_slot(batch.made))
    assert not inside[0] and all(inside[100:])
    del batch
    assert not open_slots()


@pytest.mark.parametrize("break_at", [0, 3])
def test_a_broken_off_run_leaves_no_slot(break_at: int, executor: ProcessPoolExecutor) -> None:
    for batch in run(large(8000).p.make().slowly(0.001), executor=executor, prefetch=8):
        if batch.number == break_at:
            break
    kept = batch.made.copy()
    assert np.array_equal(batch.made, kept)
    del batch
    list(executor.map(abs, range(20)))  # what was under way has come back
    assert not open_slots()


def test_without_shared_memory_all_is_pickled(
    executor: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "AVAILABLE", False)
    made = large().p.make()
    for batch, expected in zip(run(made, executor=executor), run(made), strict=True):
        assert batch.made.tobytes() == expected.made.tobytes() and not lies_in_a_slot(batch.made)


def test_where_no_more_files_can_be_opened_all_is_pickled(executor: ProcessPoolExecutor) -> None:
    made = large().p.make()
    batches = made.gen_batch(40, seed=3, executor=executor, prefetch=2)
    first = next(batches)
    open_now = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now, hard))
    try:
        rest = [next(batches) for _ in range(9)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    batches.close()
    for batch, expected in zip([first, *rest], run(made), strict=True):
        assert batch.made.tobytes() == expected.made.tobytes()
    assert not all(lies_in_a_slot(each.made) for each in rest)


class Elsewhere(ProcessPoolExecutor):
    """Its workers find no slot, as if they were on another machine."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        token, goods, portion, (_, file, size) = args[0]
        return super().submit(fn, (token, goods, portion, ("/proc/self/fd/999", file, size)))


def test_workers_that_cannot_open_slots_pickle_all() -> None:
    made = large().p.make()
    with Elsewhere(1, mp_context=get_context("spawn")) as executor:
        for batch, expected in zip(run(made, executor=executor), run(made), strict=True):
            assert batch.made.tobytes() == expected.made.tobytes()
            assert not lies_in_a_slot(batch.made)


def test_a_path_that_leads_to_another_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"mine" * 1000)
    address = str(tmp_path / "other"), (0, 1), 4000
    assert slots.OpenSlots().memory(address) is None
    assert (tmp_path / "other").read_bytes() == b"mine" * 1000


def test_read_only_data_of_the_dataset_comes_back_too(executor: ProcessPoolExecutor) -> None:
    data = np.random.default_rng(0).normal(size=(400, 500))
    views = Dataset(data={"x": data}, copy=False)
    for batch in views.p.gen_batch(50, executor=executor):
        assert np.array_equal(batch.x, data[batch.indices])


def test_what_a_fork_drops_stays_with_its_parent(executor: ProcessPoolExecutor) -> None:
    kept = list(run(large(120).p.make(), executor=executor))
    expected = [each.made.copy() for each in kept]
    child = os.fork()
    if child == 0:
        del kept, expected
        os._exit(0)
    os.waitpid(child, 0)
    assert all(lies_in_a_slot(each.made) for each in kept)
    assert all(np.array_equal(a.made, b) for a, b in zip(kept, expected, strict=True))


def test_batches_that_outlive_everything_say_nothing_at_exit(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from large_steps import large
            if __name__ == "__main__":
                kept = [each for each in large().p.make().gen_batch(40, executor=1)]
                batches = large(4000).p.make().gen_batch(40, executor=1)
                last = next(batches)
                print(sum(float(each.made.sum()) for each in kept) < 1e9)
            """
        )
    )
    importable = Path(__file__).parents[1] / "importable"
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": str(importable)},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
