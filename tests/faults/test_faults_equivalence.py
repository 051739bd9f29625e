"""Pipelines made up at random, out of every kind of step: prepared ahead, they do what they do alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefetch_steps import EXCEPTIONS, Items, SharedWalk, Walk, dataset, outcome, over

from batchloom import B, Dataset, Pipeline, V

Step = Callable[[Pipeline], Pipeline]


def _sum(true: Any, predicted: Any) -> float:
    return float((true * predicted).sum())


STEPS: dict[str, Step] = {
    "noise": lambda p: p.noise(),
    "scale": lambda p: p.scale(1.25),
    "jitter": lambda p: p.jitter(),
    "take": lambda p: p.drop_some(),
    "sort": lambda p: p.sort(),
    "widen": lambda p: p.widen(),
    "empty": lambda p: p.empty_from(7),
    "read ahead": lambda p: p.shift(V.n),
    "count": lambda p: p.count(),
    "count late": lambda p: p.count_late(),
    "remember": lambda p: p.remember("seen"),
    "locked": lambda p: p.locked_sum(),
    "inc step": lambda p: p.inc_variable("n"),
    "set step": lambda p: p.set_variable("m", B.x),
    "append step": lambda p: p.update_variable("seen", V.n, mode="append"),
    "train": lambda p: p.train_model("walk", x="x", append_to="seen"),
    "train shared": lambda p: p.train_model("model", x="x"),
    "train inside": lambda p: p.train_here("model"),
    "train linked": lambda p: p.train_linked(),
    "predict": lambda p: p.predict_model("walk", x="x", save_to="x"),
    "predict shared": lambda p: p.predict_model("model", x="x", save_to=B.guess),
    "predict inside": lambda p: p.predict_here("model"),
    "evaluate": lambda p: p.evaluate_model(
        "walk", x="x", y="x", metrics={"sum": _sum}, append_to="seen"
    ),
    "join": lambda p: p.join(over(64).init_variable("k", 0).noise().count("k").shift(V.k)).add(),
    "merge": lambda p: p.merge(dataset(9).p.noise()),
    "rebatch 1": lambda p: p.rebatch(1),
    "rebatch 4": lambda p: p.rebatch(4),
    "rebatch 7": lambda p: p.rebatch(7),
    "skip some": lambda p: p.skip_some(),
    "fail some": lambda p: p.fail_some(),
    "nested": lambda p: p.nested(2),
}
COMPOUND = sorted(set(STEPS) - {"rebatch 1", "rebatch 4", "rebatch 7", "join", "merge", "evaluate"})


@dataclass(frozen=True)
class Case:
    steps: tuple[Any, ...]
    items: int
    batch_size: int
    options: dict[str, Any]
    ahead: tuple[int, int]
    kind: str = field(default="threads")

    def made(self) -> Pipeline:
        p = over(self.items).init_variable("n", 0).init_variable("m", 0)
        p = p.init_variable("seen", init_on_each_run=list).init_model("dynamic", Walk, "walk")
        p = p.init_model("static", SharedWalk, "model")
        for name, how, argument in self.steps:
            if how == "once":
                p = STEPS[name](p)
            elif how == "repeat":
                p = p + _bare(name) * argument
            elif how == "chance":
                p = p + _bare(name) @ (argument / 4)
            else:
                p = p.fail_at([argument], name)
        return p


def _bare(name: str) -> Pipeline:
    """One step on its own; what it names is declared by the pipeline that it is added to."""
    return STEPS[name](Pipeline())


def steps() -> st.SearchStrategy[Any]:
    once = st.tuples(st.sampled_from(sorted(STEPS)), st.just("once"), st.just(1))
    repeat = st.tuples(st.sampled_from(COMPOUND), st.just("repeat"), st.integers(0, 3))
    chance = st.tuples(st.sampled_from(COMPOUND), st.just("chance"), st.integers(1, 3))
    fail = st.tuples(st.sampled_from(sorted(EXCEPTIONS)), st.just("fail"), st.integers(2, 40))
    return st.lists(st.one_of(once, once, once, repeat, chance, fail), min_size=2, max_size=8).map(
        tuple
    )


def options() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**40),
            "shuffle": st.sampled_from([False, True, 5]),
            "n_epochs": st.integers(1, 2),
            "drop_last": st.booleans(),
            "on_error": st.sampled_from(["raise", "skip", "skip"]),
        }
    )


def cases(*kinds: str) -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        steps(),
        st.sampled_from([64, 37, 61, 20, 3, 0]),
        st.sampled_from([2, 1, 3, 5, 8]),
        options(),
        st.tuples(st.integers(1, 9), st.integers(1, 3)),
        st.sampled_from(kinds),
    )


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        list(executor.map(abs, range(4)))
        yield executor


def check(case: Case, processes: ProcessPoolExecutor) -> None:
    prefetch, workers = case.ahead
    alone = outcome(case.made(), case.batch_size, **case.options)
    with ExitStack() as stack:
        ahead: dict[str, Any] = {"prefetch": prefetch}
        if case.kind == "executor":
            ahead["executor"] = stack.enter_context(ThreadPoolExecutor(workers))
        elif case.kind == "processes":
            ahead["executor"] = processes
        found = outcome(case.made(), case.batch_size, **case.options, **ahead)
    assert without_types_that_cannot_travel(found) == without_types_that_cannot_travel(alone)


def without_types_that_cannot_travel(content: Any) -> Any:
    seen, ended, *rest = content
    if ended is not None:
        name, text, notes = ended
        ended = ("WorkerError", f"prefetch_steps.{name}: {text}", notes) if name in LOST else ended
    return seen, ended, *rest


LOST = ("OwnError", "UnpicklableError")

QUIET = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.timeout(120)
@settings(QUIET, max_examples=110)
@given(case=cases("threads", "threads", "threads", "executor", "processes"))
def test_pipelines_made_at_random(case: Case, processes: ProcessPoolExecutor) -> None:
    check(case, processes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.timeout(1200)
@settings(QUIET, derandomize=False, max_examples=2500, print_blob=True)
@given(case=cases("threads", "threads", "executor", "processes"))
def test_many_pipelines_made_at_random(case: Case, processes: ProcessPoolExecutor) -> None:
    check(case, processes)


@pytest.mark.timeout(60)
def test_an_estimator_learns_the_same_however_far_ahead_it_is_fed(
    processes: ProcessPoolExecutor,
) -> None:
    pytest.importorskip("batchloom_sklearn")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    data = Dataset(batch_class=Items, data={"x": x, "y": (x[:, 0] > 0).astype(int)})

    def weights(**options: Any) -> bytes:
        config = {"random_state": 0, "classes": [0, 1]}
        made = data.p.init_model("dynamic", "sklearn/SGDClassifier", "clf", config).noise_rows()
        made = made.train_model("clf", x="x", y="y").predict_model("clf", x="x", save_to=B.guess)
        made.run(16, seed=3, shuffle=True, n_epochs=2, **options)
        coefficients: np.ndarray[Any, Any] = made.models["clf"].estimator.coef_
        return coefficients.tobytes()

    alone = weights()
    assert [weights(prefetch=each) for each in (1, 4, 32)] == [alone] * 3
    assert weights(executor=processes) == alone
