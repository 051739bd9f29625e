"""From a registered name to a model class, of this process or of an installed package."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

from batchloom.errors import (
    AmbiguousModelError,
    DefinitionError,
    ModelNotFoundError,
    NamespaceNotInstalledError,
    PluginError,
    nearest,
)
from batchloom.models import entries as installed
from batchloom.models.compatibility import normalised
from batchloom.models.entries import Entry
from batchloom.models.protocol import check_model_class

GROUP = "batchloom.models"
KNOWN_NAMESPACES = ("sklearn", "tf", "xgboost")


class Resolver(Protocol):
    """What an entry point ``"ns/*"`` names: it turns the rest of a name into a class."""

    def __call__(self, rest: str, /) -> type:
        """Return the class, or raise LookupError."""

    def names(self) -> Sequence[str]:
        """List the names it knows."""


_lock = threading.Lock()
_own: dict[str, type] = {}  # registered in this process
_loaded: dict[tuple[Entry, str], type] = {}


def register(name: str, model_class: type, *, replace: bool = False) -> type:
    """Register a model class in this process, in a notebook or a test.

    Parameters
    ----------
    name : str
        With a namespace, as in ``"my/Net"``, or without. It wins over an installed name.
    model_class : type
        A class that fulfils the protocol.
    replace : bool, default False
        Whether to replace another class of that name. The same class made anew, as when a notebook
        cell is run again, is always replaced.

    Returns
    -------
    type
        The class.

    Raises
    ------
    DefinitionError
        If the name is taken by another class, or is no name.
    ModelProtocolError
        If the class is no model.
    """
    if not isinstance(name, str) or not name.strip("/") or name.endswith(("*", "/")):
        raise DefinitionError(f"{name!r} is no name for a model; write 'namespace/Name'")
    check_model_class(model_class, repr(name))
    with _lock:
        other = _own.get(name, model_class)
        if not replace and _path(other) != _path(model_class):
            raise DefinitionError(
                f"{name!r} is registered for {_path(other)} already: give replace=True, or another "
                "name"
            )
        _own[name] = model_class
    return model_class


def refresh() -> None:
    """See packages that were installed, upgraded or removed since the first look.

    Modules that are imported already stay as they are: an upgraded package needs a new process.
    """
    from batchloom.models.lifecycle import forget_plugins

    installed.forget()
    with _lock:
        _loaded.clear()
    forget_plugins()


def get_model_class(name: str) -> type:
    """Return the class registered under a name; only its own package is imported.

    Parameters
    ----------
    name : str
        ``"namespace/Name"``.

    Returns
    -------
    type
        A class that fulfils the protocol.

    Raises
    ------
    NamespaceNotInstalledError, ModelNotFoundError
        If nobody provides the namespace, or the name in it.
    PluginDisabledError
        If ``BATCHLOOM_DISABLE_PLUGINS`` switches it off.
    AmbiguousModelError
        If two packages register it.
    PluginVersionError, PluginImportError
        If its package asks for another core, or fails to import.
    ModelProtocolError
        If what is registered is no model.
    """
    if not isinstance(name, str):
        raise DefinitionError(
            f"get_model_class takes a registered name, 'namespace/Name', not {name!r}. Where a name may "
            "stand in init_model, a class or an estimator may, too"
        )
    if name in _own:
        return _own[name]
    entry = find_entry(name)
    found = _loaded.get((entry, name))
    if found is None:
        # Not under the lock: an import may itself register or ask for models.
        found = check_model_class(_load(entry, name), repr(name), entry)
        with _lock:
            found = _loaded.setdefault((entry, name), found)
    return found


def find_entry(name: str) -> Entry:
    """Return the one entry point that answers to a name, importing nothing.

    Raises
    ------
    PluginError
        As for `get_model_class`, as far as metadata can tell.
    """
    namespace = _checked_namespace(name)
    enabled = [each for each in namespace if installed.disabled_by(each, name) is None]
    claims = _claims(name, enabled)
    if not claims:
        for each in _claims(name, namespace):
            installed.check_enabled(each, name)
        raise _not_found(name)
    if len(claims) == 1 and claims[0].owns_namespace:
        return claims[0]
    owners = [each for each in enabled if each.owns_namespace]
    intruders = [each for each in claims if owners and not each.owns_namespace]
    if len(claims) > 1 or intruders:
        raise _ambiguous(name, claims, owners)
    return claims[0]


def list_models(namespace: str | None = None) -> list[str]:
    """List registered names, sorted; no model library is imported for it.

    Parameters
    ----------
    namespace : str, optional
        One namespace. By default all: a package that is broken is left out with a warning then.

    Raises
    ------
    PluginError
        If `namespace` is not installed or its package is broken.
    """
    if namespace is not None:
        namespace = namespace.rstrip("/")
        _checked_namespace(f"{namespace}/*")
        return sorted(_names_in(namespace))
    found = {each for each in _own if "/" not in each}
    for each in namespaces():
        try:
            found |= _names_in(each)
        except PluginError as exc:
            warnings.warn(f"left out the models of {each}/: {exc}", RuntimeWarning, stacklevel=2)
    return sorted(found)


def namespaces() -> list[str]:
    """List the namespaces that this process or an installed package provides."""
    own = {each.partition("/")[0] for each in _own if "/" in each}
    return sorted(own | {each.namespace for each in installed.entries(GROUP) if each.is_name})


def name_of(model_class: type) -> str | None:
    """Return a name that a class is registered under, importing nothing."""
    for name, each in list(_own.items()):
        if each is model_class:
            return name
    for (_, name), each in list(_loaded.items()):
        if each is model_class:
            return name
    for entry in installed.entries(GROUP):
        if entry.value.replace(" ", "") == _path(model_class):
            return entry.key
    return None


def entry_of(model_class: type, name: str | None) -> Entry | None:
    """Return the entry point that a registered class came from; None for one of this process."""
    if name is None or name in _own:
        return None
    try:
        return find_entry(name)
    except PluginError:
        return None


def _claims(name: str, among: Sequence[Entry]) -> list[Entry]:
    exact = [each for each in among if each.key == name]
    return exact or [each for each in among if each.key.endswith("/*")]


def _checked_namespace(name: str) -> Sequence[Entry]:
    namespace, slash, _ = name.partition("/")
    if not slash:
        raise _without_namespace(name)
    found = installed.entries(GROUP, namespace)
    if not found and namespace not in namespaces():
        raise _not_installed(name, namespace)
    return found


def _load(entry: Entry, name: str) -> Any:
    if not entry.key.endswith("/*"):
        return installed.load(entry)
    resolver = _resolver(entry)
    rest = name.partition("/")[2]
    try:
        return resolver(rest)
    except LookupError as exc:
        # A library may raise a KeyError of its own while it is imported.
        if rest in resolver_names(entry):
            raise installed.import_failure(entry, exc) from exc
        raise _not_found(name) from exc
    except (Exception, SystemExit) as exc:
        raise installed.import_failure(entry, exc) from exc


def _resolver(entry: Entry) -> Any:
    found = installed.load(entry)
    if not callable(found) or not callable(getattr(found, "names", None)):
        raise PluginError(
            f"the {entry} is {found!r}, and no resolver. A key that ends in * names an object that makes a "
            "class of the rest of a name when it is called, and lists what it knows by names()"
        )
    return found


def resolver_names(entry: Entry) -> list[str]:
    """Return what a resolver says that it knows.

    Raises
    ------
    PluginError
        If it is none, or fails.
    """
    resolver = _resolver(entry)
    try:
        return list(resolver.names())
    except (Exception, SystemExit) as exc:
        raise installed.import_failure(entry, exc) from exc


def _names_in(namespace: str) -> set[str]:
    found = {each for each in _own if each.partition("/")[0] == namespace and "/" in each}
    for entry in installed.entries(GROUP, namespace):
        if installed.disabled_by(entry) is None:
            found |= _names_of(entry)
    return found


def _names_of(entry: Entry) -> set[str]:
    if not entry.key.endswith("/*"):
        return {entry.key}
    names = (f"{entry.namespace}/{each}" for each in resolver_names(entry))
    return {each for each in names if installed.disabled_by(entry, each) is None}


def _known_names(namespaces_: Sequence[str]) -> list[str]:
    """List names for an error message, leaving out what is broken."""
    found: set[str] = set()
    for each in namespaces_:
        for entry in installed.entries(GROUP, each):
            if installed.disabled_by(entry) is None:
                found |= _names_if_sound(entry)
    return sorted(found | set(_own))


def _names_if_sound(entry: Entry) -> set[str]:
    try:
        return _names_of(entry)
    except PluginError:
        return set()


def _without_namespace(name: str) -> ModelNotFoundError:
    known = _known_names(namespaces())
    same = [each for each in known if each.rpartition("/")[2].lower() == name.lower()]
    hint = f": did you mean {' or '.join(map(repr, same[:3]))}?" if same else nearest(name, known)
    return ModelNotFoundError(
        f"unknown model {name!r}{hint or '.'} A registered name is 'namespace/Name'; "
        f"the namespaces here are {', '.join(namespaces()) or 'none'}"
    )


def _not_installed(name: str, namespace: str) -> NamespaceNotInstalledError:
    here = namespaces()
    command = f"pip install batchloom-{normalised(namespace)}"
    close = nearest(namespace, {*here, *KNOWN_NAMESPACES})
    if namespace in KNOWN_NAMESPACES:
        advice = f": {command}"
    elif close:
        advice = close
    else:
        advice = f". If there is a package for it, it is called batchloom-{namespace}: {command}"
    return NamespaceNotInstalledError(
        f"{name!r}: no installed package provides the namespace {namespace!r}{advice} "
        f"(installed: {', '.join(here) or 'none'})"
    )


def _not_found(name: str) -> ModelNotFoundError:
    namespace = name.partition("/")[0]
    known = [each for each in _known_names([namespace]) if each.startswith(f"{namespace}/")]
    owners = sorted({each.owner for each in installed.entries(GROUP, namespace)})
    return ModelNotFoundError(
        f"unknown model {name!r}{nearest(name, known) or '.'} "
        f"{', '.join(owners) or 'This process'} has {len(known)} under {namespace}/; "
        + (
            f"the command `batchloom models {namespace}`"
            if owners
            else f"list_models({namespace!r})"
        )
        + " lists them"
    )


def _ambiguous(name: str, claims: Sequence[Entry], owners: Sequence[Entry]) -> AmbiguousModelError:
    # Whether a resolver has the name too, only importing it would tell.
    claims = [*claims, *(each for each in owners if each.key.endswith("/*"))]
    who = sorted({f"{each.owner} ({each.key!r} = {each.value})" for each in claims})
    several = "more than one package: " if len(who) > 1 else ""
    namespace = claims[0].namespace
    owner = owners[0].owner if owners else f"batchloom-{normalised(namespace)}"
    return AmbiguousModelError(
        f"{name!r} is registered by {several}{'; '.join(who)}. Uninstall "
        f"{'one' if several else 'it'}, or name {'one' if several else 'it'} in {installed.DISABLE}. "
        f"The namespace {namespace}/ belongs to {owner}"
        + ("" if several else ", which has no such name")
    )


def _path(model_class: type) -> str:
    return f"{model_class.__module__}:{model_class.__qualname__}"
