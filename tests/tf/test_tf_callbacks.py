"""Keras callbacks in a run whose loop is the pipeline's."""

from __future__ import annotations

import numpy as np
import pytest

from batchloom.models import RunInfo

pytestmark = pytest.mark.tf


def run(model, batches, n_epochs):
    """Run the epochs as the runtime does, and return how many there were."""
    model.handle.begin_run(RunInfo(n_epochs=n_epochs))
    for epoch in range(n_epochs):
        model.losses(batches)
        last = epoch == n_epochs - 1 or model.handle.stop_training
        model.handle.end_epoch(epoch, last)
        if model.handle.stop_training:
            break
    return epoch + 1


def test_they_are_called_in_the_order_of_fit(drive, keras, chain, batches):
    calls = []

    class Note(keras.callbacks.Callback):
        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *args: calls.append((name, *args[:1]))
            return super().__getattribute__(name)

    model = drive("tf/Sequential", {**chain, "callbacks": [Note()]}, dynamic=False)
    run(model, batches[:2], 2)
    epoch = [
        ("on_train_batch_begin", 0), ("on_train_batch_end", 0),
        ("on_train_batch_begin", 1), ("on_train_batch_end", 1),
    ]  # fmt: skip
    assert calls == [
        ("on_train_begin",),
        ("on_epoch_begin", 0), *epoch, ("on_epoch_end", 0),
        ("on_epoch_begin", 1), *epoch, ("on_epoch_end", 1),
        ("on_train_end",),
    ]  # fmt: skip


def test_an_epoch_s_logs_are_the_means_over_rows(drive, keras, chain, batches):
    history = keras.callbacks.History()
    model = drive("tf/Sequential", {**chain, "callbacks": [history]}, dynamic=False)
    model.handle.begin_run(RunInfo(n_epochs=1))
    values = [model.train(x=x, y=y, output=["loss", "accuracy"]) for x, y in batches]
    model.handle.end_epoch(0, True)
    rows = [len(x) for x, _ in batches]
    for found, name in zip(np.transpose(values), ("loss", "accuracy"), strict=True):
        assert history.history[name] == [pytest.approx(np.average(found, weights=rows), rel=1e-6)]


def test_they_change_nothing_of_what_is_computed(drive, keras, chain, batches):
    watched = drive("tf/Sequential", {**chain, "callbacks": [keras.callbacks.History()]})
    assert watched.losses(batches) == drive("tf/Sequential", chain).losses(batches)


def test_early_stopping_stops_the_run_and_the_next_run_starts_anew(drive, keras, chain, batches):
    stop = keras.callbacks.EarlyStopping(monitor="loss", min_delta=100.0, patience=1)
    model = drive("tf/Sequential", {**chain, "callbacks": [stop]})
    assert run(model, batches[:2], 10) == 2
    assert run(model, batches[:2], 10) == 2


def test_the_learning_rate_follows_its_callback(drive, keras, chain, batches):
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    model = drive("tf/Sequential", {**chain, "learning_rate": 0.08, "callbacks": [halve]})
    x, y = batches[0]
    rates = []
    for epoch in range(3):
        rates.append(model.train(x=x, y=y, output="learning_rate"))
        model.handle.end_epoch(epoch, False)
    np.testing.assert_allclose(rates, [0.04, 0.02, 0.01], rtol=1e-6)


def test_a_nan_loss_stops_at_the_end_of_its_epoch(drive, keras, chain, batches):
    config = {**chain, "check_finite": False, "callbacks": [keras.callbacks.TerminateOnNaN()]}
    model = drive("tf/Sequential", {**config, "optimizer": "sgd", "learning_rate": 1e30})
    assert run(model, batches, 5) == 1


def test_dynamic_models_do_not_share_a_callback_s_state(drive, keras, chain, batches):
    given = keras.callbacks.History()
    models = [drive("tf/Sequential", {**chain, "callbacks": [given]}) for _ in range(2)]
    for model in models:
        run(model, batches[:2], 2)
    assert not hasattr(given, "history") or not given.history


def test_a_run_that_ended_early_is_forgotten(drive, keras, chain, batches):
    history = keras.callbacks.History()
    model = drive("tf/Sequential", {**chain, "callbacks": [history]}, dynamic=False)
    model.losses(batches[:3])
    model.handle.abandon_run()
    assert run(model, batches[:2], 1) == 1
    assert history.epoch == [0] and len(history.history["loss"]) == 1
