"""The entry points of installed packages: scanned once, loaded one at a time."""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
import warnings
from collections.abc import Container, Iterable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import batchloom
from batchloom.errors import PluginDisabledError, PluginImportError, PluginVersionError
from batchloom.models.compatibility import normalised, unmet

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

GROUPS = ("batchloom.models", "batchloom.adapters", "batchloom.metrics", "batchloom.plugins")
DISABLE = "BATCHLOOM_DISABLE_PLUGINS"


class Entry(NamedTuple):
    """One entry point, with what its package says of itself.

    Attributes
    ----------
    group, key, value : str
        ``batchloom.models``, ``acme/Forecaster`` and ``acme_models.forecaster:Forecaster``.
    package, version : str
        The distribution's normalised name and its version.
    requires : tuple of str
        The distribution's own requirements.
    """

    group: str
    key: str
    value: str
    package: str
    version: str
    requires: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """The part of the key before the slash."""
        return self.key.partition("/")[0]

    @property
    def is_name(self) -> bool:
        """Whether the key is one that a model can be asked for by."""
        namespace, _, rest = self.key.partition("/")
        return bool(namespace.strip() and rest.strip())

    @property
    def owner(self) -> str:
        """The package and its version, as people write them."""
        return f"{self.package} {self.version}"

    @property
    def owns_namespace(self) -> bool:
        """Whether the package is the one that the namespace belongs to."""
        namespace = self.namespace
        return self.package == f"batchloom-{namespace}" or (
            self.package == f"batchloom-{normalised(namespace)}"
        )

    def __str__(self) -> str:
        return f"entry point {self.key!r} ({self.value}) of {self.owner} in the group {self.group}"


Scanned = dict[str, dict[str | None, list[Entry]]]
"""By group and by namespace; under None are all of a group."""

_FOLDED = re.compile(r"\n[ \t]+")

_lock = threading.Lock()
_scanned: Scanned | None = None


def entries(group: str, namespace: str | None = None) -> Sequence[Entry]:
    """Return the entry points of a group; the metadata is scanned at the first call.

    Parameters
    ----------
    group : str
        One of `GROUPS`.
    namespace : str, optional
        Only those in one namespace.
    """
    global _scanned
    found = _scanned
    if found is None:
        with _lock:
            if _scanned is None:
                _scanned = _scan()
            found = _scanned
    return found[group].get(namespace, ())


def forget() -> None:
    """Have the metadata scanned again at the next call, with packages installed since."""
    global _scanned
    import importlib

    with _lock:
        importlib.invalidate_caches()
        _scanned = None


def switched_off(group: str, keys: Container[str]) -> str:
    """Say which providers of some keys in a group are switched off; nothing if none is."""
    off = {each.owner: disabled_by(each) for each in entries(group) if each.key in keys}
    return ", ".join(
        f"{owner} is switched off by {pattern!r} in {DISABLE}"
        for owner, pattern in off.items()
        if pattern
    )


def disabled_by(entry: Entry, name: str | None = None) -> str | None:
    """Return the word of ``BATCHLOOM_DISABLE_PLUGINS`` that switches an entry point off.

    Parameters
    ----------
    entry : Entry
        The entry point.
    name : str, optional
        The name asked for, where the entry point is a resolver of many.
    """
    for word, package in _words(os.environ.get(DISABLE, "")):
        if package == entry.package or word in ("*", entry.key, name):
            return word
        if word.removesuffix("/*") == entry.namespace:
            return word
    return None


@functools.lru_cache(maxsize=1)
def _words(text: str) -> list[tuple[str, str]]:
    """Take apart what is switched off: words, and the packages whose names they may be."""
    return [(word, normalised(word)) for word in text.replace(",", " ").split()]


def check_enabled(entry: Entry, asked: str) -> None:
    """Refuse an entry point that is switched off.

    Raises
    ------
    PluginDisabledError
        If a word of ``BATCHLOOM_DISABLE_PLUGINS`` matches it.
    """
    if word := disabled_by(entry, asked):
        raise PluginDisabledError(
            f"{asked!r} is provided by {entry.owner}, which is switched off by {word!r} in the "
            f"environment variable {DISABLE}"
        )


def load(entry: Entry) -> Any:
    """Import what an entry point names.

    Raises
    ------
    PluginVersionError
        If its package asks for another version of core; nothing has been imported then.
    PluginImportError
        If the import fails, whatever it raises.
    """
    if requirement := unmet(entry.requires):
        raise PluginVersionError(
            f"{entry.owner} asks for {requirement}, and this is batchloom {batchloom.__version__}. "
            f"Install versions that fit: pip install --upgrade batchloom {entry.package} "
            f"(asked for was its entry point {entry.key!r}, {entry.value})"
        )
    try:
        return _object(entry.value)
    except (Exception, SystemExit) as exc:
        raise import_failure(entry, exc) from exc


def _object(value: str) -> Any:
    module, _, names = value.partition("[")[0].partition(":")
    found = import_module(module.strip())
    for name in filter(None, names.strip().split(".")):
        found = getattr(found, name)
    return found


def import_failure(entry: Entry, exc: BaseException) -> PluginImportError:
    """Describe why the code behind an entry point could not be imported."""
    cause = f"{type(exc).__name__}: {exc}"
    return PluginImportError(f"the {entry} cannot be imported: {cause}. {_advice(entry, exc)}")


def _advice(entry: Entry, exc: BaseException) -> str:
    module = entry.value.partition(":")[0].strip()
    reinstall = f"pip install --force-reinstall {entry.package}"
    if isinstance(exc, ModuleNotFoundError) and exc.name:
        if module == exc.name or module.startswith(exc.name + "."):
            return (
                f"The package's own module is not there, so its metadata may be left over: "
                f"{reinstall}, or pip uninstall {entry.package}"
            )
        return f"It needs the module {exc.name!r}, which is not installed; {reinstall} brings it"
    if isinstance(exc, AttributeError):
        return f"Its metadata and its code may be of two versions: {reinstall}"
    return f"The fault is in {entry.package} or in what it imports; other models are not affected"


def _scan() -> Scanned:
    found: Scanned = {group: {None: []} for group in GROUPS}
    for distribution in _distributions():
        for entry in dict.fromkeys(_entries_of(distribution)):  # equal ones can come twice
            found[entry.group][None].append(entry)
            if entry.is_name:
                found[entry.group].setdefault(entry.namespace, []).append(entry)
    return found


def _entries_of(distribution: Any) -> Iterator[Entry]:
    points = [each for each in _points(distribution) if each.group in GROUPS]
    if points:
        package = _package(distribution)
        for each in points:
            yield Entry(each.group, each.name, each.value, *package)


def _distributions() -> Iterable[Any]:
    """List the first distribution of each name on the path: it is the one that is imported."""
    import importlib_metadata

    # Python's own archive is hardly ever there, and to look into it zipfile would be imported.
    path = [each for each in sys.path if os.path.exists(each) or not str(each).endswith(".zip")]
    found: dict[str, Any] = {}
    for each in importlib_metadata.distributions(path=path):
        found.setdefault(_name(each), each)
    return found.values()


def _points(distribution: Any) -> Iterable[EntryPoint]:
    try:
        return distribution.entry_points  # type: ignore[no-any-return]
    except Exception as exc:
        name = _name(distribution)
        warnings.warn(f"ignored the unreadable metadata of {name}: {exc!r}", stacklevel=2)
        return ()


def _name(distribution: Any) -> str:
    return _folder_name(distribution) or _package(distribution)[0]


def _package(distribution: Any) -> tuple[str, str, tuple[str, ...]]:
    # Metadata without a METADATA file is what an interrupted uninstall leaves behind.
    otherwise = _folder_name(distribution) or "a package without a name"
    try:
        text = distribution.read_text("METADATA")
        said = _headers(distribution) if text is None else _read_headers(text)
    except Exception:
        return otherwise, "of unknown version", ()
    name, version, requires = said
    return normalised(name or otherwise), version or "of unknown version", requires


def _read_headers(text: str) -> tuple[str, str, tuple[str, ...]]:
    # Distribution.metadata would import the package email, which takes longer than all of the scan.
    name = version = ""
    requires = []
    for line in _FOLDED.sub(" ", text.partition("\n\n")[0]).split("\n"):
        key, _, value = line.partition(":")
        match key.lower():
            case "name":
                name = name or value.strip()
            case "version":
                version = version or value.strip()
            case "requires-dist":
                requires.append(value.strip())
    return name, version, tuple(requires)


def _headers(distribution: Any) -> tuple[str, str, tuple[str, ...]]:
    # An egg, whose requirements are in a file of their own.
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"], tuple(distribution.requires or ())


def _folder_name(distribution: Any) -> str:
    folder = getattr(getattr(distribution, "_path", None), "name", "")
    name, _, kind = folder.rpartition(".")
    return normalised(name.partition("-")[0]) if kind in ("dist-info", "egg-info") else ""
