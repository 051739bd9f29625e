"""What docs/public-api.md lists is what there is: to change it is a decision, not an accident."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import batchloom
from batchloom import errors, models, records
from batchloom.models import BaseModel, entries, hooks, manifest
from batchloom.records import Record
from batchloom.testing import ModelTests
from batchloom.testing.checks import CHECKS

BLOCK = re.compile(r"(?<=```text\n).*?(?=```)", re.S)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "public-api.md"
CONTRACT = PAGE.with_name("model-contract.md")

FOR_AUTHORS = ("_build", "_load", "_train", "_predict", "_save", "_begin_run", "_end_epoch",
               "_abandon_run", "_capture_settings", "_describe")  # fmt: skip


def plain(function: Any) -> str:
    """A signature without its annotations, which may grow more exact."""
    signature = inspect.signature(function)
    parameters = [
        each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()
    ]
    empty = inspect.Signature.empty
    return str(signature.replace(parameters=parameters, return_annotation=empty))


def described(path: str, found: Any) -> Iterator[str]:
    if inspect.isclass(found) and issubclass(found, BaseException):
        yield path
    elif inspect.isclass(found):
        if is_dataclass(found):
            yield f"{path}: {', '.join(each.name for each in fields(found))}"
            return
        if issubclass(found, Record):
            yield f"{path}: {', '.join(records.fields(found))}"
            return
        own = [
            name
            for name in sorted(dir(found))
            if not name.startswith("_") or (found is BaseModel and name in FOR_AUTHORS)
        ]
        yield f"{path}{plain(found)}"
        for name in own:
            value = inspect.getattr_static(found, name)
            value = getattr(value, "__func__", value)
            shown = plain(value) if inspect.isfunction(value) else ""
            yield f"  .{name}{shown}"
    elif inspect.isfunction(found):
        yield f"{path}{plain(found)}"
    else:
        yield path


def listing() -> Iterator[str]:
    for module in ("batchloom", "batchloom.models", "batchloom.testing"):
        for name in import_module(module).__all__:
            yield from described(f"{module}.{name}", getattr(import_module(module), name))
    for name, found in vars(errors).items():
        if inspect.isclass(found) and found.__module__ == errors.__name__:
            bases = ", ".join(each.__name__ for each in found.__bases__)
            yield f"batchloom.errors.{name}({bases})"
    yield f"batchloom.errors.nearest{plain(errors.nearest)}"
    for name in hooks.HOOKS:
        specification = getattr(hooks.LifecycleSpecs, name)
        first = specification.batchloom_spec["firstresult"]
        yield f"hook {name}{plain(specification)}{' firstresult' if first else ''}"
    yield from (f"entry-point group {each}" for each in entries.GROUPS)
    yield f"environment variable {entries.DISABLE}"
    yield f"saved model: format {manifest.FORMAT}"
    yield f"plug-in API: version {models.API_VERSION}"


def test_the_page_lists_what_there_is() -> None:
    (block,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert block.splitlines() == list(listing()), (
        "the public API changed. If that is meant: `python tests/document/test_public_api.py` brings the "
        "list in docs/public-api.md up to date. Raise batchloom.models.API_VERSION if something of it went "
        "away or means something else"
    )


def test_a_version_of_the_api_goes_with_a_minor_version_of_the_core() -> None:
    assert {"0.1": 1}[".".join(batchloom.__version__.split(".")[:2])] == models.API_VERSION


def test_the_contract_and_the_kit_say_the_same() -> None:
    text = CONTRACT.read_text(encoding="utf-8")
    sections = re.findall(r"^### (.*)\n\n\*\*(.*)\*\*\n(?:(?!^#).*\n)*?Check: `(.*)`$", text, re.M)
    assert sections == [
        (each.name.replace("_", " ").capitalize(), each.promise, f"test_{each.name}")
        for each in CHECKS.values()
    ]
    assert text.count("\n### ") == len(CHECKS)


def test_every_promise_is_a_test_of_the_kit() -> None:
    tests = [name for name in vars(ModelTests) if name.startswith("test_")]
    assert tests == ["test_overrides_give_a_reason", *(f"test_{name}" for name in CHECKS)]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: "\n".join([*listing(), ""]), text), encoding="utf-8")
