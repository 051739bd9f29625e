"""The one place where TensorFlow and Keras are imported, after what must be settled before that."""

from __future__ import annotations

import os

# Read once, at the import: TensorFlow's start-up notes are hidden, unless the user wants them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_OTHER_BACKEND = (
    "batchloom-tf runs Keras on TensorFlow, but Keras is set to {}. Set KERAS_BACKEND=tensorflow "
    'in the environment (or "backend" in ~/.keras/keras.json) before keras is first imported, '
    "and start Python again"
)

# Asked first: importing Keras on a backend that is not installed fails with words of its own.
if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(_OTHER_BACKEND.format(repr(os.environ["KERAS_BACKEND"])))

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

if keras.config.backend() != "tensorflow":
    raise ImportError(_OTHER_BACKEND.format(repr(keras.config.backend())))

__all__ = ["keras", "tf"]
