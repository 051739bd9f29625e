"""The run of a pipeline, as lifecycle plug-ins see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import batchloom.models
from batchloom.dataset import Dataset
from batchloom.records import Record, field

Result = TypeVar("Result")


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
    begin_model: Callable[[batchloom.models.ModelHandle], None] | None = field(
        default=None, repr=False
    )


_current: ContextVar[PipelineRun | None] = ContextVar("batchloom_run", default=None)


# The context variable's own methods, because they are called for each batch, and Ctrl-C cannot come within.

current_run: Callable[[], PipelineRun | None] = _current.get
"""Return the run whose steps this thread is doing now, or None."""

enter_run: Callable[[PipelineRun | None], object] = _current.set
"""Have what this thread does from now on belong to a run, or to none: `within` where it need not be cheap.

Whoever calls it first keeps what `current_run` says, and goes back to that in a ``finally``; the call is
inside of the ``try``, because Ctrl-C may come when it returns.
"""


def within(run: PipelineRun, do: Callable[..., Result], /, *args: Any) -> Result:
    """Call a function, and have everything that this thread does meanwhile belong to a run."""
    outer = current_run()
    try:
        enter_run(run)
        return do(*args)
    finally:
        enter_run(outer)
