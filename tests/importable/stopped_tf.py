"""Pipelines of Keras models that tests stop, kill and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from stopped_runs import pipeline, rows, to_bits

from batchloom import Pipeline

HIDDEN = {"class_name": "Dense", "config": {"units": 5, "activation": "relu"}}
DROPOUT = {"class_name": "Dropout", "config": {"rate": 0.4}}
LAST = {"class_name": "Dense", "config": {"units": 3, "activation": "softmax"}}
CHAIN = {
    "layers": [HIDDEN, "BatchNormalization", DROPOUT, LAST],
    "loss": "sparse_categorical_crossentropy",
    "optimizer": "adam",
}


class Slowing(keras.callbacks.Callback):
    """Changes the learning rate by what it has seen so far."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])
        self.model.optimizer.learning_rate = 0.01 / (1 + len(self.losses) * self.losses[0])


def called_back() -> Pipeline:
    callbacks = [
        Slowing(),
        keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True, min_delta=0.5),
        keras.callbacks.History(),
    ]
    return pipeline("tf/Sequential", {**CHAIN, "callbacks": callbacks}, rows(), output="loss")


def from_first_batch() -> Pipeline:
    """A function that makes the network once the shape of the data and the classes are known."""

    def make(input_shape: Any, classes: int) -> Any:
        x = keras.Input(input_shape)
        inner = keras.layers.GaussianNoise(0.1)(keras.layers.Dense(4, activation="tanh")(x))
        return keras.Model(x, keras.layers.Dense(classes, activation="softmax")(inner))

    config = {"model": make, "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return pipeline("tf/Model", config, rows(), output=["loss", "accuracy"])


CASES: dict[str, Callable[[], Pipeline]] = {
    "dynamic": lambda: pipeline("tf/Sequential", CHAIN, rows(), output="loss"),
    "static": lambda: pipeline(
        "tf/Sequential", {**CHAIN, "optimizer": "sgd"}, rows(), mode="static", sample_weight="w"
    ),
    "callbacks": called_back,
    "from the first batch": from_first_batch,
    "half": lambda: pipeline(
        "tf/Sequential", {**CHAIN, "dtype_policy": "mixed_float16"}, rows(), output="loss"
    ),
}


def result(done: Pipeline) -> Any:
    """All that a run leaves: variables, weights, seeds, the optimizer's state, callbacks."""
    model = done.models["m"]
    network = model.network
    numbers = [each.numpy() for each in (*network.variables, *network.optimizer.variables)]
    callbacks = [] if model._callbacks is None else model._callbacks.callbacks
    logged = [vars(each) for each in callbacks if isinstance(each, keras.callbacks.History)]
    lists = [each.losses for each in callbacks if isinstance(each, Slowing)]
    return to_bits([dict(done.variables), numbers, lists, [each["history"] for each in logged]])
