"""Objects of a model library (an estimator, a compiled network) in the place of a model."""

from __future__ import annotations

from typing import Any

from batchloom.errors import AmbiguousModelError, ModelProtocolError
from batchloom.models import entries as installed
from batchloom.models.entries import Entry
from batchloom.models.protocol import METHODS, check_model_class, missing_methods

GROUP = "batchloom.adapters"
KNOWN = {
    "keras": "batchloom-tf",
    "sklearn": "batchloom-sklearn",
    "tensorflow": "batchloom-tf",
    "xgboost": "batchloom-xgboost",
}


def adapt(model: Any) -> tuple[type, dict[str, Any]]:
    """Find the model class that makes a model of a library's object or class.

    The classes of the object's MRO are asked in order, each by the top-level package of its module,
    until an adapter accepts the object.

    Parameters
    ----------
    model : object or type
        Such as ``SGDClassifier()`` or ``SGDClassifier``.

    Returns
    -------
    type, dict
        A model class, and what its config is to be given.

    Raises
    ------
    ModelProtocolError
        If it is no model and no installed backend makes one of it.
    """
    kind = model if isinstance(model, type) else type(model)
    refused = {}
    for library in dict.fromkeys(each.__module__.partition(".")[0] for each in kind.__mro__):
        entry = _adapter_of(library)
        if entry is None:
            continue
        try:
            found, additions = installed.load(entry)(model)
        except TypeError as exc:
            refused[entry.owner] = exc
            continue
        return check_model_class(found, f"what {entry.owner} makes of {model!r}"), dict(additions)
    raise _no_model(model, kind, refused)


def _adapter_of(library: str) -> Entry | None:
    claims = [
        each
        for each in installed.entries(GROUP)
        if each.key == library and installed.disabled_by(each) is None
    ]
    if len(claims) > 1:
        raise AmbiguousModelError(
            f"more than one package adapts the objects of {library}: "
            f"{', '.join(each.owner for each in claims)}. Uninstall one, or name one in "
            f"{installed.DISABLE}"
        )
    return claims[0] if claims else None


def _no_model(model: Any, kind: type, refused: dict[str, TypeError]) -> ModelProtocolError:
    what = kind.__qualname__
    if not isinstance(model, type):
        what = f"an object of type {what}"
    missing = missing_methods(kind)
    error = ModelProtocolError(
        f"{what} is no model: it lacks {', '.join(missing)} of {', '.join(METHODS)}. "
        + (_refusals(refused) or _advice(kind))
    )
    if refused:
        error.__cause__ = next(iter(refused.values()))
    return error


def _refusals(refused: dict[str, TypeError]) -> str:
    return "; ".join(f"{owner} makes no model of it: {exc}" for owner, exc in refused.items())


def _advice(kind: type) -> str:
    libraries = {each.__module__.partition(".")[0] for each in kind.__mro__}
    if off := installed.switched_off(GROUP, libraries):
        return f"A backend makes models of such objects: {off}"
    for each in kind.__mro__:
        if package := KNOWN.get(each.__module__.partition(".")[0]):
            return f"A backend makes models of such objects: pip install {package}"
    return (
        "Give a registered name, a class derived from batchloom.models.BaseModel, or a class with "
        "these five methods"
    )
