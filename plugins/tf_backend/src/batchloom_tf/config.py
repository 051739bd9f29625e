"""The config of a Keras model: its keys, what they mean, and how a misspelt one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchloom.errors import ModelConfigError, listing, nearest

#: What the network is made from; each model class takes its own of these.
MODEL = {
    "model": "a keras.Model, a function or class that makes one, or a Keras config dict",
    "model_args": "dict of further arguments of the function (or class)",
}
LAYERS = {"layers": "list of layers: Keras layer objects, config dicts, or names such as 'Flatten'"}
SHAPES = {
    "input_shape": "shape of x without its rows, or {input: shape}; default: the first batch's",
    "classes": "number of classes; default: counted in the dataset's column of y",
}

#: What Keras's compile() takes, by its names and with its defaults.
COMPILE = {
    "loss": "name, config dict, object or function; needed for training",
    "optimizer": "name, config dict or object (it is copied); default 'rmsprop'",
    "learning_rate": "a number or a keras.optimizers.schedules object, set on the optimizer",
    "metrics": "list (or dict by output) of names, objects (they are copied) or functions",
    "weighted_metrics": "as metrics, weighted by sample_weight",
    "loss_weights": "dict or list of weights of the outputs' losses",
    "jit_compile": "compile the step with XLA; default False",
}

#: How it is run.
RUNNING = {
    "dtype_policy": "'float32', 'mixed_bfloat16', 'mixed_float16'; default: Keras's at init_model",
    "seed": "int for initialisers and dropout; default: from the pipeline's seed and the name",
    "check_finite": "refuse NaN and infinity before they reach the weights; default True",
    "callbacks": "list of keras.callbacks.Callback",
    "steps_per_call": "batches trained on in one call of the graph; default 1",
}

#: Keys that are core's and that a backend leaves alone.
CORE = ("build", "load", "path")


def steps_per_call(config: Mapping[str, Any]) -> int:
    """Return how many batches are trained on in one call.

    Raises
    ------
    ModelConfigError
        If it is no whole number from 1 on.
    """
    given = config.get("steps_per_call", 1)
    if isinstance(given, bool) or not hasattr(given, "__index__") or given < 1:
        raise ModelConfigError(f"steps_per_call={given!r} is not a whole number from 1 on")
    return int(given)


def check_keys(config: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Refuse a config with a key that nobody reads.

    Parameters
    ----------
    config : mapping
        What the user gave.
    known : mapping of str to str
        The keys there are, with their meaning.

    Raises
    ------
    ModelConfigError
        With the nearest keys.
    """
    for key in config:
        if key not in known and key not in CORE:
            raise ModelConfigError(
                f"unknown config key {key!r}{nearest(str(key), known) or '.'} "
                f"{listing('config key', sorted(known))}"
            )
