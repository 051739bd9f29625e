"""The snippets of the user's document on models that are written for TensorFlow, run on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.models import get_model_class, register

pytestmark = pytest.mark.tf

BATCH_SIZE = 64


class Pictures(Batch):
    components = "images", "labels"

    @action
    def random_rotate(self, angle):
        from scipy import ndimage

        degrees = self.random.uniform(*angle, self.size)
        turned = [
            ndimage.rotate(image, each, reshape=False)
            for image, each in zip(self.images, degrees, strict=True)
        ]
        self.images = np.stack(turned)
        return self

    @action
    def resize(self, shape):
        factors = np.array(shape) // self.images.shape[1:3]
        self.images = np.kron(self.images, np.ones((1, *factors, 1)))
        return self

    @action
    def normalize(self):
        self.images = self.images / 16
        return self


def small_resnet() -> type:
    """Make a network with one shortcut that takes images of any size, in place of the real one."""
    import keras

    def network(classes):
        given = keras.Input((None, None, 1))
        x = keras.layers.Resizing(8, 8, interpolation="nearest")(given)
        x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        x = x + keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        x = keras.layers.Flatten()(x)
        return keras.Model(given, keras.layers.Dense(classes, "softmax")(x))

    class Resnet50(get_model_class("tf/Model")):
        def __init__(self, config=None, *, name=None):
            options = {
                "model": network,
                "classes": 10,
                "loss": "sparse_categorical_crossentropy",
                "optimizer": "adam",
                "learning_rate": 0.01,
            }
            super().__init__({**options, **(config or {})}, name=name)

        def _train(self, batch):
            return super()._train(x=batch.images, y=batch.labels)

        def _predict(self, batch):
            return super()._predict(x=batch.images)

    return register("document/Resnet50", Resnet50)


def test_importing_a_network(digits) -> None:
    Resnet50 = small_resnet()
    images, labels = digits[0].reshape(-1, 8, 8, 1).astype("float32"), digits[1]
    pictures = {"images": images, "labels": labels}
    images_dataset = Dataset(len(images), batch_class=Pictures)
    some_dataset = Dataset(batch_class=Pictures, data={k: v[:64] for k, v in pictures.items()})

    train_pipeline = (
        images_dataset.p.init_model("dynamic", Resnet50)
        .load(pictures)
        .random_rotate(angle=(-30, 30))
        .normalize()
        .train_model("Resnet50")
        .run(BATCH_SIZE, shuffle=True, n_epochs=5)
    )
    inference_pipeline_template = (
        Pipeline()
        .init_variable("predictions", init_on_each_run=list)
        .resize(shape=(256, 256))
        .normalize()
        .import_model("Resnet50", train_pipeline)
        .predict_model("Resnet50", append_to="predictions")
    )
    infer = (inference_pipeline_template << some_dataset).run(32, shuffle=False)

    assert train_pipeline.get_model_by_name("Resnet50").registered_name == "document/Resnet50"
    assert infer.get_model_by_name("Resnet50") is train_pipeline.get_model_by_name("Resnet50")
    predicted = np.concatenate(infer.get_variable("predictions")).argmax(axis=-1)
    assert np.mean(predicted == labels[:64]) > 0.8


@pytest.fixture
def graph() -> Iterator[tuple[Any, Any]]:
    """A session of TensorFlow 1, and the tensors of a softmax regression in it."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, (None, 64))
        labels = v1.placeholder(tf.int64, (None,))
        scores = images @ v1.Variable(tf.zeros((64, 10))) + v1.Variable(tf.zeros(10))
        cost = v1.losses.sparse_softmax_cross_entropy(labels, scores)
        hits = tf.cast(tf.equal(tf.argmax(scores, 1), labels), tf.float32)
        optimizer = v1.train.GradientDescentOptimizer(0.5).minimize(cost)
        with v1.Session(graph=graph) as session:
            session.run(v1.global_variables_initializer())
            yield session, ((images, labels), (optimizer, cost, tf.reduce_mean(hits)))


class MyBatch(Batch):
    components = "images", "labels"

    @action
    def normalize(self):
        self.images = self.images / 16
        return self

    @action(use_lock="some_model_lock")
    def train_it(self, model_spec):
        input_images, input_labels = model_spec[0]
        optimizer, cost, _accuracy = model_spec[1]
        session = self.pipeline.get_variable("session")
        _, loss = session.run(
            [optimizer, cost], feed_dict={input_images: self.images, input_labels: self.labels}
        )
        self.pipeline.update_variable("losses", loss, mode="append")
        return self


def test_parallel_training_with_a_lock(digits, graph: tuple[Any, Any]) -> None:
    session, model_spec = graph
    images, labels = digits
    training = (
        Dataset(batch_class=MyBatch, data={"images": images, "labels": labels})
        .p.init_variable("session", init=lambda: session)
        .init_variable("losses", init_on_each_run=list)
        .normalize()
        .train_it(model_spec)
        .run(BATCH_SIZE, n_epochs=5, prefetch=4)
    )
    losses = training.get_variable("losses")
    assert len(losses) == 5 * -(-1797 // BATCH_SIZE)
    (input_images, input_labels), (_, _, accuracy) = model_spec
    feed_dict = {input_images: images / 16, input_labels: labels}
    assert session.run(accuracy, feed_dict) > 0.9
