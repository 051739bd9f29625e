"""Runs made at random, stopped and resumed at random, come to what they would have come to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchloom import Batch, Dataset, Pipeline, SkipBatch, action
from batchloom.models import BaseModel


class Stop(Exception):  # noqa: N818
    pass


class Fragile(Batch):
    components = ("x",)
    stop_at: int | None = None
    skipped: frozenset[int] = frozenset()

    @action
    def noise(self) -> Fragile:
        self.x = self.x + self.random.normal(size=self.x.shape)
        return self

    @action
    def may_fail(self) -> Fragile:
        if self.number == type(self).stop_at:
            raise Stop
        if self.number in type(self).skipped:
            raise SkipBatch
        return self


class Chain(BaseModel):
    """Remembers the order of everything to the last bit, and gathers over an epoch."""

    data_args = ("x",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.weights, self.gathered = np.zeros(2), np.zeros(2)

    def _begin_run(self, run: Any) -> None:
        self.gathered = np.zeros(2)

    def _train(self, x: Any) -> float:
        self.weights = np.sin(1.3 * self.weights + x.sum(axis=0) * 1e-2 + 0.1)
        self.gathered = self.gathered * 0.9 + x[0]
        return float(self.weights[0])

    def _predict(self, x: Any) -> Any:
        return x @ self.weights

    def _end_epoch(self, epoch: int, last: bool) -> None:
        self.weights, self.gathered = self.weights + 1e-3 * self.gathered, np.zeros(2)

    def _save(self, path: Path, **kwargs: Any) -> None:
        np.save(path / "state.npy", np.array([self.weights, self.gathered]))

    def _load(self, path: Path, **kwargs: Any) -> None:
        self.weights, self.gathered = np.load(path / "state.npy")


def make(n: int, rebatch: int | None, mode: str) -> Pipeline:
    data = np.random.default_rng(0).normal(size=(n, 2))
    made = (
        Dataset(data={"x": data, "y": data[:, 0]}, batch_class=Fragile)
        .p.init_variable("history", init_on_each_run=list)
        .init_variable("kept", 0)
        .init_variable("score")
        .init_model(mode, Chain, "m")  # type: ignore[arg-type]
        .noise()
    )
    if rebatch is not None:
        made = made.rebatch(rebatch).noise()
    metrics = {"sum": lambda y, p: float(p.sum())}
    return (
        made.may_fail()
        .train_model("m", x="x", append_to="history")
        .inc_variable("kept")
        .evaluate_model("m", x="x", y="y", metrics=metrics, save_to="score")
    )


def result(done: Pipeline) -> Any:
    failures = [(each.epoch, each.number) for each in done.failures]
    return dict(done.variables), done.models["m"].weights.tobytes(), failures


plans = st.fixed_dictionaries(
    {
        "n": st.integers(1, 40),
        "rebatch": st.none() | st.integers(1, 9),
        "mode": st.sampled_from(["static", "dynamic"]),
        "skipped": st.frozensets(st.integers(1, 20), max_size=3),
        "every": st.integers(1, 5) | st.just("epoch"),
        "stops": st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=3),
        "prefetch": st.integers(0, 4),
    }
)
options = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 12),
        "n_epochs": st.integers(1, 4),
        "shuffle": st.just(False) | st.integers(0, 9),
        "seed": st.integers(0, 9),
    }
)


def check(plan: dict[str, Any], run: dict[str, Any]) -> None:
    shape = plan["n"], plan["rebatch"], plan["mode"]
    Fragile.stop_at, Fragile.skipped = None, plan["skipped"]
    whole = make(*shape).run(**run)
    if "m" not in whole.models or not hasattr(whole.models["m"], "weights"):
        return
    with tempfile.TemporaryDirectory() as folder:
        for at, prefetch in plan["stops"]:
            Fragile.stop_at = at
            try:
                kept = {"checkpoint": folder, "checkpoint_every": plan["every"]}
                make(*shape).run(**run, **kept, prefetch=prefetch)
            except Stop:
                pass
        Fragile.stop_at = None
        again = make(*shape).run(**run, checkpoint=folder, prefetch=plan["prefetch"])
        assert result(again) == result(whole)


@pytest.fixture(autouse=True)
def nothing_stops() -> Any:
    yield
    Fragile.stop_at, Fragile.skipped = None, frozenset()


@given(plans, options)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_stopped_and_resumed_at_random(plan: dict[str, Any], run: dict[str, Any]) -> None:
    check(plan, run)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(plans, options)
@settings(
    max_examples=1500, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)
def test_stopped_and_resumed_at_random_from_a_free_seed(plan: Any, run: Any) -> None:
    check(plan, run)
