"""What a config may hold: the estimator's own parameters, and how the backend trains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from batchloom.errors import ModelConfigError, nearest

CORE_KEYS = frozenset({"build", "load", "path"})

_CHOICES = {"strategy": ("auto", "partial", "collect"), "fit_at": ("run", "epoch")}


@dataclass(frozen=True)
class Settings:
    """The keys of a config that are the backend's own.

    Attributes
    ----------
    classes : array-like or None
        All labels that training may meet, for classifiers that learn batch by batch; a list of
        such arrays for several outputs. None takes them from the dataset's column of labels.
    strategy : {"auto", "partial", "collect"}
        How it learns: ``"partial"`` from batch to batch, ``"collect"`` gathers the batches of an
        epoch and fits once; ``"auto"`` is the first where the estimator can do it.
    fit_at : {"run", "epoch"}
        When a collecting model is fitted: at the end of the run's last epoch, or of each.
    max_rows : int or None
        How many rows a collecting model may gather; None for any number.
    max_bytes : int or None
        How many bytes it may gather, 4 GiB by default; None for any number.
    """

    classes: Any = None
    strategy: str = "auto"
    fit_at: str = "run"
    max_rows: int | None = None
    max_bytes: int | None = 4 * 2**30

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            _check_choice(key, getattr(self, key), choices)
        for key in ("max_rows", "max_bytes"):
            _check_bound(key, getattr(self, key))


def split(
    config: Mapping[str, Any], parameters: Iterable[str], title: str
) -> tuple[Settings, dict[str, Any]]:
    """Split a config into the backend's settings and the estimator's parameters.

    Parameters
    ----------
    config : mapping
        The model's config without ``estimator``. Core's keys are passed over.
    parameters : iterable of str
        The parameters that the estimator's constructor takes.
    title : str
        The estimator's class name, for messages.

    Returns
    -------
    settings : Settings
    params : dict
        Constructor parameters, ``step__parameter`` among them, by name.

    Raises
    ------
    ModelConfigError
        A key that is neither the backend's nor the estimator's, or a value that is not allowed.
    """
    own = _own_keys()
    params = _explicit_params(config, title)
    settings = {}
    known = set(parameters)
    for key, value in config.items():
        if key in own:
            settings[key] = value
        elif key in known or "__" in key:
            _set_once(params, key, value)
        elif key not in CORE_KEYS | {"params"}:
            raise ModelConfigError(_unknown_key(key, known | own | CORE_KEYS | {"params"}, title))
    for key in params:
        if key not in known and "__" not in key:
            raise ModelConfigError(_unknown_key(f"params[{key!r}]", known, title, key))
    try:
        return Settings(**settings), params
    except ModelConfigError as exc:
        raise ModelConfigError(f"{exc}{_clash_hint(settings, known, title)}") from None


def describe(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """List config keys with their defaults: the estimator's parameters, then the backend's keys.

    A parameter of the estimator that is called like a key of the backend is listed as
    ``params.<name>``, which is where it has to be given.
    """
    own = {field.name: field.default for field in fields(Settings)}
    theirs = {f"params.{key}" if key in own else key: each for key, each in parameters.items()}
    return {**theirs, **own, "params": {}}


def _own_keys() -> set[str]:
    return {field.name for field in fields(Settings)}


def _explicit_params(config: Mapping[str, Any], title: str) -> dict[str, Any]:
    params = config.get("params")
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise ModelConfigError(
            f"params holds constructor parameters of {title} by name, as a dict; got {params!r}"
        )
    return dict(params)


def _set_once(params: dict[str, Any], key: str, value: Any) -> None:
    if key in params:
        raise ModelConfigError(f"{key!r} is given twice: in the config itself and in its params")
    params[key] = value


def _unknown_key(shown: str, known: Iterable[str], title: str, key: str | None = None) -> str:
    names = sorted(known)
    return (
        f"{title} has no config key {shown!r}{nearest(key or shown, names) or '.'} "
        f"There is: {', '.join(names)}"
    )


def _clash_hint(settings: Mapping[str, Any], parameters: set[str], title: str) -> str:
    clashes = sorted(parameters & set(settings))
    if not clashes:
        return ""
    example = {key: settings[key] for key in clashes}
    return f". To give {title} its own parameter of that name, write params={example!r}"


def _check_choice(key: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = nearest(value, choices) if isinstance(value, str) else ""
        raise ModelConfigError(f"{key}={value!r} is none of {', '.join(map(repr, choices))}{near}")


def _check_bound(key: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ModelConfigError(
            f"{key} is a number of at least 1, or None for no bound; got {value!r}"
        )
