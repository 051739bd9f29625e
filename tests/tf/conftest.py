"""Models of the TensorFlow backend, driven the way a run drives them, and data for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from batchloom.models import RunInfo
from batchloom.models.handle import ModelHandle
from batchloom.models.spec import ModelSpec

Batches = list[tuple[np.ndarray, np.ndarray]]


class Driven(NamedTuple):
    """A live model in a run."""

    handle: ModelHandle

    @property
    def model(self) -> Any:
        return self.handle.model

    def train(self, **kwargs: Any) -> Any:
        return self.handle.train((), kwargs)

    def predict(self, **kwargs: Any) -> Any:
        return self.handle.predict((), kwargs)

    def losses(self, batches: Batches) -> list[Any]:
        return [self.train(x=x, y=y, output="loss") for x, y in batches]


@pytest.fixture
def keras() -> Any:
    """Keras itself, imported only where a test is run."""
    return pytest.importorskip("keras")


@pytest.fixture
def drive() -> Callable[..., Driven]:
    """Make a model by name, class or object and begin a run, as the runtime does."""

    def make(
        model: Any,
        config: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        dynamic: bool = True,
        seed: int | None = None,
        run: RunInfo | None = None,
    ) -> Driven:
        spec = ModelSpec.resolve(model, name, config)
        batch: Any = object() if dynamic else None
        handle = spec.make(pipeline=None, batch=batch, seed=seed)
        handle.begin_run(run or RunInfo())
        return Driven(handle)

    return make


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The digits of scikit-learn, scaled to 0..1."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("float32"), y


@pytest.fixture(scope="session")
def batches(digits: tuple[np.ndarray, np.ndarray]) -> Batches:
    """Ten batches of the digits; the last one is short."""
    x, y = digits
    return [(x[i : min(i + 32, 300)], y[i : min(i + 32, 300)]) for i in range(0, 300, 32)]


@pytest.fixture
def chain() -> dict[str, Any]:
    """The config of a small classifier of the digits, with dropout and a regulariser."""
    return {
        "layers": [
            {
                "class_name": "Dense",
                "config": {"units": 16, "activation": "relu", "name": "hidden"},
            },
            {"class_name": "Dropout", "config": {"rate": 0.25}},
            {
                "class_name": "Dense",
                "config": {"units": 10, "activation": "softmax", "kernel_regularizer": "l2"},
            },
        ],
        "loss": "sparse_categorical_crossentropy",
        "optimizer": "adam",
        "metrics": ["accuracy"],
        "seed": 7,
    }


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a script in a process of its own."""

    def run(script: str, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *map(str, args)],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
        )

    yield run


@pytest.fixture
def weights() -> Callable[[Driven], list[np.ndarray]]:
    """Copy all that training changes: weights, seeds of dropout, the optimizer's state."""

    def copy(driven: Driven) -> list[np.ndarray]:
        network = driven.model.network
        return [each.numpy() for each in (*network.variables, *network.optimizer.variables)]

    return copy
