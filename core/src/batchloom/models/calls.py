"""How an operation reaches a model: a BaseModel's own methods, or those of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batchloom.models.base import BaseModel
from batchloom.models.protocol import RunInfo, explain_call, names, takes

Kwargs = Mapping[str, Any]


class BaseModelCalls:
    """Calls on a `BaseModel`: the methods that its author overrides."""

    of_base_model = True

    def __init__(self, model: BaseModel) -> None:
        self.model = model
        self.want_batch = _who_names_batch(train=model._train, predict=model._predict)

    def build(self, args: tuple[Any, ...], kwargs: Kwargs) -> None:
        """Make the model."""
        self.model._build(*args, **_accepted(self.model._build, kwargs))

    def load(self, directory: Path | None, kwargs: Kwargs) -> None:
        """Read the model from a directory."""
        assert directory is not None
        self.model._load(directory, **kwargs)

    @property
    def training(self) -> Callable[..., Any]:
        """What learns from one batch."""
        return self.model._train

    def train(self, args: tuple[Any, ...], kwargs: Kwargs) -> Any:
        """Learn from one batch."""
        try:
            return self.training(*args, **kwargs)
        except TypeError as exc:
            explain_call(exc, self.training, args, kwargs)
            raise

    def predict(self, args: tuple[Any, ...], kwargs: Kwargs) -> Any:
        """Predict for one batch."""
        try:
            return self.model._predict(*args, **kwargs)
        except TypeError as exc:
            explain_call(exc, self.model._predict, args, kwargs)
            raise

    def save(self, directory: Path, kwargs: Kwargs) -> None:
        """Write the model into a directory."""
        self.model._save(directory, **kwargs)

    def begin_run(self, run: RunInfo) -> None:
        """Prepare for a run."""
        self.model._begin_run(run)

    def end_epoch(self, epoch: int, last: bool) -> Any:
        """Finish an epoch."""
        return self.model._end_epoch(epoch, last)

    def abandon_run(self) -> None:
        """Drop what the run has gathered."""
        self.model._abandon_run()

    def save_checkpoint(self, directory: Path) -> None:
        """Write all that the model needs to go on."""
        self.model._save_checkpoint(directory)

    def load_checkpoint(self, directory: Path, run: RunInfo | None) -> None:
        """Read what it needs to go on."""
        self.model._load_checkpoint(directory, run)

    def describe(self) -> str:
        """Say in a clause how the model is trained."""
        return self.model._describe()


class ProtocolCalls:
    """Calls on any other object that fulfils the protocol: its own public methods."""

    of_base_model = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.want_batch = _who_names_batch(train=model.train, predict=model.predict)

    def build(self, args: tuple[Any, ...], kwargs: Kwargs) -> None:
        """Make the model."""
        self.model.build(*args, **_accepted(self.model.build, kwargs))

    def load(self, directory: Path | None, kwargs: Kwargs) -> None:
        """Read the model from a directory, or from where it knows when there is none."""
        paths = () if directory is None else (directory,)
        self.model.load(*paths, **kwargs)

    @property
    def training(self) -> Callable[..., Any]:
        """What learns from one batch."""
        return self.model.train  # type: ignore[no-any-return]

    def train(self, args: tuple[Any, ...], kwargs: Kwargs) -> Any:
        """Learn from one batch."""
        try:
            return self.training(*args, **kwargs)
        except TypeError as exc:
            explain_call(exc, self.training, args, kwargs)
            raise

    def predict(self, args: tuple[Any, ...], kwargs: Kwargs) -> Any:
        """Predict for one batch."""
        try:
            return self.model.predict(*args, **kwargs)
        except TypeError as exc:
            explain_call(exc, self.model.predict, args, kwargs)
            raise

    def save(self, directory: Path, kwargs: Kwargs) -> None:
        """Write the model into a directory."""
        self.model.save(directory, **kwargs)

    def begin_run(self, run: RunInfo) -> None:
        """Prepare for a run, if the object wants to know."""
        self._optional("begin_run", run)

    def end_epoch(self, epoch: int, last: bool) -> Any:
        """Finish an epoch, if the object wants to know."""
        return self._optional("end_epoch", epoch, last)

    def abandon_run(self) -> None:
        """Drop what the run has gathered, if the object can."""
        self._optional("abandon_run")

    def save_checkpoint(self, directory: Path) -> None:
        """Write all that the object needs to go on: what it saves."""
        self.model.save(directory)

    def load_checkpoint(self, directory: Path, run: RunInfo | None) -> None:
        """Read what it needs to go on."""
        if run is not None:
            self.begin_run(run)
        self.model.load(directory)

    def describe(self) -> str:
        """Say nothing: the protocol has no words for it."""
        return ""

    def _optional(self, method: str, *args: Any) -> Any:
        found = getattr(self.model, method, None)
        return found(*args) if callable(found) else None


Calls = BaseModelCalls | ProtocolCalls


def calls_on(model: Any) -> Calls:
    """Return how core calls this model."""
    return BaseModelCalls(model) if isinstance(model, BaseModel) else ProtocolCalls(model)


def _who_names_batch(**methods: Any) -> frozenset[str]:
    return frozenset(name for name, each in methods.items() if names(each, "batch"))


def _accepted(build: Any, kwargs: Kwargs) -> dict[str, Any]:
    # An author who needs neither the pipeline nor the batch need not mention them.
    cores = ("pipeline", "batch")
    return {key: value for key, value in kwargs.items() if key not in cores or takes(build, key)}
