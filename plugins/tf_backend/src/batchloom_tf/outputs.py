"""`output` and `fetches`: the names asked for, and results in the structure they were asked in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchloom.errors import ModelInputError
from batchloom_tf.library import keras, tf


@dataclass(frozen=True)
class Request:
    """The outputs that a call asks for.

    Parameters
    ----------
    structure : None, str, list, tuple or dict
        As the user gave it.
    names : tuple of str
        Each name once, in order.
    """

    structure: Any
    names: tuple[str, ...]

    @classmethod
    def of(cls, output: Any, fetches: Any, default: str | None = None) -> Request:
        """Read the arguments `output` and `fetches`, of which one may be given.

        Raises
        ------
        ModelInputError
            If both are given, or one is no name and no list, tuple or dict of names.
        """
        if output is not None and fetches is not None:
            raise ModelInputError("output and fetches mean the same: give one of them")
        structure = output if output is not None else fetches
        if structure is None:
            structure = default
        if structure is None:
            return NOTHING
        if isinstance(structure, str):
            return cls(structure, (structure,))
        names = list(structure.values()) if isinstance(structure, Mapping) else structure
        if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
            raise ModelInputError(
                f"output must be a name or a list, tuple or dict of names, not {structure!r}"
            )
        return cls(structure, tuple(dict.fromkeys(names)))

    def fill(self, values: Mapping[str, Any]) -> Any:
        """Put the values into the structure; this is where they are read back from the device."""
        if self.structure is None:
            return None
        found = {name: to_numpy(values[name]) for name in self.names}
        if isinstance(self.structure, str):
            return found[self.structure]
        if isinstance(self.structure, Mapping):
            return {key: found[name] for key, name in self.structure.items()}
        return type(self.structure)(found[name] for name in self.structure)


NOTHING = Request(None, ())


def to_numpy(value: Any) -> Any:
    """Return tensors as arrays, in the structure in which they are."""
    return keras.tree.map_structure(_array, value)


def _array(value: Any) -> Any:
    return value.numpy() if tf.is_tensor(value) else value


def readable(value: Any) -> Any:
    """Cast half precision to Keras's float, inside the step: NumPy knows no bfloat16."""

    def one(each: Any) -> Any:
        half = each.dtype in (tf.float16, tf.bfloat16)
        return tf.cast(each, keras.config.floatx()) if half else tf.convert_to_tensor(each)

    return keras.tree.map_structure(one, value)


def scalar(value: Any) -> float:
    """Return a metric's value as a float, for callbacks; a vector's mean."""
    return float(np.mean(to_numpy(value)))
