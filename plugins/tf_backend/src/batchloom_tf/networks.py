"""Making a network: of a model, a function, a config, or an architecture's name."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from batchloom.errors import ModelConfigError
from batchloom_tf.facts import Facts
from batchloom_tf.library import keras

Config = Mapping[str, Any]


def from_model(given: Any, args: Config, facts: Facts, copied: bool) -> Any:
    """Return the network that ``config["model"]`` stands for.

    Parameters
    ----------
    given : keras.Model, callable, class or dict
    args : mapping
        Further arguments of a function or class.
    facts : Facts
    copied : bool
        Whether a model object is copied, rather than used as it is.
    """
    if isinstance(given, keras.Model):
        return copy_of(given) if copied else given
    if isinstance(given, Mapping):
        return from_config(given)
    if callable(given):
        return checked(call(given, args, facts), given)
    raise ModelConfigError(
        "config['model'] must be a keras.Model, a function or class that makes one, or a Keras "
        f"config dict, not {type(given).__name__}"
    )


def call(function: Callable[..., Any], args: Config, facts: Facts) -> Any:
    """Call a function with its arguments, and with what it wants to know of the data.

    It gets ``input_shape`` and ``classes`` if it has parameters of these names and they are not
    among `args`.
    """
    parameters = inspect.signature(function).parameters
    for name in args:
        if name not in parameters and not _takes_any(parameters):
            raise ModelConfigError(
                f"{_name(function)} takes no argument {name!r}; it takes {list(parameters)}"
            )
    wanted = {
        name: getattr(facts, name)
        for name in ("input_shape", "classes")
        if name in parameters and name not in args
    }
    return function(**wanted, **args)


def checked(made: Any, function: Callable[..., Any]) -> Any:
    """Return what a function made, if it is a network."""
    if not isinstance(made, keras.Model):
        raise ModelConfigError(
            f"{_name(function)} returned {type(made).__name__} and no keras.Model"
        )
    return made


def from_config(config: Config) -> Any:
    """Return the network of a config, as `to_json`, `get_config` or Keras's serialisation give it.

    It runs no code from the config: a Lambda layer in it is refused.
    """
    if "class_name" in config:
        made = keras.saving.deserialize_keras_object(dict(config), safe_mode=True)
        return checked(made, type(made))
    if "layers" not in config:
        raise ModelConfigError(
            f"config['model'] is a dict with the keys {sorted(config)} and no Keras config: use "
            "model.get_config() or keras.saving.serialize_keras_object(model)"
        )
    kind = keras.Model if "input_layers" in config else keras.Sequential
    return kind.from_config(dict(config))


def architecture(name: str, config: Config, facts: Facts) -> Any:
    """Return an architecture of `keras.applications`, without downloading anything unasked.

    Parameters
    ----------
    name : str
        ``"ResNet50"``.
    config : mapping
        Arguments of the architecture's function, by its names. ``weights`` is None by default here.
    facts : Facts
        The shape of the images and the number of classes.
    """
    function = getattr(keras.applications, name)
    args = {
        "weights": None,
        **{k: v for k, v in config.items() if k in architecture_arguments(name)},
    }
    if args["weights"] == "imagenet" or not args.get("include_top", True):
        args.setdefault("classes", 1000)  # ImageNet's own, or not looked at: nothing is counted
    if not isinstance(facts.input_shape, tuple) or len(facts.input_shape) != 3:
        raise ModelConfigError(
            f"{name} takes images of shape (height, width, channels), and x has "
            f"{facts.input_shape} in a row. Add the axis of channels"
        )
    return call(function, args, facts)


def architecture_arguments(name: str) -> dict[str, Any]:
    """Return the config keys that an architecture has of its own, with their defaults."""
    parameters = inspect.signature(getattr(keras.applications, name)).parameters
    unused = ("input_tensor", "name")
    return {key: each.default for key, each in parameters.items() if key not in unused}


def copy_of(network: Any) -> Any:
    """Return a network of its own layers with the same weights, compiled alike."""
    try:
        with keras.saving.custom_object_scope(_functions(getattr(network, "loss", None))):
            copy = keras.models.clone_model(network)  # compiled alike, if it is one of layers
            if network.compiled and not copy.compiled:
                copy.compile_from_config(network.get_compile_config())
        if network.built and not copy.built:
            copy.build_from_config(network.get_build_config())
        copy_state(network, copy)
    except Exception as exc:
        exc.add_note(
            f"a dynamic model is made anew for each pipeline, so the {type(network).__qualname__} "
            "given is copied. Give a function that makes it, or use init_model('static', …)"
        )
        raise
    return copy


def copy_state(layer: Any, copy: Any) -> None:
    """Give a copy of a layer (or network) its weights, and what preprocessing layers learned by ``adapt()``.

    Their vocabularies are no weights, and their statistics are used as they were computed from weights.
    """
    if layer.weights:
        copy.set_weights(layer.get_weights())
    pairs = zip(layers_of(layer), layers_of(copy), strict=False)
    adapted = [(one, other) for one, other in pairs if hasattr(one, "adapt")]
    for one, other in adapted:
        variables: dict[str, Any] = {}
        one.save_own_variables(variables)
        other.load_own_variables(variables)
        if hasattr(one, "get_vocabulary"):
            _copy_assets(one, other)


def _copy_assets(layer: Any, copy: Any) -> None:
    if not layer.get_vocabulary(include_special_tokens=False):
        raise ModelConfigError(
            f"the layer {layer.name!r} has no vocabulary yet: call its adapt() before it is given, or give "
            f"{type(layer).__name__}(vocabulary=[...])"
        )
    with tempfile.TemporaryDirectory(prefix="batchloom-") as folder:
        layer.save_assets(folder)
        if os.listdir(folder):
            copy.load_assets(folder)


def layers_of(layer: Any) -> list[Any]:
    """List a layer and, if it is a network, all layers in it."""
    inner = [each for one in getattr(layer, "layers", ()) for each in layers_of(one)]
    return [layer, *inner]


def states_of(network: Any) -> list[Any]:
    """List what recurrent layers carry over from batch to batch, if they were asked to."""
    layers = [each for each in layers_of(network) if getattr(each, "stateful", False)]
    states = [keras.tree.flatten(getattr(each, "states", None)) for each in layers]
    return [state for each in states for state in each if state is not None]


def _functions(loss: Any) -> dict[str, Any]:
    """Name the functions among a network's losses: Keras looks for them when it copies."""
    return {each.__name__: each for each in keras.tree.flatten(loss) if inspect.isfunction(each)}


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def _name(function: Any) -> str:
    return f"config['model'] ({getattr(function, '__qualname__', type(function).__qualname__)})"
