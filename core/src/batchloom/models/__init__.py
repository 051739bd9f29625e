"""Models and their plug-ins: writing one, finding one by name, saving and loading it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchloom.models.base import BaseModel
    from batchloom.models.handle import ModelHandle as ModelHandle
    from batchloom.models.hooks import hookimpl, hookspec
    from batchloom.models.late import LateOutput
    from batchloom.models.lifecycle import register_plugin, unregister_plugin
    from batchloom.models.protocol import Model, RunInfo
    from batchloom.models.registry import get_model_class, list_models, refresh, register
    from batchloom.models.runs import PipelineRun
    from batchloom.models.saved import load_model

API_VERSION = 1
"""The version of the plug-in API: all that ``docs/public-api.md`` lists.

It goes up when something public is taken away or changes its meaning, and the core's minor version
(from 1.0 on its major version) goes up with it: a package states by ``batchloom>=0.1,<0.2`` which API
it was made for, and that is checked before any of its code is imported. What is added does not count.
"""

__all__ = [
    "API_VERSION",
    "BaseModel",
    "LateOutput",
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
    "register_plugin",
    "unregister_plugin",
]

_MODULES = {
    "BaseModel": "base",
    "LateOutput": "late",
    "Model": "protocol",
    "ModelHandle": "handle",  # for annotations
    "PipelineRun": "runs",
    "RunInfo": "protocol",
    "get_model_class": "registry",
    "hookimpl": "hooks",
    "hookspec": "hooks",
    "list_models": "registry",
    "load_model": "saved",
    "refresh": "registry",
    "register": "registry",
    "register_plugin": "lifecycle",
    "unregister_plugin": "lifecycle",
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
