"""Settings that hold while a network is made: its seed and its dtype policy."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batchloom_tf.library import keras

# Held while Python's generator stands at a seed of ours.
_LOCK = threading.RLock()
_policy_now = keras.config.dtype_policy


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make what is made inside follow a seed, and leave the global generator as it was.

    Keras draws the seed of each initialiser and each dropout layer that names none from Python's
    `random` module, when the object is made; it offers no other way to set them all. The module's
    state is set for that time, and then put back: NumPy's and TensorFlow's are never touched.

    Parameters
    ----------
    seed : int
        Any integer.
    """
    with _LOCK:
        state = random.getstate()
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)


def seed_of_name(name: str) -> int:
    """Return a seed for a model that was given none, so that two models of a pipeline differ."""
    return zlib.crc32(name.encode())


class WithDtypePolicy:
    """Set Keras's dtype policy, which is each thread's own, for a while.

    Parameters
    ----------
    policy : str or keras.DTypePolicy
        ``"mixed_bfloat16"``.
    """

    __slots__ = ("_before", "_policy")

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def __enter__(self) -> None:
        self._before = _policy_now()
        if self._before is not self._policy:
            keras.config.set_dtype_policy(self._policy)

    def __exit__(self, *exc: object) -> None:
        if _policy_now() is not self._before:
            keras.config.set_dtype_policy(self._before)
