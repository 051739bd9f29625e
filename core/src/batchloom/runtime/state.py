"""The state of one pipeline object: its variables, its models and its place in the data."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from batchloom.definition import Definition, ImportModel
from batchloom.errors import (
    DefinitionError,
    ModelNotBuiltError,
    SkipBatch,
    TooManySkippedError,
    UnknownModelError,
)
from batchloom.expressions import evaluate
from batchloom.randomness import model_seed
from batchloom.records import Record
from batchloom.runtime.view import RunningPipeline
from batchloom.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchloom.batch import Batch
    from batchloom.index import Ids
    from batchloom.models.handle import ModelHandle


class RestoredFailure(Exception):  # noqa: N818  (stands for an exception of another process)
    """What is left of an exception after a resumed run: its type's name and its text."""


class Failure(Record):
    """A batch that did not get through, and why.

    Attributes
    ----------
    epoch, number : int
        Which batch.
    indices : array
        The ids of its items.
    step : str
        The step that failed.
    exception : BaseException
        Without its traceback, which would keep the batch in memory.
    traceback : str
    """

    epoch: int
    number: int
    indices: Ids
    step: str
    exception: BaseException
    traceback: str

    @property
    def reason(self) -> str:
        """The name of the exception's type, and its text."""
        if isinstance(self.exception, RestoredFailure):
            return str(self.exception)
        return f"{type(self.exception).__name__}: {self.exception}"

    def __repr__(self) -> str:
        batch = f"batch {self.number} of epoch {self.epoch}"
        return f"<Failure: {batch} in {self.step}: {self.reason}>"


def one_too_many(exc: Exception, skipped: Sequence[Failure]) -> Exception:
    """Make what ends a run that may leave out no more batches: the exception, with a note that says so."""
    before = f", the last one {skipped[-1]!r}; pipeline.failures has them" if skipped else ""
    note = f"max_skipped={len(skipped)}: as many batches had been left out before this one{before}"
    if isinstance(exc, SkipBatch):
        # It is a signal to the run, and a run that this one is part of would take it for one to itself.
        ended = TooManySkippedError(f"{type(exc).__name__}: {exc}")
        ended.__cause__, ended.__notes__ = exc, list(getattr(exc, "__notes__", ()))
        exc = ended
    exc.add_note(note)
    return exc


class Models(dict[str, Any]):
    """The models of a pipeline that exist, by name; for another name it says why there is none."""

    def __init__(self, state: State) -> None:
        there = {name: state.find(name) for name in state.definition.models}
        super().__init__({name: each.model for name, each in there.items() if each is not None})
        self._state = state

    def __missing__(self, name: str) -> Any:
        return self._state.handle(name).model


class State:
    """What one pipeline object remembers.

    Attributes
    ----------
    handles : dict
        The models that were made or imported, by name.
    failures : list of Failure
        Of the last run.
    variables_now : Variables or None
        The variables if they were looked at before: for what is done for each batch.
    seed : int or None
    batch_size : int
    shuffled : bool
        Of the last run.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.handles: dict[str, ModelHandle] = {}
        self.failures: list[Failure] = []
        self.seed: int | None = None
        self.batch_size = 1
        self.shuffled = False
        self._lock = threading.RLock()
        self.variables_now: Variables | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: each for name, each in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    @property
    def variables(self) -> Variables:
        """The variables, which get their first values when they are first looked at."""
        found = self.variables_now
        if found is not None:
            return found
        with self._lock:
            if self.variables_now is None:
                self.variables_now = Variables(self.definition.variables)
            return self.variables_now

    @property
    def models(self) -> Models:
        """The models that exist now."""
        return Models(self)

    def forget(self, what: str) -> None:
        """Let go of the ``variables`` or the (dynamic and imported) ``models``."""
        with self._lock:
            if what == "variables":
                self.variables_now = None
            else:
                self.handles.clear()

    def handle(self, name: str) -> ModelHandle:
        """Give a model that exists.

        Raises
        ------
        UnknownModelError, ModelNotBuiltError
        """
        found = self.existing(name)
        if found is not None:
            return found
        raise ModelNotBuiltError(
            f"model {name!r} is dynamic and was not made yet: it is made when a run first uses it. "
            "Run the pipeline first"
        )

    def handle_for(self, name: str, batch: Batch) -> ModelHandle:
        """Give a model, made from this batch if it is dynamic and this is its first use."""
        found = self.existing(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self.handles:
                declared = self.definition.models[name]
                view = RunningPipeline(self)
                config = evaluate(dict(declared.spec.config), batch, view)  # type: ignore[union-attr]
                self.handles[name] = declared.spec.make(  # type: ignore[union-attr]
                    config, pipeline=view, batch=batch, seed=model_seed(view.seed or 0, name)
                )
            return self.handles[name]

    def import_models(self) -> None:
        """Fetch the models that the definition imports.

        Raises
        ------
        ModelNotBuiltError
            If one was not made yet.
        """
        for name, declared in self.definition.models.items():
            if isinstance(declared, ImportModel):
                self.handles[name] = _imported(declared, ())

    def find(self, name: str) -> ModelHandle | None:
        """Give a model, or None if there is none yet, here or where it is imported from."""
        try:
            return self.existing(name)
        except ModelNotBuiltError:
            return None

    def existing(self, name: str) -> ModelHandle | None:
        """Give a model, or None if it is dynamic and was not made yet."""
        declared = self.definition.models.get(name)
        if declared is None:
            raise unknown_model(name, self.definition)
        if isinstance(declared, ImportModel):
            if name not in self.handles:
                self.handles[name] = _imported(declared, ())
            return self.handles[name]
        return declared.handle if declared.handle is not None else self.handles.get(name)


def unknown_model(name: Any, definition: Definition) -> UnknownModelError:
    """Say that a pipeline has no model of that name."""
    return UnknownModelError(
        "model",
        name,
        definition.models,
        hint=f"Make it before it is used, with init_model(mode, model, {name!r}), or import_model it",
    )


def _imported(declared: ImportModel, seen: tuple[State, ...]) -> ModelHandle:
    state = declared.source._state
    if state in seen:
        raise DefinitionError(
            f"model {declared.name!r} is imported in a circle: no pipeline makes it"
        )
    there = state.definition.models.get(declared.name)
    if isinstance(there, ImportModel):
        return _imported(there, (*seen, state))
    try:
        return state.handle(declared.name)
    except ModelNotBuiltError:
        first = "Run it first"
        if state.definition.dataset is None:
            first = "It is a template and never will: import from the (template << dataset) that was run"
        raise ModelNotBuiltError(
            f"import_model({declared.name!r}): the other pipeline has not made this dynamic model yet. "
            f"{first}"
        ) from None
