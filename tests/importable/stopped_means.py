"""A model of which every batch and its place in the order matter, and runs of it that stop."""

from __future__ import annotations

import numpy as np
import pytest

from batchloom import Batch, Dataset, action
from batchloom.models import BaseModel

X = np.random.default_rng(0).normal(size=(100, 6))


class Stop(Exception):  # noqa: N818
    pass


class Noisy(Batch):
    components = "x", "y"
    stop_at = None

    @action
    def noise(self):
        self.x = self.x + self.random.normal(size=self.x.shape)
        return self

    @action
    def maybe_stop(self):
        if self.number == type(self).stop_at:
            raise Stop
        return self

    @action
    def train_inside(self):
        self.get_model_by_name("m").train(x=self.x)
        return self


class Running(BaseModel):
    """A mean with a memory: every batch and its place in the order matter."""

    data_args = ("x",)

    def _build(self, *args, **kwargs):
        self.mean = np.zeros(6)
        self.decay = self.config.get("decay", 0.9)

    def _train(self, x):
        self.mean = self.decay * self.mean + x.sum(axis=0)
        return float(self.mean.sum())

    def _predict(self, x):
        return x @ self.mean

    def _save(self, path, **kwargs):
        np.save(path / "mean.npy", self.mean)

    def _load(self, path, **kwargs):
        self.mean = np.load(path / "mean.npy")


def pipeline(rebatch=None, mode="dynamic", data=X, config=None):
    dataset = Dataset(data={"x": data, "y": np.arange(len(data)) % 3}, batch_class=Noisy)
    made = (
        dataset.p.init_variable("history", init_on_each_run=list)
        .init_variable("kept", 0)
        .init_variable("score")
        .init_model(mode, Running, "m", config=config)
        .noise()
    )
    if rebatch is not None:
        made = made.rebatch(rebatch).noise()
    return (
        made.maybe_stop()
        .train_model("m", x="x", append_to="history")
        .inc_variable("kept")
        .evaluate_model(
            "m", x="x", y="y", metrics={"sum": lambda y, p: float(p.sum())}, save_to="score"
        )
    )


def result(done):
    return (*map(done.get_variable, ("history", "kept", "score")), done.models["m"].mean.tobytes())


def stopped(made, at, folder, **options):
    """Have a run stop before a batch, and keep checkpoints."""
    Noisy.stop_at = at
    try:
        with pytest.raises(Stop):
            made.run(7, **{"shuffle": 5, "n_epochs": 3, "checkpoint": folder, **options})
    finally:
        Noisy.stop_at = None
