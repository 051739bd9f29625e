"""Predicting: its outputs, in one compiled function, from many threads at once."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batchloom.errors import ModelConfigError, ModelInputError

pytestmark = pytest.mark.tf


@pytest.fixture
def classifier(drive, chain, batches):
    driven = drive("tf/Sequential", chain)
    driven.losses(batches * 5)
    return driven


def test_labels_are_the_likeliest_and_proba_the_predictions(classifier, batches):
    x = batches[0][0]
    names = ["predictions", "proba", "labels", "predict", "hidden"]
    predictions, proba, labels, predict, hidden = classifier.predict(x=x, output=names)
    np.testing.assert_array_equal(labels, predict)
    np.testing.assert_array_equal(predictions, proba)
    np.testing.assert_array_equal(labels, predictions.argmax(-1))
    assert labels.dtype == np.int64 and hidden.shape == (32, 16)
    np.testing.assert_array_equal(classifier.predict(x=x), predictions)
    np.testing.assert_array_equal(classifier.predict(feed_dict={"x": x}), predictions)


def test_predictions_are_those_of_keras(classifier, digits):
    x = digits[0][:64]
    expected = classifier.model.network.predict(x, verbose=0)
    np.testing.assert_allclose(classifier.predict(x=x), expected, rtol=1e-5)


def test_dropout_is_off_and_nothing_changes(classifier, weights, batches):
    before = weights(classifier)
    first, second = (classifier.predict(x=batches[0][0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for then, now in zip(before, weights(classifier), strict=True):
        np.testing.assert_array_equal(then, now)


@pytest.mark.parametrize(
    ("loss", "units", "squash"),
    [
        ("BinaryCrossentropy", 1, lambda z: 1 / (1 + np.exp(-z))),
        ("BinaryCrossentropy", 3, lambda z: 1 / (1 + np.exp(-z))),
        (
            "SparseCategoricalCrossentropy",
            3,
            lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True),
        ),
    ],
)
def test_logits_become_probabilities(drive, keras, loss, units, squash):
    config = {
        "layers": [keras.layers.Dense(units)],
        "loss": {"class_name": loss, "config": {"from_logits": True}},
    }
    model = drive("tf/Sequential", config)
    x = np.random.default_rng(0).normal(size=(50, 4))
    logits, proba, labels = model.predict(x=x, output=("predictions", "proba", "labels"))
    np.testing.assert_allclose(proba, squash(logits), rtol=1e-5)
    if loss.startswith("Sparse"):
        np.testing.assert_array_equal(labels, proba.argmax(-1))
    else:
        expected = (proba > 0.5).astype(int)
        np.testing.assert_array_equal(labels, expected[:, 0] if units == 1 else expected)


def test_a_regression_has_no_labels(drive, keras):
    model = drive("tf/Sequential", {"layers": [keras.layers.Dense(1)], "loss": "mse"})
    x = np.ones((2, 3))
    with pytest.raises(LookupError, match="unknown output 'labels'.*predictions"):
        model.predict(x=x, output="labels")
    np.testing.assert_array_equal(model.predict(x=x, output="predict"), model.predict(x=x))


def test_unknown_names_and_targets_are_refused(classifier, batches):
    x, y = batches[0]
    with pytest.raises(LookupError, match=r"unknown output 'lables'.*did you mean 'labels'"):
        classifier.predict(x=x, output="lables")
    with pytest.raises(LookupError, match="unknown output 'loss'"):
        classifier.predict(x=x, output="loss")
    with pytest.raises(TypeError, match="unknown argument 'y'"):
        classifier.predict(x=x, y=y)


def test_any_number_of_rows_even_none(classifier, digits):
    for rows in (0, 1, 7, 200):
        assert classifier.predict(x=digits[0][:rows]).shape == (rows, 10)
    assert classifier.model._steps.traces == 2


def test_a_model_predicts_without_a_loss(drive, keras):
    model = drive("tf/Sequential", {"layers": [keras.layers.Dense(2)]})
    assert model.predict(x=np.ones((3, 4))).shape == (3, 2)
    with pytest.raises(ValueError, match="cannot be trained without a loss"):
        model.train(x=np.ones((3, 4)), y=np.ones((3, 2)))


def test_a_layer_used_twice_gives_out_its_first_call(drive, keras):
    inputs = keras.Input((3,))
    shared = keras.layers.Dense(3, name="shared")
    model = drive(keras.Model(inputs, shared(shared(inputs))), dynamic=False)
    x = np.ones((2, 3), "float32")
    np.testing.assert_allclose(model.predict(x=x, output="shared"), x @ shared.kernel, rtol=1e-5)


def test_eight_threads_predict_the_same_from_the_first_call_on(drive, chain, digits):
    x = digits[0][:320]
    parts = [x[i : i + 40] for i in range(0, 320, 40)]
    for _ in range(3):
        cold = drive("tf/Sequential", chain)
        together = threading.Barrier(8)

        def predict(part, cold=cold, together=together):
            together.wait(10)
            return [cold.predict(x=part) for _ in range(5)]

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(predict, parts))
        assert cold.model._steps.traces == 1
        for part, several in zip(parts, found, strict=True):
            for each in several:
                np.testing.assert_array_equal(each, cold.predict(x=part))


def test_a_predict_step_of_ones_own_is_refused_rather_than_ignored(drive, keras, batches):
    class Doubling(keras.Sequential):
        def predict_step(self, data):
            return 2 * self(data)

    network = Doubling([keras.Input((64,)), keras.layers.Dense(1)])
    with pytest.raises(ModelConfigError, match="overrides predict_step.*Put what it does into"):
        drive(network, dynamic=False).predict(x=batches[0][0])


def test_states_that_are_carried_over_are_left_as_training_left_them(drive, keras):
    layers = [keras.Input(batch_shape=(4, 3, 2)), keras.layers.LSTM(1, stateful=True)]
    network = keras.Sequential(layers)
    network.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 3, 2))
    driven = drive(network, dynamic=False)
    driven.train(x=x[:4], y=np.zeros((4, 1)))
    states = [each.numpy() for each in network.layers[0].states]
    assert any(map(np.any, states))
    first = driven.predict(x=x[4:])
    assert np.array_equal(driven.predict(x=x[4:]), first)
    assert np.array_equal(states, [each.numpy() for each in network.layers[0].states])
    for refused in (driven.predict, functools.partial(driven.train, y=np.zeros((3, 1)))):
        with pytest.raises(ModelInputError, match="3 rows.*states of 4 sequences.*drop_last=True"):
            refused(x=x[:3])
    assert np.array_equal(driven.predict(x=x[4:]), first)
