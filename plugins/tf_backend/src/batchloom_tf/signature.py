"""What a network takes and gives: its inputs and outputs, with names, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchloom.errors import ModelInputError
from batchloom_tf.arrays import as_array, cast, check_finite, shape_text
from batchloom_tf.feeding import by_name, is_several
from batchloom_tf.library import keras, tf


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Parameters
    ----------
    name : str
        The name that it is fed by.
    argument : str
        How an error calls it: ``"x"`` or ``"x['left']"``.
    shape : tuple of int or None
        Without the rows; None is any size.
    dtype : str
    """

    name: str
    argument: str
    shape: tuple[int | None, ...]
    dtype: str

    def spec(self) -> Any:
        """The compiled step's view of it: the number of rows is open."""
        return tf.TensorSpec((None, *self.shape), self.dtype)

    def array(self, value: Any, finite: bool) -> np.ndarray:
        """Return what was fed as an array of this input's shape and dtype.

        Raises
        ------
        ModelInputError
            If it cannot be one; with the argument, what was expected and what was found.
        """
        array = as_array(value, self.argument)
        if array.shape[1:] != self.shape:
            array = self._reshaped(array)
        array = cast(array, self.dtype, self.argument)
        if finite:
            check_finite(array, self.argument)
        return array

    def _reshaped(self, array: np.ndarray) -> np.ndarray:
        # As in Keras, a last axis of size one may be there or not.
        inner = array.shape[1:]
        for shape in (inner, (*inner, 1), inner[:-1] if inner[-1:] == (1,) else inner):
            if fits(shape, self.shape):
                return array.reshape(array.shape[:1] + shape)
        raise ModelInputError(
            f"{self.argument}: expected shape {shape_text(self.shape)}, found {array.shape}"
        )


class Signature:
    """The inputs and outputs of a network that is built.

    Parameters
    ----------
    network : keras.Model
        Built here if it is not yet: a network without symbolic inputs takes its shapes from `x`.
    x : array, or dict or list of arrays
        What is fed first.
    shape : tuple, or dict of tuples, optional
        Shapes without the rows, where they differ from those of `x`: None in it is any size.
    """

    def __init__(self, network: Any, x: Any, shape: Any = None) -> None:
        if is_symbolic(network):
            self.inputs = _named_inputs(network)
            self.structure = _structure(network, "input")
            self.output = _structure(network, "output")
        else:
            self.inputs = _inputs_like(x, shape)
            self.structure = x if isinstance(x, Mapping) or is_several(x) else 0
            self.output = network(self.pack([_symbol(each) for each in self.inputs]))
        flat = keras.tree.flatten(self.output)
        names = getattr(network, "output_names", None) or [f"output_{i}" for i in range(len(flat))]
        self.outputs = dict(zip(names, flat, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The names that inputs are fed by, where there are several."""
        return tuple(each.name for each in self.inputs) if len(self.inputs) > 1 else ()

    def pack(self, tensors: Sequence[Any]) -> Any:
        """Arrange the inputs as the network takes them."""
        return keras.tree.pack_sequence_as(self.structure, list(tensors))

    def arrays(self, x: Any, finite: bool) -> list[np.ndarray]:
        """Return one array for each input.

        Raises
        ------
        ModelInputError
            If an input is missing, too many, or refused.
        """
        if isinstance(x, Mapping):
            values: Sequence[Any] = by_name(x, "x", "input", [each.name for each in self.inputs])
        else:
            values = self._by_position(x)
        return [each.array(value, finite) for each, value in zip(self.inputs, values, strict=True)]

    def _by_position(self, x: Any) -> Sequence[Any]:
        if len(self.inputs) == 1 and not is_several(x):
            return [x]
        if is_several(x) and len(x) == len(self.inputs):
            return list(x)
        known = [each.name for each in self.inputs]
        raise ModelInputError(
            f"the network has {len(known)} inputs, and x is "
            f"{f'a sequence of {len(x)}' if is_several(x) else 'one array'}. Feed a dict of {known}"
        )


def is_symbolic(network: Any) -> bool:
    """Whether a network is built of layers between symbolic inputs and outputs."""
    return bool(getattr(network, "inputs", None))


def fits(shape: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    """Whether a shape is one of those expected; None is any size."""
    return len(shape) == len(expected) and all(
        want is None or size is None or size == want
        for size, want in zip(shape, expected, strict=True)
    )


def _structure(network: Any, end: str) -> Any:
    # A Sequential has one input and one output, and `.input` only where it was called once.
    is_chain = isinstance(network, keras.Sequential)
    return getattr(network, f"{end}s")[0] if is_chain else getattr(network, end)


def _named_inputs(network: Any) -> tuple[Input, ...]:
    structure = _structure(network, "input")
    if isinstance(structure, Mapping):
        named = [(path[0], tensor) for path, tensor in keras.tree.flatten_with_path(structure)]
    else:
        named = [(tensor.name, tensor) for tensor in network.inputs]
    alone = len(named) == 1
    return tuple(
        Input(name, "x" if alone else f"x[{name!r}]", tuple(tensor.shape[1:]), tensor.dtype)
        for name, tensor in named
    )


def _inputs_like(x: Any, shape: Any) -> tuple[Input, ...]:
    if isinstance(x, Mapping):
        # In the order in which Keras flattens a dict.
        fed = [(name, f"x[{name!r}]", x[name]) for name in sorted(x)]
    elif is_several(x):
        fed = [(str(i), f"x[{i}]", value) for i, value in enumerate(x)]
    else:
        fed = [("x", "x", x)]
    inputs = []
    for name, argument, value in fed:
        array = as_array(value, argument)
        stated = shape.get(name) if isinstance(shape, Mapping) else shape
        inputs.append(Input(name, argument, tuple(stated or array.shape[1:]), dtype_like(array)))
    return tuple(inputs)


def dtype_like(array: np.ndarray) -> str:
    """Return the dtype in which Keras takes an array: its float, whole numbers, strings."""
    if array.dtype.kind in "US":
        return "string"
    if array.dtype.kind == "b":
        return "bool"
    return "int64" if array.dtype.kind in "iu" else keras.config.floatx()


def _symbol(each: Input) -> Any:
    return keras.Input(each.shape, dtype=each.dtype, name=each.name)
