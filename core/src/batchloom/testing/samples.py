"""Small data for each kind of model: Fisher's irises, and images that NumPy draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from batchloom import Batch, Dataset
from batchloom.errors import DefinitionError, nearest

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """A kind of model, and what it is given.

    Attributes
    ----------
    name : str
        ``"classification"``.
    columns : tuple of str
        The components of the data; those of ``train``.
    trains_with : mapping of str to str
        Arguments of ``train`` and the components that they get, unless the author says otherwise.
    """

    name: str
    columns: tuple[str, ...]

    @property
    def trains_with(self) -> Mapping[str, str]:
        """Arguments of ``train`` and the components that they get."""
        return {each: each for each in self.columns}


TASKS: Final = {
    each.name: each
    for each in (
        Task("classification", ("x", "y")),
        Task("regression", ("x", "y")),
        Task("clustering", ("x",)),
        Task("transform", ("x",)),
        Task("image", ("x", "y")),
    )
}


def task_named(name: str) -> Task:
    """Return a task.

    Raises
    ------
    DefinitionError
        If there is none of that name.
    """
    if name not in TASKS:
        raise DefinitionError(
            f"task={name!r} is none of {', '.join(TASKS)}{nearest(name, TASKS) or '.'}"
        )
    return TASKS[name]


def sample(task: str) -> dict[str, Array]:
    """Give the columns of a task, new arrays each time.

    Parameters
    ----------
    task : str
        ``"classification"``: 145 irises of three species by four lengths. ``"regression"``: the
        width of their petals by the other three. ``"clustering"``, ``"transform"``: the lengths
        alone. ``"image"``: 97 grey images of 16 by 16 pixels with one of three patterns.

    Returns
    -------
    dict of str to ndarray
        ``x`` (float64, or float32 of shape (n, 16, 16, 1) for images) and ``y`` (int64 classes, or
        float64). The number of items leaves a batch of one when they are taken by 16.
    """
    task_named(task)
    if task == "image":
        x, y = _patterns(97)
        return {"x": x, "y": y}
    table = _irises()[:145].copy()
    lengths, species = table[:, :4], table[:, 4].astype(np.int64)
    if task == "classification":
        return {"x": lengths.copy(), "y": species}
    if task == "regression":
        return {"x": lengths[:, :3].copy(), "y": lengths[:, 3].copy()}
    return {"x": lengths.copy()}


def dataset(columns: Mapping[str, Array], batch_class: type[Batch] = Batch) -> Dataset:
    """Make a dataset of columns."""
    return Dataset(data=dict(columns), batch_class=batch_class)


@cache
def _irises() -> Array:
    """Read R. A. Fisher's 150 irises (1936), in an order that mixes the species.

    Returns
    -------
    ndarray of shape (150, 5)
        Length and width of sepals and petals in cm, and the species 0, 1 or 2.
    """
    text = files("batchloom.testing").joinpath("iris.csv").read_text(encoding="utf-8")
    table = np.loadtxt(text.splitlines(), delimiter=",", skiprows=1)
    return table[np.random.default_rng(1936).permutation(len(table))]


def _patterns(count: int) -> tuple[Array, Array]:
    """Draw stripes across, stripes down and squares, each moved at random, with noise."""
    random = np.random.default_rng(16)
    kinds = random.integers(0, 3, count)
    rows, columns = np.mgrid[:16, :16]
    images = np.empty((count, 16, 16, 1), np.float32)
    for at, kind in enumerate(kinds):
        down, across = random.integers(0, 4, 2)
        stripes = ((rows + down) // 2 % 2, (columns + across) // 2 % 2)
        drawn = stripes[kind] if kind < 2 else stripes[0] * stripes[1]
        images[at, :, :, 0] = 0.8 * drawn + random.uniform(0, 0.2, (16, 16))
    return images, kinds.astype(np.int64)
