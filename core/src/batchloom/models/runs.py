"""The run of a pipeline, as lifecycle plug-ins see it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from batchloom.records import Record, field

if TYPE_CHECKING:
    from batchloom.dataset import Dataset
    from batchloom.models.handle import ModelHandle


class PipelineRun(Record):
    """One run of a pipeline: the same object in every hook call that belongs to it.

    It can be the key of a dict, and a weak reference to it can be kept.

    Parameters
    ----------
    dataset : Dataset or None
        What the pipeline runs over.
    config : mapping
        The pipeline's config.
    options : mapping of str to object
        Those of `Pipeline.run`, with their defaults: ``batch_size``, ``n_epochs``, ``shuffle``, ...
    seed : int
        What every random number of the run comes from.
    models : tuple of str
        The names of the pipeline's models.
    begin_model : callable or None
        Core's own: tells a model of the run, before it is first trained in it.
    """

    dataset: Dataset | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    models: tuple[str, ...] = ()
    begin_model: Callable[[ModelHandle], None] | None = field(default=None, repr=False)


_current: ContextVar[PipelineRun | None] = ContextVar("batchloom_run", default=None)


def current_run() -> PipelineRun | None:
    """Return the run whose steps this thread is doing now, or None."""
    return _current.get()


def enter_run(run: PipelineRun) -> Token[PipelineRun | None]:
    """Have what this thread does from now on belong to a run; `doing` where it need not be cheap."""
    return _current.set(run)


def leave_run(before: Token[PipelineRun | None]) -> None:
    """Go back to what was before `enter_run`."""
    _current.reset(before)


@contextlib.contextmanager
def doing(run: PipelineRun) -> Iterator[None]:
    """Have everything that this thread does meanwhile belong to a run."""
    before = _current.set(run)
    try:
        yield
    finally:
        _current.reset(before)
