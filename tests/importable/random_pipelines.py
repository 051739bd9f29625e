"""Pipelines made up at random out of every kind of step, where worker processes can import them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from prefetch_steps import EXCEPTIONS, Items

from batchloom import B, Batch, BlockShuffle, C, Dataset, F, Pipeline, V, action
from batchloom.models import BaseModel
from batchloom.plain import read_plain, write_plain

Step = Callable[[Pipeline, int], Pipeline]
PartnerStep = Callable[[Pipeline, Dataset], Pipeline]


class Mixed(Items):
    """Actions that the tests of prefetch have no use for."""

    @action
    def double(self) -> Batch:
        return self.merge([self, self.take(slice(None, None, 2))])

    @action
    def draw_late(self) -> Mixed:
        """Draws before and after its turn."""
        before = self.random.random()
        self.pipeline.inc_variable("n", 1 if before < 0.5 else 2)
        self.x = self.x * before + self.random.random()
        return self

    @action(use_lock="other")
    def add_total(self) -> Mixed:
        self.x = self.x + self.pipeline.get_variable("m")
        return self

    @action(use_lock="pure")
    def locked_noise(self) -> Mixed:
        self.x = self.x + self.random.random()
        return self


class Memory(BaseModel):
    """Remembers the order of everything that it was shown, to the last bit."""

    data_args = ("x",)
    may_stop_training = True

    def _build(self, *args: Any, batch: Any = None, **kwargs: Any) -> None:
        first = None if batch is None else batch.number
        start = self.config.get("start", 0.0)
        self.memory = {"weights": np.zeros(3) + start, "first": first, "epochs": [], "gathered": []}
        self.memory |= {"begun": 0, "abandoned": 0, "predicted": 0}

    def _begin_run(self, run: Any) -> None:
        self.memory["begun"] += 1
        self.memory["gathered"] = []

    def _train(self, x: Any) -> Any:
        if len(x) == self.config.get("refuses"):
            raise ValueError(f"{len(x)} items")
        before = self.memory["weights"]
        self.memory["weights"] = moved(before, np.asarray(x))
        if self.config.get("gathers"):
            self.memory["gathered"].append(float(np.sum(x)))
            return None
        return before[0], before[1]

    def _predict(self, x: Any) -> Any:
        weights = self.memory["weights"]
        if not self.predict_is_thread_safe:
            self.memory["predicted"] += 1
        return np.asarray(x) * weights[0] + weights[1] + self.memory["predicted"]

    def _end_epoch(self, epoch: int, last: bool) -> Any:
        self.memory["epochs"].append((epoch, last))
        self.memory["weights"] = self.memory["weights"] * 0.9
        self.stop_training = len(self.memory["epochs"]) == self.config.get("stops")
        gathered, self.memory["gathered"] = self.memory["gathered"], []
        return gathered or None

    def _abandon_run(self) -> None:
        self.memory["abandoned"] += 1
        self.memory["gathered"] = []

    def _save(self, path: Path, **kwargs: Any) -> None:
        write_plain(self.memory, path / "memory", "what it remembers")

    def _load(self, path: Path, **kwargs: Any) -> None:
        self.memory = read_plain(path / "memory")


class SharedMemory(Memory):
    """The same, for predictions from several threads at once."""

    predict_is_thread_safe = True


class Plain:
    """A model that is nothing but the five methods."""

    def build(self, *args: Any, **kwargs: Any) -> None:
        self.memory: Any = [0.0]

    def train(self, x: Any) -> Any:
        self.memory.append(float(np.sum(x)))
        return self.memory[-1]

    def predict(self, x: Any) -> Any:
        return np.asarray(x) + self.memory[-1]

    def save(self, path: Path, **kwargs: Any) -> None:
        write_plain(self.memory, path / "memory", "what it remembers")

    def load(self, path: Path, **kwargs: Any) -> None:
        self.memory = read_plain(path / "memory")


def moved(weights: Any, x: Any) -> Any:
    step = np.array([x.sum(), x.flat[0], len(x)]) * 1e-2 + 0.1
    return np.sin(1.3 * weights + step)


def total(batch: Batch) -> float:
    return float(batch.x.sum())


def as_dict(batch: Batch) -> dict[str, Any]:
    return {str(batch.number): float(batch.x.sum())}


def arguments(batch: Batch, model: Any) -> dict[str, Any]:
    return {"x": batch.x + model.memory["weights"][0]}


def value_of(item: Any) -> float:
    return float(len(str(item)))


def note(batch: Batch) -> None:
    assert batch.pipeline is not None
    batch.pipeline.get_variable("seen").append(("dumped", batch.number))


def product(true: Any, predicted: Any) -> float:
    return float((true * predicted).sum())


def len_of_seen(batch: Batch) -> int:
    assert batch.pipeline is not None
    return len(batch.pipeline.get_variable("seen"))


SCORE = {"product": product}

STEPS: dict[str, Step] = {
    # actions that need nothing
    "noise": lambda p, k: p.noise(),
    "scale in place": lambda p, k: p.scale(1 + k / 8),
    "shift by config": lambda p, k: p.shift(C.by),
    "shift by component": lambda p, k: p.shift(B.z),
    "shift by function": lambda p, k: p.shift(F(total)),
    "jitter": lambda p, k: p.jitter(),
    "slow": lambda p, k: p.slow_even(0.0005),
    "take": lambda p, k: p.drop_some(),
    "sort": lambda p, k: p.sort(),
    "double": lambda p, k: p.double(),
    "widen": lambda p, k: p.widen(),
    "empty": lambda p, k: p.empty_from(k),
    "apply": lambda p, k: p.apply(np.sin, "x"),
    "apply to new": lambda p, k: p.apply(np.cos, "x", "fresh"),
    "load": lambda p, k: p.load(value_of, "z"),
    "dump": lambda p, k: p.dump(note),
    "skip": lambda p, k: p.skip_at([k, 3 * k + 1]),
    "skip some": lambda p, k: p.skip_some(),
    "fail": lambda p, k: p.fail_at([5 * k + 2], sorted(EXCEPTIONS)[k % len(EXCEPTIONS)]),
    "fail some": lambda p, k: p.fail_some(),
    "nested": lambda p, k: p.nested(k % 3),
    # locks
    "lock": lambda p, k: p.locked_noise(),
    "lock and count": lambda p, k: p.locked_sum(),
    "other lock": lambda p, k: p.add_total(),
    # variables
    "read": lambda p, k: p.shift(V.n),
    "read list": lambda p, k: p.shift(F(len_of_seen)),
    "draw late": lambda p, k: p.draw_late(),
    "count": lambda p, k: p.count(),
    "count late": lambda p, k: p.count_late(),
    "remember": lambda p, k: p.remember(),
    "inc": lambda p, k: p.inc_variable("n", k),
    "inc by batch": lambda p, k: p.inc_variable("m", F(total)),
    "set": lambda p, k: p.set_variable("m", F(total)),
    "set array": lambda p, k: p.set_variable("last", B.x),
    "append": lambda p, k: p.update_variable("seen", V.n, mode="append"),
    "extend": lambda p, k: p.update_variable("kept", [V.n, k], mode="extend"),
    "update": lambda p, k: p.update_variable("table", F(as_dict), mode="update"),
    "print": lambda p, k: p.print_variable("n"),
    "declare and delete": lambda p, k: p.init_variable("gone", k).delete_variable("gone"),
    # models
    "train dynamic": lambda p, k: p.train_model("alone", x="x", append_to="seen"),
    "train dynamic apart": lambda p, k: p.train_model("alone", x="z", save_to=["m", V.loss]),
    "train static": lambda p, k: p.train_model("shared", x=B.x, save_to="loss"),
    "train imported": lambda p, k: p.train_model("imported", x="x"),
    "train gathering": lambda p, k: p.train_model("gathering", x="x", append_to="kept"),
    "train stopping": lambda p, k: p.train_model("stopping", x="x"),
    "train refusing": lambda p, k: p.train_model("refusing", x="x", append_to="seen"),
    "train plain": lambda p, k: p.train_model("plain", x="x", save_to="m"),
    "train made data": lambda p, k: p.train_model("alone", arguments, append_to="seen"),
    "train inside": lambda p, k: p.train_here(["alone", "shared", "imported", "gathering"][k % 4]),
    "train linked": lambda p, k: p.train_linked(),
    "predict dynamic": lambda p, k: p.predict_model("alone", x="x", save_to="x"),
    "predict static": lambda p, k: p.predict_model("shared", x="x", save_to=B.guess),
    "predict frozen": lambda p, k: p.predict_model("frozen", x="x", save_to="z"),
    "predict imported": lambda p, k: p.predict_model("imported", x=["x"][0], save_to=B.guess),
    "predict plain": lambda p, k: p.predict_model("plain", x="x", save_to="x"),
    "predict made data": lambda p, k: p.predict_model("shared", arguments, append_to="kept"),
    "predict variable": lambda p, k: p.predict_model("frozen", x=V.m, save_to=V.m),
    "predict inside": lambda p, k: p.predict_here(["alone", "shared", "frozen", "model"][k % 4]),
    "evaluate": lambda p, k: p.evaluate_model(
        ["alone", "frozen"][k % 2], x="x", y="z", metrics=SCORE, append_to="seen"
    ),
    # other batches
    "rebatch": lambda p, k: p.rebatch(k + 1),
}
PARTNERS: dict[str, PartnerStep] = {
    "join": lambda p, data: p.join(data.p.noise()).add(),
    "join two": lambda p, data: p.join(data.p.jitter(), counting(data)).add(),
    "merge": lambda p, data: p.merge(data.p.noise()),
    "merge two": lambda p, data: p.merge(counting(data), data.p.locked_noise()),
    "join failing": lambda p, data: p.join(data.p.fail_some().skip_some()).add(),
    "merge skipping": lambda p, data: p.merge(data.p.skip_some()),
    "merge predicting": lambda p, data: p.merge(
        data.p.init_model("static", SharedMemory, "own").predict_here("own")
    ),
}
NAMES = sorted({*STEPS, *PARTNERS})


def counting(data: Dataset) -> Pipeline:
    return data.p.init_variable("k", 0).count("k").shift(V.k)


@dataclass(frozen=True)
class Source:
    """A dataset."""

    items: int = 24
    kind: str = "plain"
    copy: bool = True

    def made(self) -> Dataset:
        if self.kind == "parquet":
            return Dataset.from_parquet(parquet(self.items), batch_class=Mixed, copy=self.copy)
        data = mapped(self.items) if self.kind == "mapped" else columns(self.items)
        ids = [f"id{each}" for each in range(self.items)] if self.kind == "named" else None
        made = Dataset(ids, Mixed, data, copy=self.copy)
        if self.kind.startswith("split"):
            shuffle = shuffles(self.kind.removeprefix("split by "))
            return made.split([0.7, 0.2], shuffle).train
        return made.subset(slice(None, None, -2)) if self.kind == "subset" else made


def columns(n: int) -> dict[str, Any]:
    return {
        "x": np.linspace(0.0, 1.0, n),
        "z": np.arange(n) % 5,
        "rows": np.arange(3.0 * n, dtype="f4").reshape(n, 3),
        "names": [f"item {each}" for each in range(n)],
    }


@functools.cache
def mapped(n: int) -> dict[str, Any]:
    """Columns that are memory maps of files, where there are rows to be mapped."""
    folder = Path(tempfile.mkdtemp(prefix="random-"))
    for name, each in columns(n).items():
        np.save(folder / f"{name}.npy", each)
    files = sorted(folder.iterdir())
    return {each.stem: np.load(each, mmap_mode="r" if n else None) for each in files}


@functools.cache
def parquet(n: int) -> Path:
    """A file of several row groups."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    data = columns(n)
    data["rows"] = pa.FixedSizeListArray.from_arrays(data["rows"].ravel(), 3)
    path = Path(tempfile.mkdtemp(prefix="random-")) / "data.parquet"
    write_table(pa.table(data), path, row_group_size=5)
    return path


def shuffles(kind: str) -> Any:
    """Make what ``shuffle=`` takes, in the same state each time."""
    makers: dict[str, Callable[[], Any]] = {
        "nothing": lambda: False,
        "seed": lambda: True,
        "int": lambda: 5,
        "generator": lambda: np.random.default_rng(3),
        "old generator": lambda: np.random.RandomState(3),
        "blocks": lambda: "blocks",
        "small blocks": lambda: BlockShuffle(block_rows=3, window=7),
        "seeded blocks": lambda: BlockShuffle(seed=4, block_rows=2, window=0.5),
        "function": lambda: backwards,
        "function with a state": lambda: Rolling(),
    }
    return makers[kind]()


SHUFFLES = ["nothing", "seed", "int", "generator", "old generator", "function"]
FRESH = ("seed", "blocks", "small blocks")
"""These draw from the run's seed, and from a fresh one where there is no run."""
SHUFFLES += ["blocks", "small blocks", "seeded blocks"]


def backwards(positions: Any) -> Any:
    return positions[::-1]


class Rolling:
    """Gives another order each time, as a function of how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, positions: Any) -> Any:
        self.calls += 1
        return np.roll(positions, self.calls)


Nest = tuple[str, int] | tuple[str, int, tuple[Any, ...]]


@dataclass(frozen=True)
class Recipe:
    """A pipeline, written down so that it can be made any number of times."""

    source: Source
    steps: tuple[Nest, ...]

    def made(self) -> Pipeline:
        data = self.source.made()
        p = declared(data.pipeline({"by": 0.25}))
        for each in self.steps:
            p = with_step(p, each, data)
        return p


def declared(p: Pipeline) -> Pipeline:
    """Declare variables and models of every kind."""
    makes = Source().made().p.init_model("static", SharedMemory, "imported")
    p = p.init_variable("n", 0).init_variable("m", init=float).init_variable("last")
    p = p.init_variables(
        {"loss": {"default": 0.0, "init_on_each_run": True}, "kept": {"init": list}}
    )
    p = p.init_variable("seen", init_on_each_run=list).init_variable("table", init_on_each_run={})
    p = p.init_model("dynamic", Memory, "alone", {"start": F(total)})
    p = p.init_model("static", SharedMemory, "shared").init_model("static", SharedMemory, "frozen")
    p = p.init_model("dynamic", Memory, "gathering", {"gathers": True, "start": V.m})
    p = p.init_model("dynamic", Memory, "stopping", {"stops": 2})
    p = p.init_model("dynamic", SharedMemory, "refusing", {"refuses": 3})
    p = p.init_model("dynamic", SharedMemory, "model").init_model("static", Plain, "plain")
    return p.import_model("imported", makes)


def with_step(p: Pipeline, nest: Nest, data: Dataset) -> Pipeline:
    """Add a step, or steps that are repeated, or left to chance, together."""
    name, k, *inner = nest
    if name in STEPS:
        return STEPS[name](p, k)
    if name in PARTNERS:
        return PARTNERS[name](p, data)
    part = Pipeline()
    for each in inner[0]:
        part = with_step(part, each, data)
    return p + (part * k if name == "*" else part @ (k / 4))


def nests() -> st.SearchStrategy[Nest]:
    k = st.integers(0, 7)
    small = st.tuples(st.sampled_from([each for each in NAMES if each != "rebatch"]), k)
    chance = st.tuples(st.just("@"), st.integers(1, 3), _some(small))
    single = st.tuples(st.sampled_from(NAMES), k)
    repeat = st.tuples(st.just("*"), st.integers(0, 3), _some(st.one_of(single, chance)))
    return st.one_of(single, single, single, single, chance, repeat)


def _some(nest: st.SearchStrategy[Nest]) -> st.SearchStrategy[tuple[Nest, ...]]:
    return st.lists(nest, min_size=1, max_size=3).map(tuple)


def recipes() -> st.SearchStrategy[Recipe]:
    kinds = ["plain", "plain", "named", "subset", "mapped", "mapped", "parquet", "parquet"]
    kinds += [f"split by {each}" for each in SHUFFLES if each not in FRESH]
    source = st.builds(
        Source,
        st.sampled_from([37, 64, 20, 11, 3, 1, 0]),
        st.sampled_from(kinds),
        st.sampled_from([True, True, False]),
    )
    return st.builds(Recipe, source, st.lists(nests(), min_size=1, max_size=7).map(tuple))


def options(*more_shuffles: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw what the result of a run depends on; `shuffle` goes through `shuffles`."""
    return st.fixed_dictionaries(
        {
            "batch_size": st.sampled_from([2, 1, 3, 5, 8, 50]),
            "seed": st.integers(0, 2**40),
            "shuffle": st.sampled_from([*SHUFFLES, *more_shuffles]),
            "n_epochs": st.sampled_from([2, 1, 3, 0]),
            "drop_last": st.booleans(),
            "on_error": st.sampled_from(["skip", "raise"]),
            "max_skipped": st.sampled_from([None, None, None, 2]),
        }
    )
