"""An estimator as a file: skops by default, joblib only for those who ask for it by name."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import skops.io
from sklearn import __version__ as sklearn_version
from sklearn.exceptions import InconsistentVersionWarning
from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

from batchloom.errors import CorruptFileError, ModelConfigError, SaveError, UnsafeFileError, nearest

from .trusted import CHECKED, TRUSTED

FORMATS = {"skops": "estimator.skops", "joblib": "estimator.joblib"}
"""Format -> the name of its file in the saved model."""

_UNSAFE_WAY = (
    "The unsafe alternative has to be asked for: save_model(..., format='joblib') writes a pickle, and "
    "load_model(..., allow_pickle=True) reads it, which runs code from the file"
)


def save(estimator: Any, directory: Path, file_format: str, trusted: Collection[str]) -> None:
    """Write an estimator into a directory.

    Parameters
    ----------
    estimator : estimator
    directory : Path
    file_format : {"skops", "joblib"}
    trusted : collection of str
        Full names of types, beyond `TRUSTED`, that the caller vouches for; they will have to be
        named again when the file is loaded.

    Raises
    ------
    SaveError
        If it could not be loaded again, with what to do.
    ModelConfigError
        There is no such format.
    """
    if file_format not in FORMATS:
        raise ModelConfigError(
            f"there is no format {file_format!r}{nearest(str(file_format), FORMATS) or '.'} "
            f"There is: {', '.join(FORMATS)}"
        )
    file = directory / FORMATS[file_format]
    if file_format == "joblib":
        _dump_joblib(estimator, file)
    else:
        _dump_skops(estimator, file, trusted)


def load(directory: Path, allow_pickle: bool, trusted: Collection[str]) -> Any:
    """Read an estimator from a directory.

    Parameters
    ----------
    directory : Path
    allow_pickle : bool
        Whether a file in the format joblib may run what code it likes.
    trusted : collection of str
        Full names of types, beyond `TRUSTED`, that the caller vouches for.

    Raises
    ------
    UnsafeFileError
        A pickle that nobody asked for, a type that is not trusted, an index out of range.
    CorruptFileError
        There is no estimator in the directory.
    """
    if (directory / FORMATS["skops"]).exists():
        file = directory / FORMATS["skops"]
        return _reporting_versions(lambda: _load_skops(file, frozenset(trusted)))
    file = directory / FORMATS["joblib"]
    if not file.exists():
        raise CorruptFileError(f"the saved model holds no {' or '.join(FORMATS.values())}")
    if not allow_pickle:
        raise UnsafeFileError(
            "this model was saved with format='joblib': it is a pickle, and loading it runs code from "
            "the file. If you trust where it comes from, load_model(..., allow_pickle=True)"
        )
    return _reporting_versions(lambda: joblib.load(file))


def types_in(estimator: Any) -> frozenset[str]:
    """List the types that an estimator of the user's own making holds, beyond those of `TRUSTED`.

    A checkpoint may hold them too: they come from the definition, and not from the file.
    """
    try:
        data = skops.io.dumps(estimator)
    except (UnsupportedTypeException, TypeError):
        return frozenset()  # saving it will say so
    return frozenset(skops.io.get_untrusted_types(data=data)) - TRUSTED - CHECKED


def _dump_joblib(estimator: Any, file: Path) -> None:
    try:
        joblib.dump(estimator, file)
    except (pickle.PicklingError, AttributeError, TypeError) as exc:
        raise SaveError(
            f"{type(estimator).__name__} cannot be pickled either: {exc}. Functions and classes have to "
            "be defined at the top of a module that can be imported"
        ) from exc


def _dump_skops(estimator: Any, file: Path, trusted: Collection[str]) -> None:
    title = type(estimator).__name__
    try:
        skops.io.dump(estimator, file)
    except (UnsupportedTypeException, TypeError) as exc:
        raise SaveError(f"{title} cannot be saved with skops: {exc}. {_UNSAFE_WAY}") from exc
    strange = set(skops.io.get_untrusted_types(file=file)) - TRUSTED - CHECKED
    lost = sorted(name for name in strange if not _can_be_imported(name))
    if lost:
        raise SaveError(
            f"{title} holds {', '.join(lost)}, which no other process could import: a lambda, or "
            "something defined in a function, a notebook or __main__. Move it to a module. "
            f"{_UNSAFE_WAY}"
        )
    if unknown := sorted(strange - set(trusted)):
        raise SaveError(
            f"{title} holds {', '.join(unknown)}, which would not be trusted when loading. Vouch for "
            f"it, here and in load_model: trusted={unknown!r}. {_UNSAFE_WAY}"
        )


def _load_skops(file: Path, trusted: frozenset[str]) -> Any:
    from . import trees

    try:
        trees.check_before_loading(file)
        loaded = skops.io.load(file, trusted=sorted(TRUSTED | CHECKED | trusted))
    except UntrustedTypesFoundException as exc:
        raise UnsafeFileError(
            f"the file holds types that are not trusted: {exc}. If you know them to be harmless, name "
            "them: load_model(..., trusted=['package.module.Class'])"
        ) from exc
    except zipfile.BadZipFile as exc:
        raise CorruptFileError(
            f"{file.name} is damaged, or no file of skops (a pickle under that name is not loaded): {exc}"
        ) from exc
    trees.check_loaded(loaded)
    return loaded


def _can_be_imported(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module.startswith("__main__") or "<" in name:
        return False
    try:
        return hasattr(import_module(module), attribute)
    except ImportError:
        return False


def _reporting_versions(load_it: Callable[[], Any]) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_it()
    versions = set()
    for each in caught:
        if isinstance(each.message, InconsistentVersionWarning):
            versions.add(each.message.original_sklearn_version)
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if versions:
        warnings.warn(
            f"this model was saved with scikit-learn {', '.join(sorted(versions))} and is loaded with "
            f"{sklearn_version}: scikit-learn does not promise that it behaves the same. Train it again, "
            "or install the version that it was saved with",
            stacklevel=2,
        )
    return loaded
