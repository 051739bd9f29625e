"""The config keys that are ours: how batches become one training, and within which bounds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from batchloom.errors import ModelConfigError

CORE_KEYS = ("build", "load", "path")

_CHOICES = {
    "strategy": ("collect", "continue"),
    "fit_at": ("run", "epoch"),
    "memory": ("internal", "external"),
    "unseen_categories": ("error", "missing"),
}
_COLLECT_ONLY = (
    "fit_at",
    "warm_start",
    "spool",
    "memory",
    "max_bytes",
    "max_rows",
    "eval_fraction",
    "train_metrics",
)


@dataclass(frozen=True)
class Settings:
    """Our own keys of a model's config, checked.

    Parameters
    ----------
    strategy : {"collect", "continue"}
        Train once on all the batches of an epoch, or add trees with every batch.
    rounds_per_batch : int
        Boosting rounds that each batch adds; ``"continue"`` only.
    fit_at : {"run", "epoch"}
        Train at the end of the run's last epoch, or at the end of every epoch.
    warm_start : bool
        Add the rounds to the model that is there instead of starting afresh.
    spool : bool or path
        Keep the gathered rows on disk, in a temporary folder (inside the folder given).
    memory : {"internal", "external"}
        Hold the quantile matrix in memory, or on disk as well; ``"external"`` implies `spool`.
    max_bytes : int, optional
        Most bytes of gathered rows to hold in memory.
    max_rows : int, optional
        Most rows that an epoch may bring.
    eval_fraction : float, optional
        Share of the rows to hold out for validation, between 0 and 1.
    eval_set : optional
        Validation data: ``(x, y)``, a mapping of train's arguments, or a list of those.
    train_metrics : bool
        Compute the metrics of each round on the training data as well, which takes a tenth of the time.
        Without it, the history has those of the validation data, and the loss cannot be asked for.
    classes : sequence, optional
        The labels of a classifier, where its batches should not decide.
    unseen_categories : {"error", "missing"}
        What a category is, at prediction, that training never saw.
    fitted : Booster, optional
        Trees to start with; an adapted estimator puts its own here.

    Raises
    ------
    ModelConfigError
        If a value is none of those possible, or does nothing beside another one.
    """

    strategy: str = "collect"
    rounds_per_batch: int = 1
    fit_at: str = "run"
    warm_start: bool = False
    spool: Any = False
    memory: str = "internal"
    max_bytes: int | None = None
    max_rows: int | None = None
    eval_fraction: float | None = None
    eval_set: Any = None
    train_metrics: bool = True
    classes: Any = None
    unseen_categories: str = "error"
    fitted: Any = None

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                raise ModelConfigError(
                    f"{key}={getattr(self, key)!r} is none of {', '.join(map(repr, choices))}"
                )
        for key in ("warm_start", "train_metrics"):
            if not isinstance(getattr(self, key), bool | np.bool_):
                raise ModelConfigError(f"{key}={getattr(self, key)!r} is neither True nor False")
        if not isinstance(self.spool, bool | str | os.PathLike):
            raise ModelConfigError(f"spool={self.spool!r} is neither True, False nor a folder")
        for key in ("rounds_per_batch", "max_bytes", "max_rows"):
            check_positive(key, getattr(self, key))
        if self.eval_fraction is not None and not 0 < self.eval_fraction < 1:
            raise ModelConfigError(f"eval_fraction={self.eval_fraction!r} is not between 0 and 1")
        if self.eval_fraction is not None and self.eval_set is not None:
            raise ModelConfigError("eval_fraction and eval_set exclude each other: give one")
        if self.warm_start and self.memory == "external":
            raise ModelConfigError('warm_start needs memory="internal": old trees split elsewhere')

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Take our keys out of a config and check that they fit together."""
        given = {key: value for key, value in config.items() if key in OWN_KEYS}
        settings = cls(**given)
        _refuse_idle_keys(settings, given)
        return settings

    @property
    def on_disk(self) -> bool:
        """Whether gathered rows go to disk."""
        return bool(self.spool) or self.memory == "external"


OWN_KEYS = tuple(field.name for field in fields(Settings))
DEFAULTS = {field.name: field.default for field in fields(Settings)}


def check_positive(key: str, value: Any) -> None:
    """Refuse what is neither None nor a whole number from 1 on."""
    if value is None:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ModelConfigError(f"{key}={value!r} is not a whole number from 1 on")


def library_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a config is meant for XGBoost."""
    return {k: v for k, v in config.items() if k not in OWN_KEYS and k not in CORE_KEYS}


def _refuse_idle_keys(settings: Settings, given: Mapping[str, Any]) -> None:
    if settings.strategy == "collect":
        idle = ["rounds_per_batch"]
    else:
        idle = list(_COLLECT_ONLY)
    for key in idle:
        if key in given and given[key] != DEFAULTS[key]:
            raise ModelConfigError(
                f"{key} does nothing with strategy={settings.strategy!r}: leave it out, "
                "or choose the other strategy"
            )
