"""W4b: Keras on TensorFlow: a network of 64-128-128-10, batches of 256, Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from batchloom import Dataset
from benchmarks.cases import BY_HAND, OURS, Case, Goal, Subject, Timed, iterating
from benchmarks.results import Result
from benchmarks.timing import Effort, compare

NAME = "w4b"
TITLE = "Keras: a network of 64-128-128-10, batches of 256, Adam, shuffled"
LIMIT = "a loop over a `tf.function` that takes `tf.convert_to_tensor(X[idx])`: one step, or one prediction"
ROWS, SIZE, WIDTH, CLASSES = 50_000, 256, 64, 10
BATCHES = ROWS // SIZE
STEP, PREDICTION = "a training step", "a prediction"
AT_ONCE = 16
SIXTEEN = f"{OURS}, {AT_ONCE} steps a call"

GOALS = [
    Goal(STEP, 0.95),
    Goal(STEP, 0.65, who=SIXTEEN),
    Goal(PREDICTION, 1.1),
]

Arrays = tuple[np.ndarray, np.ndarray]
BY_KERAS = "tensorflow"


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(ROWS, WIDTH)).astype(np.float32), rng.integers(0, CLASSES, ROWS)
    longer = replace(effort, budget=3 * effort.budget)
    rows = compare([training(arrays), predicting(arrays)], longer, say)
    return Result(NAME, TITLE, LIMIT, rows, GOALS)


def training(arrays: Arrays) -> Case:
    subjects = {
        "Keras, train_on_batch": train_on_batch,
        "Keras, fit on arrays": fit_arrays,
        "Keras, fit on tf.data": partial(fit_tf_data, 1),
        f"Keras, fit on tf.data, {AT_ONCE} steps a call": partial(fit_tf_data, AT_ONCE),
    }
    return Case(
        STEP,
        Subject(BY_HAND, partial(by_hand_training, arrays)),
        (
            # What is left when the calls' own price is shared, with nothing checked and nothing promised.
            Subject(f"{BY_HAND}, {AT_ONCE} steps a call", partial(by_hand_at_once, arrays)),
            Subject(OURS, partial(ours_training, arrays, {})),
            Subject(SIXTEEN, partial(ours_training, arrays, {"steps_per_call": AT_ONCE})),
            *(Subject(who, partial(way, arrays), BY_KERAS) for who, way in subjects.items()),
        ),
        most=BATCHES - 1,
        least=64,
    )


def predicting(arrays: Arrays) -> Case:
    subjects = {
        "Keras, predict_on_batch": partial(keras_predictions, "predict_on_batch"),
        "Keras, predict for each batch": partial(keras_predictions, "predict"),
    }
    return Case(
        PREDICTION,
        Subject(BY_HAND, partial(by_hand_predictions, arrays)),
        (
            Subject(OURS, partial(ours_predicting, arrays)),
            *(Subject(who, partial(way, arrays), BY_KERAS) for who, way in subjects.items()),
        ),
        most=BATCHES - 1,
        least=8,
    )


def network(steps: int = 1) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=steps)
    return net


def by_hand_training(arrays: Arrays) -> Timed:
    import tensorflow as tf

    step = tf.function(step_by_hand())

    def over_rows(x: np.ndarray, y: np.ndarray) -> None:
        step(tf.convert_to_tensor(x), tf.convert_to_tensor(y))

    return looping(arrays, over_rows)


def by_hand_at_once(arrays: Arrays) -> Timed:
    """Time the same step in a loop in the graph, over the rows of several batches; the rest is left out."""
    import tensorflow as tf

    step = step_by_hand()

    @tf.function(autograph=False)
    def steps(x: Any, y: Any) -> None:
        def one(number: Any) -> tuple[Any]:
            step(x[number], y[number])
            return (number + 1,)

        tf.while_loop(lambda number: number < AT_ONCE, one, (tf.constant(0),))

    def over_rows(x: np.ndarray, y: np.ndarray) -> None:
        stacked = x.reshape(AT_ONCE, -1, WIDTH), y.reshape(AT_ONCE, -1)
        steps(*map(tf.convert_to_tensor, stacked))

    calls = looping(arrays, over_rows, AT_ONCE * SIZE)

    def timed(count: int) -> float:
        times = max(1, count // AT_ONCE)
        return calls(times) * count / (times * AT_ONCE)

    return timed


def step_by_hand() -> Callable[[Any, Any], Any]:
    import tensorflow as tf

    net = network()
    loss_of, optimizer = tf.keras.losses.SparseCategoricalCrossentropy(), net.optimizer
    optimizer.build(net.trainable_variables)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(y, net(x, training=True))
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return loss

    return step


def by_hand_predictions(arrays: Arrays) -> Timed:
    import tensorflow as tf

    net = network()
    call = tf.function(partial(net, training=False))
    return looping(arrays, lambda x, y: call(tf.convert_to_tensor(x)).numpy())


def looping(
    arrays: Arrays, consume: Callable[[np.ndarray, np.ndarray], object], size: int = SIZE
) -> Timed:
    X, Y = arrays
    order = np.random.default_rng(1).permutation(ROWS)

    def timed(count: int) -> float:
        begin = perf_counter()
        for start in range(0, count * size, size):
            idx = order[start : start + size]
            consume(X[idx], Y[idx])
        return perf_counter() - begin

    return timed


def train_on_batch(arrays: Arrays) -> Timed:
    return looping(arrays, network().train_on_batch)


def keras_predictions(method: str, arrays: Arrays) -> Timed:
    options = {"verbose": 0} if method == "predict" else {}
    predict = partial(getattr(network(), method), **options)
    return looping(arrays, lambda x, y: predict(x))


def fit_arrays(arrays: Arrays) -> Timed:
    net = network()
    X, Y = arrays

    def timed(count: int) -> float:
        begin = perf_counter()
        net.fit(X[: count * SIZE], Y[: count * SIZE], batch_size=SIZE, shuffle=True, verbose=0)
        return perf_counter() - begin

    return timed


def fit_tf_data(steps: int, arrays: Arrays) -> Timed:
    import tensorflow as tf

    net = network(steps)
    rows = tf.data.Dataset.from_tensor_slices(arrays).shuffle(10_000, seed=1)
    batches = rows.batch(SIZE, drop_remainder=True).prefetch(2)

    def timed(count: int) -> float:
        some = batches.take(count)
        begin = perf_counter()
        net.fit(some, verbose=0)
        return perf_counter() - begin

    return timed


def ours_training(arrays: Arrays, config: dict[str, Any]) -> Timed:
    config = {
        "model": network(),
        "loss": "sparse_categorical_crossentropy",
        "optimizer": "adam",
        **config,
    }
    pipeline = (
        Dataset(data=dict(zip("xy", arrays, strict=True)))
        .p.init_model("dynamic", "tf/Model", "net", config=config)
        .train_model("net", x="x", y="y")
    )
    pipeline.run(SIZE, shuffle=1, drop_last=True)

    def timed(count: int) -> float:
        begin = perf_counter()
        pipeline.run(SIZE, shuffle=1, drop_last=True)
        return (perf_counter() - begin) * count / BATCHES

    return timed


def ours_predicting(arrays: Arrays) -> Timed:
    pipeline = (
        Dataset(data=dict(zip("xy", arrays, strict=True)))
        .p.init_variable("predicted")
        .init_model("static", network(), "net")
        .predict_model("net", x="x", save_to="predicted")
    )
    return iterating(lambda: pipeline.gen_batch(SIZE, shuffle=1))
