"""Saving a live model into one file, and making one of such a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import batchloom
from batchloom.errors import PluginError, SavedModelError, SaveError
from batchloom.models.archive import publish, read_manifest, verified
from batchloom.models.manifest import Manifest, split_config
from batchloom.models.protocol import check_model_class
from batchloom.models.spec import ModelSpec
from batchloom.models.staging import save_error, staging

if TYPE_CHECKING:
    from batchloom.models.handle import ModelHandle

# They say what to do with a file, and would be wrong for the next one.
_OF_ONE_FILE = ("load", "path")


def load_model(
    path: str | os.PathLike[str],
    *,
    model_class: type | None = None,
    config: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Make a model of a saved file, without a pipeline.

    The class is found by the registered name in the file, among what is installed; no code comes
    from the file. Hashes detect damage, not an attacker: load files of unknown origin in a process
    of their own.

    Parameters
    ----------
    path : path
        What ``save_model`` wrote.
    model_class : type, optional
        The class, where it is not registered.
    config : mapping, optional
        Values that override the saved config, or that a file could not hold.
    **kwargs
        Go to the model's ``_load``, such as ``allow_pickle=True`` for a backend that knows it.

    Returns
    -------
    model
        As `get_model_by_name` of a pipeline gives it.

    Raises
    ------
    SavedModelError
        If the file is missing, damaged, unsafe, too new, or of another kind of model.
    PluginError
        If the package that its class comes from is missing or broken.
    """
    place = Path(path)
    manifest = read_manifest(place)
    spec = _spec(manifest, model_class, {**manifest.config, **(config or {})}, place)
    try:
        handle = spec.live(spec.config)
        if model_class is not None:
            handle.also_reads = manifest.model_class
        if getattr(spec.model_class, "load_needs_build", True) and spec.config.get("build", True):
            handle.build((), {"pipeline": None, "batch": None})
    except Exception as exc:
        _explain(exc, manifest, spec.config)
        raise
    handle.load(place, **kwargs)
    return handle.model


def write_from(handle: ModelHandle, path: Path, kwargs: Mapping[str, Any]) -> None:
    """Have a model write its files, and put them in one file at `path`."""
    target = Path(os.path.realpath(path))  # replacing a link would leave its file behind
    with staging(target) as place:
        files = place / "files"
        try:
            files.mkdir()
            handle.calls.save(files, kwargs)
        except SaveError:
            raise
        except OSError as exc:
            raise save_error(target, exc) from exc
        publish(files, describe(handle), place, target)


def read_into(handle: ModelHandle, path: Path, kwargs: Mapping[str, Any]) -> None:
    """Verify a saved file and have a model read it."""
    with verified(path) as (manifest, directory):
        _check_kind(handle, manifest, path)
        try:
            handle.calls.load(directory, kwargs)
        except Exception as exc:
            _explain(exc, manifest, handle.config)
            raise


def describe(handle: ModelHandle) -> Manifest:
    """Say of a live model what its file will say; the members are not known yet."""
    config = getattr(handle.calls.model, "config", None)
    current = dict(config if isinstance(config, Mapping) else handle.config)
    for key in _OF_ONE_FILE:
        current.pop(key, None)
    kept, omitted = split_config(current)
    return Manifest(
        registered_name=handle.registered_name,
        model_class=_class_path(handle.spec.model_class),
        name=handle.name,
        packages=packages(handle),
        config=kept,
        config_omitted=omitted,
    )


def _spec(
    manifest: Manifest, model_class: type | None, config: dict[str, Any], path: Path
) -> ModelSpec:
    # One that the file could hold only a part of may make no sense without the rest.
    is_whole = manifest.config_omitted.keys() <= config.keys()
    if model_class is not None:
        check_model_class(model_class, repr(model_class))
        return ModelSpec.resolve(model_class, manifest.name or None, config, is_whole=is_whole)
    if manifest.registered_name is None:
        raise SavedModelError(
            f"{path} holds a model of a class that is not registered, {manifest.model_class}: "
            "give load_model(path, model_class=...)"
        )
    try:
        registered = manifest.registered_name
        return ModelSpec.resolve(registered, manifest.name or None, config, is_whole=is_whole)
    except PluginError as exc:
        exc.add_note(f"asked for by the saved model {path}, written with {_list(manifest)}")
        raise


def _check_kind(handle: ModelHandle, manifest: Manifest, path: Path) -> None:
    mine = {_class_path(each) for each in handle.spec.model_class.__mro__}
    same_name = manifest.registered_name and manifest.registered_name == handle.registered_name
    if not same_name and manifest.model_class not in {*mine, handle.also_reads}:
        raise SavedModelError(
            f"{path} holds a model of {manifest.registered_name or manifest.model_class}, and this "
            f"is {handle.label}"
        )


def _explain(exc: Exception, manifest: Manifest, config: Mapping[str, Any]) -> None:
    absent = {key: text for key, text in manifest.config_omitted.items() if key not in config}
    if absent:
        exc.add_note(
            "the file could not hold these values of the model's config, give them in "
            f"load_model(path, config={{...}}): {absent}"
        )
    if changed := [
        f"{k} {v}, now {n}" for k, v in manifest.packages.items() if (n := version_now(k)) != v
    ]:
        exc.add_note(f"the model was saved with {'; '.join(changed)}")


def packages(handle: ModelHandle) -> dict[str, str]:
    """Name the distributions that a model rests on, with their versions."""
    import numpy

    from batchloom.models.registry import entry_of

    found = {"batchloom": batchloom.__version__, "numpy": numpy.__version__}
    if entry := entry_of(handle.spec.model_class, handle.registered_name):
        found[entry.package] = entry.version
    if library := getattr(handle.spec.model_class, "library", None):
        for name in _distributions(library):
            found[name] = version_now(name)
    return found


@lru_cache(maxsize=64)
def _distributions(library: str) -> tuple[str, ...]:
    """Return the distributions of a library, given as one or as what is imported."""
    import importlib_metadata

    try:
        importlib_metadata.version(library)
    except importlib_metadata.PackageNotFoundError:
        providers = importlib_metadata.packages_distributions().get(library, ())
        return tuple(sorted(set(providers))) or (library,)
    return (library,)


def version_now(distribution: str) -> str:
    """Say which version is installed."""
    import importlib_metadata

    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(distribution), "__version__", "not installed"))


def _class_path(model_class: type) -> str:
    return f"{model_class.__module__}:{model_class.__qualname__}"


def _list(manifest: Manifest) -> str:
    return ", ".join(f"{name} {version}" for name, version in manifest.packages.items())
