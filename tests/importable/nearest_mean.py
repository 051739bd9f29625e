"""A whole model of a user's own, and pipelines with it, for the document's sentences."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchloom import Dataset, Pipeline
from batchloom.models import BaseModel


class NearestMean(BaseModel):
    """A whole model: each class is the mean of its items. Notes how it came to be."""

    data_args = "x", "y"

    def __init__(self, config=None, *, name=None):
        super().__init__(config, name=name)
        self.came_by: list[str] = []

    def _build(self, *args, pipeline=None, batch=None, **kwargs):
        self.came_by.append("build")
        self.saw, self.first = pipeline, batch
        width = 64 if batch is None else batch.images.shape[1]
        self.sums, self.counts = np.zeros((10, width)), np.zeros((10, 1))

    def _train(self, x, y, rate=1.0):
        before = None if not self.counts.any() else float(np.mean(self._predict(x) == y))
        np.add.at(self.sums, y, rate * x)
        np.add.at(self.counts, y, rate)
        return before

    def _predict(self, x, count=None):
        means = self.sums / np.maximum(self.counts, 1e-9)
        return ((x[:, None] - means) ** 2).sum(axis=-1).argmin(axis=-1)[:count]

    def _save(self, path, digits=17):
        np.savez(path / "means.npz", sums=self.sums.round(digits), counts=self.counts)

    def _load(self, path, **kwargs):
        self.came_by.append("load")
        with np.load(path / "means.npz") as arrays:
            self.sums, self.counts = arrays["sums"], arrays["counts"]


def nearest_mean(dataset: Dataset, mode: str = "dynamic", **config: Any) -> Pipeline:
    return dataset.p.init_model(mode, NearestMean, "model", config)


def trained(dataset: Dataset, mode: str = "dynamic") -> Pipeline:
    return nearest_mean(dataset, mode).train_model("model", x="images", y="labels").run(100)
