"""A checkpoint says with which versions of packages it was made, and is held against those that are there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefetch_steps import over

from batchloom import Pipeline
from batchloom.errors import CheckpointMismatchError

RUN: dict[str, Any] = {"batch_size": 4, "shuffle": 3, "n_epochs": 3}

ACME = """
import numpy as np
from batchloom.models import BaseModel

class Mean(BaseModel):
    data_args = ("x",)

    def _build(self, *args, **kwargs):
        self.mean = 0.0

    def _train(self, x):
        self.mean = 0.9 * self.mean + float(x.sum())

    def _save(self, path, **kwargs):
        np.save(path / "mean.npy", self.mean)

    def _load(self, path, **kwargs):
        self.mean = float(np.load(path / "mean.npy"))
"""


def test_another_version_of_a_package(install: Callable[..., Path], tmp_path: Path) -> None:
    """A patch is said; what may keep other things in its files is refused, also with force=True."""

    def pipeline() -> Pipeline:
        return over(40).init_model("dynamic", "acme/Mean", "m").noise().train_model("m", x="x")

    def there(version: str) -> Path:
        return install("batchloom-acme", version, models={"acme/Mean": "acme:Mean"}, acme=ACME)

    first = there("1.4.2")
    kept = tmp_path / "kept"
    whole = pipeline().run(**RUN).models["m"].mean
    for batch in pipeline().gen_batch(**RUN, checkpoint=kept, checkpoint_every=3):
        if batch.number == 14:
            break
    shutil.rmtree(first)
    second = there("2.0")
    for force in (False, True):
        with pytest.raises(
            CheckpointMismatchError, match=r"package batchloom-acme: 1\.4\.2 then, 2\.0 now"
        ):
            pipeline().resume(kept, force=force)
    shutil.rmtree(second)
    there("1.4.3")
    with pytest.warns(RuntimeWarning, match=r"batchloom-acme 1\.4\.2 then, 1\.4\.3 now"):
        assert pipeline().resume(kept).models["m"].mean == whole
