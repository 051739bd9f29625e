"""From a model's config and outputs to MLflow's flat names, texts and numbers."""

from __future__ import annotations

import numbers
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

PARAMETER_LENGTH = 6000  # what MLflow keeps of a parameter's value
NAME_LENGTH = 250
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
STEP_KEYS = ("step", "round", "iteration", "epoch")


def clean_name(*parts: object) -> str:
    """Join parts to a name that MLflow takes: it refuses most punctuation, and paths that lead up.

    Examples
    --------
    >>> clean_name("my model", "f1 (macro)")
    'my model/f1 _macro_'
    """
    text = re.sub(r"[^\w.\- /]", "_", "/".join(str(each) for each in parts))
    tidy = posixpath.normpath(text).replace("../", "").strip("/")
    return tidy[:NAME_LENGTH]


def parameters(prefix: str, values: Mapping[Any, Any]) -> dict[str, str]:
    """Flatten a config: nested mappings by ``/``, values as texts."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = clean_name(prefix, key) if prefix else clean_name(key)
        if isinstance(value, Mapping) and value:
            flat |= parameters(name, value)
        else:
            flat[name] = as_text(value)
    return flat


def as_text(value: Any) -> str:
    """Write a parameter: a function or class by its name, the rest as Python writes it.

    An object that Python writes with its address says nothing, and something else in each run: it is
    written by its class, and by its settings if it tells them, as Keras's optimizers do.
    """
    if callable(value) and hasattr(value, "__qualname__"):
        text = f"{value.__module__}.{value.__qualname__}"
    else:
        text = value if isinstance(value, str) else repr(value)
        if not isinstance(value, str) and _ADDRESS.search(text):
            text = _described(value, text)
    return text if len(text) <= PARAMETER_LENGTH else text[: PARAMETER_LENGTH - 1] + "…"


def _described(value: Any, text: str) -> str:
    get_config = getattr(value, "get_config", None)
    try:
        settings = get_config() if callable(get_config) else None
    except Exception:  # a class of the user's that cannot tell
        settings = None
    if settings is None:
        return _ADDRESS.sub("", text)
    given = (f"{key}={each!r}" for key, each in settings.items() if each is not None)
    return _ADDRESS.sub("", f"{type(value).__qualname__}({', '.join(given)})")


def outputs(value: Any, asked: Any) -> Iterator[tuple[str, Any]]:
    """Name the parts of what training gave.

    Parameters
    ----------
    value : object
        The output.
    asked : str, sequence, mapping or None
        What `output` (or `fetches`) asked for.

    Yields
    ------
    tuple of str and object
        ``("loss", 0.3)``; what nobody named is called ``"output"``.
    """
    if isinstance(value, Mapping):
        yield from _flat("", value)
    elif isinstance(asked, Sequence) and not isinstance(asked, str):
        both = zip(asked, value, strict=False) if _is_sequence(value) else [("output", value)]
        for name, each in both:
            yield from _flat(str(name), each)
    else:
        yield from _flat(asked if isinstance(asked, str) else "output", value)


def histories(value: Any, asked: Any) -> Iterator[tuple[str, Any, int | None]]:
    """Name the parts of what a model gave at the end of an epoch, with the step of each.

    A list of dicts is a history: each dict has a step, its own or its place in the list. Everything
    else belongs to the step that the model has come to, which None stands for.
    """
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        for place, row in enumerate(value):
            key = next((each for each in STEP_KEYS if each in row), None)
            step = int(row[key]) if key is not None else place
            for name, each in _flat("", {k: v for k, v in row.items() if k != key}):
                yield name, each, step
    else:
        for name, each in outputs(value, asked):
            yield name, each, None


def as_number(value: Any) -> float | None:
    """Return a number, or an array that holds exactly one; None for everything else."""
    if isinstance(value, (numbers.Real, np.bool_)):
        return float(value)
    if getattr(value, "shape", None) is not None and getattr(value, "size", 0) == 1:
        array = np.asarray(value)
        return float(array.reshape(())) if array.dtype.kind in "biuf" else None
    return None


def kind_of(value: Any) -> str:
    """Say in words what a value is."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return kind if shape is None else f"{kind} of shape {tuple(shape)}"


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{name}/{key}" if name else str(key), each)
    elif _is_sequence(value):
        for place, each in enumerate(value):
            yield from _flat(f"{name}_{place}", each)
    else:
        yield name, value


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple))
