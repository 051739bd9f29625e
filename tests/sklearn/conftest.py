"""Real data, and models driven in the order of calls in which a run drives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from batchloom import Dataset
from batchloom.models import RunInfo
from batchloom.models.handle import ModelHandle
from batchloom.models.spec import ModelSpec


def batches(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def rows(data: Any, part: slice) -> Any:
    return data.iloc[part] if hasattr(data, "iloc") else data[part]


def make(model: Any, config: Mapping[str, Any] | None = None) -> ModelHandle:
    return ModelSpec.resolve(model, None, config).make(pipeline=None)


def run_info(y: Any = None, seed: int = 7, n_epochs: int | None = 1) -> RunInfo:
    if y is None:
        return RunInfo(seed=seed, n_epochs=n_epochs)
    return RunInfo(Dataset(data={"labels": y}), {"y": "labels"}, seed, n_epochs)


def train(
    handle: ModelHandle,
    x: Any,
    y: Any = None,
    *,
    size: int = 64,
    n_epochs: int = 1,
    seed: int = 7,
    sample_weight: Any = None,
    output: Any = None,
    end: bool = True,
) -> list[Any]:
    """Train as a run does; the outputs of its batches, then those of the ends of its epochs."""
    handle.begin_run(run_info(y, seed, n_epochs))
    outputs = []
    n = x.shape[0] if hasattr(x, "shape") else len(x)
    for epoch in range(n_epochs):
        for part in batches(n, size):
            given = {"x": rows(x, part), "output": output}
            given |= {} if y is None else {"y": rows(y, part)}
            given |= {} if sample_weight is None else {"sample_weight": sample_weight[part]}
            outputs.append(handle.train((), given))
        if end:
            outputs.append(handle.end_epoch(epoch, epoch == n_epochs - 1))
    return [each for each in outputs if each is not None]


@pytest.fixture(scope="session")
def drive() -> SimpleNamespace:
    """The functions above: test modules cannot import one another."""
    return SimpleNamespace(
        make=make, train=train, batches=batches, run_info=run_info, predict=predict
    )


def predict(handle: ModelHandle, x: Any, **given: Any) -> Any:
    return handle.predict((), {"x": x, **given})


def shuffled(load: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    return np.ascontiguousarray(x[order]), y[order]


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return shuffled(datasets.load_digits)


@pytest.fixture(scope="session")
def iris() -> tuple[np.ndarray, np.ndarray]:
    return shuffled(datasets.load_iris)


@pytest.fixture(scope="session")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    return shuffled(datasets.load_breast_cancer)


@pytest.fixture(scope="session")
def diabetes() -> tuple[np.ndarray, np.ndarray]:
    return shuffled(datasets.load_diabetes)
