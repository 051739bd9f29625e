"""The peers' loops: the same work, written as each peer's own documents would have it.

Each module is one peer. ``BATCHES`` has its ways of handing out batches of arrays in memory, ``WORKING`` its
ways of preparing batches by a function, ahead. The peer itself is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

Columns = Mapping[str, np.ndarray]
Work = Callable[[int], np.ndarray]


class Batches(Protocol):
    """Gives what makes one epoch's batches."""

    def __call__(
        self, columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
    ) -> Callable[[], Iterable[Any]]: ...


class Working(Protocol):
    """Gives what makes the results of a function for 0, 1, ..., prepared ahead."""

    def __call__(self, work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]: ...


def nothing(batch: Any) -> Any:
    """An action that does nothing."""
    return batch


def column(batch: Any, at: int, name: str) -> Any:
    """One array of a batch, whatever kind of batch the peer makes."""
    if isinstance(batch, Mapping):
        return batch[name]
    return batch[at] if isinstance(batch, (tuple, list)) else getattr(batch, name)


def cells_as_array(cells: Any, width: int) -> np.ndarray:
    """A view of an Arrow column of bytes, or a copy of one that is in pieces."""
    cells = cells.combine_chunks()
    flat = np.frombuffer(cells.buffers()[1], np.uint8)
    return flat[cells.offset * width :][: len(cells) * width].reshape(-1, width)
