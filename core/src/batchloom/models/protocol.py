"""What core asks of a model class, and what a run tells a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from batchloom.batch import Batch
from batchloom.dataset import Dataset
from batchloom.errors import ModelProtocolError, UnknownArgumentError
from batchloom.ordering import Positions

METHODS = ("build", "load", "train", "predict", "save")

# How core calls the methods that it passes arguments of its own: a class that cannot take them is
# refused at init_model, not at the end of a night of training.
_BASE = "batchloom.models.base"
_CALLED_WITH = {
    "_load": 1,
    "_save": 1,
    "load": 1,
    "save": 1,
    "_begin_run": 1,
    "begin_run": 1,
    "_end_epoch": 2,
    "end_epoch": 2,
    "_abandon_run": 0,
    "abandon_run": 0,
}


@runtime_checkable
class Model(Protocol):
    """The model protocol: any class with these five methods can stand in a pipeline.

    A class that does not derive from `BaseModel` is made as ``cls(config)`` if its ``__init__``
    takes an argument, else as ``cls()``. Core hands its ``save(path)`` an empty directory to write
    into and its ``load(path)`` a directory of verified files. The class attributes and the optional
    public methods ``begin_run(run)``, ``end_epoch(epoch, last)`` and ``abandon_run()`` mean what
    they mean for `BaseModel`.
    """

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Make the model; ``pipeline`` and ``batch`` come as keywords if they are taken."""

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Read the model from a directory."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Learn from one batch; what it returns is the output of ``train_model``."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict for one batch."""

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """Write the model into a directory."""


def no_progress(what: str, done: int, total: int | None) -> None:
    """Show nothing: the progress of a run without a bar."""


@dataclass(frozen=True)
class RunInfo:
    """What a model is told once per run, before it is first trained in that run.

    Parameters
    ----------
    dataset : Dataset or None
        The run's dataset; ``dataset.column(name)`` is a whole column, its own rows only.
    columns : mapping of str to str
        The argument of ``train`` and the dataset column that it is taken from, where that is known:
        ``{"y": "labels"}``. Entries of a dict go by both names: ``{"feed_dict.y": "labels"}``.
    seed : int, optional
        Derived from the run's seed and the model's name, for a library's ``random_state`` that
        nobody has set.
    n_epochs : int or None
        How many epochs the run has; None for a run without end.
    progress : callable
        ``progress(what, done, total)`` shows long work in the run's bar.
    """

    dataset: Dataset | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0
    n_epochs: int | None = 1
    progress: Callable[[str, int, int | None], None] = no_progress

    def where(self, batch: Batch) -> Positions | slice | None:
        """Say which items of the dataset a batch holds, as `Dataset.gather` takes them.

        None if they are not from this dataset alone: of a batch that was merged or came from elsewhere.
        """
        rows = batch._rows
        if rows is None or rows.dataset is None or rows.dataset is not self.dataset:
            return None
        return rows.where(*batch._extent)


def missing_methods(model_class: type) -> list[str]:
    """List the methods of the protocol that a class lacks."""
    return [each for each in METHODS if not callable(getattr(model_class, each, None))]


def check_model_class(model_class: Any, what: str, provider: object = None) -> type:
    """Return a class that fulfils the protocol.

    Parameters
    ----------
    model_class : object
        What a name, an adapter or the user gave.
    what : str
        How to call it in the error: ``"'acme/Forecaster'"``.
    provider : object, optional
        Where it comes from, for the error.

    Raises
    ------
    ModelProtocolError
        If it is no class, lacks methods, or has methods that core cannot call.
    """
    if fault := _fault(model_class):
        origin = "" if provider is None else f", the {provider},"
        raise ModelProtocolError(f"{what}{origin} {fault}")
    return model_class  # type: ignore[no-any-return]


def _fault(model_class: object) -> str:
    """Say why something is no model class; nothing if it is one."""
    if not isinstance(model_class, type):
        return (
            f"is {model_class!r}, of type {type(model_class).__name__}, and no model class. "
            "A model is a class with the methods " + ", ".join(METHODS)
        )
    if missing := missing_methods(model_class):
        return (
            f"is no model: {model_class.__qualname__} lacks the method"
            f"{'s' * (len(missing) > 1)} {', '.join(missing)}. "
            "Define them, or derive the class from batchloom.models.BaseModel"
        )
    abstract: frozenset[str] = getattr(model_class, "__abstractmethods__", frozenset())
    faults = [f"{each} is abstract" for each in sorted(abstract)] + _uncallable(model_class)
    return f"cannot be used: in {model_class.__qualname__}, {'; '.join(faults)}" if faults else ""


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be given a keyword of this name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    if name in parameters:
        return parameters[name].kind in (
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        )
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def names(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has a parameter of this name itself, not only ``**kwargs``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return name in parameters and takes(function, name)


def explain_call(
    exc: TypeError, method: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Say more of a call that failed because the method does not take such arguments.

    Raises
    ------
    UnknownArgumentError
        For an argument that the method does not have.
    """
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        operation = method.__name__.lstrip("_")
        known = [each for each in signature.parameters if names(method, each)]
        for each in kwargs:
            if each not in known:
                raise UnknownArgumentError("argument", each, known, f"of {operation}") from exc
        given = ", ".join(kwargs) or "none"
        exc.add_note(f"the arguments of {operation} are {', '.join(known)}; given were: {given}")


def _uncallable(model_class: type) -> list[str]:
    own, faults = _own_methods(model_class), []
    for name in sorted(own, key=list(_CALLED_WITH).index):
        if not inspect.isfunction(own[name]):
            continue  # no method
        signature, count = inspect.signature(own[name]), _CALLED_WITH[name]
        try:
            signature.bind(*[None] * (count + 1))
        except TypeError:
            faults.append(f"{name}{signature} cannot be called with {count} argument(s)")
    return faults


def _own_methods(model_class: type) -> dict[str, Any]:
    """Find what a class has, before `BaseModel` in its order, of what core calls with arguments."""
    found: dict[str, Any] = {}
    for each in model_class.__mro__:
        if each.__module__ == _BASE:
            break
        for name in _CALLED_WITH.keys() & vars(each).keys():
            found.setdefault(name, vars(each)[name])
    return found
