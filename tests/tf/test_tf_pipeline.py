"""Keras models in pipelines: any prefetch, two models, two pipelines, and the user's document."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, action

pytestmark = pytest.mark.tf


@pytest.fixture
def dataset(digits, keras):
    x, y = digits
    return Dataset(data={"images": x[:500], "labels": y[:500]})


def training(chain, **model):
    """A template: a dynamic model, its losses and the shapes of what it saw."""
    config = {key: value for key, value in chain.items() if key != "seed"}
    return (
        Pipeline()
        .init_variable("losses", init_on_each_run=list)
        .init_model("dynamic", "tf/Sequential", "net", config={**config, **model})
        .train_model("net", fetches="loss", feed_dict={"x": "images", "y": "labels"},
                     append_to="losses")
    )  # fmt: skip


def weights_of(pipeline, name="net"):
    return [each.numpy() for each in pipeline.get_model_by_name(name).network.variables]


def test_any_prefetch_gives_the_same_to_the_bit(dataset, chain):
    runs = [
        (training(chain) << dataset).run(32, shuffle=True, n_epochs=2, seed=11, prefetch=prefetch)
        for prefetch in (0, 1, 4)
    ]
    losses = [run.get_variable("losses") for run in runs]
    assert len(losses[0]) == 32 and losses[0] == losses[1] == losses[2]
    for first, *others in zip(*map(weights_of, runs), strict=True):
        for other in others:
            np.testing.assert_array_equal(first, other)
    elsewhere = (training(chain) << dataset).run(32, shuffle=True, n_epochs=2, seed=12)
    assert elsewhere.get_variable("losses") != losses[0]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickle.dumps])
def test_a_pipeline_that_has_made_a_network_says_how_it_can_be_copied(dataset, chain, duplicate):
    pipeline = training(chain) << dataset
    duplicate(pipeline)
    pipeline.run(250)
    with pytest.raises(TypeError, match=r"model 'net' cannot be copied or pickled.*save_model"):
        duplicate(pipeline)


def test_pipelines_of_one_template_run_side_by_side_and_share_nothing(dataset, chain, keras):
    template = training(chain, optimizer=keras.optimizers.Adam(0.01))
    alone = (template << dataset).run(32, seed=1).get_variable("losses")
    with ThreadPoolExecutor(4) as pool:
        several = [pool.submit((template << dataset).run, 32, seed=1, prefetch=2) for _ in range(4)]
    for each in several:
        assert each.result().get_variable("losses") == alone


def test_two_models_in_one_pipeline_do_not_mix(dataset, chain):
    both = (
        training(chain)
        .init_variable("others", init_on_each_run=list)
        .init_model("dynamic", "tf/Sequential", "other", config={**chain, "optimizer": "sgd"})
        .train_model("other", x="images", y="labels", output="accuracy", append_to="others")
    )
    run = (both << dataset).run(32, seed=1, prefetch=3)
    assert run.get_variable("losses") == (training(chain) << dataset).run(32, seed=1).get_variable(
        "losses"
    )
    assert all(0 <= each <= 1 for each in run.get_variable("others"))


def test_threads_predict_while_another_trains(dataset, chain, digits):
    run = (training(chain) << dataset).run(32, seed=1)
    model = run.get_model_by_name("net")
    x, y = digits
    stop = threading.Event()

    def predict():
        found = []
        while not stop.is_set():
            found.append(model.predict(x=x[:50], output="proba").sum(-1))
        return found

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(predict) for _ in range(3)]
        accuracies = [model.train(x=x[:32], y=y[:32], output="accuracy") for _ in range(50)]
        stop.set()
    assert all(0 <= each <= 1 for each in accuracies)
    for reader in readers:
        for sums in reader.result():
            np.testing.assert_allclose(sums, 1, rtol=1e-5)
    assert model.network.optimizer.iterations == 16 + 50


def test_the_dtype_policy_of_init_model_holds_wherever_the_model_is_made(dataset, chain, keras):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        template = training(chain)
    finally:
        keras.config.set_dtype_policy("float32")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit((template << dataset).run, 100, seed=1).result()
    assert run.get_model_by_name("net").network.get_layer("hidden").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def test_the_number_of_classes_is_that_of_the_whole_column(digits, keras):
    x, y = digits
    order = np.argsort(y)  # the first batch has one class only
    dataset = Dataset(data={"images": x[order], "labels": y[order]})

    def net(input_shape, classes):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(inputs))

    config = {"model": net, "loss": "sparse_categorical_crossentropy"}
    for arguments in (
        {"x": "images", "y": "labels"},
        {"feed_dict": {"x": "images", "y": "labels"}},
    ):
        run = (
            Pipeline()
            .init_model("dynamic", "tf/Model", "net", config=config)
            .train_model("net", **arguments)
            << dataset
        ).run(64)
        assert run.get_model_by_name("net").network.output_shape == (None, 10)


def test_a_trained_model_is_imported_and_evaluated_by_threads(dataset, chain):
    train = (training(chain, learning_rate=0.02) << dataset).run(32, n_epochs=10, seed=1)
    template = (
        Pipeline()
        .init_variable("found")
        .init_variable("labels_found", init_on_each_run=list)
        .import_model("net", train)
        .predict_model("net", x="images", output="labels", append_to="labels_found")
        .evaluate_model("net", x="images", y="labels", output="predict", save_to="found",
                        metrics={"accuracy": lambda y, labels: np.mean(y == labels)})
    )  # fmt: skip
    runs = [(template << dataset).run(64, prefetch=prefetch) for prefetch in (0, 4)]
    found = [run.get_variable("found")["accuracy"] for run in runs]
    assert found[0] == found[1] > 0.9
    for first, second in zip(*(run.get_variable("labels_found") for run in runs), strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_action_may_work_with_the_model(dataset, chain):
    class Digits(Batch):
        components = "images", "labels"

        @action(model="net")
        def learn(self, model):
            assert model.train(self.images, self.labels, output="loss") > 0
            return self

        @action
        def learn_by_name(self, name):
            self.get_model_by_name(name).train(x=self.images, y=self.labels)
            return self

    data = {name: dataset.column(name) for name in Digits.components}
    pipeline = (
        Pipeline()
        .init_model("static", "tf/Sequential", "net", config={**chain, "input_shape": (64,)})
        .learn()
        .learn_by_name("net")
    ) << Dataset(batch_class=Digits, data=data)
    run = pipeline.run(100)
    assert run.get_model_by_name("net").network.optimizer.iterations == 10


def test_a_bad_batch_is_named_with_its_model_and_argument(dataset, chain):
    data = {name: dataset.column(name).copy() for name in ("images", "labels")}
    data["labels"][70] = 10
    pipeline = training(chain, layers=[*chain["layers"][:-1], "Flatten", chain["layers"][-1]])
    with pytest.raises(ValueError, match="y has the label 10 in row 6") as caught:
        (pipeline << Dataset(data=data)).run(32)
    notes = "\n".join(caught.value.__notes__)
    assert "model 'net' (tf/Sequential)" in notes and "batch 2" in notes


def test_early_stopping_ends_the_run(dataset, chain, keras):
    stop = keras.callbacks.EarlyStopping(monitor="loss", min_delta=100.0, patience=2)
    run = (training(chain, callbacks=[stop]) << dataset).run(100, n_epochs=10, seed=1, prefetch=2)
    assert len(run.get_variable("losses")) == 3 * 5
