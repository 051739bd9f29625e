"""A live model and all that core knows of it: its lock, its settings, its name, its hooks."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from batchloom.errors import ModelConfigError, ModelNotBuiltError
from batchloom.models import lifecycle
from batchloom.models.base import BaseModel
from batchloom.models.calls import Calls, calls_on
from batchloom.models.late import settled
from batchloom.models.lock import ModelLock
from batchloom.models.protocol import METHODS, RunInfo
from batchloom.models.runs import PipelineRun, current_run
from batchloom.models.spec import ModelSpec, model_label

if TYPE_CHECKING:
    from batchloom.batch import Batch

__all__ = ["LockedModel", "ModelHandle", "ModelSpec", "handle_of"]


Method = TypeVar("Method", bound=Callable[..., Any])


def _alone(method: Method) -> Method:
    """Have a method hold the model's lock alone."""

    @functools.wraps(method)
    def alone(self: ModelHandle, *args: Any, **kwargs: Any) -> Any:
        return self._holding(self.lock.alone, functools.partial(method, self, *args, **kwargs))

    return alone  # type: ignore[return-value]


class ModelHandle:
    """One live model.

    Attributes
    ----------
    model : object
        What a user gets: a `BaseModel` itself; for any other object a `LockedModel` before it.
    name, registered_name : str, str or None
        What the pipeline calls it, and what `load_model` finds its class by.
    config : dict
        The config it was made with.
    version : int
        How often the model was written to: built, loaded, trained, or given an end of epoch.
    in_run : PipelineRun or None
        The open run that it was told of last.
    is_plain : bool
        Whether training is nothing but a call of the model's method with the step's arguments.
    """

    def __init__(self, raw: Any, spec: ModelSpec, config: Mapping[str, Any] | None = None) -> None:
        self.spec = spec
        self.name = spec.name
        self.config = dict(config or {})
        self.version = 0
        self.is_built = False
        self.in_run: PipelineRun | None = None
        self.also_reads: str | None = None  # a class whose files a user vouches for
        self.lock = ModelLock()
        self.calls: Calls = calls_on(raw)
        self.is_plain = spec.settings is None and "train" not in self.calls.want_batch
        self.model: Any = raw if isinstance(raw, BaseModel) else LockedModel(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": None, "in_run": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        raw = self.calls.model
        if isinstance(raw, BaseModel):
            self.model = raw
        else:
            self.model = LockedModel(self)
            _of_objects[id(raw)] = self

    @property
    def registered_name(self) -> str | None:
        """The name that `load_model` finds the class by."""
        return self.spec.registered_name

    @property
    def data_args(self) -> tuple[str, ...]:
        """Arguments that are data."""
        return tuple(getattr(self.calls.model, "data_args", ()))

    @property
    def literal_args(self) -> tuple[str, ...]:
        """Arguments that are plain options."""
        return tuple(getattr(self.calls.model, "literal_args", ()))

    @property
    def predict_is_thread_safe(self) -> bool:
        """Whether several threads may predict at once."""
        return bool(getattr(self.calls.model, "predict_is_thread_safe", False))

    @property
    def may_stop_training(self) -> bool:
        """Whether the model can ask for the run to end at the end of an epoch."""
        return bool(getattr(self.calls.model, "may_stop_training", False))

    @property
    def stop_training(self) -> bool:
        """Whether the model asks for the run to end after this epoch."""
        return bool(getattr(self.calls.model, "stop_training", False))

    @_alone
    def build(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> None:
        """Make the model."""
        self.version += 1
        lifecycle.build_model(self, args, dict(kwargs or {}))
        self.is_built = True

    def load(self, path: str | os.PathLike[str] | None, **kwargs: Any) -> None:
        """Read the model from a saved file."""
        if path is None and isinstance(self.calls.model, BaseModel):
            raise ModelConfigError(f"{self.label}: load=True needs path=, the saved file")
        self._load(path, kwargs)

    @_alone
    def _load(self, path: str | os.PathLike[str] | None, kwargs: Mapping[str, Any]) -> None:
        self.version += 1
        lifecycle.load_model(self, path, kwargs)
        self.is_built = True

    @_alone
    def begin_run(self, run: RunInfo) -> None:
        """Tell the model of a run, before it is first trained in it."""
        if self.stop_training:
            self.calls.model.stop_training = False
        self.calls.begin_run(run)

    def leave_run(self, run: PipelineRun) -> None:
        """Let go of a run that has ended."""
        if self.in_run is run:
            self.in_run = None

    def train(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Batch | None = None
    ) -> Any:
        """Train on one batch; None means that there is no output, which may be a `LateOutput`."""
        run = current_run()
        if run is not self.in_run and run is not None and run.begin_model is not None:
            run.begin_model(self)  # a step's training and an action's are one to the model
        return self._holding(self.lock.alone, self._train, args, kwargs, batch)

    def _train(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Batch | None) -> Any:
        self.version += 1
        output = lifecycle.train_model(self, args, self._given("train", kwargs, batch), batch)
        self.is_built = True
        return output

    def predict(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Batch | None = None
    ) -> Any:
        """Predict for one batch."""
        hold = self.lock.together if self.predict_is_thread_safe else self.lock.alone
        given = self._given("predict", kwargs, batch)
        return self._holding(hold, lifecycle.predict_model, self, args, given, batch)

    @_alone
    def end_epoch(self, epoch: int, last: bool) -> Any:
        """Finish an epoch in which the model was trained; a value is the train step's output."""
        self.version += 1
        return lifecycle.end_epoch(self, epoch, last)

    @_alone
    def abandon_run(self) -> None:
        """Have the model drop what it has gathered: the run ended early."""
        self.calls.abandon_run()

    @_alone
    def save(self, path: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write the model into one file.

        Raises
        ------
        ModelNotBuiltError
            If it was never built, loaded or trained.
        SaveError
            If the file cannot be written.
        """
        if not self.is_built:
            raise ModelNotBuiltError(
                f"{self.label} cannot be saved: it has not been built, loaded or trained yet"
            )
        lifecycle.save_model(self, path, kwargs)

    @_alone
    def save_checkpoint(self, directory: Path) -> None:
        """Have the model write all that it needs to go on in the middle of a run."""
        self.calls.save_checkpoint(directory)

    @_alone
    def load_checkpoint(self, directory: Path, run: RunInfo | None, stopping: bool) -> None:
        """Have the model read what `save_checkpoint` wrote, and go on with the run it was trained in."""
        self.version += 1
        self.calls.load_checkpoint(directory, run)
        if self.stop_training != stopping:
            self.calls.model.stop_training = stopping
        self.is_built = True

    def describe(self) -> str:
        """Say in a line what the model is."""
        return ", ".join(each for each in (self.spec.describe(), self.calls.describe()) if each)

    @property
    def label(self) -> str:
        """How errors call the model: ``model 'clf' (sklearn/SGDClassifier)``."""
        return model_label(self.name, self.registered_name, self.spec.model_class)

    # The hooks' last implementation: what an operation does once its plug-ins had their say.

    def call_build(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Call the model's build."""
        self.calls.build(args, kwargs)

    def call_load(self, path: str | os.PathLike[str] | None, kwargs: Mapping[str, Any]) -> None:
        """Verify a saved file and call the model's load."""
        from batchloom.models.saved import read_into

        if path is None:
            self.calls.load(None, kwargs)
        else:
            read_into(self, Path(path), kwargs)

    def call_save(self, path: str | os.PathLike[str], kwargs: Mapping[str, Any]) -> None:
        """Call the model's save and put the file in place."""
        from batchloom.models.saved import write_from

        write_from(self, Path(path), kwargs)

    def _given(
        self, operation: str, kwargs: Mapping[str, Any], batch: Batch | None
    ) -> Mapping[str, Any]:
        """Add the batch for a method that names it: such a model finds its data itself."""
        wanted = batch is not None and operation in self.calls.want_batch
        return {"batch": batch, **kwargs} if wanted else kwargs

    def alone(self, do: Callable[..., Any], /, *args: Any) -> Any:
        """Call a function as an operation that changes the model: for what it does of its own accord."""
        return self._holding(self.lock.alone, do, *args)

    def _holding(self, hold: Callable[..., Any], do: Callable[..., Any], /, *args: Any) -> Any:
        """Call a function with the lock held, and under the settings of the model's library."""
        try:
            if self.spec.settings is None:
                return hold(do, *args)
            return hold(_under, self.spec.settings, do, *args)
        except Exception as exc:
            add_note_once(exc, self.label)
            raise


def _under(
    settings: Callable[[], AbstractContextManager[Any]],
    do: Callable[..., Any],
    /,
    *args: Any,
) -> Any:
    with settings():
        return do(*args)


class LockedModel:
    """Stands before an object that is no `BaseModel`.

    The five methods of the protocol take the model's lock and pass through the hooks; everything
    else is the object's own.
    """

    __slots__ = ("__weakref__", "_handle")
    _handle: ModelHandle

    def __init__(self, handle: ModelHandle) -> None:
        object.__setattr__(self, "_handle", handle)

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Make the model."""
        self._handle.build(args, kwargs)

    def load(self, path: str | os.PathLike[str] | None = None, **kwargs: Any) -> None:
        """Read the model from a saved file."""
        self._handle.load(path, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Learn from one batch."""
        return settled(self._handle.train(args, kwargs))

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict for one batch."""
        return self._handle.predict(args, kwargs)

    def save(self, path: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write the model into one file."""
        self._handle.save(path, **kwargs)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # isinstance in a user's action means the class that the user wrote.
        return type(self._handle.calls.model)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle.calls.model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._handle.calls.model, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._handle.calls.model, name)

    def __dir__(self) -> list[str]:
        return sorted({*METHODS, *dir(self._handle.calls.model)})

    def __repr__(self) -> str:
        return repr(self._handle.calls.model)

    def __reduce__(self) -> tuple[Any, ...]:
        return LockedModel, (self._handle,)


_making = threading.Lock()
# The handle keeps its object alive, so an id cannot come to mean another object.
_of_objects: weakref.WeakValueDictionary[int, ModelHandle] = weakref.WeakValueDictionary()


def handle_of(model: Any) -> ModelHandle:
    """Return the handle of a live model; it gets one if it has none."""
    if type(model) is LockedModel:
        return model._handle
    handle = model._handle if isinstance(model, BaseModel) else _of_objects.get(id(model))
    if handle is not None:
        return handle
    with _making:
        handle = model._handle if isinstance(model, BaseModel) else _of_objects.get(id(model))
        return handle or attach(model, ModelSpec.of(model), getattr(model, "config", None))


def attach(raw: Any, spec: ModelSpec, config: Any = None) -> ModelHandle:
    """Give a model its handle."""
    handle = ModelHandle(raw, spec, config if isinstance(config, Mapping) else None)
    if isinstance(raw, BaseModel):
        raw._handle = handle
    else:
        # An object that came ready-made may be fitted; core cannot tell.
        _of_objects[id(raw)] = handle
    return handle


def add_note_once(exc: BaseException, note: str) -> None:
    """Add a note to an exception unless it has that note."""
    if note not in getattr(exc, "__notes__", ()):
        exc.add_note(note)
