"""Gradient-boosted trees of LightGBM: what an author puts into the package of the template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from batchloom.errors import ModelConfigError, ModelNotBuiltError, nearest
from batchloom.models import BaseModel, RunInfo


class Trees(BaseModel):
    """Boosted trees. Batches are gathered, and the trees are grown when the last epoch ends.

    The config takes ``objective``, ``num_class``, ``num_leaves``, ``learning_rate`` and ``rounds``.
    """

    data_args = ("x", "y")
    predict_is_thread_safe = False
    library = "lightgbm"

    @classmethod
    def describe_config(cls) -> dict[str, Any]:
        """List the keys of the config with their defaults."""
        return {
            "objective": "multiclass",
            "num_class": 3,
            "num_leaves": 7,
            "learning_rate": 0.1,
            "rounds": 10,
        }

    def _build(self, *args: Any, **kwargs: Any) -> None:
        known = self.describe_config()
        given = {k: v for k, v in self.config.items() if k not in ("build", "load", "path")}
        for key in given.keys() - known.keys():
            raise ModelConfigError(f"Trees has no option {key!r}{nearest(key, known)}")
        self._options = {**known, **given}
        self._rounds = self._options.pop("rounds")
        self._booster: lightgbm.Booster | None = None
        self._seed = 0
        self._drop()

    def _begin_run(self, run: RunInfo) -> None:
        self._seed = run.seed % 2**31
        self._drop()

    def _train(self, x: Any, y: Any) -> None:
        self._x.append(np.array(x))
        self._y.append(np.array(y))

    def _end_epoch(self, epoch: int, last: bool) -> None:
        if last:
            data = lightgbm.Dataset(np.concatenate(self._x), np.concatenate(self._y))
            self._booster = lightgbm.train(self._parameters(), data, self._rounds)
        self._drop()

    def _abandon_run(self) -> None:
        self._drop()

    def _predict(self, x: Any) -> Any:
        return self._grown().predict(np.asarray(x))

    def _save(self, path: Path, **kwargs: Any) -> None:
        text = self._grown().model_to_string()
        (path / "trees.txt").write_text(text, encoding="utf-8")

    def _load(self, path: Path, **kwargs: Any) -> None:
        text = (path / "trees.txt").read_text(encoding="utf-8")
        # LightGBM's parser does not notice that a file was cut off.
        if not text.rpartition("\n\n")[2].startswith("pandas_categorical:"):
            raise ValueError("trees.txt does not end as LightGBM writes it")
        self._booster = lightgbm.Booster(model_str=text)

    def _parameters(self) -> dict[str, Any]:
        fixed = {"verbosity": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True}
        return {**self._options, **fixed, "seed": self._seed, "min_data_in_leaf": 5}

    def _grown(self) -> lightgbm.Booster:
        if getattr(self, "_booster", None) is None:
            raise ModelNotBuiltError("the trees are grown when the last epoch of a run ends")
        return self._booster

    def _drop(self) -> None:
        self._x: list[Any] = []
        self._y: list[Any] = []
