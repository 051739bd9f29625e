"""What init_model was given, resolved and checked at once, and how a live model is made of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from batchloom.errors import DefinitionError, ModelConfigError
from batchloom.expressions import has_expressions
from batchloom.models.base import BaseModel
from batchloom.models.protocol import check_model_class, missing_methods, takes
from batchloom.records import Record

if TYPE_CHECKING:
    from batchloom.batch import Batch
    from batchloom.models.handle import ModelHandle
    from batchloom.runtime.view import RunningPipeline

CORE_KEYS = ("build", "load", "path")
Settings = Callable[[], AbstractContextManager[Any]]


class ModelSpec(Record):
    """A model to be made: its class, its name and its config.

    Attributes
    ----------
    name : str
        What the pipeline calls it.
    registered_name : str or None
        What `load_model` finds the class by.
    model_class : type
        A class that fulfils the protocol.
    config : mapping
        As it was given: expressions in it are not evaluated yet.
    instance : object or None
        The model itself where a live one was given instead of a class.
    settings : callable or None
        Restores the library's thread-local settings as they were when this was resolved.
    """

    name: str
    registered_name: str | None
    model_class: type
    config: Mapping[str, Any]
    instance: Any = None
    settings: Settings | None = None

    @classmethod
    def resolve(
        cls,
        model: Any,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        is_whole: bool = True,
    ) -> ModelSpec:
        """Resolve a registered name, a class or an object.

        Parameters
        ----------
        model : str, type or object
            ``"sklearn/SGDClassifier"``; a model class; a live model; or an estimator (or class) of
            a library that an installed backend adapts.
        name : str, optional
            By default the class name; for a registered name, its last part.
        config : mapping, optional
            Options, possibly with expressions.
        is_whole : bool
            Whether the config is what a user wrote, and has to make sense as it stands.

        Raises
        ------
        PluginError
            One of its kinds says what is wrong with the name or the package behind it.
        ModelProtocolError
            If it is no model, and nothing makes one of it.
        ModelConfigError, DefinitionError
            If the config is no mapping, or the name no text.
        """
        _check_given(name, config)
        given = dict(config or {})
        spec = cls._resolved(model, name, given)
        if is_whole:
            spec._check_config()
        return spec

    @classmethod
    def _resolved(cls, model: Any, name: str | None, given: dict[str, Any]) -> ModelSpec:
        if isinstance(model, str):
            return cls._of_name(model, name, given)
        model = _unwrapped(model)
        if isinstance(model, type) and _is_model_class(model):
            return cls._of_class(model, name, given)
        if not isinstance(model, type) and _is_model_class(type(model)):
            return cls._of_instance(model, name, given)
        return cls._of_foreign(model, name, given)

    def _check_config(self) -> None:
        from batchloom.models.handle import add_note_once

        check = getattr(self.model_class, "_check_config", None)
        if not callable(check) or self.instance is not None:
            return
        try:
            check({key: each for key, each in self.config.items() if not has_expressions(each)})
        except Exception as exc:
            add_note_once(exc, self.describe())
            raise

    @classmethod
    def of(cls, model: Any) -> ModelSpec:
        """Describe a live model that no pipeline made."""
        return cls._of_instance(model, getattr(model, "name", None), {})

    @classmethod
    def _of_name(cls, asked: str, name: str | None, config: dict[str, Any]) -> ModelSpec:
        from batchloom.models.registry import get_model_class

        found = get_model_class(asked)
        registered = vars(found).get("registered_name") or asked
        return cls(
            name or _last_part(asked), registered, found, config, settings=_settings_of(found)
        )

    @classmethod
    def _of_class(cls, model: type, name: str | None, config: dict[str, Any]) -> ModelSpec:
        checked = check_model_class(model, model.__qualname__)
        return cls(
            name or model.__name__,
            _registered_name(model),
            checked,
            config,
            settings=_settings_of(model),
        )

    @classmethod
    def _of_instance(cls, model: Any, name: str | None, config: dict[str, Any]) -> ModelSpec:
        made = type(model)
        if unused := set(config) - {"build"}:
            raise ModelConfigError(
                f"{made.__qualname__} is given ready-made, so its config cannot change any more: "
                f"{sorted(unused)}. Give the class instead of the object"
            )
        name = name or getattr(model, "name", None)
        label = name if isinstance(name, str) and name else made.__name__
        registered = getattr(model, "registered_name", None) or _registered_name(made)
        return cls(label, registered, made, config, model, _settings_of(made))

    @classmethod
    def _of_foreign(cls, model: Any, name: str | None, config: dict[str, Any]) -> ModelSpec:
        from batchloom.models.adapters import adapt

        found, additions = adapt(model)
        original = model if isinstance(model, type) else type(model)
        return cls(
            name or original.__name__,
            _registered_name(found),
            found,
            {**additions, **config},
            settings=_settings_of(found),
        )

    def __getstate__(self) -> dict[str, Any]:
        # Settings are closures over a library's thread-local state; a copy takes those it finds.
        return {**self.__dict__, "settings": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, settings=_settings_of(state["model_class"]))

    @property
    def data_args(self) -> tuple[str, ...]:
        """Arguments that are data."""
        return tuple(getattr(self.model_class, "data_args", ()))

    @property
    def literal_args(self) -> tuple[str, ...]:
        """Arguments that are plain options."""
        return tuple(getattr(self.model_class, "literal_args", ()))

    @property
    def predict_is_thread_safe(self) -> bool:
        """Whether several threads may predict at once."""
        return bool(getattr(self.model_class, "predict_is_thread_safe", False))

    def implements(self, operation: str) -> bool:
        """Whether the class does more for an operation (``"train"``) than to say that it cannot."""
        if not issubclass(self.model_class, BaseModel):
            return callable(getattr(self.model_class, operation, None))
        method = f"_{operation}"
        return getattr(self.model_class, method) is not getattr(BaseModel, method)

    def describe(self) -> str:
        """Say in a line what the model is."""
        return model_label(self.name, self.registered_name, self.model_class)

    @property
    def kind(self) -> str:
        """The registered name, or the class that was given."""
        return self.registered_name or self.model_class.__qualname__

    def describe_unbuilt(self) -> str:
        """Say in a clause how the model will be trained, if its class can tell that by now."""
        say = getattr(self.model_class, "describe_unbuilt", None)
        return str(say(self.config)) if callable(say) else ""

    def make(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        pipeline: RunningPipeline | None,
        batch: Batch | None = None,
        seed: int | None = None,
    ) -> ModelHandle:
        """Make the live model: construct it, then build and load it as its config says.

        Parameters
        ----------
        config : mapping, optional
            The evaluated config; the spec's own by default.
        pipeline : RunningPipeline or None
            The pipeline that it is made for.
        batch : Batch, optional
            The first batch, for a dynamic model.
        seed : int, optional
            What ``model.seed`` becomes.

        Raises
        ------
        ModelConfigError
            If ``build``, ``load`` and ``path`` contradict each other or the model.
        """
        from batchloom.models.handle import add_note_once

        options = dict(self.config if config is None else config)
        builds, loads = self._phases(options)
        try:
            handle = self.live(options, seed)
        except Exception as exc:
            add_note_once(exc, self.describe())
            raise
        if self.instance is not None and handle.is_built:
            builds = bool(options.get("build", False))  # never a second time unless asked
        if builds:
            handle.build((), {"pipeline": pipeline, "batch": batch})
        if loads:
            handle.load(options.get("path"))
        return handle

    def live(self, config: Mapping[str, Any], seed: int | None = None) -> ModelHandle:
        """Construct the model, neither built nor loaded."""
        from batchloom.models.handle import attach, handle_of

        if self.instance is not None:
            handle = handle_of(self.instance)
            handle.name = self.name
            # Only core's own kind of model says whether it is built.
            handle.is_built |= not isinstance(self.instance, BaseModel)
            return handle
        model = _construct(self.model_class, config, self.name)
        if isinstance(model, BaseModel):
            model.name, model.seed = self.name, seed
            model.registered_name = self.registered_name
            if not hasattr(model, "config"):
                model.config = dict(config)  # the author's __init__ did not call BaseModel's
        return attach(model, self, config)

    def _phases(self, config: Mapping[str, Any]) -> tuple[bool, bool]:
        for key in ("build", "load"):
            if not isinstance(config.get(key, False), bool | _numpy_bool()):
                raise ModelConfigError(
                    f"{self.describe()}: config {key!r} must be True or False, not {config[key]!r}"
                )
        loads = bool(config.get("load", False))
        if loads and not getattr(self.model_class, "load_needs_build", True):
            if config.get("build", False):
                raise ModelConfigError(
                    f"{self.describe()} is either built or loaded, not both: "
                    "leave out build=True or load=True"
                )
            return False, True
        if loads and config.get("path") is None and issubclass(self.model_class, BaseModel):
            raise ModelConfigError(f"{self.describe()}: load=True needs path=, the saved file")
        return bool(config.get("build", True)), loads


def model_label(name: str, registered_name: str | None, model_class: type) -> str:
    """Name a model the way that errors do: ``model 'clf' (sklearn/SGDClassifier)``."""
    return f"model {name!r} ({registered_name or model_class.__qualname__})"


def _check_given(name: str | None, config: Any) -> None:
    if name is not None and (not isinstance(name, str) or not name):
        raise DefinitionError(f"a model's name must be a non-empty string, not {name!r}")
    if config is not None and not isinstance(config, Mapping):
        raise ModelConfigError(
            f"a model's config must be a mapping such as a dict, not {type(config).__name__}"
        )
    for key in config or ():
        if not isinstance(key, str):
            raise ModelConfigError(f"a model's config has keys that are strings, not {key!r}")


def _is_model_class(candidate: type) -> bool:
    return issubclass(candidate, BaseModel) or not missing_methods(candidate)


def _unwrapped(model: Any) -> Any:
    from batchloom.models.handle import LockedModel

    return model._handle.calls.model if type(model) is LockedModel else model


def _registered_name(model_class: type) -> str | None:
    # Not getattr: a subclass of a registered class is not registered.
    own = vars(model_class).get("registered_name")
    if own is None:
        from batchloom.models.registry import name_of

        own = name_of(model_class)
    return own


def _settings_of(model_class: type) -> Settings | None:
    capture = getattr(model_class, "_capture_settings", None)
    return capture() if callable(capture) else None


def _last_part(registered_name: str) -> str:
    rest = registered_name.rpartition("/")[2]
    last = rest.rpartition(".")[2]
    return last if last.isidentifier() else rest


def _construct(model_class: type[Any], config: Mapping[str, Any], name: str) -> Any:
    if issubclass(model_class, BaseModel):
        return model_class(config, name=name) if takes(model_class, "name") else model_class(config)
    kinds = [each.kind for each in _parameters(model_class)]
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    if any(kind in positional for kind in kinds):
        return model_class(dict(config))
    if takes(model_class, "config"):
        return model_class(config=dict(config))
    if options := set(config) - set(CORE_KEYS):
        raise ModelConfigError(
            f"{model_class.__qualname__} takes no config (its __init__ has no argument for it), "
            f"but was given {sorted(options)}"
        )
    return model_class()


def _parameters(model_class: type) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(model_class).parameters.values())
    except (TypeError, ValueError):
        return []


def _numpy_bool() -> type:
    import numpy as np

    return np.bool_
