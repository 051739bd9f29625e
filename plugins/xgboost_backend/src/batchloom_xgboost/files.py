"""The files of a saved model: XGBoost's own, and beside it what XGBoost forgets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from batchloom.errors import (
    CorruptFileError,
    FormatVersionError,
    ModelConfigError,
    SaveError,
    UnsafeFileError,
)
from batchloom_xgboost.classes import Classes
from batchloom_xgboost.columns import Columns
from batchloom_xgboost.learned import Learned
from batchloom_xgboost.library import xgboost as xgb
from batchloom_xgboost.parameters import Parameters, reason
from batchloom_xgboost.tree_check import parse_model

FORMAT = 1
FORMATS = ("json", "ubj")
_STATE = "state.json"


def write(learned: Learned, config: Mapping[str, Any], directory: Path, format: str) -> None:
    """Write a trained model into an empty directory.

    Parameters
    ----------
    learned : Learned
    config : mapping
        The part of the config to keep; values that JSON cannot hold are left out.
    directory : Path
    format : {"json", "ubj"}

    Raises
    ------
    ModelConfigError
        If there is no such format.
    SaveError
        If there are categories that JSON cannot hold.
    """
    if format not in FORMATS:
        raise ModelConfigError(f"format={format!r} is none of {', '.join(map(repr, FORMATS))}")
    kept, omitted = split_config(config)
    state = {
        "format": FORMAT,
        "config": kept,
        "omitted": omitted,
        "columns": _checked_columns(learned.columns),
        "classes": learned.classes.state() if learned.classes else None,
        "history": learned.history,
    }
    (directory / _STATE).write_text(json.dumps(state), encoding="utf-8")
    (directory / f"model.{format}").write_bytes(learned.booster.save_raw(format))


def read_state(directory: Path) -> dict[str, Any]:
    """Read what XGBoost's own file does not hold.

    Raises
    ------
    CorruptFileError
        If it cannot be read.
    FormatVersionError
        If a newer version of this package wrote it.
    """
    try:
        state = json.loads((directory / _STATE).read_bytes())
        version = int(state["format"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise CorruptFileError(
            f"{_STATE} of the saved XGBoost model cannot be read: {exc}"
        ) from exc
    if version > FORMAT:
        raise FormatVersionError(
            f"the model is in format {version} of batchloom-xgboost, and this version reads up to "
            f"{FORMAT}: upgrade batchloom-xgboost"
        )
    return state


def read_booster(directory: Path, parameters: Parameters, *, trusted: bool) -> Any:
    """Read and check the booster, and give it the parameters that the library forgets.

    Raises
    ------
    UnsafeFileError
        If it is UBJSON and nobody said that its source is trusted: damaged UBJSON ends the process
        while it is read, before anything can be checked.
    CorruptFileError
        If an index in it leads out of it, or XGBoost cannot read it.
    """
    text = directory / "model.json"
    if text.exists():
        raw = text.read_bytes()
        parse_model(raw)
    else:
        raw = _trusted_bytes(directory / "model.ubj", trusted)
    try:
        booster = xgb.Booster(parameters.native, model_file=bytearray(raw))
        if not text.exists():
            parse_model(bytes(booster.save_raw("json")))
        booster.save_config()  # configures it now: predictions may come from several threads
    except (xgb.core.XGBoostError, TypeError) as exc:
        raise CorruptFileError(f"XGBoost cannot read the saved model: {reason(exc)}") from exc
    return booster


def restore(state: Mapping[str, Any], columns: Columns) -> tuple[Columns, Classes | None]:
    """Make columns and classes of what a file kept.

    Raises
    ------
    CorruptFileError
        If they are not what `write` wrote.
    """
    try:
        columns.restore(state["columns"])
        classes = Classes.restore(state["classes"]) if state["classes"] else None
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise CorruptFileError(f"{_STATE} of the saved XGBoost model is damaged: {exc}") from exc
    return columns, classes


def _trusted_bytes(path: Path, trusted: bool) -> bytes:
    if not path.exists():
        raise CorruptFileError("the file holds no XGBoost model (model.json or model.ubj)")
    if not trusted:
        raise UnsafeFileError(
            "the model is in UBJSON, which XGBoost reads without checking: a crafted or damaged "
            "file ends the process. If you trust where it comes from, give trusted=True to "
            'load_model or load; else save it with format="json"'
        )
    return path.read_bytes()


def split_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Split a config into what JSON can hold and the keys of what it cannot."""
    plain = dict(map(_plain_item, config.items()))
    kept = {key: value for key, value in plain.items() if _is_json(value)}
    return kept, [key for key in plain if key not in kept]


def _plain_item(item: tuple[str, Any]) -> tuple[str, Any]:
    key, value = item
    if isinstance(value, (np.generic, np.ndarray)):
        return key, value.tolist()
    return key, value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _checked_columns(columns: Columns) -> dict[str, Any]:
    for name, values in columns.categories.items():
        strange = [v for v in values if not isinstance(v, (str, int, float, bool))]
        if strange:
            raise SaveError(
                f"column {name!r} has categories of type {type(strange[0]).__name__}, which a file "
                "cannot hold: make them strings or numbers"
            )
    return columns.state()
