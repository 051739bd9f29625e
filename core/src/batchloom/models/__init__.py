"""Models and their plug-ins: writing one, finding one by name, saving and loading it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchloom.models.base import BaseModel
    from batchloom.models.hooks import hookimpl, hookspec
    from batchloom.models.protocol import Model, RunInfo
    from batchloom.models.registry import get_model_class, list_models, refresh, register
    from batchloom.models.runs import PipelineRun
    from batchloom.models.saved import load_model

__all__ = [
    "BaseModel",
    "Model",
    "PipelineRun",
    "RunInfo",
    "get_model_class",
    "hookimpl",
    "hookspec",
    "list_models",
    "load_model",
    "refresh",
    "register",
]

_MODULES = {
    "BaseModel": "base",
    "Model": "protocol",
    "PipelineRun": "runs",
    "RunInfo": "protocol",
    "get_model_class": "registry",
    "hookimpl": "hooks",
    "hookspec": "hooks",
    "list_models": "registry",
    "load_model": "saved",
    "refresh": "registry",
    "register": "registry",
}


def __getattr__(name: str) -> Any:
    # pluggy and importlib_metadata cost more to import than the rest of core.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
