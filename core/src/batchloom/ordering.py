"""The order in which an epoch visits the items, as a function of the seed and the epoch alone."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

import batchloom
from batchloom.errors import DataError, DefinitionError
from batchloom.randomness import ORDER, fresh_seed, generator
from batchloom.records import Record

BLOCKS = "blocks"
"""``shuffle="blocks"`` stands for ``shuffle=BlockShuffle()``."""

Positions = np.ndarray[Any, np.dtype[np.intp]]


class Order(Record):
    """The order of the items in every epoch.

    Attributes
    ----------
    length : int
        How many items there are.
    shuffled : bool
    seed : int
        What the permutations are drawn from.
    function : callable or None
        Takes the positions ``0 .. length - 1`` and returns them in another order.
    blocks : BlockShuffle or None
        If the order depends on the blocks of the data: see `batchloom.windows`.
    """

    length: int
    shuffled: bool
    seed: int
    function: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None = None
    blocks: batchloom.BlockShuffle | None = None

    @property
    def is_permuted(self) -> bool:
        """Whether all items are put into another order at once."""
        return self.blocks is None and (self.shuffled or self.function is not None)

    def positions(self, epoch: int) -> Positions | None:
        """Give the positions in the order of one epoch, or None for the order they have."""
        if self.blocks is not None and self.length:
            raise DefinitionError(
                'an index knows no blocks, which are of the data: shuffle="blocks" is for running over a '
                "dataset, and for Dataset.split"
            )
        if self.function is not None:
            return _checked(self.function(np.arange(self.length)), self.length)
        if not self.shuffled:
            return None
        return generator(self.seed, ORDER, epoch).permutation(self.length)


def make_order(
    length: int, shuffle: batchloom.Shuffle, seed: int | None = None
) -> tuple[Order, int]:
    """Say in which order a run visits its items, and settle the run's seed.

    Parameters
    ----------
    length : int
    shuffle : bool, int, "blocks", BlockShuffle, Generator, RandomState or callable
        False: the order of the index. True: permuted anew in each epoch, from the seed. An int: the
        same, from that int. ``"blocks"`` or a `BlockShuffle`: permuted by blocks and within windows. A
        generator: a seed is drawn from it, once. A callable: gets the positions ``0 .. length - 1`` once
        an epoch and returns them reordered.
    seed : int, optional
        The run's seed. Without one it is the int given as `shuffle`, else what the given generator
        draws, else a fresh one.

    Returns
    -------
    Order
    int
        The run's seed.
    """
    check_shuffle(shuffle)
    drawn = _seed_of(shuffle)
    run_seed = seed if seed is not None else drawn if drawn is not None else fresh_seed()
    order_seed = run_seed if drawn is None else drawn
    function = shuffle if drawn is None and callable(shuffle) else None
    return Order(length, is_shuffled(shuffle), order_seed, function, blocks_of(shuffle)), run_seed


def blocks_of(shuffle: batchloom.Shuffle) -> batchloom.BlockShuffle | None:
    """Give the block shuffle that was asked for, if one was."""
    if isinstance(shuffle, (bool, np.bool_, numbers.Integral)):
        return None
    from batchloom.block_shuffle import BlockShuffle

    if isinstance(shuffle, str):
        return BlockShuffle()
    return shuffle if isinstance(shuffle, BlockShuffle) else None


def is_shuffled(shuffle: batchloom.Shuffle) -> bool:
    """Tell whether the items are visited in another order than their own."""
    return bool(shuffle) if isinstance(shuffle, (bool, np.bool_)) else True


def check_shuffle(shuffle: object) -> None:
    """Refuse what says nothing about an order."""
    if isinstance(shuffle, numbers.Integral) and not isinstance(shuffle, bool):
        check_seed(shuffle)
    elif not _says_order(shuffle):
        raise DefinitionError(
            f'shuffle={shuffle!r}: give a bool, an int seed, "blocks" or a BlockShuffle, a NumPy Generator '
            "or RandomState, or a callable that reorders an array of positions"
        )


def check_seed(seed: object) -> int | None:
    """Return a seed as an int, or refuse it."""
    if seed is None:
        return None
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool) or int(seed) < 0:
        raise DefinitionError(f"seed={seed!r}: a seed is an int that is not negative, or None")
    return int(seed)


def _says_order(shuffle: Any) -> bool:
    if isinstance(shuffle, str):
        return shuffle == BLOCKS
    if isinstance(shuffle, (bool, np.bool_)) or callable(shuffle):
        return True
    is_generator = isinstance(shuffle, (np.random.Generator, np.random.RandomState))
    return is_generator or blocks_of(shuffle) is not None


def _seed_of(shuffle: batchloom.Shuffle) -> int | None:
    if isinstance(shuffle, (bool, np.bool_, str)):
        return None
    if isinstance(shuffle, numbers.Integral):
        return check_seed(shuffle)
    if isinstance(shuffle, np.random.Generator):
        return int(shuffle.integers(2**63))
    if isinstance(shuffle, np.random.RandomState):
        return int(shuffle.randint(2**31))
    blocks = blocks_of(shuffle)
    return None if blocks is None else blocks.seed


def _checked(order: object, length: int) -> Positions:
    positions = np.asarray(order)
    if positions.shape != (length,) or not np.array_equal(np.sort(positions), np.arange(length)):
        raise DataError(
            f"the shuffle callable must return the {length} positions it was given, reordered; "
            f"it returned an array of shape {positions.shape} that is no permutation of them"
        )
    return positions.astype(np.intp, copy=False)
