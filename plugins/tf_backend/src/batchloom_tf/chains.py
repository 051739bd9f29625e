"""Chains of layers: `config["layers"]` made into a `keras.Sequential`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from batchloom.errors import ModelConfigError
from batchloom_tf.facts import Facts
from batchloom_tf.library import keras
from batchloom_tf.networks import call, copy_state


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
        if isinstance(original, keras.Layer):
            copy_state(original, layer)
    return network


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
    named = _named(given, names)
    try:
        return keras.layers.deserialize({**_module_of(given), **named})
    except KeyError:  # some of Keras's layers read keys that their constructors have defaults for
        return getattr(keras.layers, named["class_name"])(**named["config"])
    except (TypeError, ValueError) as exc:
        raise ModelConfigError(
            f"config['layers'] has {given!r}, which Keras cannot make: {exc}"
        ) from exc


def _named(config: Mapping[str, Any], names: Counter[str]) -> dict[str, Any]:
    # Keras counts layers over the whole process, so that "dense" would be "dense_7" some day.
    words = re.sub("(?<=[a-z])(?=[A-Z])", "_", str(config.get("class_name"))).lower()
    names[words] += 1
    name = words if names[words] == 1 else f"{words}_{names[words] - 1}"
    return {**config, "config": {"name": name, **config.get("config", {})}}


def _module_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
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
    is_whole = isinstance(first, looked_up) and facts.dtype_kind in "iu"
    return "int64" if is_whole else str(keras.config.floatx())
