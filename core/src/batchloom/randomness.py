"""Random numbers: every one that a run draws comes from the run's seed and from what it is for.

No generator is shared between batches, so that what a batch draws cannot depend on which thread prepared
it, or when.
"""

from __future__ import annotations

import os

import numpy as np

# What a stream of random numbers is for: the first part of its key.
ORDER, BATCH, MODEL, PARTNER = range(4)


def generator(seed: int, *key: int) -> np.random.Generator:
    """Make the random generator of one purpose.

    Parameters
    ----------
    seed : int
        The run's seed, not negative.
    *key : int
        What the numbers are for, such as ``(BATCH, stage, number)``. Streams of different keys are
        independent (`numpy.random.SeedSequence`).
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def fresh_seed() -> int:
    """Draw a seed of 128 bits from the operating system."""
    return int.from_bytes(os.urandom(16), "big")


def model_seed(seed: int, name: str) -> int:
    """Derive the seed of a model from the run's seed and the model's name.

    Returns
    -------
    int
        Below 2**31, which every library takes as a random state.
    """
    import zlib

    return int(generator(seed, MODEL, zlib.crc32(name.encode())).integers(2**31))


def partner_seed(seed: int, position: int) -> int:
    """Derive the seed of a pipeline that another one merges with."""
    return int(generator(seed, PARTNER, position).integers(2**63))
