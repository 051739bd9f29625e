"""Training: the values that it gives out, and that they are those of a loop written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from batchloom import Dataset

pytestmark = pytest.mark.tf


def make_net(rate=0.25):
    """A network whose every seed is stated, so that two of them are equal."""
    import keras

    def dense(units, seed, **options):
        start = keras.initializers.GlorotUniform(seed=seed)
        return keras.layers.Dense(units, kernel_initializer=start, **options)

    return keras.Sequential(
        [
            keras.Input((64,)),
            dense(16, 1, activation="relu", kernel_regularizer="l2", name="hidden"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(rate, seed=2, name="dropout"),
            dense(10, 3, activation="softmax"),
        ]
    )


def loop_by_hand(network, optimizer, batches):
    """The loop that an expert writes; its losses and the accuracies of each batch."""
    import keras
    import tensorflow as tf

    loss_of = keras.losses.SparseCategoricalCrossentropy()

    @tf.function(reduce_retracing=True)
    def step(x, y):
        with tf.GradientTape() as tape:
            predictions = network(x, training=True)
            loss = tf.reduce_sum([loss_of(y, predictions), *network.losses])
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss, tf.reduce_mean(tf.cast(tf.argmax(predictions, -1) == y, tf.float32))

    values = [step(tf.constant(x), tf.constant(y)) for x, y in batches]
    return [loss.numpy() for loss, _ in values], [accuracy.numpy() for _, accuracy in values]


def test_losses_and_weights_are_those_of_a_loop_written_by_hand(drive, batches, keras):
    network = make_net()
    losses, accuracies = loop_by_hand(network, keras.optimizers.Adam(0.01), batches)
    model = drive(
        "tf/Model",
        {
            "model": make_net,
            "loss": "sparse_categorical_crossentropy",
            "optimizer": "adam",
            "learning_rate": 0.01,
            "metrics": ["accuracy"],
        },
    )
    found = [model.train(x=x, y=y, output=("loss", "accuracy")) for x, y in batches]
    assert [loss for loss, _ in found] == losses
    np.testing.assert_allclose([accuracy for _, accuracy in found], accuracies, rtol=1e-6)
    for ours, theirs in zip(model.model.network.variables, network.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_losses_are_those_of_train_on_batch(drive, batches, keras):
    network = make_net()
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    losses = [network.train_on_batch(x, y) for x, y in batches]
    raw = make_net()
    raw.compile("adam", "sparse_categorical_crossentropy")
    assert drive(raw).losses(batches) == losses


def test_values_are_this_batchs_and_no_running_means(drive, batches):
    model = drive("tf/Model", {"model": make_net, "loss": "sparse_categorical_crossentropy",
                               "metrics": ["accuracy"]})  # fmt: skip
    for x, y in batches:
        predictions, accuracy = model.train(x=x, y=y, output=["predictions", "accuracy"])
        assert accuracy == pytest.approx(np.mean(predictions.argmax(-1) == y))


def test_a_batch_of_another_length_does_not_trace_again(drive, chain, batches):
    model = drive("tf/Sequential", chain)
    for x, y in batches:
        model.train(x=x, y=y, output="loss")
        model.predict(x=x)
    assert len(batches[-1][0]) < len(batches[0][0])
    assert model.model._steps.traces == 2  # one to train and one to predict


def test_other_dtypes_are_cast_and_do_not_trace_again(drive, chain, batches):
    model = drive("tf/Sequential", chain)
    x, y = batches[0]
    for dtype in ("float32", "float64", "float16", "uint8"):
        for labels in ("int64", "int32", "uint8"):
            model.train(x=x.astype(dtype), y=y.astype(labels))
    model.train(x=x.tolist(), y=y.tolist())
    assert model.model._steps.traces == 1


def test_nothing_is_given_out_that_nobody_asks_for(drive, chain, batches):
    model = drive("tf/Sequential", chain)
    x, y = batches[0]
    assert model.train(x=x, y=y) is None
    (values,) = [step(*map(np.asarray, (x, y))) for step in model.model._steps._compiled.values()]
    assert values == {}


@pytest.mark.parametrize(
    "asked",
    [
        "loss",
        ["loss", "accuracy"],
        ("loss", "loss"),
        {"a": "loss", "b": "hidden"},
    ],
)
def test_results_have_the_structure_of_what_was_asked(drive, chain, batches, asked):
    model = drive("tf/Sequential", chain)
    x, y = batches[0]
    found = model.train(x=x, y=y, fetches=asked)
    assert type(found) is type(asked) or isinstance(found, np.float32)
    if isinstance(asked, dict):
        assert list(found) == ["a", "b"] and found["b"].shape == (32, 16)
    elif not isinstance(asked, str):
        assert len(found) == len(asked)


def test_both_forms_of_the_users_document_are_one(drive, chain, batches):
    by_argument, by_feed = (drive("tf/Sequential", chain) for _ in range(2))
    for x, y in batches[:3]:
        assert by_argument.train(x=x, y=y, output="loss") == by_feed.train(
            fetches="loss", feed_dict={"x": x, "y": y}
        )


def test_every_value_is_of_the_time_before_the_update(drive, batches, keras):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    model = drive("tf/Model", {"model": make_net, "loss": "sparse_categorical_crossentropy",
                               "optimizer": "sgd", "learning_rate": schedule})  # fmt: skip
    x, y = batches[0]
    kernel = model.model.network.get_layer("hidden").kernel
    before = kernel.numpy()
    rate, steps, norm = model.train(x=x, y=y, output=["learning_rate", "iterations", "grad_norm"])
    assert (rate, steps) == (pytest.approx(0.1), 0)
    gradients = (before - kernel.numpy()) / rate
    assert 0 < np.linalg.norm(gradients) <= norm
    assert model.train(x=x, y=y, output="learning_rate") == pytest.approx(0.05)


def test_the_output_of_a_layer_is_that_of_the_same_pass(drive, batches):
    model = drive("tf/Model", {"model": make_net, "loss": "sparse_categorical_crossentropy"})
    plain = drive("tf/Model", {"model": make_net, "loss": "sparse_categorical_crossentropy"})
    for x, y in batches[:3]:
        loss, dropped = model.train(x=x, y=y, output=["loss", "dropout"])
        assert loss == plain.train(x=x, y=y, output="loss")
        assert 0.05 < np.mean(dropped == 0) < 0.6


def test_sample_weight_is_that_of_keras(drive, batches):
    network = make_net(rate=0.0)
    network.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    model = drive("tf/Model", {"model": lambda: make_net(rate=0.0), "optimizer": "sgd",
                               "loss": "sparse_categorical_crossentropy",
                               "weighted_metrics": ["accuracy"]})  # fmt: skip
    for x, y in batches[:3]:
        weight = np.linspace(0, 2, len(y))
        expected = network.train_on_batch(x, y, sample_weight=weight)
        found = model.train(x=x, y=y, sample_weight=weight, output=["loss", "accuracy"])
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_several_inputs_and_outputs_are_fed_and_fetched_by_name(drive, digits, keras):
    x, y = digits

    def net():
        top, bottom = keras.Input((32,), name="top"), keras.Input((32,), name="bottom")
        both = keras.layers.Concatenate()([top, bottom])
        digit = keras.layers.Dense(10, activation="softmax", name="digit")(both)
        odd = keras.layers.Dense(1, activation="sigmoid", name="odd")(both)
        return keras.Model([top, bottom], {"digit": digit, "odd": odd})

    model = drive("tf/Model", {
        "model": net,
        "loss": {"digit": "sparse_categorical_crossentropy", "odd": "binary_crossentropy"},
        "metrics": {"digit": ["accuracy"]},
    })  # fmt: skip
    targets = {"digit": y, "odd": y % 2}
    by_feed = model.train(
        feed_dict={"bottom": x[:, 32:], "top": x[:, :32], "y": targets},
        fetches={
            "all": "loss",
            "digit": "digit_loss",
            "odd": "odd_loss",
            "right": "digit_accuracy",
        },
    )
    assert by_feed["all"] == pytest.approx(by_feed["digit"] + by_feed["odd"], rel=1e-5)
    assert 0 <= by_feed["right"] <= 1
    predictions = model.predict(x={"top": x[:5, :32], "bottom": x[:5, 32:]})
    assert {name: each.shape for name, each in predictions.items()} == {
        "digit": (5, 10), "odd": (5, 1)}  # fmt: skip
    by_position = model.predict(x=(x[:5, :32], x[:5, 32:]), output="digit")
    np.testing.assert_array_equal(by_position, predictions["digit"])


def test_a_subclass_of_keras_model_trains_with_its_own_loss(drive, batches, keras):
    class Centred(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(10)

        def call(self, x, training=False):
            if training:
                x = x - 0.5
            return self.dense(x)

        def compute_loss(self, x, y, y_pred, sample_weight=None):  # as before Keras 3.3
            return 2.0 * super().compute_loss(x, y, y_pred, sample_weight)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = drive(Centred, {"loss": loss, "optimizer": "adam", "learning_rate": 0.05})
    losses = model.losses(batches * 3)
    assert losses[0] > 4 and losses[-1] < losses[0] / 2
    assert model.model._steps.traces == 1


def test_a_subclass_takes_any_length_that_its_config_leaves_open(drive, keras):
    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = keras.layers.Embedding(20, 4)
            self.dense = keras.layers.Dense(1)

        def call(self, tokens):
            return self.dense(keras.ops.mean(self.table(tokens), axis=1))

    model = drive(Mean, {"loss": "mse", "input_shape": (None,)})
    for length in (3, 7):
        assert np.isfinite(model.train(x=np.ones((2, length), int), y=[0, 1], output="loss"))
    assert model.model._steps.traces == 1
    fixed = drive(Mean, {"loss": "mse"})
    fixed.predict(x=np.ones((2, 3), int))
    with pytest.raises(ValueError, match=r"x: expected shape \(rows, 3\), found \(2, 7\)"):
        fixed.predict(x=np.ones((2, 7), int))


def test_a_network_whose_layers_add_the_loss_needs_no_targets(drive, batches, keras):
    class Shrink(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(x**2))
            return x

    config = {"layers": [keras.layers.Dense(3), Shrink()], "optimizer": "sgd"}
    model = drive("tf/Sequential", {**config, "learning_rate": 0.1})
    losses = [model.train(x=batches[0][0], output="loss") for _ in range(10)]
    assert losses[-1] < losses[0] / 2


def test_a_train_step_of_ones_own_is_refused_rather_than_ignored(drive, batches, keras):
    class Own(keras.Model):
        def call(self, x):
            return x

        def train_step(self, data):
            return {}

    model = drive(Own(), {"loss": "mse"}, dynamic=False)
    with pytest.raises(ValueError, match=r"Own overrides train_step.*compute_loss"):
        model.train(x=batches[0][0], y=batches[0][0])


@pytest.fixture
def plain_chain(chain):
    """Without dropout: XLA and half precision draw other numbers."""
    layers = [each for each in chain["layers"] if each["class_name"] != "Dropout"]
    return {**chain, "layers": layers, "learning_rate": 0.01}


def test_mixed_precision_gives_out_readable_numbers(drive, plain_chain, batches):
    model = drive("tf/Sequential", {**plain_chain, "dtype_policy": "mixed_bfloat16"})
    losses = model.losses(batches * 4)
    assert losses[-1] < losses[0] / 1.5
    network = model.model.network
    assert network.get_layer("hidden").compute_dtype == "bfloat16"
    assert network.get_layer("hidden").kernel.dtype == "float32"
    assert model.predict(x=batches[0][0]).dtype == np.float32


def test_float16_scales_its_loss_and_says_the_unscaled_one(drive, plain_chain, batches):
    model = drive("tf/Sequential", {**plain_chain, "dtype_policy": "mixed_float16"})
    plain = drive("tf/Sequential", plain_chain)
    x, y = batches[0]
    loss, norm = model.train(x=x, y=y, output=["loss", "grad_norm"])
    expected = plain.train(x=x, y=y, output=["loss", "grad_norm"])
    np.testing.assert_allclose([loss, norm], expected, rtol=0.02)


def test_layers_frozen_later_stay_as_they_are_once_compiled_again(drive, chain, batches):
    model = drive("tf/Sequential", chain)
    model.losses(batches[:3])
    network = model.model.network
    network.get_layer("hidden").trainable = False
    model.model.compile()
    frozen, free = network.get_layer("hidden").kernel.numpy(), network.layers[-1].kernel.numpy()
    model.losses(batches[:3])
    np.testing.assert_array_equal(network.get_layer("hidden").kernel, frozen)
    assert not np.array_equal(network.layers[-1].kernel, free)
    assert network.optimizer.iterations == 6


def test_xla_gives_the_same_within_rounding(drive, plain_chain, batches):
    plain = drive("tf/Sequential", plain_chain).losses(batches)
    jitted = drive("tf/Sequential", {**plain_chain, "jit_compile": True})
    np.testing.assert_allclose(jitted.losses(batches[:2]), plain[:2], rtol=1e-4)


@pytest.mark.parametrize("callbacks", [[], ["History"]])
def test_averages_of_the_weights_are_put_in_place_at_the_end_as_in_fit(keras, digits, callbacks):
    x, y = digits

    def compiled():
        layers = [keras.Input((64,)), keras.layers.Dense(10, "softmax", kernel_initializer="ones")]
        network = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(use_ema=True, ema_momentum=0.9)
        network.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
        return network

    network, fitted = compiled(), compiled()
    config = {"model": network, "callbacks": [getattr(keras.callbacks, c)() for c in callbacks]}
    template = Dataset(data={"x": x, "y": y}).p.init_model("static", "tf/Model", "net", config)
    template.train_model("net", x="x", y="y").run(500, n_epochs=2)
    fitted.fit(x, y, batch_size=500, epochs=2, shuffle=False, verbose=0)
    for mine, known in zip(network.get_weights(), fitted.get_weights(), strict=True):
        assert np.array_equal(mine, known)


def test_metrics_are_called_as_keras_calls_them(drive, keras, batches):
    metrics = ["mae", "RootMeanSquaredError", keras.metrics.MeanAbsoluteError(name="off_by")]
    config = {"layers": [keras.layers.Dense(1)], "loss": "mse", "metrics": metrics}
    x, y = batches[0]
    names = ["mae", "RootMeanSquaredError", "off_by"]
    values = drive("tf/Sequential", config).train(x=x, y=y, output=["predictions", *names])
    error = values[0][:, 0] - y
    expected = np.abs(error).mean(), np.sqrt((error**2).mean()), np.abs(error).mean()
    np.testing.assert_allclose(values[1:], expected, rtol=1e-5)
