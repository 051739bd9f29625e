"""Fingerprints: whether a definition and its data are those that a checkpoint was made with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchloom.dataset import Dataset
from batchloom.definition import DeclareModel, Definition, ImportModel
from batchloom.records import fields
from batchloom.steps import CompoundStep, PartnerStep, Step, short

SAMPLED_ROWS = 1000

_LONGEST = 1000
# Keras counts the layers of a process in their names: made again, they have other numbers.
_NUMBER = re.compile(r"_\d+$")
# What the config of a network gains when it is first used; an input layer is no less.
_OF_USE = ("build_config", "build_input_shape")


def fingerprint(definition: Definition) -> dict[str, str]:
    """Describe what a run depends on, part by part.

    Returns
    -------
    dict
        Part to text. The data is represented by its shape and by a sample of its rows.
    """
    dataset = definition.dataset
    assert dataset is not None
    parts = {f"step {at}": _step(each) for at, each in enumerate(definition.steps, start=1)}
    parts["config"] = stable_text(dict(definition.config))
    parts["batch class"] = stable_text(dataset.batch_class)
    parts["index"] = f"{len(dataset)} items, {_digest(_sampled_ids(dataset))}"
    for name in dataset.columns:
        parts[f"column {name!r}"] = _column(dataset, name)
    partners = (
        each for s in definition.all_steps() if isinstance(s, PartnerStep) for each in s.pipelines
    )
    for at, partner in enumerate(partners, start=1):
        for name, part in fingerprint(partner._definition).items():
            parts[f"partner {at}, {name}"] = part
    return parts


def stable_text(value: Any) -> str:
    """Write a value so that it reads the same in every process: no addresses, arrays by content."""
    if isinstance(value, np.ndarray) and value.size > 16:
        return f"array({value.dtype}, {value.shape}, {_digest(value)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {stable_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(stable_text, value)) + "]"
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if callable(getattr(value, "get_config", None)):
        return _text_of_config(value)
    text = repr(value)
    return f"a {type(value).__qualname__}" if " at 0x" in text else text


def _text_of_config(value: Any) -> str:
    """Write an object that tells what it was made with, as Keras's layers and optimizers do."""
    kind = type(value).__qualname__
    try:
        text = f"{kind}({_settings(value.get_config())})"
    except Exception:  # a class of the user's that cannot tell
        return f"a {kind}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return text if len(text) <= _LONGEST else f"{kind}({digest})"


def _settings(config: Any) -> str:
    if isinstance(config, str):
        return repr(_NUMBER.sub("", config))
    if isinstance(config, (list, tuple)):
        return "[" + ", ".join(_settings(each) for each in config if not _is_input(each)) + "]"
    if not isinstance(config, Mapping):
        return stable_text(config)
    if "class_name" in config and "config" in config:
        return f"{config['class_name']}({_settings(config['config'])})"
    given = {k: v for k, v in config.items() if v is not None and k not in _OF_USE}
    return ", ".join(f"{key}={_settings(each)}" for key, each in given.items())


def _is_input(config: Any) -> bool:
    return isinstance(config, Mapping) and config.get("class_name") == "InputLayer"


def _step(step: Step) -> str:
    name = type(step).__name__
    if isinstance(step, CompoundStep):
        inner = ", ".join(map(_step, step.steps))
        rest = getattr(step, "times", getattr(step, "probability", ""))
        return f"{name}({inner}; {rest})"
    if isinstance(step, DeclareModel):
        made = step.spec.registered_name or stable_text(step.spec.model_class)
        return f"{name}({step.mode}, {step.name}, {made}, {stable_text(step.spec.config)})"
    if isinstance(step, ImportModel):
        return f"{name}({step.name})"
    given = {each: getattr(step, each, None) for each in fields(step)}
    return short(f"{name}({stable_text(given)})", most=400).strip("'\"")


def _column(dataset: Dataset, name: str) -> str:
    known = getattr(dataset.columns[name], "fingerprint", None)
    if known is not None:
        return str(known)
    rows = dataset.gather(name, _sample(dataset))
    kind = type(rows).__name__
    if isinstance(rows, np.ndarray):
        return f"{kind} of {rows.dtype}, {rows.shape[1:]}, {_digest(rows)}"
    return f"{kind}, {_digest(np.frombuffer(repr(rows).encode(), dtype=np.uint8))}"


def _sample(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.unique(np.linspace(0, max(len(dataset) - 1, 0), SAMPLED_ROWS).astype(np.intp))[
        : len(dataset)
    ]


def _sampled_ids(dataset: Dataset) -> np.ndarray[Any, Any]:
    return dataset.index.take(_sample(dataset))


def _digest(array: np.ndarray[Any, Any]) -> str:
    data = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
    return hashlib.sha256(data).hexdigest()[:12]
