"""The model contract, kept by networks of Keras."""

from __future__ import annotations

import pytest

from batchloom.testing import ModelTests

pytestmark = [pytest.mark.tf, pytest.mark.timeout(240)]


class TestImages(ModelTests):
    name = "tf/Sequential"
    task = "image"
    n_epochs = 6
    config = {
        "layers": [
            {"class_name": "Conv2D", "config": {"filters": 8, "kernel_size": 3}},
            {"class_name": "ReLU", "config": {}},
            {"class_name": "Conv2D", "config": {"filters": 8, "kernel_size": 3}},
            {"class_name": "GlobalMaxPooling2D", "config": {}},
            {"class_name": "Dense", "config": {"units": 3, "activation": "softmax"}},
        ],
        "loss": "sparse_categorical_crossentropy",
        "optimizer": "adam",
        "learning_rate": 0.01,
    }
