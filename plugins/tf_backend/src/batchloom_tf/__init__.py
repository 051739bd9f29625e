"""Keras models, run by TensorFlow, as Batchloom models."""

__version__ = "0.1.0"
