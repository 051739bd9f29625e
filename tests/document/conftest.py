"""The data that the snippets and sentences of "Working with models" are tried on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from batchloom import Batch, Dataset, action


class Digits(Batch):
    components = "images", "labels"

    @action
    def normalize(self):
        self.images = self.images / 16
        return self


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (1797, 64) and their labels."""
    return load_digits(return_X_y=True)


@pytest.fixture
def my_dataset(digits: tuple[np.ndarray, np.ndarray]) -> Dataset:
    images, labels = digits
    dataset = Dataset(batch_class=Digits, data={"images": images, "labels": labels})
    return dataset.split(0.8, shuffle=42)
