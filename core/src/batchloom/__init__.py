"""Batchloom: data pipelines and the models in them, kept apart."""

__version__ = "0.1.0"
