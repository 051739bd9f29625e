"""What a network is made from: functions, objects, configs, layers, names; its shapes and its seed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from batchloom import C, Dataset, Pipeline
from batchloom.errors import ModelConfigError
from batchloom.models import RunInfo

pytestmark = pytest.mark.tf


def mlp(input_shape, classes, units=8):
    import keras

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(classes, activation="softmax" if classes > 1 else "sigmoid"),
        ]
    )


SPARSE = {"loss": "sparse_categorical_crossentropy"}


def run_over(x, y):
    dataset = Dataset(data={"images": x, "labels": y})
    return RunInfo(dataset=dataset, columns={"x": "images", "y": "labels"}, seed=5)


def test_a_function_is_called_with_the_shapes_and_classes_of_the_data(drive, digits):
    x, y = digits
    model = drive("tf/Model", {"model": mlp, **SPARSE}, run=run_over(x, y))
    few = np.flatnonzero(y < 3)[:8]  # the batch does not know all of the classes
    predictions = model.train(x=x[few], y=y[few], output="predictions")
    assert predictions.shape == (8, 10)
    assert model.model.network.input_shape == (None, 64)


def test_a_function_is_called_at_once_when_the_config_has_what_it_wants(drive):
    config = {"model": mlp, "model_args": {"units": 3}, "input_shape": (5,), "classes": 2, **SPARSE}
    model = drive("tf/Model", config, dynamic=False)
    assert [layer.units for layer in model.model.network.layers[::2]] == [3, 2]


def test_classes_that_cannot_be_known_are_asked_for(drive, digits):
    x, y = digits
    with pytest.raises(ValueError, match=r"cannot be known from one batch.*'classes': 10"):
        drive("tf/Model", {"model": mlp, **SPARSE}).train(x=x[:4], y=y[:4])
    with pytest.raises(ValueError, match=r"cannot be known without y.*'classes': 10"):
        drive("tf/Model", {"model": mlp, **SPARSE}).predict(x=x[:4])


def test_one_hot_targets_and_numbers_say_their_width(drive, digits):
    x, y = digits
    one_hot = drive("tf/Model", {"model": mlp, "loss": "categorical_crossentropy"})
    assert one_hot.train(x=x[:4], y=np.eye(12)[y[:4]], output="predictions").shape == (4, 12)
    binary = drive("tf/Model", {"model": mlp, "loss": "binary_crossentropy"})
    assert binary.train(x=x[:4], y=y[:4] % 2, output="predictions").shape == (4, 1)


def test_a_dynamic_model_says_that_it_waits_for_its_batch(drive):
    model = drive("tf/Model", {"model": mlp, **SPARSE}, name="clf")
    assert "made from the first batch" in model.handle.describe()
    with pytest.raises(Exception, match="'clf' is made from its first batch"):
        model.model.network
    with pytest.raises(Exception, match="first batch"):
        model.handle.save("nowhere")


def test_a_static_model_uses_the_object_and_a_dynamic_one_a_copy(drive, keras, batches):
    raw = mlp((64,), 10)
    raw.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"], **SPARSE)
    given = [each.numpy() for each in raw.weights]
    copies = [drive(raw), drive(raw)]
    for copy in copies:
        assert copy.model.network is not raw
        for ours, theirs in zip(copy.model.network.weights, given, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        copy.losses(batches[:2])
        assert copy.train(x=batches[0][0], y=batches[0][1], output="accuracy") >= 0
    for mine, then in zip(raw.weights, given, strict=True):
        np.testing.assert_array_equal(mine, then)  # neither copy has trained the original
    static = drive(raw, dynamic=False)
    static.losses(batches[:2])
    assert static.model.network is raw and raw.optimizer.iterations == 2


def test_a_copy_keeps_a_loss_that_is_a_function_of_the_users(drive, keras):
    def doubled(y, predictions):
        return 2 * keras.losses.mean_squared_error(y, predictions)

    raw = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    raw.compile("sgd", doubled)
    x, y = np.ones((4, 2)), np.ones((4, 1))
    predictions, loss = drive(raw).train(x=x, y=y, output=["predictions", "loss"])
    assert loss == pytest.approx(2 * np.mean((predictions - y) ** 2), rel=1e-5)


def test_what_the_config_states_of_a_compiled_model_is_replaced_and_the_rest_kept(drive, keras):
    raw = mlp((4,), 3)
    raw.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"], **SPARSE)
    model = drive(raw, {"learning_rate": 0.5}, dynamic=False)
    network = model.model.network
    assert isinstance(network.optimizer, keras.optimizers.Adam)
    x, y = np.ones((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    rate, accuracy, predictions = model.train(
        x=x, y=y, output=["learning_rate", "accuracy", "predictions"]
    )
    right = np.mean(predictions.argmax(-1) == y)
    assert (rate, accuracy) == (pytest.approx(0.5), pytest.approx(right))


def test_a_subclass_with_weights_is_copied_or_says_that_it_cannot_be(drive, keras):
    class Odd(keras.Model):
        def __init__(self, secret):
            super().__init__()
            self.dense = keras.layers.Dense(secret())

        def call(self, x):
            return self.dense(x)

    raw = Odd(lambda: 3)
    with pytest.raises(Exception) as caught:
        drive(raw, {"loss": "mse"})
    assert any("Give a function that makes it" in note for note in caught.value.__notes__)
    assert drive(raw, {"loss": "mse"}, dynamic=False).predict(x=np.ones((2, 4))).shape == (2, 3)


@pytest.mark.parametrize("form", ["object", "json", "config"])
def test_a_keras_config_makes_the_network(drive, keras, form):
    import json

    inputs = keras.Input((6,))
    functional = keras.Model(inputs, keras.layers.Dense(4)(inputs))
    for network in (functional, mlp((6,), 4)):
        config = {
            "object": keras.saving.serialize_keras_object,
            "json": lambda each: json.loads(each.to_json()),
            "config": lambda each: each.get_config(),
        }[form](network)
        assert drive("tf/Model", {"model": config}).predict(x=np.ones((2, 6))).shape == (2, 4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, r"tf/Model needs config\['model'\]"),
        ({"model": 3}, r"config\['model'\] must be a keras.Model, a function.*not int"),
        ({"model": {"nodes": []}}, "no Keras config"),
        ({"model": lambda: "net"}, "returned str and no keras.Model"),
        ({"model": mlp, "model_args": {"unit": 3}}, "takes no argument 'unit'"),
        ({"model": mlp, "optimiser": "adam"}, "unknown config key 'optimiser': did you mean 'optimizer'"),
        ({"model": mlp, "optimizer": "adan"}, "Keras knows no optimizer 'adan': did you mean 'Adam'"),
        ({"model": mlp, "loss": "sparse_crossentropy"}, "Keras knows no loss 'sparse_crossentropy'"),
        ({"model": mlp, "metrics": ["acuracy"]}, "Keras knows no metric 'acuracy'"),
        ({"model": mlp, "callbacks": ["EarlyStopping"]}, "no keras.callbacks.Callback"),
        ({"model": mlp, "callbacks": "EarlyStopping"}, "'EarlyStopping': give a list"),
        ({"model": mlp, "callbacks": object()}, "give a list, also of a single callback"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_refused_before_any_data_comes(drive, keras, config, message):
    with pytest.raises(ValueError, match=message):
        drive("tf/Model", config)


@pytest.mark.parametrize(
    "config", [{"optimizer": "adan"}, {"loss": "mse", "metrics": ["acuracy"]}, {"loss": "msee"}]
)
def test_names_that_keras_does_not_know_are_refused_when_the_pipeline_is_written(config):
    with pytest.raises(ModelConfigError, match="Keras knows no"):
        Pipeline().init_model("dynamic", "tf/Model", config={"model": mlp, **config})
    Pipeline().init_model("dynamic", "tf/Model", config={"model": mlp, "loss": C.loss})


def test_a_config_with_code_in_it_is_refused(drive, keras):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        drive("tf/Model", {"model": keras.saving.serialize_keras_object(network)})


def test_a_chain_takes_objects_configs_names_and_a_function(drive, keras):
    def tail(classes):
        return ["Flatten", {"class_name": "Dense", "config": {"units": classes}}]

    dense = keras.layers.Dense(3, activation="relu", name="mine")
    x = np.ones((2, 4, 1), "float32")
    chains = [
        [keras.Input((4, 1)), "Flatten", dense],
        ["Flatten", dense],
        [keras.layers.Reshape((2, 2)), "Flatten", dense],
    ]
    for layers in chains:
        model = drive("tf/Sequential", {"layers": layers})
        assert model.predict(x=x, output="mine").shape == (2, 3)
        assert model.model.network.get_layer("mine") is not dense
    by_function = drive("tf/Sequential", {"layers": tail, "classes": 5})
    assert by_function.predict(x=x).shape == (2, 5)
    assert [layer.name for layer in by_function.model.network.layers] == ["flatten", "dense"]


def test_layer_objects_bring_their_weights(drive, keras):
    dense = keras.layers.Dense(3)
    dense.build((None, 4))
    layers = ["Flatten", dense, keras.layers.ReLU()]
    copy = drive("tf/Sequential", {"layers": layers}).predict(x=np.ones((2, 4)), output="re_lu")
    expected = np.maximum(dense.kernel.numpy().sum(0), 0)
    np.testing.assert_allclose(copy[0], expected, rtol=1e-6)


@pytest.mark.parametrize("given", ["layers", "network"])
def test_preprocessing_layers_bring_what_they_learned(drive, keras, batches, given):
    x = batches[0][0][:, 20:24]
    statistics = keras.layers.Normalization()
    statistics.adapt(x * 3 + 2)

    def copied(layer, array):
        layers = [keras.Input(array.shape[1:], dtype=array.dtype.name), layer]
        if given == "layers":
            return drive("tf/Sequential", {"layers": layers}).predict(x=array)
        return drive(keras.Sequential([keras.Sequential(layers)])).predict(x=array)

    assert np.array_equal(copied(statistics, x), statistics(x))
    numbers = np.array([[70], [7], [70], [8]])
    places = keras.layers.IntegerLookup()
    places.adapt(numbers)
    assert np.array_equal(copied(places, numbers), places(numbers))


def test_a_vocabulary_is_brought_and_its_lack_is_named(drive, keras):
    texts = np.array(["red fish", "blue fish", "one fish", "two"])
    words = keras.layers.TextVectorization(max_tokens=10, output_sequence_length=2)
    config = {"layers": [words]}
    with pytest.raises(ModelConfigError, match="has no vocabulary yet: call its adapt"):
        drive("tf/Sequential", config).predict(x=texts)
    words.adapt(texts)
    assert np.array_equal(drive("tf/Sequential", config).predict(x=texts), words(texts))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "must be a list of layers"),
        (3, "must be a list of layers, not int"),
        ([3], "has 3: a layer is an object, a config dict or a name"),
        (["Dnese"], "which Keras cannot make"),
    ],
)
def test_a_wrong_chain_is_refused(drive, keras, layers, message):
    with pytest.raises(ValueError, match=message):
        drive("tf/Sequential", {"layers": layers, "input_shape": (3,)})
    with pytest.raises(ValueError, match=r"needs config\['layers'\]"):
        drive("tf/Sequential", {})


def test_whole_numbers_stay_whole_where_they_are_looked_up(drive, keras):
    table = keras.layers.Embedding(5000, 2)
    model = drive("tf/Sequential", {"layers": [table, "Flatten"], "dtype_policy": "mixed_float16"})
    rows = model.predict(x=np.array([[4095], [4096]]))
    assert not np.array_equal(rows[0], rows[1])  # one number in half precision


def test_the_seed_is_the_config_s_or_the_runs_and_the_process_keeps_its_own(drive, batches, keras):
    def losses(config, run_seed=1, name="m"):
        given = {"model": mlp, "classes": 10, **SPARSE, **config}
        return drive("tf/Model", given, run=RunInfo(seed=run_seed), name=name).losses(batches)

    random.seed(0)
    state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()
    stated = losses({"seed": 3})
    assert random.getstate() == state and np.random.get_state()[1].tolist() == numpy_state
    random.seed(99)
    assert losses({"seed": 3}, run_seed=2) == stated
    assert losses({}, run_seed=1) == losses({}, run_seed=1)
    assert losses({}, run_seed=1) != losses({}, run_seed=2)
    assert losses({"seed": 4}) != stated


def test_a_static_model_without_a_seed_is_the_same_in_every_process_and_unlike_others(drive, keras):
    def start(name):
        config = {"layers": ["Flatten", keras.layers.Dense(2)], "input_shape": (3,)}
        network = drive("tf/Sequential", config, name=name, dynamic=False).model.network
        return network.layers[-1].kernel.numpy()

    np.testing.assert_array_equal(start("a"), start("a"))
    assert not np.array_equal(start("a"), start("b"))


def test_optimizers_metrics_and_layers_given_as_objects_are_never_shared(drive, keras, batches):
    config = {
        "layers": [keras.layers.Dense(10, activation="softmax")],
        "optimizer": keras.optimizers.Adam(0.01),
        "metrics": [keras.metrics.SparseCategoricalAccuracy(name="right")],
        **SPARSE,
    }
    alone = drive("tf/Sequential", config).losses(batches)
    first, second = drive("tf/Sequential", config), drive("tf/Sequential", config)
    mixed = []
    for x, y in batches:
        mixed.append(first.train(x=x, y=y, output="loss"))
        assert 0 <= second.train(x=x[::-1], y=y, output="right") <= 1
    assert mixed == alone
    assert not config["optimizer"].built


@pytest.mark.parametrize("name", ["MobileNet", "EfficientNetB0"])
def test_an_architecture_is_built_from_the_first_batch_and_downloads_nothing(
    drive, keras, name, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError(f"a download was asked for: {args}")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    images = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 1)).astype("uint8")
    labels = np.array([0, 1, 2, 1])
    smallest = {"alpha": 0.25} if name == "MobileNet" else {}
    model = drive(f"tf/{name}", {**SPARSE, **smallest}, run=run_over(images, labels))
    if name == "EfficientNetB0":  # too large to trace in a test
        network = model.model._made(_facts(model, images, labels))
    else:
        assert np.isfinite(model.train(x=images, y=labels, output="loss"))
        network = model.model.network
    assert network.input_shape == (None, 32, 32, 1) and network.output_shape == (None, 3)


def _facts(model, x, y):
    from batchloom_tf.facts import Facts
    from batchloom_tf.feeding import Feed

    return Facts(model.model.config, Feed(x, y), model.model._run)


def test_an_architecture_takes_its_own_arguments_and_no_others(drive, keras):
    config = {"include_top": False, "pooling": "avg", "minimalistic": True, "alpha": 0.75}
    model = drive("tf/MobileNetV3Small", {**config, "input_shape": (32, 32, 3)}, dynamic=False)
    assert len(model.model.network.output_shape) == 2
    with pytest.raises(ValueError, match="unknown config key 'poling': did you mean 'pooling'"):
        drive("tf/MobileNetV3Small", {"poling": "avg"})
    with pytest.raises(ValueError, match=r"takes images of shape \(height, width, channels\)"):
        drive("tf/MobileNetV3Small", {"classes": 3}).predict(x=np.ones((2, 32, 32)))
