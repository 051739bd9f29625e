"""Worker processes: what they cannot do, what kills them, and what they leave."""

from __future__ import annotations

import os
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefetch_steps import Items, Wide, dataset, over

from batchloom import Dataset, F
from batchloom.errors import WorkerError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as made:
        list(made.map(abs, range(4)))
        yield made


def shipments() -> list[str]:
    return [each for each in os.listdir(tempfile.gettempdir()) if each.startswith("batchloom-run")]


@pytest.mark.parametrize("how", ["exit", "kill"])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_worker_that_dies_is_an_error_that_names_its_batches(how: str, on_error: str) -> None:
    """Not a batch's failure: there is nobody left to prepare the others."""
    began = time.monotonic()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        made = over(200).die_at(20, how)
        seen = []
        with pytest.raises(
            WorkerError, match=r"lost batch(es)? \d+( to \d+)? of this run"
        ) as caught:
            for batch in made.gen_batch(2, executor=executor, on_error=on_error):
                seen.append(batch.number)
        assert seen == list(range(len(seen))) and len(seen) <= 20
        assert "BrokenProcessPool" in str(caught.value)
        with pytest.raises(WorkerError, match="lost batch 0"):
            over(20).plain().run(2, executor=executor)
    assert time.monotonic() - began < 20
    assert not shipments()


def test_an_action_that_cannot_travel_is_named(executor: ProcessPoolExecutor) -> None:
    made = over().plain().apply(lambda x: x + 1, src="x")
    with pytest.raises(
        WorkerError, match=r"step apply\(.*lambda.*cannot be sent to other processes"
    ):
        made.run(4, executor=executor)
    with pytest.raises(WorkerError, match=r"step shift\(F\(.*cannot be sent"):
        over().shift(F(lambda batch: 1)).run(4, executor=executor)
    assert not shipments()
    assert [len(each) for each in made.gen_batch(30, prefetch=2)] == [30, 30]


def test_a_batch_class_that_cannot_travel_is_named(executor: ProcessPoolExecutor) -> None:
    class Local(Items):
        pass

    with pytest.raises(WorkerError, match=r"the batch class .*Local cannot be sent"):
        dataset(20, Local).p.plain().run(4, executor=executor)


def test_a_batch_that_cannot_come_back_is_named(executor: ProcessPoolExecutor) -> None:
    made = over().unsendable()
    with pytest.raises(WorkerError, match="batch 0 .*cannot be sent back") as caught:
        made.run(4, executor=executor)
    assert "executor=" in str(caught.value)


@pytest.mark.parametrize("how", ["through", "break", "raise"])
def test_shipments_go_with_their_runs(how: str, executor: ProcessPoolExecutor) -> None:
    large = Dataset(batch_class=Items, data={"x": np.zeros((400, 400))})
    seen = 0
    with pytest.raises(ZeroDivisionError) if how == "raise" else nothing():
        for _ in large.p.scale().gen_batch(10, executor=executor):
            seen += len(shipments())
            if how == "break":
                break
            if how == "raise":
                1 / 0
    assert seen and not shipments()


class nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...


def test_data_travels_once(executor: ProcessPoolExecutor) -> None:
    large = Dataset(batch_class=Items, data={"x": np.zeros((500, 400))})
    batches = large.p.scale().gen_batch(10, executor=executor)
    next(batches)
    (folder,) = (Path(tempfile.gettempdir()) / each for each in shipments())
    sizes = {each.name: each.stat().st_size for each in folder.iterdir()}
    batches.close()
    assert sum(sizes.values()) < 1.1 * 500 * 400 * 8, sizes


def test_memory_maps_do_not_travel(executor: ProcessPoolExecutor, tmp_path: Path) -> None:
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "<f8", (500, 400))
    mapped[:] = 1
    batches = (
        Dataset(batch_class=Items, data={"x": mapped}).p.scale().gen_batch(10, executor=executor)
    )
    assert next(batches).x.sum() == 2 * 4000
    (folder,) = (Path(tempfile.gettempdir()) / each for each in shipments())
    assert sum(each.stat().st_size for each in folder.iterdir()) < 100_000
    batches.close()


def test_changes_of_a_copy_on_write_map_are_seen(
    executor: ProcessPoolExecutor, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(200_000))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    mapped[:] = 3
    made = Dataset(batch_class=Items, data={"x": mapped}).p.scale()
    assert {float(each.x.sum()) for each in made.gen_batch(50_000, executor=executor)} == {
        300_000.0
    }


def test_a_module_that_workers_cannot_import_is_named(
    executor: ProcessPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
    from batchloom import Batch, action
    class Hidden(Batch):
        @action
        def plain(self):
            return self
    """
    (tmp_path / "only_here.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    with pytest.raises(WorkerError, match=r"cannot unpack the pipeline.*only_here"):
        dataset(20, only_here.Hidden).p.plain().run(4, executor=executor)


class Inline(Executor):
    """Does its work at once, in the thread that submits it."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as exc:
            future.set_exception(exc)
        return future


def test_any_executor_will_do() -> None:
    made = over().init_variable("n", 0).noise().count().shift(2)
    alone = [each.x.tobytes() for each in made.gen_batch(4, seed=1)]
    assert [each.x.tobytes() for each in made.gen_batch(4, seed=1, executor=Inline())] == alone


def test_what_nobody_asked_for_there_is_gathered_here(executor: ProcessPoolExecutor) -> None:
    data = {"x": np.arange(40.0), "y": np.arange(40)}
    for where in (executor, Inline()):
        made = Dataset(batch_class=Wide, data=data).p.scale()
        for batch in made.gen_batch(4, shuffle=2, executor=where):
            assert np.array_equal(batch.y, batch.indices)
            assert np.array_equal(batch.x, 2.0 * batch.indices)


def test_interleaved_runs_share_an_executor(executor: ProcessPoolExecutor) -> None:
    made = over(40).init_variable("n", 0).scale().count()
    both = zip(
        made.gen_batch(2, executor=executor), made.gen_batch(2, executor=executor), strict=True
    )
    assert all((a.x == b.x).all() for a, b in both)
    assert made.get_variable("n") == 40


def test_a_value_that_changes_is_the_one_at_the_turn(executor: ProcessPoolExecutor) -> None:
    """Equal is not enough: 0.0 and -0.0, True and 1 are different values."""
    made = over(8).init_variable("n", 0.0).keep_sign()
    signs = []
    for batch in made.gen_batch(1, executor=executor):
        signs.append(batch._sign)
        made.variables["n"] = -made.variables["n"]
    assert signs == [1.0, -1.0] * 4
