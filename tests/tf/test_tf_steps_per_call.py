"""Several batches in one call of the graph: the same to the bit as one by one, and nothing is lost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from batchloom import B, Dataset, Pipeline
from batchloom.errors import ModelConfigError, ModelInputError
from batchloom.models import load_model

pytestmark = pytest.mark.tf

LAYERS = [
    {"class_name": "Dense", "config": {"units": 16, "activation": "relu"}},
    "BatchNormalization",
    {"class_name": "Dropout", "config": {"rate": 0.25}},
    {"class_name": "Dense", "config": {"units": 10}},
]
LOSS = {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}}
RUN = {"batch_size": 32, "shuffle": True, "seed": 3}


@pytest.fixture
def dataset(digits, keras):
    x, y = digits
    return Dataset(
        data={"images": x[:340], "labels": y[:340]}
    )  # eleven batches, the last one short


def config(keras, steps, **more):
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.5)
    return {
        "layers": LAYERS, "loss": LOSS, "optimizer": "adam", "learning_rate": rate,
        "metrics": ["accuracy"], "steps_per_call": steps, **more,
    }  # fmt: skip


def training(keras, steps, output="loss", append_to="losses", **more):
    return (
        Pipeline()
        .init_variable("losses", init_on_each_run=list)
        .init_variable("accuracies", init_on_each_run=list)
        .init_model("dynamic", "tf/Sequential", "net", config=config(keras, steps, **more))
        .train_model("net", x="images", y="labels", output=output, append_to=append_to)
    )


def network_of(pipeline):
    return pipeline.get_model_by_name("net").network


def state_of(pipeline):
    """Weights, means of the batch normalisation, seeds of dropout, the optimizer's state."""
    network = network_of(pipeline)
    return [each.numpy() for each in (*network.weights, *network.optimizer.variables)]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("prefetch", [0, 3])
def test_weights_and_losses_are_those_of_single_calls(keras, dataset, prefetch, jit):
    one, many = (
        (training(keras, steps, jit_compile=jit) << dataset).run(**RUN, n_epochs=2, prefetch=ahead)
        for steps, ahead in ((1, 0), (4, prefetch))
    )
    assert len(many.get_variable("losses")) == 22
    assert many.get_variable("losses") == one.get_variable("losses")
    assert type(many.get_variable("losses")[0]) is type(one.get_variable("losses")[0])
    assert_same(state_of(many), state_of(one))


def test_one_call_is_made_for_several_batches(keras, dataset):
    pipeline = training(keras, 4) << dataset
    model = None
    waiting = []
    for _ in pipeline.gen_batch(**RUN):
        model = pipeline.get_model_by_name("net")
        waiting.append(len(model._waiting))
    # The short one is of another shape; it is trained on alone, at the end of the epoch.
    assert waiting == [1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 0]
    assert model._steps.traces == 1


def test_outputs_of_every_kind_reach_their_own_variables(keras, dataset):
    asked = {"output": ["loss", "accuracy"], "append_to": ["losses", "accuracies"]}
    one, many = ((training(keras, steps, **asked) << dataset).run(**RUN) for steps in (1, 4))
    for name in ("losses", "accuracies"):
        assert many.get_variable(name) == one.get_variable(name)
    asked = {"output": {"p": "predictions", "n": "iterations", "g": "grad_norm"}}
    one, many = ((training(keras, steps, **asked) << dataset).run(**RUN) for steps in (1, 4))
    assert [each["n"] for each in many.get_variable("losses")] == list(range(11))
    for ours, theirs in zip(many.get_variable("losses"), one.get_variable("losses"), strict=True):
        assert_same(list(ours.values()), list(theirs.values()))
        assert ours["p"].base is None  # four of them would keep each other in memory


def test_a_component_has_its_value_at_once(keras, dataset):
    def seen(steps):
        pipeline = (
            Pipeline()
            .init_model("dynamic", "tf/Sequential", "net", config=config(keras, steps))
            .train_model("net", x="images", y="labels", output="predictions", save_to=B.guess)
            << dataset
        )
        return [batch.guess for batch in pipeline.gen_batch(**RUN)]

    assert_same(seen(4), seen(1))


def test_what_looks_in_between_finds_everything_trained(keras, dataset, digits, tmp_path):
    def seen(steps):
        pipeline = training(keras, steps) << dataset
        found = []
        for number, _ in enumerate(pipeline.gen_batch(**RUN)):
            model = pipeline.get_model_by_name("net")
            if number == 1:
                found.append(model.predict(x=digits[0][:5]))
            if number == 2:
                found += state_of(pipeline)
            if number == 5:
                pipeline.save_model("net", path=tmp_path / str(steps))
                found += [
                    each.numpy() for each in load_model(tmp_path / str(steps)).network.weights
                ]
            if number == 6:
                found.append(pipeline.get_variable("losses")[-1])
            if number == 7:
                model.compile(learning_rate=0.5)
        return [*found, *state_of(pipeline)]

    assert_same(seen(4), seen(1))


def test_predictions_of_the_same_pipeline_come_after_the_training_before_them(keras, dataset):
    def predicted(steps):
        pipeline = (
            training(keras, steps).predict_model("net", x="images", save_to=B.guess) << dataset
        )
        return [batch.guess for batch in pipeline.gen_batch(**RUN, prefetch=2)]

    assert_same(predicted(4), predicted(1))


@pytest.mark.parametrize("after", [2, 6])
def test_a_run_that_was_left_has_learned_from_what_it_took(keras, dataset, after):
    def left(steps):
        pipeline = training(keras, steps) << dataset
        for _ in itertools.islice(pipeline.gen_batch(**RUN), after):
            pass
        batches = pipeline.gen_batch(**RUN)
        next(batches)
        batches.close()
        return [*state_of(pipeline), pipeline.get_variable("losses")]

    assert_same(left(4), left(1))


def test_a_stopped_run_goes_on_to_the_same_end(keras, dataset, tmp_path):
    whole = (training(keras, 1) << dataset).run(**RUN, n_epochs=2)
    pipeline = training(keras, 4) << dataset
    run = {**RUN, "n_epochs": 2, "checkpoint": tmp_path, "checkpoint_every": 3}
    for number, _ in enumerate(pipeline.gen_batch(**run)):
        if number == 13:
            break
    resumed = (training(keras, 4) << dataset).resume(tmp_path)
    assert resumed.get_variable("losses") == whole.get_variable("losses")
    assert_same(state_of(resumed), state_of(whole))


def words(number, wrong=()):
    x = np.random.default_rng(0).integers(0, 9, (number, 3))
    for each in wrong:
        x[each, 1] = 50  # no such word
    return Dataset(data={"x": x, "y": x.sum(axis=1) / 9.0})


def reading(steps):
    layers = [
        {"class_name": "Embedding", "config": {"input_dim": 10, "output_dim": 4}},
        "Flatten",
        {"class_name": "Dense", "config": {"units": 1}},
    ]
    given = {"layers": layers, "loss": "mse", "optimizer": "adam", "steps_per_call": steps}
    return (
        Pipeline()
        .init_variable("losses", init_on_each_run=list)
        .init_model("dynamic", "tf/Sequential", "net", config=given)
        .train_model("net", x="x", y="y", output="loss", append_to="losses")
    )


def test_a_batch_that_fails_is_named_and_what_follows_it_is_not_learned(keras):
    pipelines = [reading(steps) << words(30, wrong=[13]) for steps in (1, 5)]
    for steps, pipeline in zip((1, 5), pipelines, strict=True):
        with pytest.raises(Exception, match="50") as info:
            pipeline.run(2, seed=1)
        notes = "\n".join(info.value.__notes__)
        assert "batch 6 of epoch 0" in notes
        assert ("number 2 of 5" in notes) == (steps == 5)
        assert ("learned from: batch 5, but what was asked of them is lost" in notes) == (
            steps == 5
        )
        assert ("not learned from yet: batch 7, 8, 9" in notes) == (steps == 5)
        assert ("batch 6 of epoch 0, first indices [12, 13] failed" in notes) == (steps == 5)
    assert_same(state_of(pipelines[1]), state_of(pipelines[0]))
    # What the call that failed would have given is lost with it.
    assert len(pipelines[0].get_variable("losses")) == 6
    assert pipelines[1].get_variable("losses") == pipelines[0].get_variable("losses")[:5]


def test_what_fails_after_the_training_says_that_all_was_learned_from(keras):
    class Upto(keras.layers.Layer):
        """As many columns as the largest value says: no two such outputs fit into one array."""

        def call(self, x):
            return x[:, : keras.ops.cast(keras.ops.max(x), "int32")]

    class Total(keras.layers.Layer):
        def call(self, x):
            return keras.ops.sum(x, axis=1, keepdims=True)

    x = np.ones((8, 3), "f")
    x[6, 0] = 2

    def pipeline(output, steps):
        layers = [Upto(name="upto"), Total(), keras.layers.Dense(1)]
        given = {"layers": layers, "loss": "mse", "optimizer": "sgd", "steps_per_call": steps}
        steps = (
            Pipeline()
            .init_variable("found", init_on_each_run=list)
            .init_model("dynamic", "tf/Sequential", "net", config={**given, "seed": 1})
            .train_model("net", x="x", y="y", output=output, append_to="found")
        )
        return steps << Dataset(data={"x": x, "y": x[:, 0]})

    many, one = pipeline("upto", 2), pipeline("loss", 1).run(2)
    with pytest.raises(Exception, match="shape") as info:
        many.run(2)
    notes = "\n".join(info.value.__notes__)
    assert "the 2 trained on in one call (steps_per_call=2) were all learned from" in notes
    assert "learned from: batch 2, 3, but what was asked of them is lost" in notes
    assert [found.shape for found in many.get_variable("found")] == [(2, 1), (2, 1)]
    assert_same(state_of(many), state_of(one))


def test_batches_that_fail_can_be_skipped(keras):
    one, many = (
        (reading(steps) << words(30, wrong=[4, 13, 19])).run(2, seed=1, on_error="skip")
        for steps in (1, 5)
    )
    assert_same(state_of(many), state_of(one))
    assert len(one.failures) == len(many.failures) == 3
    for failure, number in zip(many.failures, (2, 6, 9), strict=True):
        assert any(f"batch {number} of epoch 0" in note for note in failure.exception.__notes__)


def test_bad_input_is_refused_at_its_own_batch(keras, dataset):
    x = np.array(dataset.column("images")[:128])
    x[70, 3] = np.nan
    bad = Dataset(data={"images": x, "labels": dataset.column("labels")[:128]})
    pipeline = training(keras, 4) << bad
    with pytest.raises(ModelInputError, match="NaN") as info:
        pipeline.run(32, seed=1)
    assert any("batch 2 of epoch 0" in note for note in info.value.__notes__)
    one = training(keras, 1) << bad
    with pytest.raises(ModelInputError, match="NaN"):
        one.run(32, seed=1)
    assert_same(state_of(pipeline), state_of(one))


@pytest.mark.parametrize("dtype", ["f4", "f2", "i8", "i4", "u1", "?"])
def test_tensorflow_takes_over_the_memory_that_batches_wait_in(keras, dtype):
    from batchloom_tf.tensors import own_tensor, shareable

    for rows in (3, 256, 20_000):
        stack = shareable((4, rows, 5), np.dtype(dtype))
        stack[...] = 0
        tensor = own_tensor(stack)
        stack[3, 2, 4] = 1
        assert (tensor.shape, tensor.dtype.as_numpy_dtype) == (stack.shape, stack.dtype)
        assert tensor.numpy()[3, 2, 4] == 1


def test_callbacks_of_epochs_get_what_they_got(keras, dataset):
    def history(steps):
        seen = []

        class Epochs(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.model.optimizer.learning_rate = 0.01 / (epoch + 1)

            def on_epoch_end(self, epoch, logs=None):
                seen.append((epoch, logs))

        stop = keras.callbacks.EarlyStopping(monitor="accuracy", patience=0, min_delta=0.9)
        made = training(keras, steps, callbacks=[Epochs(), stop], learning_rate=0.01) << dataset
        done = made.run(**RUN, n_epochs=4)
        return [seen, *state_of(done)]

    ours, theirs = history(4), history(1)
    assert ours[0] == theirs[0] and len(ours[0]) == 2
    assert_same(ours[1:], theirs[1:])


def test_a_callback_that_acts_on_batches_is_refused(keras, drive, tmp_path):
    class Batches(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    for each in (
        Batches(),
        keras.callbacks.LambdaCallback(on_train_batch_begin=print),
        keras.callbacks.ModelCheckpoint(tmp_path / "net.keras", save_freq=5),
    ):
        with pytest.raises(ModelConfigError, match="acts on every batch"):
            drive("tf/Sequential", config(keras, 4, callbacks=[each]))
        drive("tf/Sequential", config(keras, 1, callbacks=[each]))
    for each in (
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=print),
        keras.callbacks.ModelCheckpoint(tmp_path / "net.keras", monitor="loss"),
    ):
        drive("tf/Sequential", config(keras, 4, callbacks=[each]))


@pytest.mark.parametrize("steps", [0, -3, True, 2.5, "16"])
def test_a_number_that_is_none_is_refused_when_the_pipeline_is_written(keras, steps):
    with pytest.raises(ModelConfigError, match="steps_per_call"):
        training(keras, steps)


def test_direct_calls_get_their_value_and_what_waits_is_trained_first(keras, drive, batches):
    one, many = (drive("tf/Sequential", config(keras, steps)) for steps in (1, 3))
    for driven in (one, many):
        for x, y in batches[:2]:
            driven.model.train(x=x, y=y)
    (x, y), (left, _) = batches[2:4]
    assert many.model.train(x=x, y=y, output="loss") == one.model.train(x=x, y=y, output="loss")
    for driven in (one, many):
        driven.model.train(x=x, y=y)
    asked = {"x": left, "output": "predictions"}
    assert many.handle.predict_is_thread_safe is False
    np.testing.assert_array_equal(many.model.predict(**asked), one.model.predict(**asked))
    assert many.handle.predict_is_thread_safe is True
