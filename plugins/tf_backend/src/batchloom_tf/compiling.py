"""Keras's compile() from a config: the optimizer, its learning rate, the loss and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchloom.errors import ModelConfigError, nearest
from batchloom_tf.config import COMPILE
from batchloom_tf.library import keras

# Names that Keras resolves by the shape of the targets, when it first sees them.
LATE_METRICS = ("accuracy", "acc", "crossentropy", "ce")


def options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `compile` that a config states, all names resolved.

    Parameters
    ----------
    config : mapping
        With any of the keys in `batchloom_tf.config.COMPILE`.

    Returns
    -------
    dict
        Empty if it states none. Optimizers and metrics are copies: they belong to one network.

    Raises
    ------
    ModelConfigError
        For a name that Keras does not know.
    """
    given = {key: config[key] for key in COMPILE if config.get(key) is not None}
    if "loss" in given:
        given["loss"] = _each(given["loss"], _loss)
    if "optimizer" in given or "learning_rate" in given:
        given["optimizer"] = optimizer(
            given.get("optimizer", "rmsprop"), given.pop("learning_rate", None)
        )
    for key in ("metrics", "weighted_metrics"):
        if key in given:
            given[key] = _each(given[key], _metric)
    return given


def compile_network(network: Any, config: Mapping[str, Any]) -> None:
    """Compile a network with what the config states, and with its own settings for the rest.

    A network that is compiled already keeps its optimizer, with its state, unless the config states
    another one (or a learning rate).
    """
    stated = options(config)
    if not stated:
        return
    if network.compiled:
        own = _own_options(network)
        if "learning_rate" in config and "optimizer" not in config:
            stated["optimizer"] = optimizer(network.optimizer, config["learning_rate"])
        stated = own | stated
    network.compile(**{"jit_compile": False, **stated})


def optimizer(given: Any, learning_rate: Any = None) -> Any:
    """Return an optimizer of its own, with a learning rate.

    Parameters
    ----------
    given : str, dict or keras.Optimizer
        An object is copied, without its state.
    learning_rate : float or schedule, optional
        Replaces the optimizer's own.
    """
    found = _named("optimizer", given, keras.optimizers.get, keras.optimizers)
    settings = found.get_config()
    if learning_rate is not None and "learning_rate" in settings:
        is_config = isinstance(learning_rate, Mapping)
        settings["learning_rate"] = (
            keras.optimizers.schedules.deserialize(dict(learning_rate))
            if is_config
            else learning_rate
        )
    made = type(found).from_config(settings)
    if learning_rate is not None and "learning_rate" not in settings:
        made.learning_rate = learning_rate  # one that wraps another passes it on
    return made


def _own_options(network: Any) -> dict[str, Any]:
    stated = {
        key: keras.saving.deserialize_keras_object(value)
        for key, value in network.get_compile_config().items()
        if key in ("loss_weights", "metrics", "weighted_metrics") and value is not None
    }
    stated |= {"optimizer": network.optimizer, "jit_compile": network.jit_compile}
    return stated if network.loss is None else stated | {"loss": network.loss}


def _each(given: Any, resolve: Callable[[Any], Any]) -> Any:
    """Resolve one name or object, or each one in a dict by output or a list."""
    if isinstance(given, Mapping) and "class_name" not in given:
        return {key: _each(value, resolve) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [_each(value, resolve) for value in given]
    return given if given is None else resolve(given)


def _loss(given: Any) -> Any:
    found = _named("loss", given, keras.losses.get, keras.losses)
    return given if isinstance(given, str) else found


def _metric(given: Any) -> Any:
    if isinstance(given, str) and given in LATE_METRICS:
        return given
    found = _named("metric", given, keras.metrics.get, keras.metrics)
    if isinstance(given, str):
        return given  # Keras calls its values so: "mae" is "mae"
    return type(found).from_config(found.get_config()) if isinstance(found, keras.Metric) else found


def _named(kind: str, given: Any, get: Callable[[Any], Any], module: Any) -> Any:
    try:
        return get(given)
    except (TypeError, ValueError) as exc:
        close = nearest(given, dir(module)) if isinstance(given, str) else ""
        close = close or "."
        raise ModelConfigError(f"Keras knows no {kind} {given!r}{close} It says: {exc}") from exc
