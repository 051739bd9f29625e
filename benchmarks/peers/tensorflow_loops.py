"""tf.data: slices of tensors, shuffled through a buffer, batched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.peers import Columns, Work, nothing

PACKAGE = "tensorflow"
BUFFER = 10_000


def usual(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    import tensorflow as tf

    with tf.device("CPU"):
        batches = tf.data.Dataset.from_tensor_slices(tuple(columns.values()))
    if shuffle:
        batches = batches.shuffle(BUFFER, seed=1)
    batches = batches.batch(size)
    return _iterated(batches, actions, prefetch)


def best(
    columns: Columns, size: int, shuffle: bool, actions: int = 0, prefetch: int = 0
) -> Callable[[], Iterable[Any]]:
    import tensorflow as tf

    arrays = tuple(map(tf.constant, columns.values()))
    length = len(arrays[0])
    order = np.arange(length)
    if shuffle:
        order = np.random.default_rng(1).permutation(length)
    rows = tf.data.Dataset.from_tensor_slices(order).batch(size)
    gathered = rows.map(lambda at: tuple(tf.gather(each, at) for each in arrays))
    return _iterated(gathered, actions, prefetch)


def _iterated(batches: Any, actions: int, prefetch: int) -> Callable[[], Iterable[Any]]:
    for _ in range(actions):
        batches = batches.map(lambda *batch: nothing(batch))
    if prefetch:
        batches = batches.prefetch(prefetch)
    return batches.as_numpy_iterator


def parallel(work: Work, count: int, ahead: int) -> Callable[[], Iterable[Any]]:
    import tensorflow as tf

    kind = work(0).dtype

    def made(at: Any) -> Any:
        return tf.numpy_function(work, [at], kind, stateful=False)

    results = tf.data.Dataset.range(count).map(made, num_parallel_calls=2, deterministic=True)
    return results.prefetch(ahead).as_numpy_iterator


BATCHES = {"tf.data, slices": usual, "tf.data, gather": best}
WORKING = {"tf.data, parallel map": parallel}
PROCESSES = {"tf.data, parallel map": parallel}
