"""W1: what a batch costs beyond its data: 1e6 rows of 16 float32 and a label, batches of 32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np

from batchloom import Batch, Dataset, action
from batchloom.models import BaseModel, RunInfo
from benchmarks.cases import BY_HAND, OURS, Case, Goal, Subject, Timed, consuming
from benchmarks.peers import nothing
from benchmarks.peers.subjects import over_batches
from benchmarks.results import Result, Row
from benchmarks.timing import Effort, compare

NAME = "w1"
TITLE = "Overhead: 1,000,000 rows of 16 float32 and a label, batches of 32"
LIMIT = "the loop over `X[i:i+32], Y[i:i+32]`, and shuffled over `X[idx], Y[idx]`"
REMARKS = (
    "The clock starts with the first batch for everybody: what is done once a run or an epoch, such as to "
    "draw the order of a million rows (15 to 20 ms, 0.5 to 0.6 µs for each of 31,250 batches), is in "
    "nobody's time, and the loops by hand have drawn theirs before.\n"
)
ROWS, SIZE = 1_000_000, 32
BATCHES = ROWS // SIZE

GOALS = [
    Goal("in order, no action", 2.0, who=f"{OURS}, copy=False"),
    Goal("in order, 5 actions", 2.0, who=f"{OURS}, copy=False"),
    Goal("each further action", 0.06, "value", who=f"{OURS}, copy=False"),
    Goal("in order, no action", 1.5, "value"),
    Goal("shuffled, no action", 0.6),
    Goal("shuffled, 5 actions", 0.6),
    Goal("in order, prefetch 2", 1.0),
    Goal("shuffled, prefetch 2", 1.0),
    Goal("as people use it, in order", 6.0, "value"),
    Goal("as people use it, shuffled", 6.0, "value"),
]


class Small(Batch):
    components = "x", "y"

    @action
    def nothing(self) -> Small:
        return self

    @action
    def scale(self) -> Small:
        self.x = self.x * 0.5
        return self


class Stub(BaseModel):
    """A model whose step costs nothing; it notes when the first batch of a run came to it."""

    data_args = ("x", "y")
    first = 0.0

    def _build(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _train(self, x: np.ndarray, y: np.ndarray) -> float:
        return 0.0

    def _begin_run(self, run: RunInfo) -> None:
        self.first = perf_counter()


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=(ROWS, 16)).astype(np.float32),
        "y": rng.integers(0, 2, ROWS),
    }
    rows = compare(cases(columns), effort, say)
    rows += each_action(rows)
    return Result(NAME, TITLE, LIMIT, rows, GOALS, REMARKS)


def cases(columns: dict[str, np.ndarray]) -> list[Case]:
    made = [
        Case(
            f"{'shuffled' if shuffle else 'in order'}, {actions or 'no'} action{'s' * (actions > 1)}",
            Subject(BY_HAND, partial(by_hand, columns, shuffle, actions)),
            (
                *better_by_hand(columns, shuffle, actions),
                *ours(columns, shuffle, actions),
                *over_batches(columns, SIZE, shuffle, actions, leave_out=("tf.data, gather",)),
            ),
            most=BATCHES - 1,
        )
        for shuffle in (False, True)
        for actions in (0, 5)
    ]
    return [*made, *(prefetching(columns, each) for each in (False, True)), *in_use(columns)]


def prefetching(columns: dict[str, np.ndarray], shuffle: bool) -> Case:
    """In order as well, the limit is the naive shuffled loop."""
    return Case(
        f"{'shuffled' if shuffle else 'in order'}, prefetch 2",
        Subject(BY_HAND, partial(by_hand, columns, True, 0)),
        (
            *ours(columns, shuffle, 0, prefetch=2),
            *over_batches(
                columns, SIZE, shuffle, prefetch=2,
                leave_out=("Hugging Face datasets", "tf.data, gather"),
            ),
        ),
        most=BATCHES - 1,
        cores=2,
        least=64,
    )  # fmt: skip


def by_hand(columns: dict[str, np.ndarray], shuffle: bool, actions: int) -> Timed:
    X, Y = columns.values()
    order = np.random.default_rng(1).permutation(ROWS)
    functions = [nothing] * actions

    def in_order(count: int) -> float:
        begin = perf_counter()
        for i in range(0, count * SIZE, SIZE):
            x, _y = X[i : i + SIZE], Y[i : i + SIZE]
            for function in functions:
                x = function(x)
        return perf_counter() - begin

    def shuffled(count: int) -> float:
        begin = perf_counter()
        for i in range(0, count * SIZE, SIZE):
            idx = order[i : i + SIZE]
            x, _y = X[idx], Y[idx]
            for function in functions:
                x = function(x)
        return perf_counter() - begin

    return shuffled if shuffle else in_order


def better_by_hand(
    columns: dict[str, np.ndarray], shuffle: bool, actions: int
) -> tuple[Subject, ...]:
    """The loop of somebody who has measured: shuffled rows are taken, not indexed."""
    if not shuffle or actions:
        return ()
    X, Y = columns.values()
    order = np.random.default_rng(1).permutation(ROWS)

    def taken(count: int) -> float:
        begin = perf_counter()
        for i in range(0, count * SIZE, SIZE):
            idx = order[i : i + SIZE]
            X.take(idx, 0), Y.take(idx, 0)
        return perf_counter() - begin

    return (Subject("by hand, with take", lambda: taken),)


def ours(
    columns: dict[str, np.ndarray], shuffle: bool, actions: int, prefetch: int = 0
) -> tuple[Subject, ...]:
    def made(copy: bool) -> Timed:
        pipeline = Dataset(data=columns, batch_class=Small, copy=copy).p
        for _ in range(actions):
            pipeline = pipeline.nothing()
        options: Any = {"shuffle": 1 if shuffle else False, "prefetch": prefetch}
        return touching(lambda: pipeline.gen_batch(SIZE, **options))

    owning = Subject(OURS, partial(made, True))
    if shuffle or prefetch:
        return (owning,)
    return Subject(f"{OURS}, copy=False", partial(made, False)), owning


def touching(make: Callable[[], Any]) -> Timed:
    """A batch may gather what is asked for; so everything is."""

    def timed(count: int) -> float:
        batches = make()
        next(batches)
        begin = perf_counter()
        for batch in islice(batches, count):
            _x, _y = batch.x, batch.y
        seconds = perf_counter() - begin
        batches.close()
        return seconds

    return timed


def in_use(columns: dict[str, np.ndarray]) -> list[Case]:
    return [
        Case(
            f"as people use it, {'shuffled' if shuffle else 'in order'}",
            Subject(BY_HAND, partial(used_by_hand, columns, shuffle)),
            (
                Subject(OURS, partial(ours_in_use, columns, shuffle)),
                *over_batches(
                    columns, SIZE, shuffle, timed=used,
                    leave_out=("tf.data, gather", "Grain, records"),
                ),
            ),
            most=BATCHES - 1,
        )
        for shuffle in (False, True)
    ]  # fmt: skip


def used_by_hand(columns: dict[str, np.ndarray], shuffle: bool) -> Timed:
    X, Y = columns.values()
    order = np.random.default_rng(1).permutation(ROWS)
    model = Stub()

    def timed(count: int) -> float:
        losses = []
        begin = perf_counter()
        for i in range(0, count * SIZE, SIZE):
            rows = order[i : i + SIZE] if shuffle else slice(i, i + SIZE)
            x, y = X[rows], Y[rows]
            losses.append(model._train(x * 0.5, y))
        return perf_counter() - begin

    return timed


def used(make: Callable[[], Any]) -> Timed:
    """The same three things done with a peer's batches."""
    from benchmarks.peers import column

    model, losses = Stub(), []

    def use(batch: Any) -> None:
        losses.append(model._train(column(batch, 0, "x") * 0.5, column(batch, 1, "y")))

    return consuming(make, use)


def ours_in_use(columns: dict[str, np.ndarray], shuffle: bool) -> Timed:
    pipeline = (
        Dataset(data=columns, batch_class=Small)
        .p.init_variable("losses", init_on_each_run=list)
        .init_model("dynamic", Stub, "model")
        .scale()
        .train_model("model", x="x", y="y", append_to="losses")
    )

    def timed(count: int) -> float:
        pipeline.run(SIZE, shuffle=1 if shuffle else False)
        seconds = perf_counter() - pipeline.get_model_by_name("model").first
        return seconds * count / BATCHES

    return timed


def each_action(rows: list[Row]) -> list[Row]:
    """What an action that does nothing adds to a batch, from none and five of them."""
    none = {row.who: row for row in rows if row.case == "in order, no action"}
    five = {row.who: row for row in rows if row.case == "in order, 5 actions"}
    return [
        Row(
            "each further action", who, (five[who].value - row.value) / 5, row.unit, pairs=row.pairs
        )
        for who, row in none.items()
        if who.startswith(OURS) and row.value is not None and five[who].value is not None
    ]
