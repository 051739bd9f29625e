"""All that comes out of a run, and all that a pipeline holds, as values that can be compared."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

from prefetch_steps import batch_content, frozen
from random_pipelines import shuffles

from batchloom import Pipeline


class BodyError(Exception):
    """Raised in the body of a loop over batches."""


def outcome(p: Pipeline, ending: tuple[str, int], body: str, **run: Any) -> dict[str, Any]:
    """Run a pipeline to an ending, and give all that came out of it but what the pipeline holds."""
    how, last = ending
    given: list[Any] = []
    ended = None
    run["shuffle"] = shuffles(run["shuffle"])
    with warnings.catch_warnings(record=True) as said, printed() as text:
        warnings.simplefilter("always")
        try:
            batches = p.gen_batch(**run)
            for batch in batches:
                given.append(content(batch))
                if how != "whole" and len(given) > last:
                    if how == "raise":
                        raise BodyError
                    break
                in_body(body, p, batch)
            if how == "close":
                batches.close()  # type: ignore[attr-defined]
        except BaseException as exc:
            ended = told(exc)
        batches = None  # type: ignore[assignment]
    return {
        "batches": given,
        "ended": ended,
        "failures": [
            (each.epoch, each.number, frozen(each.indices), each.step, told(each.exception))
            for each in p.failures
        ],
        "printed": text.getvalue(),
        "said": sorted({str(each.message) for each in said}),
        "seed": p.seed,
    }


def stream(p: Pipeline, **run: Any) -> Iterator[Any]:
    """Give what comes out of a run, one by one."""
    run["shuffle"] = shuffles(run["shuffle"])
    batches = p.gen_batch(**run)
    try:
        while True:
            try:
                batch = next(batches, None)
            except BaseException as exc:
                yield "ended", told(exc)
                return
            if batch is None:
                return
            yield content(batch)
    finally:
        batches.close()  # type: ignore[attr-defined]


@contextlib.contextmanager
def printed() -> Iterator[io.StringIO]:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        yield text


def in_body(body: str, p: Pipeline, batch: Any) -> None:
    """What a user may do with a batch in the loop."""
    if body == "write":
        p.variables["n"] += 1
        p.variables["m"] = float(batch.number)
    elif body == "train" and batch.size:
        p.models["shared"].train(x=batch.x)


def content(batch: Any) -> Any:
    return *batch_content(batch), repr(batch.random.bit_generator.state)


def told(exc: BaseException) -> Any:
    """An exception as it can be compared; of a type that cannot be pickled, as a worker says it."""
    name, text = type(exc).__name__, str(exc)
    if name in ("OwnError", "UnpicklableError"):
        name, text = "WorkerError", f"prefetch_steps.{name}: {text}"
    notes = [
        each
        for each in getattr(exc, "__notes__", ())
        if not each.startswith(("in a worker process", "its own type cannot be pickled"))
    ]
    return name, text, notes


def state(p: Pipeline) -> dict[str, Any]:
    """All that a pipeline holds."""
    held = {f"variable {name}": frozen(each) for name, each in p.variables.items()}
    for name, model in p.models.items():
        stopped = getattr(model, "stop_training", False)
        held[f"model {name}"] = frozen(model.memory), stopped
    return held
