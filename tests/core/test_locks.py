"""Named locks of actions: one batch at a time, in the order of batches, free again whatever happens."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from prefetch_steps import Items, SharedWalk, dataset, over

from batchloom import Dataset, Pipeline, V, action

pytestmark = pytest.mark.timeout(30)

PREFETCH = [0, 1, 4, 32]


def pairs(count: int) -> list[int]:
    return [number for number in range(count) for _ in "ab"]


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_batches_pass_in_their_order(prefetch: int) -> None:
    ledger: list[int] = []
    over(80).slow_even().locked(ledger, 0.0005).jitter().run(2, prefetch=prefetch)
    assert ledger == pairs(40)


def test_batches_pass_in_their_order_in_executors() -> None:
    for make in (ThreadPoolExecutor, lambda n: ProcessPoolExecutor(n, get_context("spawn"))):
        ledger: list[int] = []
        with make(2) as executor:
            over(20).jitter().locked(ledger).run(2, executor=executor)
        assert ledger == pairs(10)


@pytest.mark.parametrize("prefetch", PREFETCH)
@pytest.mark.parametrize("where", ["before", "inside", "after"])
def test_a_batch_that_fails_lets_the_others_pass(where: str, prefetch: int) -> None:
    ledger: list[int] = []
    made = over(40)
    if where == "before":
        made = made.fail_at([3, 7]).locked(ledger)
    elif where == "inside":
        made = dataset(40, Failing).p.fail_inside(ledger, [3, 7])
    else:
        made = made.locked(ledger).fail_at([3, 7])
    made = made.jitter()
    made.run(4, prefetch=prefetch, on_error="skip")
    gone = {"before": [3, 7], "inside": [3, 7], "after": []}[where]
    assert ledger == [each for each in pairs(10) if each not in gone]
    assert [each.number for each in made.failures] == [3, 7]
    made.run(4, prefetch=prefetch, on_error="skip")
    assert len(made.failures) == 2


class Failing(Items):
    @action(use_lock="ledger")
    def fail_inside(self, ledger: list[int], numbers: Any) -> Failing:
        if self.number in numbers:
            raise ValueError("with the lock held")
        ledger += [self.number, self.number]
        return self

    @action(use_lock="one")
    def one(self) -> Failing:
        time.sleep(0.0005)
        return self

    @action(use_lock="two")
    def two(self) -> Failing:
        time.sleep(0.0005)
        return self


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_several_locks_in_opposite_order_do_not_block(prefetch: int) -> None:
    made = dataset(60, Failing).p.one().two().one().two().jitter()
    chances = (Pipeline().two() @ 0.5) + (Pipeline().one() @ 0.5)
    assert len(list((made + chances).gen_batch(2, prefetch=prefetch, seed=3))) == 30


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_a_lock_that_is_held_may_be_asked_for_again(prefetch: int) -> None:
    """By a call of another action, by a run inside, by a step inside of a step."""

    class Again(Failing):
        @action(use_lock="ledger")
        def again(self, ledger: list[int]) -> Again:
            self.locked(ledger)
            dataset(4, Again).p.locked(ledger).run(4, prefetch=1)
            return self

    ledger: list[int] = []
    chance = Pipeline().locked(ledger).again(ledger) @ 1.0
    (dataset(20, Again).p.jitter() + chance).run(4, prefetch=prefetch)
    assert ledger == [each for number in range(5) for each in [number] * 4 + [0, 0]]


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_a_lock_of_the_prepared_and_of_the_acting_part(prefetch: int) -> None:
    ledger: list[int] = []
    made = over(60).init_variable("n", 0).jitter().locked(ledger).inc_variable("n").locked(ledger)
    made.run(3, prefetch=prefetch)
    assert ledger == [number for number in range(20) for _ in "abcd"]


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_a_lock_of_two_stages(prefetch: int) -> None:
    def ledger_of(prefetch: int) -> list[int]:
        ledger: list[int] = []
        over(60).jitter().locked(ledger).rebatch(5).jitter().locked(ledger).run(
            3, prefetch=prefetch
        )
        return ledger

    assert ledger_of(prefetch) == ledger_of(0)


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_the_lock_of_a_partner(prefetch: int) -> None:
    ledger: list[int] = []
    over(60).jitter().join(over(60).jitter().locked(ledger)).add().run(2, prefetch=prefetch)
    assert ledger == pairs(30)


@pytest.mark.parametrize("prefetch", PREFETCH)
def test_what_is_done_under_a_lock_is_done_once_beside_a_model_that_changes(prefetch: int) -> None:
    ledger: list[int] = []
    made = over(60).init_variable("n", 0).init_model("static", SharedWalk, "model").shift(V.n)
    made = made.locked(ledger).predict_model("model", x="x", save_to="x")
    for _ in made.gen_batch(2, prefetch=prefetch):
        made.models["model"].train(x=_.x)
        made.variables["n"] += 1
    assert ledger == pairs(30)


def test_state_inside_a_lock() -> None:
    made = over(100).init_variable("n", 0).slow_even(0.001).locked_sum().jitter()
    assert made.run(1, prefetch=8).get_variable("n") == 100


def test_two_runs_do_not_share_their_locks() -> None:
    inside = threading.Barrier(2)

    class Meeting(Items):
        @action(use_lock="same name")
        def meet(self) -> Meeting:
            inside.wait(10)
            return self

    data = Dataset(batch_class=Meeting, data={"x": [1.0]})
    other = threading.Thread(target=data.p.meet().run, args=(1,), kwargs={"prefetch": 1})
    other.start()
    data.p.meet().run(1, prefetch=1)
    other.join()


def test_a_run_that_is_over_lets_go_of_those_who_wait_for_a_lock() -> None:
    ledger: list[int] = []
    for batch in over(60).locked(ledger, 0.01).gen_batch(2, prefetch=8):
        if batch.number == 1:
            break
    before = list(ledger)
    time.sleep(0.05)
    assert ledger == before and ledger[:4] == [0, 0, 1, 1]
