"""The snippets of the user's document on models, word for word but for typos, with real models behind them.

What the document leaves out (``...``, the data, the actions) is completed here. The snippets that are
written for TensorFlow are in test_document_snippets_tf.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.models import BaseModel, get_model_class, load_model

BATCH_SIZE = 64
INFER_BATCH_SIZE = 100


class MyModel(get_model_class("sklearn/SGDClassifier")):
    """Learns batch by batch."""


class MyModel2(get_model_class("sklearn/GaussianNB")):
    """Learns batch by batch."""


class AnotherModel(get_model_class("sklearn/MLPClassifier")):
    """Learns batch by batch, and knows its loss; takes the arguments of the other backends."""

    data_args = "x", "y", "feed_dict"
    literal_args = "output", "fetches"

    def _train(self, feed_dict, fetches):
        return super()._train(**feed_dict, output=fetches)


my_config = config = {"loss": "log_loss"}
another_config = {"hidden_layer_sizes": [16], "learning_rate_init": 0.01, "classes": range(10)}


def accuracy(pipeline: Pipeline, name: str, dataset: Dataset) -> float:
    """How good the model is on data that it has not seen."""
    evaluation = (
        Pipeline()
        .import_model(name, pipeline)
        .init_variable("scores")
        .normalize()
        .evaluate_model(name, x="images", y="labels", metrics="accuracy_score", save_to="scores")
    )
    return (evaluation << dataset.test).run(256).get_variable("scores")["accuracy_score"]


def test_model_class(my_dataset: Dataset) -> None:
    built = []

    class MyModel(BaseModel):
        def _build(self, *args, **kwargs):
            built.append(self)

    assert built == []
    pipeline = my_dataset.p.init_model("static", MyModel)
    assert built == [pipeline.get_model_by_name("MyModel")]


def test_adding_a_model_to_a_pipeline(my_dataset: Dataset) -> None:
    full_workflow = my_dataset.p.init_model("static", MyModel, "my_model", config).normalize()
    model = full_workflow.get_model_by_name("my_model")
    assert isinstance(model, MyModel)
    assert model.estimator.loss == "log_loss"


def test_training_a_model(my_dataset: Dataset) -> None:
    full_workflow = (
        my_dataset.train.p.init_model("static", MyModel, "my_model", config)
        .normalize()
        .train_model("my_model", x="images", y="labels")
    )
    full_workflow.run(BATCH_SIZE, shuffle=1, n_epochs=5)
    assert accuracy(full_workflow, "my_model", my_dataset) > 0.93


NETWORK = {
    "layers": [
        {"class_name": "Dense", "config": {"units": 32, "activation": "relu"}},
        {"class_name": "Dense", "config": {"units": 10, "activation": "softmax"}},
    ],
    "loss": "sparse_categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.01,
}


@pytest.mark.parametrize(
    ("AnotherModel", "another_config"),
    [
        pytest.param(AnotherModel, another_config, id="sklearn"),
        pytest.param("tf/Sequential", NETWORK, id="tf", marks=pytest.mark.tf),
    ],
)
def test_training_two_models_into_variables(
    my_dataset: Dataset, AnotherModel: Any, another_config: dict[str, Any]
) -> None:
    full_workflow = (
        my_dataset.p.init_model("static", MyModel, "my_model", my_config)
        .init_model("dynamic", AnotherModel, "another_model", another_config)
        .init_variable("current_accuracy", 0)
        .init_variable("loss_history", init_on_each_run=list)
        .normalize()
        .train_model(
            "my_model", output="accuracy", x="images", y="labels", save_to="current_accuracy"
        )
        .train_model(
            "another_model",
            fetches="loss",
            feed_dict={"x": "images", "y": "labels"},
            append_to="loss_history",
        )
    )
    assert full_workflow.get_variable("current_accuracy") == 0
    full_workflow.run(BATCH_SIZE, shuffle=1, n_epochs=3, drop_last=True)
    assert 0.8 < full_workflow.get_variable("current_accuracy") <= 1
    losses = full_workflow.get_variable("loss_history")
    assert len(losses) == 3 * (1797 // BATCH_SIZE)
    assert losses[-1] < 0.5 < losses[1]


def test_actions_that_work_with_a_model_directly(digits) -> None:
    class MyBatch(Batch):
        components = "images", "labels"

        @action
        def some_preprocessing(self):
            self.images = self.images / 16
            return self

        @action
        def some_augmentation(self):
            self.images = self.images + self.random.normal(0, 0.05, self.images.shape)
            return self

        @action(model="some_model")
        def train_linked_model(self, model):
            model.train(x=self.images, y=self.labels)
            return self

        @action
        def train_in_batch(self, model_name):
            model_spec = self.get_model_by_name(model_name)
            model_spec.train(x=self.images, y=self.labels)
            return self

    images, labels = digits
    full_workflow = (
        Dataset(batch_class=MyBatch, data={"images": images, "labels": labels})
        .p.init_model("static", MyModel, "my_model", {**my_config, "classes": range(10)})
        .init_model("dynamic", MyModel2, "some_model", {"classes": range(10)})
        .some_preprocessing()
        .some_augmentation()
        .train_in_batch("my_model")
        .train_linked_model()
    )
    full_workflow.run(BATCH_SIZE, shuffle=1, n_epochs=2)
    for name, least in {"my_model": 0.9, "some_model": 0.7}.items():
        predicted = full_workflow.get_model_by_name(name).predict(x=images / 16)
        assert np.mean(predicted == labels) > least


def test_predicting_with_a_model(my_dataset: Dataset) -> None:
    full_workflow = (
        my_dataset.p.init_model("static", MyModel, "my_model", config)
        .init_variable("predicted_labels", init_on_each_run=list)
        .normalize()
        .train_model("my_model", x="images", y="labels")
        .predict_model("my_model", x="images", save_to="predicted_labels")
    )
    assert full_workflow.get_variable("predicted_labels") == []
    full_workflow.run(BATCH_SIZE)
    assert full_workflow.get_variable("predicted_labels").shape == (1797 % BATCH_SIZE,)


def test_saving_a_model(my_dataset: Dataset, digits, tmp_path: Path) -> None:
    some_pipeline = (
        my_dataset.p.init_model("static", MyModel, "my_model", config)
        .normalize()
        .train_model("my_model", x="images", y="labels")
        .run(BATCH_SIZE)
    )
    some_pipeline.save_model("my_model", path=str(tmp_path / "path"))
    images = digits[0] / 16
    loaded = load_model(tmp_path / "path", model_class=MyModel)
    model = some_pipeline.get_model_by_name("my_model")
    assert (loaded.predict(x=images) == model.predict(x=images)).all()


def some_transform_fn(batch, model):
    return {"x": batch.images, "y": batch.labels}


def some_transform_fn2(batch, model):
    return {"x": batch.images, "y": batch.labels, "sample_weight": np.ones(batch.size)}


@pytest.fixture
def pictures(digits) -> tuple[Dataset, Dataset]:
    """Two datasets of images of 8 × 8: the digits, and the digits mirrored."""

    class Images(Batch):
        components = "images", "labels"

        @action
        def preprocess(self):
            self.images = self.images.reshape(self.size, -1)
            return self

        @action
        def normalize(self):
            self.images = self.images / 16
            return self

    images, labels = digits[0].reshape(-1, 8, 8), digits[1]
    upright = {"images": images[:900], "labels": labels[:900]}
    mirrored = {"images": images[900:, :, ::-1], "labels": labels[900:]}
    return Dataset(batch_class=Images, data=upright), Dataset(batch_class=Images, data=mirrored)


def test_models_and_template_pipelines(pictures: tuple[Dataset, Dataset]) -> None:
    mnist_dataset, cifar_dataset = pictures
    template_pipeline = (
        Pipeline()
        .init_model("static", MyModel, config={"classes": range(10)})
        .init_model("dynamic", MyModel2, config={"classes": range(10)})
        .preprocess()
        .normalize()
        .train_model("MyModel", some_transform_fn)
        .train_model("MyModel2", some_transform_fn2)
    )
    mnist_pipeline = (template_pipeline << mnist_dataset).run(BATCH_SIZE, n_epochs=10)
    cifar_pipeline = (template_pipeline << cifar_dataset).run(BATCH_SIZE, n_epochs=10)

    of_mnist, of_cifar = mnist_pipeline.models, cifar_pipeline.models
    assert of_mnist["MyModel"] is of_cifar["MyModel"]
    assert of_mnist["MyModel2"] is not of_cifar["MyModel2"]
    assert of_mnist["MyModel2"].estimator.class_count_.sum() == 10 * len(mnist_dataset)
    assert of_cifar["MyModel2"].estimator.class_count_.sum() == 10 * len(cifar_dataset)


def test_importing_models(digits) -> None:
    class Resnet50(get_model_class("sklearn/MLPClassifier")):
        """In place of the real one: knows what its data is called, and shrinks it to 8 × 8."""

        def _train(self, batch):
            return super()._train(x=small(batch.images), y=batch.labels)

        def _predict(self, batch):
            return super()._predict(x=small(batch.images))

    def small(images):
        step = images.shape[1] // 8
        return images[:, ::step, ::step].reshape(len(images), 64)

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
            factors = np.array(shape) // self.images.shape[1:]
            self.images = np.kron(self.images, np.ones((1, *factors)))
            return self

        @action
        def normalize(self):
            self.images = (self.images - self.images.mean()) / self.images.std()
            return self

    images, labels = digits[0].reshape(-1, 8, 8), digits[1]
    pictures = {"images": images, "labels": labels}
    images_dataset = Dataset(len(images), batch_class=Pictures)
    some_dataset = Dataset(batch_class=Pictures, data={k: v[:200] for k, v in pictures.items()})

    train_pipeline = (
        images_dataset.p.init_model("dynamic", Resnet50, config={"classes": range(10)})
        .load(pictures)
        .random_rotate(angle=(-30, 30))
        .normalize()
        .train_model("Resnet50")
        .run(BATCH_SIZE, shuffle=True, n_epochs=10)
    )

    inference_pipeline_template = (
        Pipeline()
        .init_variable("predictions", init_on_each_run=list)
        .resize(shape=(256, 256))
        .normalize()
        .import_model("Resnet50", train_pipeline)
        .predict_model("Resnet50", append_to="predictions")
    )

    infer = (inference_pipeline_template << some_dataset).run(INFER_BATCH_SIZE, shuffle=False)
    assert infer.get_model_by_name("Resnet50") is train_pipeline.get_model_by_name("Resnet50")
    predicted = np.concatenate(infer.get_variable("predictions"))
    assert np.mean(predicted == labels[:200]) > 0.8
