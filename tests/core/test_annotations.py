"""The annotations of what is public can be read at run time: editors and documentation tools do."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import batchloom
from batchloom.models import BaseModel, hooks

MODULES = ("batchloom", "batchloom.models", "batchloom.testing")
PUBLIC: dict[str, Any] = {
    f"{module}.{name}": getattr(import_module(module), name)
    for module in MODULES
    for name in import_module(module).__all__
}
ANNOTATED = {
    **{path: each for path, each in PUBLIC.items() if callable(each)},
    "the hooks": hooks.LifecycleSpecs,
    "the keywords of run": batchloom.RunKeywords,
}


def functions_of(found: Any) -> Iterator[Any]:
    """The public functions and properties of a class, and what authors of models override."""
    for name, member in inspect.getmembers_static(found) if inspect.isclass(found) else ():
        if name.startswith("_") and not name.startswith("__") and found is not BaseModel:
            continue
        member = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(member):
            yield member


@pytest.mark.parametrize("path", ANNOTATED)
def test_all_that_annotations_name_is_found(path: str) -> None:
    found = ANNOTATED[path]
    for each in (found, *functions_of(found)):
        if inspect.isclass(each) or inspect.isfunction(each):
            assert typing.get_type_hints(each).keys() >= inspect.get_annotations(each).keys()


def test_the_annotations_of_a_run_say_what_it_takes() -> None:
    hints = typing.get_type_hints(batchloom.Pipeline.run)
    assert hints["options"] == typing.Unpack[batchloom.RunKeywords]
    shuffles = typing.get_args(typing.get_type_hints(batchloom.RunKeywords)["shuffle"])
    assert {bool, int, str, batchloom.BlockShuffle} <= set(shuffles)
