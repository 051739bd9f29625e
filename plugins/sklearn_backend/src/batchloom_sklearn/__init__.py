"""Scikit-learn estimators as Batchloom models."""

__version__ = "0.1.0"
