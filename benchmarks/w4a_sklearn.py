"""W4a: scikit-learn learning batch by batch: SGDClassifier.partial_fit, 256 × 64, shuffled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from batchloom import Dataset
from benchmarks.cases import BY_HAND, OURS, Case, Goal, Subject, Timed, consuming, iterating
from benchmarks.peers import column
from benchmarks.peers.subjects import over_batches
from benchmarks.results import Result
from benchmarks.timing import Effort, compare

NAME = "w4a"
TITLE = "scikit-learn: SGDClassifier.partial_fit on batches of 256 × 64, shuffled"
LIMIT = "the loop `clf.partial_fit(X[idx], Y[idx])`"
ROWS, SIZE, WIDTH = 100_000, 256, 64
STEP = "a step"

GOALS = [Goal(STEP, 0.98)]


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, WIDTH))
    columns = {"x": X, "y": (X[:, 0] > rng.normal(size=ROWS)).astype(np.int64)}
    # A difference of two per cent shows only after a while.
    longer = replace(effort, rounds=effort.rounds + 2, budget=4 * effort.budget)
    return Result(NAME, TITLE, LIMIT, compare([case(columns)], longer, say), GOALS)


def case(columns: dict[str, np.ndarray]) -> Case:
    return Case(
        STEP,
        Subject(BY_HAND, partial(by_hand, columns)),
        (
            Subject("by hand, nothing checked", partial(unchecked, columns)),
            Subject(OURS, partial(ours, columns)),
            *over_batches(
                columns, SIZE, shuffle=True, timed=learning, leave_out=("tf.data, gather",)
            ),
        ),
        most=ROWS // SIZE - 1,
    )


def classifier() -> Any:
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", random_state=0)


def by_hand(columns: dict[str, np.ndarray]) -> Timed:
    X, Y = columns.values()
    order = np.random.default_rng(1).permutation(ROWS)
    clf, classes = classifier(), np.unique(Y)

    def timed(count: int) -> float:
        begin = perf_counter()
        for start in range(0, count * SIZE, SIZE):
            idx = order[start : start + SIZE]
            clf.partial_fit(X[idx], Y[idx], classes)
        return perf_counter() - begin

    return timed


def unchecked(columns: dict[str, np.ndarray]) -> Timed:
    """The best that can be had: what is fed is known to be sound, and scikit-learn is told so."""
    from sklearn import config_context

    timed = by_hand(columns)

    def without_checks(count: int) -> float:
        with config_context(assume_finite=True, skip_parameter_validation=True):
            return timed(count)

    return without_checks


def learning(make: Callable[[], Any]) -> Timed:
    clf, classes = classifier(), np.arange(2)

    def learn(batch: Any) -> None:
        clf.partial_fit(column(batch, 0, "x"), column(batch, 1, "y"), classes)

    return consuming(make, learn)


def ours(columns: dict[str, np.ndarray]) -> Timed:
    pipeline = (
        Dataset(data=columns)
        .p.init_model(
            "dynamic", "sklearn/SGDClassifier", "clf", {"loss": "log_loss", "random_state": 0}
        )
        .train_model("clf", x="x", y="y")
    )
    return iterating(lambda: pipeline.gen_batch(SIZE, shuffle=1))
