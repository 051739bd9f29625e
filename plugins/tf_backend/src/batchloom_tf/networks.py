"""Making a network: of a model, a function, a config, layers, or an architecture's name."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from batchloom.errors import BatchloomError, ModelConfigError
from batchloom.models.protocol import RunInfo
from batchloom_tf.arrays import as_array
from batchloom_tf.classes import count_classes
from batchloom_tf.feeding import Feed, is_several, shapes_of
from batchloom_tf.library import keras

Config = Mapping[str, Any]


class NotYetKnownError(BatchloomError):
    """Raised where a network needs the first batch, and caught where there is none yet."""


class Facts:
    """What is known of the data at the time when the network is made.

    Parameters
    ----------
    config : mapping
        Its ``input_shape`` and ``classes`` come first.
    feed : Feed, optional
        What the first call of train or predict was given.
    run : RunInfo, optional
        The run, if it is one that trains.
    """

    def __init__(
        self, config: Config, feed: Feed | None = None, run: RunInfo | None = None
    ) -> None:
        self.config, self.feed, self.run = config, feed, run

    @property
    def input_shape(self) -> Any:
        """Shape of x without its rows, or a dict (or list) of shapes."""
        given = self.config.get("input_shape")
        if given is None:
            return shapes_of(self._feed().x)
        return dict(given) if isinstance(given, Mapping) else tuple(given)

    @property
    def classes(self) -> int:
        """The number of classes, or of numbers to predict."""
        given = self.config.get("classes")
        if given is None:
            return count_classes(self._feed().y, self.run, self.config.get("loss"))
        return int(given)

    @property
    def dtype_kind(self) -> str:
        """NumPy's kind of x: ``"f"``, ``"i"``, ``"U"``, …; floating point if there is no batch."""
        x = self.feed and self.feed.x
        if x is None or isinstance(x, Mapping) or is_several(x):
            return "f"
        return as_array(x, "x").dtype.kind

    def _feed(self) -> Feed:
        if self.feed is None:
            raise NotYetKnownError("the first batch has not been seen")
        return self.feed


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


def sequential(layers: Any, facts: Facts) -> Any:
    """Return a chain of layers.

    Parameters
    ----------
    layers : list, or function that makes one
        Layer objects (they are copied, with their weights), config dicts or names of layers.
    facts : Facts
        The shape of x, unless the first layer states one.
    """
    given = call(layers, {}, facts) if callable(layers) else layers
    if not isinstance(given, list | tuple) or not given:
        raise ModelConfigError(
            f"config['layers'] must be a list of layers, not {type(given).__name__} {given!r}"
        )
    names: Counter[str] = Counter()
    chain = [_layer(each, names) for each in given]
    if not _states_shape(chain[0]):
        chain.insert(0, keras.Input(facts.input_shape, dtype=_input_dtype(chain[0], facts)))
    network = keras.Sequential(chain)
    for original, layer in zip(reversed(given), reversed(network.layers), strict=False):
        if isinstance(original, keras.Layer) and original.weights:
            layer.set_weights(original.get_weights())
    return network


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
    args = {"weights": None, **{k: v for k, v in config.items() if k in architecture_keys(name)}}
    has_own_classes = args["weights"] == "imagenet" and args.get("include_top", True)
    if has_own_classes or not args.get("include_top", True):
        args.setdefault("classes", 1000)
    if not isinstance(facts.input_shape, tuple) or len(facts.input_shape) != 3:
        raise ModelConfigError(
            f"{name} takes images of shape (height, width, channels), and x has "
            f"{facts.input_shape} in a row. Add the axis of channels"
        )
    return call(function, args, facts)


def architecture_keys(name: str) -> tuple[str, ...]:
    """List the config keys that an architecture has of its own."""
    parameters = inspect.signature(getattr(keras.applications, name)).parameters
    return tuple(each for each in parameters if each not in ("input_tensor", "name"))


def copy_of(network: Any) -> Any:
    """Return a network of its own layers with the same weights, compiled alike."""
    try:
        copy = keras.models.clone_model(network)
        if network.built and not copy.built:
            copy.build_from_config(network.get_build_config())
        if network.weights:
            copy.set_weights(network.get_weights())
        if network.compiled:
            copy.compile_from_config(network.get_compile_config())
    except Exception as exc:
        exc.add_note(
            f"a dynamic model is made anew for each pipeline, so the {type(network).__qualname__} "
            "given is copied. Give a function that makes it, or use init_model('static', …)"
        )
        raise
    return copy


def _layer(given: Any, names: Counter[str]) -> Any:
    if isinstance(given, keras.KerasTensor):  # what keras.Input() returns
        return keras.Input(batch_shape=given.shape, dtype=given.dtype, name=given.name)
    if isinstance(given, keras.Layer):
        return type(given).from_config(given.get_config())
    if isinstance(given, str):
        given = {"class_name": given, "config": {}}
    if not isinstance(given, Mapping):
        raise ModelConfigError(
            f"config['layers'] has {given!r}: a layer is an object, a config dict or a name"
        )
    try:
        return keras.layers.deserialize({**_module_of(given), **_named(given, names)})
    except (TypeError, ValueError) as exc:
        raise ModelConfigError(
            f"config['layers'] has {given!r}, which Keras cannot make: {exc}"
        ) from exc


def _named(config: Config, names: Counter[str]) -> dict[str, Any]:
    # Keras counts layers over the whole process, so that "dense" would be "dense_7" some day.
    words = re.sub("(?<=[a-z])(?=[A-Z])", "_", str(config.get("class_name"))).lower()
    names[words] += 1
    name = words if names[words] == 1 else f"{words}_{names[words] - 1}"
    return {**config, "config": {"name": name, **config.get("config", {})}}


def _module_of(config: Config) -> Config:
    # Keras finds its own layers by module and name; a user need not write both.
    own = hasattr(keras.layers, str(config.get("class_name")))
    return {"module": "keras.layers"} if own else {}


def _states_shape(first: Any) -> bool:
    return isinstance(first, keras.KerasTensor | keras.layers.InputLayer) or bool(
        getattr(first, "inputs", None)
    )


def _input_dtype(first: Any, facts: Facts) -> str:
    # Whole numbers stay whole where they are looked up: half precision would merge large ones.
    looked_up = (
        keras.layers.Embedding,
        keras.layers.IntegerLookup,
        keras.layers.CategoryEncoding,
        keras.layers.Hashing,
    )
    if facts.dtype_kind in "US":
        return "string"
    return "int64" if isinstance(first, looked_up) and facts.dtype_kind in "iu" else _float()


def _float() -> str:
    return str(np.dtype(keras.config.floatx()))


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def _name(function: Any) -> str:
    return f"config['model'] ({getattr(function, '__qualname__', type(function).__qualname__)})"
