"""How many batches are prepared in one go, and by whom, as it shows in a run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, F, action
from batchloom.runtime import pace, run, source
from batchloom.runtime.work import Work

pytestmark = pytest.mark.timeout(60)

COUNT = 4000


class Told(Batch):
    """Batches that tell which thread has prepared them."""

    components = ("x",)

    @action
    def tell(self) -> Told:
        self._thread = threading.current_thread()
        return self

    @action
    def sleep(self, seconds: float, until: int = COUNT) -> Told:
        if self.number < until:
            time.sleep(seconds)
        return self.tell()


def made_here(batches: Any) -> np.ndarray:
    """Tell of each batch whether the thread that wants it has prepared it."""
    return np.array([each._thread is threading.current_thread() for each in batches])


def over(count: int = COUNT) -> Any:
    return Dataset(data={"x": np.arange(2.0 * count)}, batch_class=Told).p


def test_cheap_batches_are_prepared_by_who_wants_them() -> None:
    here = made_here(over().tell().gen_batch(2, prefetch=2))
    assert here.size == COUNT
    assert here.mean() > 0.9


def test_batches_that_take_long_are_prepared_by_threads() -> None:
    here = made_here(over(60).sleep(0.005).gen_batch(2, prefetch=2))
    assert here.size == 60
    assert here.mean() < 0.7


def test_batches_that_have_become_cheap_are_no_longer_handed_over() -> None:
    here = made_here(over().sleep(0.002, until=40).gen_batch(2, prefetch=2))
    assert here[5:40].mean() < 0.7
    assert here[COUNT // 2 :].mean() > 0.9


def test_a_stage_before_another_one_goes_on_preparing_ahead() -> None:
    """Where it did not, the batches of the stage after it would be made one at a time, by who wants them."""
    batches = over(200).tell().rebatch(4).sleep(0.002).gen_batch(2, prefetch=2)
    assert made_here(batches).mean() < 0.5


class Done:
    """What is known of a lot that is done."""

    def __init__(
        self,
        count: int,
        each: float,
        waited: bool = True,
        given_back: int = 0,
        shipped: int = 0,
    ) -> None:
        self.lot = self
        self.count = count
        self.seconds = count * each
        self.waited = waited
        self.given_back = given_back
        self.shipped = shipped


class Threads:
    may_wait = True


class Elsewhere:
    may_wait = False


def sizes(made: pace.Pace, each: Callable[[int], Any], lots: int) -> list[tuple[int, bool]]:
    """Give size and whether a pool is asked, lot by lot."""
    found = []
    for _ in range(lots):
        found.append((made.size, made.pool is not None))
        made.learn(each(made.size))
    return found


def test_lots_grow_without_a_pool() -> None:
    made = pace.Pace(None, 0, 6, may_rest=True)
    assert sizes(made, lambda size: Done(size, 1.0), 5) == [
        (each, False) for each in (1, 2, 4, 6, 6)
    ]


def test_lots_grow_here_until_they_are_worth_a_hand_over() -> None:
    made = pace.Pace(Threads(), 2, 512, may_rest=True)  # type: ignore[arg-type]
    found = sizes(made, lambda size: Done(size, 1e-4), 8)
    assert found == [(1, True), (4, False), (16, False), (16, False), *[(16, True)] * 4]
    assert made.depth == 2


def test_threads_rest_from_cheap_lots_however_many_batches_they_have() -> None:
    made = pace.Pace(Threads(), 2, 64, may_rest=True)  # type: ignore[arg-type]
    found = sizes(made, lambda size: Done(size, 1e-5), 9)
    assert found == [(1, True), (4, False), (16, False), *[(64, False)] * 6]
    assert made.depth == 0


def test_large_lots_that_are_cheap_are_handed_over_where_they_cannot_grow() -> None:
    made = pace.Pace(Threads(), 2, 1, may_rest=True)  # type: ignore[arg-type]
    assert sizes(made, lambda size: Done(size, 1e-6), 9) == [(1, True)] * 9


def test_one_slow_lot_brings_no_threads_back() -> None:
    made = pace.Pace(Threads(), 2, 64, may_rest=True)  # type: ignore[arg-type]
    sizes(made, lambda size: Done(size, 1e-6), 9)
    made.learn(Done(64, 1e-3))  # type: ignore[arg-type]
    assert sizes(made, lambda size: Done(size, 1e-6), 4) == [(64, False)] * 4


def test_nothing_rests_that_others_want_ahead() -> None:
    made = pace.Pace(Threads(), 2, 512, may_rest=False)  # type: ignore[arg-type]
    found = sizes(made, lambda size: Done(size, 1e-6), 9)
    assert found == [*[(1, True)] * 3, *[(4, True)] * 3, *[(16, True)] * 3]


def test_lots_of_processes_stay_small_unless_they_are_waited_for() -> None:
    made = pace.Pace(Elsewhere(), 2, 512, may_rest=True)  # type: ignore[arg-type]
    assert sizes(made, lambda size: Done(size, 1e-6, waited=False), 9) == [(1, True)] * 9
    assert sizes(made, lambda size: Done(size, 1e-6), 4)[-1] == (4, True)


def test_lots_of_processes_grow_though_others_are_done_meanwhile() -> None:
    made = pace.Pace(Elsewhere(), 2, 512, may_rest=True)  # type: ignore[arg-type]
    found = [made.size]
    for at in range(30):
        made.learn(Done(made.size, 1e-6, waited=at % 3 == 0))  # type: ignore[arg-type]
        found.append(made.size)
    assert found[6:8] == [1, 4]
    made = pace.Pace(Elsewhere(), 2, 512, may_rest=True)  # type: ignore[arg-type]
    for at in range(100):
        made.learn(Done(made.size, 1e-6, waited=at % pace.RECENT_LOTS == 0))  # type: ignore[arg-type]
    assert made.size == 1


def test_lots_of_processes_do_not_grow_beyond_the_memory_that_is_used_ahead() -> None:
    made = pace.Pace(Elsewhere(), 2, 512, may_rest=True)  # type: ignore[arg-type]
    each = source.AHEAD_BYTES // 20
    found = sizes(made, lambda size: Done(size, 1e-6, shipped=size * each), 12)
    assert found == [*[(1, True)] * 3, *[(4, True)] * 3, *[(16, True)] * 6]


def test_lots_of_processes_grow_by_less_where_that_is_all_that_fits() -> None:
    made = pace.Pace(Elsewhere(), 2, 512, may_rest=True)  # type: ignore[arg-type]
    each = source.AHEAD_BYTES * 2 // 5
    found = sizes(made, lambda size: Done(size, 1e-6, shipped=size * each), 9)
    assert found == [*[(1, True)] * 3, *[(2, True)] * 6]


@pytest.mark.parametrize(("share", "last"), [(0.9, 4), (1.1, 1)])
def test_lots_of_processes_grow_until_they_are_worth_an_errand(share: float, last: int) -> None:
    made = pace.Pace(Elsewhere(), 2, 512, may_rest=True)  # type: ignore[arg-type]
    found = sizes(made, lambda size: Done(size, share * pace.ERRAND_SECONDS), 12)
    assert found[-1] == (last, True)


def test_a_pool_that_gives_all_batches_back_is_no_longer_asked() -> None:
    made = pace.Pace(Threads(), 2, 1, may_rest=True)  # type: ignore[arg-type]
    found = sizes(made, lambda size: Done(size, 1.0, given_back=size), 6)
    assert found == [*[(1, True)] * pace.VAIN_LOTS, (1, False), (1, False)]
    assert made.depth == 0


class Busy:
    """A pool that begins with one lot, and goes on with it when who wants it has nothing else to do."""

    may_wait = True

    def __init__(self) -> None:
        self.lots: list[Work] = []
        self.prepared: list[int] = []

    def submit(self, job: Work) -> None:
        self.lots.append(job)
        if len(self.lots) == 1:
            assert job.claim()
            # A daemon: it waits for ever if nobody comes to wait for this lot.
            self._thread = threading.Thread(target=self._go_on, args=(job,), daemon=True)
            self._thread.start()

    def _go_on(self, job: Work) -> None:
        while not job.monitor._waiting:
            time.sleep(0.001)
        self.prepared = [len(each.done) for each in self.lots[1:]]
        job._run()

    def close(self) -> None:
        self._thread.join()


def rows(folder: Path, kind: str) -> np.ndarray:
    made = np.random.default_rng(0).random((1000, 8))
    if kind == "memory map":
        np.save(folder / "rows.npy", made)
        made = np.load(folder / "rows.npy", mmap_mode="r")
    return made


@pytest.mark.parametrize(
    ("kind", "prepared"), [("rows", 1), ("rows and a step", 0), ("memory map", 0)]
)
def test_who_waits_gathers_later_batches_that_nobody_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, prepared: int
) -> None:
    """But does no step of the user's, and waits for no disk, while the batch that it wants gets ready."""
    pool, data = Busy(), rows(tmp_path, kind)
    monkeypatch.setattr(run, "make_pool", lambda *_: pool)
    made = Dataset(data={"x": data}).p
    if kind == "rows and a step":
        made = made.apply(np.negative, src="x", dst="x").apply(np.negative, src="x", dst="x")
    for batch in made.gen_batch(30, shuffle=1, prefetch=2):
        assert np.array_equal(batch.x, data[batch.indices])
    assert batch.number == 33
    assert set(pool.prepared) == {prepared}


def gathering_threads(made: Any) -> set[str]:
    seen = set[str]()
    for _ in made.gen_batch(8, shuffle=1, prefetch=9):
        seen |= {each.name for each in threading.enumerate() if "prefetch" in each.name}
    return seen


def test_no_more_threads_gather_than_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits has as many as it was told."""
    monkeypatch.setattr(pace, "CHEAP_SECONDS", 0.0)  # the pool is asked all the time
    data = {"x": np.arange(8000.0)}
    for processors in (1, 3):
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda _, n=processors: range(n), raising=False
        )
        assert len(gathering_threads(Dataset(data=data).p)) == max(1, processors - 1)
        assert len(gathering_threads(Dataset(data=data, batch_class=Told).p.tell())) == 9


@pytest.mark.parametrize("prefetch", [1, 2, 5])
@pytest.mark.parametrize("trains", [False, True])
def test_large_batches_come_in_order_whoever_gathers_them(prefetch: int, trains: bool) -> None:
    data = np.random.default_rng(0).random((4001, 400))
    made = Dataset(data={"x": data}).p
    if trains:
        made = made.init_variable("sums", []).update_variable("sums", F(total), mode="append")
    order = [each.indices for each in made.gen_batch(100, shuffle=1, n_epochs=3)]
    batches = list(
        zip(made.gen_batch(100, shuffle=1, n_epochs=3, prefetch=prefetch), order, strict=True)
    )
    assert [each.number for each, _ in batches] == list(range(123))
    assert all(np.array_equal(each.x, data[indices]) for each, indices in batches)


def total(batch: Any) -> float:
    return float(batch.x.sum())
