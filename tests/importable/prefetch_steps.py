"""Actions and models of the prefetch tests, where worker processes can import them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, Pipeline, SkipBatch, action
from batchloom.models import BaseModel


class Walk(BaseModel):
    """Weights that remember the order of everything that they were shown, to the last bit."""

    data_args = ("x",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        batch = kwargs.get("batch")
        self.first = None if batch is None else int(batch.number)
        self.weights = np.zeros(3)
        self.epochs: list[tuple[int, bool]] = []
        self.abandoned = 0

    def _train(self, x: Any) -> Any:
        before = self.weights.copy()
        self.weights = np.sin(1.3 * self.weights + np.array([x.sum(), x[0], len(x)]) * 1e-2 + 0.1)
        return before

    def _predict(self, x: Any) -> Any:
        return x * self.weights[0] + self.weights[1]

    def _end_epoch(self, epoch: int, last: bool) -> Any:
        self.epochs.append((epoch, last))
        self.weights = self.weights * 0.9

    def _abandon_run(self) -> None:
        self.abandoned += 1

    def _save(self, path: Path, **kwargs: Any) -> None:
        np.save(path / "weights.npy", self.weights)

    def _load(self, path: Path, **kwargs: Any) -> None:
        self.weights = np.load(path / "weights.npy")


class SharedWalk(Walk):
    """The same, for predictions from several threads at once."""

    predict_is_thread_safe = True


class OwnError(Exception):
    """An exception with a required argument, which cannot be unpickled."""

    def __init__(self, what: str, *, code: int) -> None:
        super().__init__(what)
        self.code = code


class UnpicklableError(ValueError):
    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class Items(Batch):
    components = ("x",)

    @action
    def slow_even(self, seconds: float = 0.001) -> Items:
        time.sleep(seconds if self.number % 2 == 0 else 0)
        return self

    @action
    def jitter(self) -> Items:
        time.sleep(float(self.random.random()) * 0.001)
        return self

    @action
    def plain(self) -> Items:
        return self

    @action
    def scale(self, by: float = 2.0) -> Items:
        self.x *= by
        return self

    @action
    def shift(self, by: Any) -> Items:
        self.x = self.x + by
        return self

    @action
    def noise(self) -> Items:
        self.x = self.x + self.random.random(self.size)
        return self

    @action
    def noise_rows(self) -> Items:
        self.x = self.x + 0.1 * self.random.normal(size=self.x.shape)
        return self

    @action
    def drop_some(self) -> Items:
        return self.take(self.random.random(self.size) < 0.7)

    @action
    def empty_from(self, number: int) -> Items:
        return self if self.number % 10 < number else self.take(slice(0, 0))

    @action
    def sort(self) -> Items:
        return self.take(np.argsort(-self.x, kind="stable"))

    @action
    def widen(self) -> Items:
        self.add_component("z", self.x * self.random.random())
        return self

    @action
    def add(self, *others: Items) -> Items:
        self.x = self.x + sum(each.x for each in others)
        return self

    @action
    def count(self, name: str = "n") -> Items:
        before = self.pipeline.get_variable(name)
        time.sleep(0.0002)
        self.pipeline.set_variable(name, before + 1)
        return self

    @action
    def count_late(self, name: str = "n") -> Items:
        """Reads after having been slow, so that the turn comes in between."""
        before = self.pipeline.read_variable(name)
        time.sleep(0.001 if self.number % 3 else 0)
        self.x = self.x + before
        self.pipeline.inc_variable(name)
        return self

    @action
    def remember(self, name: str = "seen") -> Items:
        self.pipeline.get_variable(name).append((self.number, float(self.x.sum())))
        return self

    @action
    def train_here(self, name: str = "model") -> Items:
        self.get_model_by_name(name).train(x=self.x)
        return self

    @action
    def predict_here(self, name: str = "model") -> Items:
        self.x = self.get_model_by_name(name).predict(x=self.x)
        return self

    @action(model="model")
    def train_linked(self, model: Any) -> Items:
        model.train(x=self.x)
        return self

    @action(use_lock="ledger")
    def locked(self, ledger: list[int], seconds: float = 0.0) -> Items:
        ledger.append(self.number)
        time.sleep(seconds)
        ledger.append(self.number)
        return self

    @action(use_lock="ledger")
    def locked_sum(self) -> Items:
        self.pipeline.inc_variable("n")
        return self

    @action
    def fail_at(self, numbers: Any, kind: str = "ValueError") -> Items:
        if self.number in numbers:
            raise EXCEPTIONS[kind]()
        return self

    @action
    def skip_at(self, numbers: Any) -> Items:
        if self.number in numbers:
            raise SkipBatch(f"not {self.number}")
        return self

    @action
    def skip_some(self) -> Items:
        if self.random.random() < 0.3:
            raise SkipBatch("by chance")
        return self

    @action
    def fail_some(self) -> Items:
        if self.random.random() < 0.2:
            raise ValueError(f"batch {self.number}")
        return self

    @action
    def die_at(self, number: int, how: str = "exit") -> Items:
        if self.number == number:
            if how == "exit":
                os._exit(3)
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    @action
    def block_at(self, number: int, released: Any) -> Items:
        if self.number == number:
            released.wait(60)
        return self

    @action
    def where(self) -> Items:
        self._pid = os.getpid()
        self._thread = threading.current_thread().name
        return self

    @action
    def keep_sign(self) -> Items:
        self._sign = float(np.copysign(1.0, self.pipeline.read_variable("n")))
        return self

    @action
    def unsendable(self) -> Items:
        self._hook = lambda: None
        return self

    @action
    def nested(self, prefetch: int = 3) -> Items:
        inner = Dataset(batch_class=Items, data={"x": self.x})
        run = inner.p.init_variable("n", 0).jitter().count().scale(1.5)
        parts = [each.x for each in run.gen_batch(2, prefetch=prefetch)]
        self.x = np.concatenate(parts) + run.get_variable("n")
        return self

    @action
    def nested_in(self, executor: Any) -> Items:
        inner = Dataset(batch_class=Items, data={"x": self.x})
        run = inner.p.init_variable("n", 0).scale(1.5).count()
        self.x = np.concatenate([each.x for each in run.gen_batch(1, executor=executor)])
        return self


class Wide(Items):
    """With a second component, which no action asks for."""

    components = ("x", "y")


class Unmade(Items):
    """Cannot be made for its fourth batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.number == 3:
            raise ValueError("this batch cannot be made")


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("wrong"),
    "OwnError": lambda: OwnError("own", code=4),
    "UnpicklableError": lambda: UnpicklableError("stays here"),
    "StopIteration": lambda: StopIteration("stop"),
    "GeneratorExit": lambda: GeneratorExit("exit"),
    "SystemExit": lambda: SystemExit(5),
    "MemoryError": lambda: MemoryError("none left"),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("from an action"),
}


def dataset(n: int = 60, batch_class: type[Batch] = Items) -> Dataset:
    return Dataset(batch_class=batch_class, data={"x": np.linspace(0.0, 1.0, n)})


def over(n: int = 60) -> Pipeline:
    return dataset(n).p


def lasting(rebatch: int | None = None) -> Pipeline:
    """A run of a second or so, of batches of which none is like another."""
    made = over(40).init_variable("n", 0).init_variable("seen", init_on_each_run=list)
    made = made.init_model("dynamic", Walk, "model").noise().slow_even(0.02)
    if rebatch is not None:
        made = made.rebatch(rebatch)
    return made.count().remember().train_model("model", x="x", append_to="seen")


def left_by(done: Pipeline) -> Any:
    """What a run of `lasting` leaves, to the bit."""
    return frozen(dict(done.variables)), frozen(done.models["model"].weights)


def frozen(value: Any) -> Any:
    """A value in a form that is equal only to the bit."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return "objects", frozen(value.tolist())
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(map(frozen, value))
    if isinstance(value, dict):
        return tuple((key, frozen(each)) for key, each in value.items())
    return repr(value)


def batch_content(batch: Batch) -> Any:
    parts = {name: getattr(batch, name) for name in batch.components}
    return batch.number, batch.epoch, frozen(batch.indices), frozen(parts)


def content(batches: Iterator[Batch]) -> list[Any]:
    return [batch_content(each) for each in batches]


def outcome(pipeline: Pipeline, batch_size: int, **options: Any) -> Any:
    """All that a run leaves: its batches, variables, models, failures and how it ended."""
    seen: list[Any] = []
    ended = None
    try:
        for batch in pipeline.gen_batch(batch_size, **options):
            seen.append(batch_content(batch))
    except BaseException as exc:
        ended = type(exc).__name__, str(exc), _places(exc)
    models = {
        name: (frozen(each.weights), each.first, each.epochs, each.abandoned)
        for name, each in pipeline.models.items()
    }
    failures = [(f.epoch, f.number, frozen(f.indices), f.step) for f in pipeline.failures]
    return seen, ended, frozen(dict(pipeline.variables)), models, failures


def _places(exc: BaseException) -> list[str]:
    return [each for each in getattr(exc, "__notes__", ()) if each.startswith("in step")]
