"""From NumPy's arrays to tensors, in half the time that `tf.constant` takes for a small batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from batchloom_tf.library import tf

# What tf.constant calls once it has looked at everything that could be given to it; Keras needs it too.
_Tensor = getattr(tf.__internal__, "EagerTensor", None)
_ALIGNED = 64
tf.constant(0)  # starts TensorFlow, which it expects


def tensor(array: np.ndarray) -> Any:
    """Return a copy of an array as a tensor.

    The copy matters: TensorFlow would share the array's memory, and a layer that keeps its input
    in a variable would see what is written into the batch afterwards.
    """
    return own_tensor(array.copy())


def shareable(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array, its values not set yet, whose memory `own_tensor` need not copy.

    NumPy's own memory begins 16 bytes after a multiple of 64, and TensorFlow takes over none but what
    begins at one.
    """
    if dtype.kind not in "fiub":
        return np.empty(shape, dtype)
    room = np.empty(math.prod(shape) * dtype.itemsize + _ALIGNED, np.uint8)
    return np.ndarray(shape, dtype, room, -room.__array_interface__["data"][0] % _ALIGNED)


def own_tensor(array: np.ndarray) -> Any:
    """Return a tensor that may share the memory of an array that nobody writes into any more."""
    if _Tensor is None or array.dtype.kind not in "fiub":
        return tf.constant(array)
    return _Tensor(array, None, None)
