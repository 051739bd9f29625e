"""Many threads on one pipeline, one model, one file: what they leave is what one thread would leave."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefetch_steps import SharedWalk, Walk, over

from batchloom.models import load_model

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Threads change places after every few bytecodes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Do the same work in several threads that begin together; give what they return or raise."""
    barrier = threading.Barrier(count)
    left: list[Any] = [None] * count

    def one(number: int) -> None:
        barrier.wait(10)
        try:
            left[number] = work(number)
        except BaseException as exc:
            left[number] = exc

    threads = [threading.Thread(target=one, args=(each,)) for each in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(50)
    return left


def test_16_threads_change_a_variable() -> None:
    made = over().init_variable("n", 0).init_variable("seen", init=list)

    def change(number: int) -> None:
        for at in range(1000):
            made.variables.change("n", lambda old: old + 1)
            made.variables.change("seen", lambda old, at=at: (old.append((number, at)), old)[1])
            made.variables["seen"]

    assert at_once(16, change) == [None] * 16
    seen = made.get_variable("seen")
    assert made.get_variable("n") == len(seen) == 16_000
    for number in range(16):  # nothing is lost, and what a thread writes stays in its order
        assert [at for each, at in seen if each == number] == list(range(1000))


@pytest.mark.parametrize("prefetch", [2, 16])
def test_16_threads_prepare_batches_that_write_variables(prefetch: int) -> None:
    made = over(2000).init_variable("n", 0).init_variable("seen", init_on_each_run=list)
    made = made.count().remember().run(4, prefetch=prefetch)
    assert made.get_variable("n") == 500
    assert [number for number, _ in made.get_variable("seen")] == list(range(500))


@pytest.mark.parametrize("model_class", [Walk, SharedWalk])
def test_16_threads_train_one_model(model_class: type[Walk]) -> None:
    """Every training sees whole weights: any order of equal trainings leaves the same."""
    made = over().init_model("static", model_class, "model")
    alone = over().init_model("static", model_class, "model")
    x = np.linspace(0, 1, 8)

    def train(number: int) -> None:
        for _ in range(40):
            made.models["model"].train(x=x)
            made.models["model"].predict(x=x)

    assert at_once(16, train) == [None] * 16
    for _ in range(16 * 40):
        alone.models["model"].train(x=x)
    assert made.models["model"].weights.tobytes() == alone.models["model"].weights.tobytes()


def test_8_threads_use_a_dynamic_model_for_the_first_time() -> None:
    built = []

    class Built(Walk):
        def _build(self, *args: Any, **kwargs: Any) -> None:
            built.append(kwargs["batch"].number)
            super()._build(*args, **kwargs)

    for _ in range(20):
        made = over(32).init_model("dynamic", Built, "model").init_variable("n", 0)
        made = made.predict_here().train_here().count().run(2, prefetch=8)
        assert (made.models["model"].first, made.get_variable("n")) == (0, 16)
    assert built == [0] * 20


def test_two_pipelines_train_two_models_in_opposite_order() -> None:
    """Each training takes effect whole and once, and no one waits for ever."""
    source = over(40).init_model("static", Sum, "one").init_model("static", Sum, "two")

    def work(number: int) -> Any:
        made = over(400).import_model("one", source).import_model("two", source).jitter()
        for name in ("one", "two")[:: 1 - 2 * number]:
            made = made.train_model(name, x="x")
        return made.run(2, prefetch=4).failures

    assert at_once(2, work) == [[], []]
    for name in ("one", "two"):
        model = source.models[name]
        assert (model.items, model.batches) == (800, 400)
        assert model.total == pytest.approx(2 * np.linspace(0.0, 1.0, 400).sum())


def test_a_model_is_saved_whole_while_it_is_trained(tmp_path: Path) -> None:
    made = over().init_model("static", Counting, "model").init_variable("n", 0)
    made.models["model"].train(x=1)
    done = threading.Event()

    def work(number: int) -> Any:
        if number:
            while not done.is_set():
                made.models["model"].train(x=1)
            return None
        pairs = []
        for at in range(8):
            made.save_model("model", tmp_path / f"{at}.blm")
            loaded = load_model(tmp_path / f"{at}.blm", model_class=Counting)
            pairs.append((loaded.first, loaded.second))
        done.set()
        return pairs

    pairs = at_once(3, work)[0]
    assert len(pairs) == 8 and all(first == second for first, second in pairs), pairs


class Sum(Walk):
    """Counts what it was shown, in two steps that another thread must not come between."""

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.items = self.batches = 0
        self.total = 0.0

    def _train(self, x: Any) -> None:
        items, total = self.items, self.total
        self.batches += 1
        self.items, self.total = items + len(x), total + float(x.sum())

    def _end_epoch(self, epoch: int, last: bool) -> None:
        pass


class Counting(Walk):
    """Two numbers that are equal between trainings, and unequal in the midst of one."""

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.first = self.second = 0

    def _train(self, x: Any) -> None:
        self.first += 1
        self.second += 1

    def _save(self, path: Path, **kwargs: Any) -> None:
        (path / "first").write_text(str(self.first))
        (path / "second").write_text(str(self.second))

    def _load(self, path: Path, **kwargs: Any) -> None:
        self.first = int((path / "first").read_text())
        self.second = int((path / "second").read_text())


def test_8_threads_run_pipelines_of_their_own() -> None:
    def run(number: int) -> Any:
        made = over(40).init_variable("n", 0).noise().jitter().count().rebatch(3).shift(1)
        return [each.x.tobytes() for each in made.gen_batch(2, seed=4, prefetch=3)]

    left = at_once(8, run)
    assert left == [left[0]] * 8 and isinstance(left[0], list)


def test_8_threads_run_in_one_executor() -> None:
    with ThreadPoolExecutor(2) as executor:

        def run(number: int) -> Any:
            made = over(40).init_variable("n", 0).noise().jitter().count().nested(2)
            return [each.x.tobytes() for each in made.gen_batch(4, seed=4, executor=executor)]

        left = at_once(8, run)
    assert left == [left[0]] * 8 and isinstance(left[0], list)
