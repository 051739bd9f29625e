"""The one place where TensorFlow and Keras are imported, after what must be settled before that."""

from __future__ import annotations

import os

# Read once, at the import: TensorFlow's start-up notes are hidden, unless the user wants them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

import keras  # isort: skip  (TensorFlow first: Keras picks its backend by what it can import)

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"batchloom-tf runs Keras on TensorFlow, but Keras is set to {keras.config.backend()!r}. "
        'Set KERAS_BACKEND=tensorflow in the environment (or "backend" in ~/.keras/keras.json) '
        "before the first import of keras, and start Python again"
    )

__all__ = ["keras", "tf"]
