"""The saved file of a network: `.keras`, read in safe mode and never from a newer Keras."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from packaging.version import Version

from batchloom.errors import CorruptFileError, FormatVersionError, UnsafeFileError
from batchloom_tf.library import keras

NAME = "network.keras"


def save(network: Any, directory: Path) -> None:
    """Write a network, its optimizer's state and what it was compiled with."""
    network.save(directory / NAME)


def load(directory: Path, compiled: bool = True) -> Any:
    """Read a network.

    Parameters
    ----------
    directory : Path
    compiled : bool
        Read the loss, the metrics and the optimizer with its state as well.

    Raises
    ------
    UnsafeFileError
        If it holds code, such as a Lambda layer.
    FormatVersionError
        If a newer Keras wrote it.
    CorruptFileError
        If it is no Keras file.
    """
    path = directory / NAME
    _check_version(path)
    try:
        return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except Exception as exc:
        if "safe_mode" in str(exc) or "unsafe" in str(exc).lower():
            raise UnsafeFileError(
                f"{NAME} holds code, such as a Lambda layer, that would run: it is refused. "
                "Make the layer a class registered by keras.saving.register_keras_serializable()"
            ) from exc
        exc.add_note(
            "a class of your own must be registered by keras.saving.register_keras_serializable() "
            "and its module imported before the model is loaded"
        )
        raise


def _check_version(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            written_by = json.loads(archive.read("metadata.json"))["keras_version"]
            newer = Version(written_by).release[:2] > Version(keras.__version__).release[:2]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as exc:
        raise CorruptFileError(f"{NAME} is no model file of Keras 3: {exc}") from exc
    if newer:
        raise FormatVersionError(
            f"{NAME} was written by Keras {written_by}, and {keras.__version__} is installed: "
            f"pip install 'keras>={written_by}'"
        )
