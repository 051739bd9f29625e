"""The numbers of a network, for a run that goes on: weights, seeds of dropout, state of the optimizer.

Layers, loss and optimizer come from the definition: what is read is bytes, and can hold no code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchloom.errors import CheckpointError
from batchloom_tf.networks import states_of


def numbers_of(network: Any) -> dict[str, Any]:
    """Return all that training changes in a network, as plain data."""
    trained = network.compiled and network.optimizer is not None and network.optimizer.built
    return {
        "network": _kept(_own_variables(network)),
        "optimizer": _kept(network.optimizer.variables) if trained else None,
    }


def restore_numbers(network: Any, kept: Mapping[str, Any]) -> None:
    """Put back what `numbers_of` gave.

    Raises
    ------
    CheckpointError
        If it was another network, or another optimizer.
    """
    _assign(_own_variables(network), kept["network"], "the network")
    if kept["optimizer"] is not None:
        if not network.optimizer.built:
            network.optimizer.build(network.trainable_variables)
        _assign(network.optimizer.variables, kept["optimizer"], "the optimizer")


def _own_variables(network: Any) -> list[Any]:
    # Metrics are of one batch each, and are made when they are first asked for.
    metrics = {id(each) for each in network.metrics_variables}
    own = [each for each in network.variables if id(each) not in metrics]
    known = {id(each) for each in own}
    return [*own, *(each for each in states_of(network) if id(each) not in known)]


def _kept(variables: Sequence[Any]) -> list[dict[str, Any]]:
    return [_bytes_of(np.asarray(each.numpy())) for each in variables]


def _bytes_of(array: np.ndarray) -> dict[str, Any]:
    # Bytes, because NumPy's files know no bfloat16.
    flat = np.frombuffer(np.ascontiguousarray(array).tobytes(), dtype=np.uint8)
    return {"bytes": flat, "dtype": str(array.dtype), "shape": array.shape}


def _assign(variables: Sequence[Any], kept: Sequence[Mapping[str, Any]], what: str) -> None:
    now = [np.asarray(each.numpy()) for each in variables]
    here = [(str(each.dtype), each.shape) for each in now]
    there = [(each["dtype"], tuple(each["shape"])) for each in kept]
    if here != there:
        raise CheckpointError(
            f"the checkpoint is of other variables than {what} has now: "
            f"{_first_difference(there, here)}. Make it as it was when the checkpoint was written"
        )
    for variable, array, each in zip(variables, now, kept, strict=True):
        variable.assign(np.frombuffer(each["bytes"].tobytes(), array.dtype).reshape(array.shape))


def _first_difference(there: Sequence[Any], here: Sequence[Any]) -> str:
    if len(there) != len(here):
        return f"{len(there)} then, {len(here)} now"
    at = next(i for i in range(len(here)) if there[i] != here[i])
    return f"number {at + 1} was {there[at]}, and is {here[at]}"
