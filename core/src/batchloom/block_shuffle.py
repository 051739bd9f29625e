"""Block shuffle: what ``shuffle="blocks"`` asks for."""

from __future__ import annotations

import math
import numbers
from typing import Any

from batchloom.errors import DefinitionError
from batchloom.records import Record


class BlockShuffle(Record):
    """An order for data that is larger than memory: shuffled, and read in large pieces all the same.

    The data is cut into blocks of consecutive rows. In each epoch the blocks are put into a random
    order and, so many at a time, into a window; the items of a window are visited in random order,
    while the next window is read. Every item is visited once an epoch. The order is a function of the
    seed, the epoch and the data's blocks alone.

    Parameters
    ----------
    seed : int, optional
        What the order is drawn from. Default: the run's seed.
    window : float or int, default 0.05
        How many items a window has: a share of all items (a float, up to 1.0), or their number (an int).
        A window has whole blocks, and at least one. Two windows are in memory: the one in use, and
        the next one.
    block_rows : int, optional
        How many items a block has. Default: the row groups of Parquet files; of other data as many as fit
        into 768 KB, or fewer, so that a window has 16 blocks or more.

    Raises
    ------
    DefinitionError
        For a window or a block that is not positive.

    Examples
    --------
    >>> pipeline.run(256, shuffle=BlockShuffle(seed=1, window=0.1))
    """

    seed: int | None = None
    window: float | int = 0.05
    block_rows: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and not _is_count(self.seed, least=0):
            raise DefinitionError(
                f"seed={self.seed!r}: a seed is an int that is not negative, or None"
            )
        if not _is_count(self.window) and not _is_share(self.window):
            raise DefinitionError(
                f"window={self.window!r}: give a share of the items (a float above 0, up to 1.0) or a "
                "number of items (an int of 1 or more)"
            )
        if self.block_rows is not None and not _is_count(self.block_rows):
            raise DefinitionError(f"block_rows={self.block_rows!r}: give an int of 1 or more")

    def window_rows(self, length: int) -> int:
        """Say how many of so many items are in a window."""
        if isinstance(self.window, numbers.Integral):
            return max(1, min(int(self.window), length))
        return max(1, math.ceil(self.window * length))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockShuffle) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        return self.seed, self.window, self.block_rows


def _is_count(value: object, least: int = 1) -> bool:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and value >= least  # type: ignore[operator]


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value <= 1
