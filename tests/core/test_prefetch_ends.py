"""However a run ends, it ends as it would without prefetch, at once, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from prefetch_steps import EXCEPTIONS, Items, Unmade, Walk, dataset, outcome, over

from batchloom import Batch, Dataset, Pipeline, SkipBatch, action
from batchloom.errors import DefinitionError, TooManySkippedError, WorkerError

pytestmark = pytest.mark.timeout(30)

PREFETCH = [0, 1, 4, 32]


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as made:
        list(made.map(abs, range(4)))
        yield made


def trained() -> Pipeline:
    made = over(100).init_variable("n", 0).init_model("dynamic", Walk, "model").slow_even(0.001)
    return made.count().train_model("model", x="x")


@pytest.mark.parametrize("kind", sorted(EXCEPTIONS))
@pytest.mark.parametrize("prefetch", PREFETCH)
def test_an_action_raises(kind: str, prefetch: int) -> None:
    """Batches 0 to 4 are done, batch 5 raises its own exception, later ones leave no trace."""
    made = trained().fail_at([5], kind)
    alone = outcome(made, 1)
    assert len(alone[0]) == 5 and alone[1][2] == [
        f"in step fail_at([5], {kind!r}), batch 5 of epoch 0, first indices [5]"
    ]
    assert outcome(trained().fail_at([5], kind), 1, prefetch=prefetch) == alone
    early = over(100).fail_at([5], kind).init_variable("n", 0).count()
    found = outcome(early, 1, prefetch=prefetch)
    assert found[:2] == outcome(over(100).fail_at([5], kind).init_variable("n", 0).count(), 1)[:2]
    assert early.get_variable("n") == 5
    assert outcome(over(8).init_variable("n", 0).count(), 1, prefetch=prefetch)[1] is None


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_the_traceback_leads_to_the_line_that_raised(prefetch: int) -> None:
    with pytest.raises(ValueError) as caught:
        over(100).slow_even().fail_at([5]).run(1, prefetch=prefetch)
    assert caught.traceback[-1].name == "fail_at"
    assert "raise EXCEPTIONS[kind]()" in str(caught.traceback[-1].statement)


@pytest.mark.parametrize("kind", sorted(EXCEPTIONS))
def test_an_action_raises_in_another_process(kind: str, executor: ProcessPoolExecutor) -> None:
    expected = RuntimeError if kind == "StopIteration" else type(EXCEPTIONS[kind]())
    seen = []
    with pytest.raises(BaseException) as caught:
        for batch in over(100).fail_at([5], kind).gen_batch(1, executor=executor):
            seen.append(batch.number)
    assert seen == [0, 1, 2, 3, 4]
    exc = caught.value
    if kind in ("OwnError", "UnpicklableError"):
        assert type(exc) is WorkerError and f"prefetch_steps.{kind}: {EXCEPTIONS[kind]()}" in str(
            exc
        )
    else:
        assert type(exc) is expected
    assert f"in step fail_at([5], {kind!r}), batch 5 of epoch 0, first indices [5]" in exc.__notes__
    assert any("in fail_at" in note for note in exc.__notes__)


@pytest.mark.parametrize("prefetch", PREFETCH)
@pytest.mark.parametrize("number", [0, 4, 9])
@pytest.mark.parametrize("verb", ["skip_at", "fail_at"])
def test_a_batch_is_left_out(verb: str, number: int, prefetch: int) -> None:
    def left_out() -> Pipeline:
        made = getattr(over(40).init_variable("n", 0), verb)([number])
        made = made.init_model("dynamic", Walk, "model").count().train_model("model", x="x")
        return made

    options: dict[str, Any] = {"on_error": "skip", "n_epochs": 1}
    found = left_out()
    content = outcome(found, 4, prefetch=prefetch, **options)
    assert content == outcome(left_out(), 4, **options)
    assert [each[0] for each in content[0]] == [n for n in range(10) if n != number]
    assert [(each.number, each.epoch) for each in found.failures] == [(number, 0)]
    assert found.get_variable("n") == 9
    assert found.models["model"].epochs == [(0, True)]
    found.run(4, prefetch=prefetch, **options)
    assert len(found.failures) == 1


@pytest.mark.parametrize("prefetch", PREFETCH)
@pytest.mark.parametrize("most", [0, 2, 3])
@pytest.mark.parametrize("kind", ["ValueError", "OwnError", "SkipBatch"])
def test_no_more_batches_are_left_out_than_max_skipped(kind: str, most: int, prefetch: int) -> None:
    bad = [3, 4, 8, 11, 12]

    def made() -> Pipeline:
        failing = over(40).init_variable("n", 0).init_model("dynamic", Walk, "model")
        failing = failing.skip_at(bad) if kind == "SkipBatch" else failing.fail_at(bad, kind)
        return failing.count().train_model("model", x="x")

    options = {"on_error": "skip", "max_skipped": most}
    found = made()
    content = outcome(found, 2, prefetch=prefetch, **options)
    assert content == outcome(made(), 2, **options)
    ended = content[1]
    assert ended[0] == {"SkipBatch": "TooManySkippedError"}.get(kind, kind)
    assert f"batch {bad[most]} of epoch 0" in ended[2][0]
    assert [each.number for each in found.failures] == bad[:most]
    assert found.get_variable("n") == len(content[0]) == bad[most] - most
    assert found.models["model"].abandoned == 1
    # A limit that is not passed changes nothing.
    enough = {**options, "max_skipped": 5}
    assert outcome(made(), 2, prefetch=prefetch, **enough) == outcome(made(), 2, on_error="skip")


def test_what_ends_the_run_tells_of_those_left_out_before(executor: ProcessPoolExecutor) -> None:
    for options in ({}, {"prefetch": 4}, {"executor": executor}):
        with pytest.raises(ValueError, match="wrong") as caught:
            over(40).fail_at([1, 3]).run(2, on_error="skip", max_skipped=1, **options)
        [note] = [each for each in caught.value.__notes__ if "max_skipped" in each]
        assert "max_skipped=1" in note and "batch 1 of epoch 0 in fail_at" in note
        with pytest.raises(TooManySkippedError, match="SkipBatch: not 3") as skipped:
            over(40).skip_at([1, 3]).run(2, max_skipped=1, **options)
        assert isinstance(skipped.value.__cause__, SkipBatch)
        assert "in step skip_at([1, 3]), batch 3 of epoch 0, first indices [6, 7]" in (
            skipped.value.__notes__
        )


def test_a_run_that_skipped_too_much_skips_no_batch_of_the_run_around_it() -> None:
    class Outer(Items):
        @action
        def inner(self) -> Items:
            over(4).skip_at([0]).run(1, max_skipped=0)
            return self

    with pytest.raises(TooManySkippedError):
        dataset(4, Outer).p.inner().run(2)


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_what_is_left_out_before_a_rebatch_is_missing_after_it(prefetch: int) -> None:
    def left_out() -> Pipeline:
        made = over(40).skip_at([0, 5, 9, 19]).init_model("dynamic", Walk, "model")
        made = made.init_variable("score").rebatch(6).fail_at([2]).train_model("model", x="x")
        return made.evaluate_model("model", x="x", y="x", metrics={"n": _count}, save_to="score")

    found = left_out()
    content = outcome(found, 4, prefetch=prefetch, on_error="skip", n_epochs=2)
    assert content == outcome(left_out(), 4, on_error="skip", n_epochs=2)
    assert found.get_variable("score") == {"n": 2 * 40 - 4 * 4 - 6}
    assert found.models["model"].epochs == [(0, False), (1, True)]


def _count(true: Any, predicted: Any) -> int:
    return len(predicted)


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_a_batch_larger_than_the_data(prefetch: int) -> None:
    assert [len(each) for each in over(10).noise().gen_batch(16, prefetch=prefetch)] == [10]
    assert [len(each) for each in over(10).noise().rebatch(99).gen_batch(3, prefetch=prefetch)] == [
        10
    ]


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_a_batch_that_cannot_be_made(prefetch: int) -> None:
    made = dataset(40, Unmade).p.plain()
    seen = []
    with pytest.raises(ValueError, match="cannot be made"):
        for batch in made.gen_batch(4, prefetch=prefetch):
            seen.append(batch.number)
    assert seen == [0, 1, 2]


def test_a_batch_that_cannot_be_made_in_a_process(executor: ProcessPoolExecutor) -> None:
    with pytest.raises(ValueError, match="cannot be made"):
        dataset(40, Unmade).p.plain().run(4, executor=executor)


@pytest.mark.parametrize("how", ["break", "drop", "raise", "close"])
@pytest.mark.parametrize("prefetch", PREFETCH)
def test_the_loop_ends_early(how: str, prefetch: int) -> None:
    made = trained()
    batches = made.gen_batch(1, n_epochs=None, prefetch=prefetch)
    if how == "break":
        for batch in batches:
            if batch.number == 2:
                break
        batches.close()
    elif how == "raise":
        with pytest.raises(ZeroDivisionError):
            for batch in made.gen_batch(1, n_epochs=None, prefetch=prefetch):
                if batch.number == 2:
                    1 / 0
    else:
        for _ in range(3):
            next(batches)
        if how == "close":
            batches.close()
    del batches
    assert not [each for each in threading.enumerate() if each.name.startswith("batchloom")]
    assert made.get_variable("n") == 3
    model = made.models["model"]
    assert (model.abandoned, model.epochs) == (1, [])
    assert outcome(made, 1, prefetch=prefetch)[1] is None
    assert (made.get_variable("n"), model.abandoned, model.epochs) == (103, 1, [(0, True)])


def test_an_executor_is_left_open() -> None:
    with ThreadPoolExecutor(2) as threads:
        for batch in over().slow_even().gen_batch(2, executor=threads):
            if batch.number == 3:
                break
        assert threads.submit(abs, -1).result() == 1


def test_an_action_that_blocks_does_not_hold_up_the_end() -> None:
    released = threading.Event()  # it blocks for a minute, twice as long as a test may take
    batches = over(40).block_at(3, released).gen_batch(2, prefetch=4)
    next(batches)
    with pytest.warns(RuntimeWarning, match=r"1 prefetch thread\(s\) are still inside an action"):
        batches.close()
    released.set()


def test_a_slow_consumer_meets_no_more_batches_than_were_asked_for() -> None:
    prefetch, most = 4, 0
    alive: weakref.WeakSet[Batch] = weakref.WeakSet()

    class Counted(Items):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            alive.add(self)

    data = Dataset(batch_class=Counted, data={"x": np.arange(120.0)})
    gc.collect()
    gc.disable()
    try:
        for _ in data.p.noise().gen_batch(2, prefetch=prefetch):
            most = max(most, len(alive))
            time.sleep(0.01)  # so slow that it never waits, also on a busy machine
    finally:
        gc.enable()
    assert most <= prefetch + prefetch + 1


@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_the_next_batches_are_begun_while_their_user_has_one(prefetch: int) -> None:
    """As many as were asked for, from the first batch on, or waiting and work would not overlap."""
    begun = [threading.Event() for _ in range(24)]

    class Telling(Items):
        @action
        def tell(self) -> Telling:
            begun[self.number].set()
            time.sleep(
                0.001
            )  # or, once it was waited for, its user would make what is so cheap itself
            return self

    for batch in dataset(48, Telling).p.tell().gen_batch(2, prefetch=prefetch):
        last = min(batch.number + prefetch, 23)
        assert begun[last].wait(10), (batch.number, last)


@pytest.mark.parametrize("prefetch", [0, 4])
def test_batches_go_without_the_garbage_collector(prefetch: int) -> None:
    gc.collect()
    gc.disable()
    try:
        made = over(60).init_variable("n", 0).shift(1).count().skip_some().rebatch(3).noise()
        made.run(2, prefetch=prefetch, seed=1)
        left = [each for each in gc.get_objects() if type(each).__name__ == "Items"]
        assert made.failures and not left
        for batch in made.gen_batch(2, prefetch=prefetch):
            if batch.number == 3:
                break
        del batch
        time.sleep(0.05)
        assert not [each for each in gc.get_objects() if type(each).__name__ == "Items"]
    finally:
        gc.enable()


def test_300_runs_that_break_leave_threads_and_files_as_they_were() -> None:
    made = trained()

    def once() -> None:
        for batch in made.gen_batch(2, prefetch=3):
            if batch.number == 1:
                break

    once()
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(300):
        once()
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) == files


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_thousand_runs_that_break_leave_memory_as_it_was() -> None:
    made = trained()

    def held(runs: int) -> int:
        for _ in range(runs):
            for batch in made.gen_batch(2, prefetch=3):
                if batch.number == 1:
                    break
        gc.collect()
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))

    warm = held(200)
    assert held(800) < 1.05 * warm


@pytest.mark.parametrize("prefetch", [1, 2, 4])
def test_runs_inside_of_actions(prefetch: int) -> None:
    def content(prefetch: int) -> Any:
        made = over(48).init_variable("n", 0).nested(prefetch).count()
        return outcome(made, 6, prefetch=prefetch)[:3]

    assert content(prefetch) == content(0)


@pytest.mark.parametrize("workers", [1, 2])
def test_runs_inside_of_actions_may_share_the_executor(workers: int) -> None:
    with ThreadPoolExecutor(workers) as threads:
        made = over(24).nested_in(threads)
        inside = [each.x.tobytes() for each in made.gen_batch(4, executor=threads)]
        assert inside == [each.x.tobytes() for each in made.gen_batch(4)]


def test_two_iterations_may_share_an_executor_of_one_thread() -> None:
    made = over(24).init_variable("n", 0).count().noise()
    with ThreadPoolExecutor(1) as threads:
        both = zip(
            made.gen_batch(2, executor=threads), made.gen_batch(2, executor=threads), strict=True
        )
        assert all((a.indices == b.indices).all() for a, b in both)
    assert made.get_variable("n") == 24


def test_an_executor_may_be_shut_down_while_an_iteration_is_open() -> None:
    made = over(24).init_variable("n", 0).count().noise()
    with ThreadPoolExecutor(2) as threads:
        batches = made.gen_batch(2, executor=threads)
        next(batches)
    with pytest.raises(WorkerError, match="shut down"):
        list(batches)


def test_a_cancelled_executor_is_an_error_not_a_wait() -> None:
    made = over(60).slow_even(0.01)
    with ThreadPoolExecutor(1) as threads:
        batches = made.gen_batch(2, executor=threads, prefetch=6)
        next(batches)
        threads.shutdown(cancel_futures=True)
        with pytest.raises(WorkerError, match="shut down"):
            list(batches)


def test_an_executor_that_forks_is_refused() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as forks:
        with pytest.raises(DefinitionError, match="spawn"):
            over().gen_batch(4, executor=forks)


def test_two_threads_train_one_imported_model() -> None:
    source = over(40).init_model("dynamic", Walk, "model").train_model("model", x="x").run(4)
    made = [
        over(40).import_model("model", source).noise().train_model("model", x="x") for _ in "ab"
    ]
    threads = [
        threading.Thread(target=each.run, args=(2,), kwargs={"prefetch": 4}) for each in made
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    model = source.models["model"]
    assert made[0].models["model"] is made[1].models["model"] is model
    assert len(model.epochs) == 3 and model.abandoned == 0


def test_a_failure_keeps_its_traceback_as_text() -> None:
    made = over(8).fail_at([1]).run(4, on_error="skip")
    assert "in fail_at" in made.failures[0].traceback
    assert made.failures[0].exception.__traceback__ is None


def test_a_failure_names_the_items_that_the_batch_then_had(executor: ProcessPoolExecutor) -> None:
    def failures(**options: Any) -> Any:
        made = over(40).empty_from(6).fail_at([3, 8]).init_variable("n", 0).count().fail_at([4, 9])
        made.run(4, on_error="skip", **options)
        return [(each.number, each.indices.tolist(), each.step) for each in made.failures]

    alone = failures()
    assert [each[:2] for each in alone] == [
        (3, [12, 13, 14, 15]),
        (4, [16, 17, 18, 19]),
        (8, []),
        (9, []),
    ]
    assert failures(prefetch=4) == failures(executor=executor) == alone
