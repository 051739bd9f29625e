"""What a run computes is the same to the bit, however far ahead its batches are prepared, and where."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from prefetch_steps import Items, SharedWalk, Walk, dataset, outcome, over

from batchloom import B, Dataset, Pipeline, V
from batchloom.runtime import pace, source

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        list(executor.map(abs, range(4)))  # the workers are there before a test looks for processes
        yield executor


def counted() -> Pipeline:
    return over().init_variable("n", init_on_each_run=0).noise().slow_even().count().scale()


def read_and_written() -> Pipeline:
    return over(120).init_variable("n", 0).shift(V.n).jitter().count().shift(V.n)


def read_before_the_turn_written_after() -> Pipeline:
    return over(120).init_variable("n", 0).count_late().count_late()


def written_by_an_action_of_the_second_stage() -> Pipeline:
    first = over(120).init_variable("n", 0).shift(V.n).slow_even(0.001)
    return first.rebatch(3).count().shift(V.n)


def state_in_three_stages() -> Pipeline:
    made = over(90).init_variable("n", 0).init_variable("seen", init_on_each_run=list)
    return made.jitter().remember().rebatch(7).count().noise().rebatch(2).remember().scale()


def pure_stages_before_one_with_state() -> Pipeline:
    made = over(90).init_variable("seen", init_on_each_run=list).noise().rebatch(5).drop_some()
    return made.rebatch(3).remember()


def trained_by_a_step() -> Pipeline:
    made = over().init_variable("loss", init_on_each_run=list).init_model("dynamic", Walk, "model")
    made = made.noise().slow_even().train_model("model", x="x", append_to="loss")
    return made.predict_model("model", x="x", save_to=B.guess).widen()


def trained_by_an_action_and_predicted_ahead() -> Pipeline:
    made = over(120).init_model("static", SharedWalk, "model").jitter()
    return made.predict_model("model", x="x", save_to=B.guess).train_here()


def trained_in_a_later_stage() -> Pipeline:
    made = over(120).init_model("static", SharedWalk, "model").jitter()
    made = made.predict_model("model", x="x", save_to="x")
    return made.rebatch(5).train_here().predict_here()


def linked_and_evaluated() -> Pipeline:
    made = over().init_model("dynamic", Walk, "model").init_variable("score").noise().train_linked()
    return made.evaluate_model(
        "model", x="x", y="x", metrics={"sum": lambda a, b: float((a * b).sum())}, save_to="score"
    )


def with_chances() -> Pipeline:
    made = over(100).init_variable("n", 0)
    made = made + (Pipeline().noise() @ 0.5) + (Pipeline().shift(0.5).jitter() * 3)
    return made + (Pipeline().init_variable("m", 0).count("m") @ 0.5) + Pipeline().drop_some()


def with_partners() -> Pipeline:
    other = dataset(60).p.init_variable("k", 0).noise().count("k").shift(V.k)
    more = dataset(25).p.jitter().scale(3.0)
    return over().jitter().join(other, dataset(60).p.noise()).add().merge(more).noise()


def with_locks() -> Pipeline:
    made = over(90).init_variable("n", 0).jitter().locked_sum().shift(V.n)
    return made.locked_sum().rebatch(4).locked_sum()


def with_skips() -> Pipeline:
    made = over(200).init_variable("n", 0).init_model("dynamic", Walk, "model").skip_some()
    return made.count().rebatch(5).skip_some().train_model("model", x="x").fail_some()


MAKERS = [
    counted,
    read_and_written,
    read_before_the_turn_written_after,
    written_by_an_action_of_the_second_stage,
    state_in_three_stages,
    pure_stages_before_one_with_state,
    trained_by_a_step,
    trained_by_an_action_and_predicted_ahead,
    trained_in_a_later_stage,
    linked_and_evaluated,
    with_chances,
    with_partners,
    with_locks,
    with_skips,
]
RUN: dict[str, Any] = {"n_epochs": 2, "shuffle": 3, "seed": 11, "on_error": "skip"}


@pytest.mark.parametrize("make", MAKERS)
def test_threads_change_nothing(make: Callable[[], Pipeline]) -> None:
    alone = outcome(make(), 4, **RUN)
    assert alone[1] is None
    for prefetch in (1, 4, 32):
        assert outcome(make(), 4, prefetch=prefetch, **RUN) == alone


@pytest.mark.parametrize("make", MAKERS)
def test_processes_change_nothing(
    make: Callable[[], Pipeline], processes: ProcessPoolExecutor
) -> None:
    alone = outcome(make(), 4, **RUN)
    assert outcome(make(), 4, executor=processes, **RUN) == alone
    assert outcome(make(), 4, executor=processes, prefetch=1, **RUN) == alone


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("where", ["threads", "executor", "processes"])
def test_batches_that_are_handed_over_together_change_nothing(
    make: Callable[[], Pipeline],
    where: str,
    processes: ProcessPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batches are handed over together where they are cheap: here all of them count as cheap."""
    once = {**RUN, "n_epochs": 1}
    alone = outcome(make(), 2, **once)
    monkeypatch.setattr(pace, "CHEAP_SECONDS", 100.0)
    monkeypatch.setattr(pace, "REST_SECONDS", 0.0)
    monkeypatch.setattr(source, "PORTION_BATCHES", 3)
    with ThreadPoolExecutor(2) as threads:
        executor = {"threads": None, "executor": threads, "processes": processes}[where]
        assert outcome(make(), 2, prefetch=3, executor=executor, **once) == alone


def test_processes_do_work_on_pure_steps(processes: ProcessPoolExecutor) -> None:
    import os

    pids = {each._pid for each in over().where().scale().gen_batch(4, executor=processes)}
    assert os.getpid() not in pids


def test_a_large_array_and_a_memory_map_are_the_same_in_a_process(
    processes: ProcessPoolExecutor, tmp_path: Any
) -> None:
    large = np.random.default_rng(0).random((3000, 60))
    mapped = np.lib.format.open_memmap(tmp_path / "m.npy", "w+", "<f8", large.shape)
    mapped[:] = large[::-1]
    kinds = {"x": large[:, 0].copy(), "large": large, "mapped": mapped, "names": list("abc") * 1000}
    made = Dataset(batch_class=Items, data=kinds).p.noise()

    def seen(**options: Any) -> Any:
        return [
            (
                type(each.large),
                type(each.mapped),
                each.large.tobytes(),
                each.mapped.tobytes(),
                *each.names,
            )
            for each in made.gen_batch(500, shuffle=1, **options)
        ]

    assert seen(executor=processes) == seen()


def test_400_batches_count_to_400() -> None:
    made = over(400).init_variable("n", 0).slow_even(0.0005).count()
    assert made.run(1, prefetch=8).get_variable("n") == 400


def test_a_dynamic_model_is_made_once_from_the_first_batch() -> None:
    for _ in range(10):
        made = over(64).init_model("dynamic", Walk, "model").jitter().train_here()
        made.run(2, prefetch=8)
        assert made.models["model"].first == 0


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_dynamic_model_is_made_from_the_batch_that_an_action_put_in_place(prefetch: int) -> None:
    made = over(8).init_model("dynamic", Walk, "model").init_model("dynamic", Walk, "more")
    made = made.sort().predict_model("model", x="x", save_to="x").merge(over(8).noise())
    made = made.train_model("more", x="x").run(2, prefetch=prefetch)
    assert [each.first for each in made.models.values()] == [0, 0]


def test_the_loop_body_may_train_a_model_that_predicts_ahead() -> None:
    def weights(prefetch: int) -> Any:
        made = over(80).init_model("static", SharedWalk, "model")
        made = made.predict_model("model", x="x", save_to=B.guess)
        seen = []
        for batch in made.gen_batch(2, prefetch=prefetch):
            seen.append(batch.guess.tobytes())
            made.models["model"].train(x=batch.x)
        return seen, made.models["model"].weights.tobytes()

    assert weights(8) == weights(0)


def test_the_loop_body_may_write_a_variable_that_is_read_ahead() -> None:
    def seen(prefetch: int) -> Any:
        made = over(60).init_variable("n", 0).shift(V.n).rebatch(3).plain()
        content = []
        for batch in made.gen_batch(2, prefetch=prefetch):
            content.append(batch.x.tobytes())
            made.variables["n"] += 1
        return content

    assert seen(6) == seen(0)


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_second_run_begins_anew_and_keeps_what_is_to_be_kept(prefetch: int) -> None:
    made = over().init_variable("n", 0).init_variable("seen", init_on_each_run=list)
    made = made.count().remember().run(6, prefetch=prefetch)
    first = list(made.get_variable("seen"))
    made.run(6, prefetch=prefetch)
    assert made.get_variable("n") == 20
    assert made.get_variable("seen") == first


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
@pytest.mark.parametrize("ran", [False, True])
def test_a_copy_of_a_pipeline_runs_alike(copy_of: Any, ran: bool) -> None:
    made = read_and_written()
    if ran:
        next(made.gen_batch(4, prefetch=4))
    again = copy_of(made)
    assert outcome(again, 4, prefetch=4, **RUN) == outcome(made, 4, **RUN)


def test_two_iterations_of_one_pipeline_are_independent() -> None:
    made = over().noise().jitter()
    alone = [each.x.tobytes() for each in made.gen_batch(4, seed=1)]
    both = zip(
        made.gen_batch(4, seed=1, prefetch=3), made.gen_batch(4, seed=1, prefetch=5), strict=True
    )
    assert [(a.x.tobytes(), b.x.tobytes()) for a, b in both] == [(each, each) for each in alone]


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_iteration_keeps_its_seed_and_size_when_another_run_begins(prefetch: int) -> None:
    made = over(24).merge(over(24).noise())
    alone = [each.x.tobytes() for each in made.gen_batch(4, seed=1, shuffle=True)]
    batches = made.gen_batch(4, seed=1, shuffle=True, prefetch=prefetch)
    first = next(batches).x.tobytes()
    made.run(3, seed=2)
    assert [first, *(each.x.tobytes() for each in batches)] == alone


@pytest.mark.parametrize("prefetch", [0, 4])
def test_the_epoch_ends_before_its_last_batch_is_given(prefetch: int) -> None:
    made = over(20).init_model("dynamic", Walk, "model").train_model("model", x="x")
    ends = [
        len(made.models["model"].epochs) for _ in made.gen_batch(8, n_epochs=2, prefetch=prefetch)
    ]
    assert ends == [0, 0, 1, 1, 1, 2]


def test_an_epoch_whose_last_batches_are_empty_ends_at_the_same_place() -> None:
    def ends(prefetch: int) -> list[int]:
        made = over(40).init_model("dynamic", Walk, "model").empty_from(6).jitter()
        made = made.rebatch(4).train_model("model", x="x")
        return [
            len(made.models["model"].epochs)
            for _ in made.gen_batch(4, n_epochs=2, seed=1, prefetch=prefetch)
        ]

    for prefetch in (1, 4, 32):
        assert ends(prefetch) == ends(0)
