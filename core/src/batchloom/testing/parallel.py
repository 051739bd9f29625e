"""Checks of what happens at the same time: prefetch, executors, threads and process pools."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from batchloom import Batch, action
from batchloom.models.spec import ModelSpec
from batchloom.testing.promises import NotApplicable, Seen, described, promise
from batchloom.testing.subject import Subject
from batchloom.testing.values import difference, must_be_same

THREADS = 8
ROUNDS = 12


class Shaken(Batch):
    """Batches with noise in x, each of which takes its own time to prepare."""

    x: Any

    @action
    def shake(self) -> Shaken:
        """Add noise from the batch's own random numbers."""
        noise = self.random.uniform(-0.01, 0.01, self.x.shape)
        time.sleep(0.002 * (self.number % 3))
        self.x = (self.x + noise).astype(self.x.dtype)
        return self


@promise("Batches prepared ahead, in threads or an executor, give the same model, to the bit.")
def same_with_prefetch(subject: Subject, folder: Path) -> None:
    """Train without prefetch, with it, and with an executor of threads."""
    subject.need(is_deterministic="two trainings differ")
    expected = subject.predictions(_trained(subject))
    must_be_same(expected, subject.predictions(_trained(subject, prefetch=4)), "with prefetch=4")
    with ThreadPoolExecutor(3, "batchloom-check") as executor:
        found = subject.predictions(_trained(subject, executor=executor))
    must_be_same(expected, found, "with an executor of 3 threads")


@promise("A model that says predict_is_thread_safe predicts in many threads what it does in one.")
def thread_safe(subject: Subject, folder: Path) -> None:
    """Ask from eight threads at once, which take turns as often as Python lets them."""
    if not subject.spec.predict_is_thread_safe:
        raise NotApplicable("predict_is_thread_safe = False: core asks in one thread at a time")
    model = subject.trained()
    slices = [subject.x[8 * at : 8 * at + 16] for at in range(THREADS)]
    expected = [subject.predictions(model, each) for each in slices]
    with _hasty_threads(), ThreadPoolExecutor(THREADS, "batchloom-check") as executor:
        asked = [
            executor.submit(_ask, subject, model, slices[at], expected[at], start)
            for start in [threading.Barrier(THREADS)]
            for at in range(THREADS)
        ]
        faults = [fault for each in asked if (fault := each.result())]
    if faults:
        raise Seen(f"{len(faults)} of {THREADS} threads got other predictions: {faults[0]}")


@promise("The class and the config can be pickled, and a pool of processes prepares the batches.")
def process_pools(subject: Subject, folder: Path) -> None:
    """Send the definition to another process and back, and train with a pool of spawned ones."""
    _check_pickles(subject)
    expected = subject.predictions(_trained(subject))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        found = subject.predictions(_trained(subject, executor=executor))
    if subject.is_deterministic:
        must_be_same(expected, found, "with a process pool")


def _trained(subject: Subject, prefetch: int = 0, executor: Executor | None = None) -> Any:
    pipeline = subject.pipeline(batch_class=Shaken, actions=("shake",))
    return subject.run(pipeline, prefetch=prefetch, executor=executor)


def _check_pickles(subject: Subject) -> None:
    for what, value in [("class", subject.spec.model_class), ("config", dict(subject.config))]:
        try:
            again = pickle.loads(pickle.dumps(value))
        except Exception as exc:
            raise Seen(f"its {what} cannot be pickled: {described(exc)}") from exc
        if what == "class" and again is not value:
            raise Seen(f"its class comes out of a pickle as another one: {again!r}")
    spec: ModelSpec = pickle.loads(pickle.dumps(subject.spec))
    if spec.registered_name != subject.spec.registered_name:
        raise Seen(f"its name comes out of a pickle as {spec.registered_name!r}")


def _ask(
    subject: Subject, model: Any, x: np.ndarray[Any, Any], expected: Any, start: threading.Barrier
) -> str:
    start.wait(30)
    for _ in range(ROUNDS):
        if differs := difference(expected, subject.predictions(model, x)):
            return differs
    return ""


@contextmanager
def _hasty_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


CHECKS = (same_with_prefetch, thread_safe, process_pools)
