"""What a model needs to go on in the middle of a run: the booster, and what XGBoost forgets of it.

Written as XGBoost's JSON and as plain data: reading it runs no code. What the definition says, such as
functions, is not read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchloom.errors import CorruptFileError
from batchloom_xgboost import files
from batchloom_xgboost.classes import Classes
from batchloom_xgboost.learned import Learned, Task
from batchloom_xgboost.parameters import Parameters

_FOUND = ("objective", "num_class", "booster", "base_score", "seed", "seed_per_iteration")
"""Parameters that training sets by itself."""


def save_learned(learned: Learned | None, given: Parameters, folder: Path) -> dict[str, Any] | None:
    """Write a booster into a folder, and return what else is known of it, as plain data."""
    if learned is None:
        return None
    (folder / "model.json").write_bytes(learned.booster.save_raw("json"))
    native = learned.parameters.native
    return {
        "found": {key: native[key] for key in _FOUND if native.get(key) != given.native.get(key)},
        "columns": learned.columns.state(),
        "classes": None if learned.classes is None else learned.classes.codes(),
        "fixed": learned.classes is not None and learned.classes.fixed,
        "history": learned.history,
    }


def read_learned(folder: Path, kept: Mapping[str, Any] | None, task: Task) -> Learned | None:
    """Read what `save_learned` wrote.

    Raises
    ------
    CorruptFileError
        If it is damaged.
    """
    if kept is None:
        return None
    if strange := set(kept["found"]) - set(_FOUND):
        raise CorruptFileError(f"the checkpoint sets parameters that it may not set: {strange}")
    parameters = replace(task.parameters, native={**task.parameters.native, **kept["found"]})
    booster = files.read_booster(folder, parameters, trusted=False)
    columns = task.new_columns()
    columns.restore(kept["columns"])
    return Learned(booster, parameters, columns, _classes(kept), kept["history"])


def _classes(kept: Mapping[str, Any]) -> Classes | None:
    if kept["classes"] is None:
        return None
    classes = Classes()
    classes.restore_codes(kept["classes"])
    classes.fixed = kept["fixed"]
    return classes
