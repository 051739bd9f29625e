"""Which MLflow run each living model was last trained in."""

from __future__ import annotations

import weakref
from typing import Any

# By identity: a model need not have a hash.
_runs: dict[int, tuple[weakref.ref[Any], str]] = {}


def remember(model: Any, run_id: str) -> None:
    """Note that a model is trained in a run."""
    key = id(model)
    _runs[key] = weakref.ref(model, lambda _: _runs.pop(key, None)), run_id


def run_id_of(model: Any) -> str | None:
    """Return the id of the MLflow run that a model was last trained in.

    Parameters
    ----------
    model : object
        As ``pipeline.get_model_by_name(name)`` gives it.

    Returns
    -------
    str or None
        None if it was not trained in this process, or the training was not recorded.
    """
    found = _runs.get(id(model))
    return found[1] if found is not None and found[0]() is model else None
