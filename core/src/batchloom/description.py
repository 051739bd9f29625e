"""What a pipeline looks like when it is printed, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from batchloom.definition import DeclareModel, ImportModel
from batchloom.steps import EvaluateStep, Step

if TYPE_CHECKING:
    from batchloom.pipeline import Pipeline


def describe(pipeline: Pipeline) -> str:
    """Give the dataset, the steps and the models, a line each."""
    steps = [f"  {number}. {each}" for number, each in enumerate(_steps(pipeline), start=1)]
    width = max(map(len, pipeline._definition.models), default=0)
    models = [f"  {name:{width}}  {said}" for name, said in _models(pipeline)]
    lines = [f"Pipeline over {_dataset(pipeline)}", *steps]
    return "\n".join([*lines, "models:", *models] if models else lines)


def describe_html(pipeline: Pipeline) -> str:
    """Give the same as a piece of HTML, without style sheets or scripts."""
    steps = "".join(f"<li><code>{escape(each)}</code></li>" for each in _steps(pipeline))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(said)}</td></tr>"
        for name, said in _models(pipeline)
    )
    table = f"<table><tr><th>model</th><th></th></tr>{rows}</table>" if rows else ""
    return f"<div><b>Pipeline</b> over {escape(_dataset(pipeline))}<ol>{steps}</ol>{table}</div>"


def _dataset(pipeline: Pipeline) -> str:
    return "no dataset (a template)" if pipeline.dataset is None else repr(pipeline.dataset)


def _steps(pipeline: Pipeline) -> Iterator[str]:
    for each in pipeline._definition.steps:
        yield each.describe() + _when(each)


def _when(step: Step) -> str:
    if isinstance(step, EvaluateStep):
        return "  [computed when the run ends]"
    return ""


def _models(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    for name, declared in pipeline._definition.models.items():
        handle = pipeline._state.find(name)
        if isinstance(declared, ImportModel):
            kind, mode, clause = "of another pipeline", "imported", ""
        else:
            assert isinstance(declared, DeclareModel)
            kind, mode = declared.spec.kind, declared.mode
            clause = declared.spec.describe_unbuilt() if handle is None else ""
        if handle is not None:
            kind, clause = handle.spec.kind, handle.calls.describe()
        made = "made" if handle is not None else "not made yet"
        yield name, f"{kind}, {mode}, {made}" + (f": {clause}" if clause else "")
