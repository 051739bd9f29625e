"""The saved file of a network: `.keras`, read in safe mode and never from a newer Keras."""

from __future__ import annotations

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from packaging.version import Version

from batchloom.errors import CorruptFileError, FormatVersionError, UnsafeFileError
from batchloom_tf.library import keras
from batchloom_tf.networks import states_of

NAME = "network.keras"
RANDOM_STATE = "random_state.npy"
STATES = "states.npz"


def save(network: Any, directory: Path) -> None:
    """Write a network, what it was compiled with, the state of its optimizer and of its dropout."""
    network.save(directory / NAME)
    np.save(directory / RANDOM_STATE, np.array([each.numpy() for each in _random_state(network)]))
    if states := [each.numpy() for each in states_of(network)]:
        np.savez(directory / STATES, *states)


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
    network = _load_safely(path, compiled)
    _restore_random_state(network, directory / RANDOM_STATE)
    _restore_states(network, directory / STATES)
    return network


def _load_safely(path: Path, compiled: bool) -> Any:
    def read() -> Any:
        return keras.saving.load_model(path, compile=compiled, safe_mode=True)

    try:
        # Keras's enable_unsafe_deserialization() overrules safe_mode=True in the thread that
        # called it. A thread of its own is always safe.
        with ThreadPoolExecutor(1, "batchloom-load") as fresh_thread:
            return fresh_thread.submit(read).result()
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


def _random_state(network: Any) -> list[Any]:
    """List the variables of the seeds that dropout draws from: Keras's file leaves them out."""
    stated = states_of(network)
    others = {id(each) for each in (*network.weights, *network.metrics_variables, *stated)}
    return [each for each in network.variables if id(each) not in others]


def _restore_random_state(network: Any, path: Path) -> None:
    variables = _random_state(network)
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as exc:
        raise CorruptFileError(f"{RANDOM_STATE} cannot be read: {exc}") from exc
    if len(values) != len(variables):
        raise CorruptFileError(
            f"{RANDOM_STATE} has {len(values)} states, and the network {len(variables)}"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _restore_states(network: Any, path: Path) -> None:
    """Set what recurrent layers carry from batch to batch, which Keras's file leaves out as well."""
    states = states_of(network)
    if not states or not path.exists():
        return
    try:
        with np.load(path, allow_pickle=False) as file:
            values = [file[f"arr_{number}"] for number in range(len(states))]
        for state, value in zip(states, values, strict=True):
            state.assign(value)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise CorruptFileError(f"{STATES} cannot be read: {exc}") from exc


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
