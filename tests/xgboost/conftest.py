"""The UCI Adult data, and models driven as the runtime drives them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Read when XGBoost is imported: threads that wait for each other must not spin on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
pytest.importorskip("xgboost")

import numpy as np
import pandas as pd

from batchloom.models import RunInfo
from batchloom.models.handle import ModelHandle
from batchloom.models.spec import ModelSpec

ADULT = Path(__file__).parents[1] / "data" / "adult"
COLUMNS = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
    *("native-country", "income"),
]


@dataclass(frozen=True)
class Split:
    """Features (text columns are categories) and labels, for training and for the test."""

    x: pd.DataFrame
    y: pd.Series
    x_test: pd.DataFrame
    y_test: pd.Series

    def without_unknowns(self) -> Split:
        known, known_test = self.x.notna().all(axis=1), self.x_test.notna().all(axis=1)
        return Split(self.x[known], self.y[known], self.x_test[known_test], self.y_test[known_test])


@pytest.fixture(scope="session")
def adult() -> Split:
    train, test = read_adult("adult.data.gz"), read_adult("adult.test.gz", skip=1)
    for name in train.columns[train.dtypes.map(lambda kind: kind.kind not in "iuf")]:
        categories = sorted(train[name].dropna().unique())
        train[name] = pd.Categorical(train[name], categories)
        test[name] = pd.Categorical(test[name], categories)
    y, y_test = train.pop("income").astype(str), test.pop("income").astype(str)
    assert (len(train), len(test)) == (32561, 16281)
    return Split(train, y, test, y_test)


def read_adult(name: str, skip: int = 0) -> pd.DataFrame:
    frame = pd.read_csv(
        ADULT / name, names=COLUMNS, skiprows=skip, skipinitialspace=True, na_values="?"
    )
    frame["income"] = frame["income"].str.rstrip(".")
    return frame


def drive(
    model: Any,
    batches: Iterable[Mapping[str, Any]],
    config: Mapping[str, Any] | None = None,
    *,
    n_epochs: int = 1,
    run: RunInfo | None = None,
    output: Any = None,
) -> tuple[ModelHandle, list[Any]]:
    """Make a model and train it as a run does; return its handle and all values that it gave."""
    handle = ModelSpec.resolve(model, None, config).make(pipeline=None)
    return handle, train(handle, batches, n_epochs=n_epochs, run=run, output=output)


def train(
    handle: ModelHandle,
    batches: Iterable[Mapping[str, Any]],
    *,
    n_epochs: int = 1,
    run: RunInfo | None = None,
    output: Any = None,
) -> list[Any]:
    batches = list(batches)
    handle.begin_run(run or RunInfo(n_epochs=n_epochs))
    values = []
    for epoch in range(n_epochs):
        for batch in batches:
            values.append(handle.train((), {**batch, **({"output": output} if output else {})}))
        values.append(handle.end_epoch(epoch, epoch == n_epochs - 1))
    return [value for value in values if value is not None]


def batches(size: int, **columns: Any) -> Iterator[dict[str, Any]]:
    """Cut columns into batches."""
    n = next(iter(columns.values())).shape[0]
    for start in range(0, n, size):
        yield {name: rows(each, start, start + size) for name, each in columns.items()}


def rows(column: Any, start: int, stop: int) -> Any:
    return column.iloc[start:stop] if hasattr(column, "iloc") else column[start:stop]


@pytest.fixture(scope="session")
def driving() -> Any:
    """`drive`, `train` and `batches`, for test modules, which cannot import from here."""

    class Driving:
        drive = staticmethod(drive)
        train = staticmethod(train)
        batches = staticmethod(batches)

    return Driving


@pytest.fixture(scope="session")
def binary() -> tuple[np.ndarray, np.ndarray]:
    """3000 rows of 5 numbers, some missing, and labels 0 and 1 that depend on two of them."""
    random = np.random.default_rng(0)
    x = random.normal(size=(3000, 5)).astype(np.float32)
    y = (x[:, 0] - x[:, 1] + random.normal(size=len(x)) > 0).astype(int)
    x[random.random(x.shape) < 0.05] = np.nan
    return x, y
