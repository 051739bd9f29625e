"""W4c: XGBoost on 2,000,000 × 28, 50 rounds: time, memory and AUC of what collects batches.

python -m benchmarks.w4c_xgboost WAY FOLDER    one way, in this process; prints JSON
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import OURS, Goal
from benchmarks.in_turn import Figure, compare_programs, module
from benchmarks.results import Result
from benchmarks.timing import Effort

NAME = "w4c"
TITLE = "XGBoost: 2,000,000 × 28 from a file, batches of 100,000, 50 rounds of depth 6"
LIMIT = "one `QuantileDMatrix` of the whole array, mapped and not copied"
ROWS, HELD_OUT, QUICK_ROWS, WIDTH, SIZE = 2_000_000, 200_000, 100_000, 28, 100_000
ROUNDS, THREADS = 50, 2
PARAMETERS = {"max_depth": 6, "tree_method": "hist", "max_bin": 256, "objective": "binary:logistic"}
TIME, MEMORY, AUC = "time", "memory beyond the data", "AUC"
ONE_SHOT, EXTERNAL = "by hand, one QuantileDMatrix", f"{OURS}, external memory"

GOALS = [
    Goal(TIME, 1.05),
    Goal(MEMORY, 1.1),
    Goal(AUC, 0.9999, least=True),
    Goal(TIME, 1.2, who=EXTERNAL),
    Goal(MEMORY, 0.5, who=EXTERNAL),
]


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    rows = QUICK_ROWS if effort.rounds < 3 else ROWS
    with tempfile.TemporaryDirectory(prefix="batchloom-") as folder:
        say("writing the file")
        write(Path(folder), rows)
        programs = {who: partial(module, "w4c_xgboost", way, folder) for who, way in WAYS.items()}
        figures = [
            Figure("seconds", TIME, "s"),
            Figure("megabytes", MEMORY, "MB"),
            Figure("auc", AUC, ""),
        ]
        fewer = replace(effort, rounds=min(effort.rounds, 3), again=1)
        found = compare_programs(programs, ONE_SHOT, figures, fewer, say, cores=THREADS)
    return Result(NAME, TITLE, LIMIT, found, GOALS)


def write(folder: Path, rows: int) -> None:
    """Physics-like data: main effects, products of pairs, noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows + HELD_OUT, WIDTH)).astype(np.float32)
    signal = X[:, :8] @ rng.normal(size=8) / 4 + (X[:, 8:14] * X[:, 14:20]).sum(1) / 3
    Y = (signal + rng.logistic(size=len(X)) > 0).astype(np.float32)
    for name, array in {"X": X, "Y": Y}.items():
        np.save(folder / f"{name}.npy", array[:rows])
        np.save(folder / f"{name}-test.npy", array[rows:])


def load(folder: Path, which: str = "") -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.load(folder / f"{name}{which}.npy", mmap_mode="r") for name in "XY")  # type: ignore[return-value]


def one_shot(folder: Path) -> Any:
    import xgboost as xgb

    X, Y = load(folder)
    matrix = xgb.QuantileDMatrix(X, Y, max_bin=256, nthread=THREADS)
    return xgb.train({**PARAMETERS, "nthread": THREADS}, matrix, ROUNDS)


def concatenated(folder: Path) -> Any:
    """What people do with batches: keep them all, and make one array of them."""
    import xgboost as xgb

    X, Y = load(folder)
    batches = [
        (X[at : at + SIZE].copy(), Y[at : at + SIZE].copy()) for at in range(0, len(X), SIZE)
    ]
    x, y = (np.concatenate(each) for each in zip(*batches, strict=True))
    matrix = xgb.DMatrix(x, y, nthread=THREADS)
    return xgb.train({**PARAMETERS, "nthread": THREADS}, matrix, ROUNDS)


def ours(folder: Path, **config: Any) -> Any:
    from batchloom import Dataset

    X, Y = load(folder)
    # By hand nothing is evaluated while training either.
    more = {"num_boost_round": ROUNDS, "nthread": THREADS, "train_metrics": False}
    config = {**PARAMETERS, **more, **config}
    pipeline = (
        Dataset(data={"x": X, "y": Y})
        .p.init_model("dynamic", "xgboost/Booster", "trees", config=config)
        .train_model("trees", x="x", y="y")
        .run(SIZE)
    )
    return pipeline.get_model_by_name("trees").booster


def external(folder: Path) -> Any:
    return ours(folder, memory="external", spool=str(folder))


WAYS = {
    ONE_SHOT: "one_shot",
    OURS: "ours",
    EXTERNAL: "external",
    "by hand, batches concatenated into a DMatrix": "concatenated",
}


class Memory:
    """The most memory of its own that the process has, while this is watching."""

    def __init__(self) -> None:
        self._first = self.most = _anonymous()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, _anonymous())

    def end(self) -> float:
        """Stop watching: megabytes beyond what there were at first."""
        self._ended.set()
        self._thread.join()
        return (self.most - self._first) / 1e6


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (each for each in lines if each.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def main(way: str, folder: str) -> None:
    """Train in one way, and print seconds, megabytes and AUC."""
    import xgboost as xgb
    from sklearn.metrics import roc_auc_score

    X, Y = load(Path(folder))
    X[:].sum(), Y[:].sum()  # into the system's cache
    memory, begin = Memory(), time.perf_counter()
    booster = globals()[way](Path(folder))
    seconds = time.perf_counter() - begin
    megabytes = memory.end()
    test, labels = load(Path(folder), "-test")
    auc = roc_auc_score(labels, booster.predict(xgb.DMatrix(test)))
    print(json.dumps({"seconds": seconds, "megabytes": megabytes, "auc": auc}))


if __name__ == "__main__":
    main(*sys.argv[1:])
