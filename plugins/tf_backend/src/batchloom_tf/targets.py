"""Targets and sample weights: their shapes and labels are checked before anything changes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchloom.errors import ModelInputError
from batchloom_tf.arrays import as_array, cast, check_finite, shape_text
from batchloom_tf.feeding import by_name, is_several
from batchloom_tf.library import keras
from batchloom_tf.losses import BINARY, ELEMENTWISE, ONE_HOT, SPARSE, Loss, losses_by_output
from batchloom_tf.signature import Signature, dtype_like, fits


@dataclass(frozen=True)
class Target:
    """The target of one output.

    Parameters
    ----------
    argument : str
        How an error calls it: ``"y"`` or ``"y['digit']"``.
    shape : tuple of int or None
        Of the predictions, without the rows.
    loss : Loss
    """

    argument: str
    shape: tuple[int | None, ...]
    loss: Loss

    def array(self, value: Any, finite: bool) -> np.ndarray:
        """Return the target as an array that the loss can take.

        Raises
        ------
        ModelInputError
            If it has another shape than the loss needs, or a label out of range.
        """
        array = as_array(value, self.argument)
        if array.dtype.kind in "US":
            raise ModelInputError(
                f"{self.argument} has strings such as {str(array.flat[0])!r}: encode them as 0, 1, 2, …"
            )
        array = cast(array, dtype_like(array), self.argument)
        self._check_shape(array)
        self.check_values(array, finite)
        return array

    def check_values(self, array: np.ndarray, finite: bool) -> None:
        """Refuse what no array of a dtype and shape that suit may hold.

        Raises
        ------
        ModelInputError
            For NaN and infinity, if that is asked for, and for a label out of range.
        """
        if finite:
            check_finite(array, self.argument)
        self._check_labels(array)

    def open_shape(self, array: np.ndarray) -> tuple[int | None, ...]:
        """The shape that the step is compiled for: sizes that the network leaves open stay open."""
        if None in self.shape:
            return (None,) * (array.ndim - 1)
        return array.shape[1:]

    def _check_shape(self, array: np.ndarray) -> None:
        if self.loss.name == SPARSE:
            expected = self.shape[:-1]
        elif self.loss.name in ELEMENTWISE:
            expected = self.shape
        else:
            return
        if _suits(array.shape[1:], expected):
            return
        raise ModelInputError(
            f"{self.argument}: expected shape {shape_text(expected)} for the loss "
            f"{self.loss.name!r}, found {array.shape}" + self._advice(array)
        )

    def _advice(self, array: np.ndarray) -> str:
        if self.loss.name in ONE_HOT and array.dtype.kind in "iu":
            return f". For labels that are numbers of classes the loss is {SPARSE!r}"
        if self.loss.name == SPARSE and array.shape[1:] == self.shape:
            return ". For one-hot labels the loss is 'categorical_crossentropy'"
        return ""

    def _check_labels(self, array: np.ndarray) -> None:
        high = self._highest_label
        if high is None or not array.size:
            return
        if not _is_label(array, high):
            self._refuse(array, high)
        if array.dtype.kind == "f" and self.loss.name == SPARSE:
            self._refuse_fractions(array)

    @functools.cached_property
    def _highest_label(self) -> int | None:
        if self.loss.name in BINARY:
            return 1
        classes = self.shape[-1] if self.loss.name == SPARSE and self.shape else None
        return None if classes is None else classes - 1

    def _refuse_fractions(self, array: np.ndarray) -> None:
        wrong = array[array != np.floor(array)]
        if wrong.size:
            raise ModelInputError(f"{self.argument} has {wrong[0]}, which is no number of a class")

    def _refuse(self, array: np.ndarray, high: int) -> None:
        wrong = (array < 0) | (array > high)
        ignored = self.loss.options.get("ignore_class")
        if ignored is not None:
            wrong &= array != ignored
        if wrong.any():
            row = int(np.argwhere(wrong)[0][0])
            raise ModelInputError(
                f"{self.argument} has the label {array[wrong].flat[0]} in row {row}; the loss "
                f"{self.loss.name!r} takes 0 to {high} here. Encode the labels, or give the "
                "network more classes"
            )


class Targets:
    """The targets of a network, in the order of its outputs.

    Parameters
    ----------
    signature : Signature
    loss : Any
        What `compile` was given: one loss, or several in a dict or list.
    """

    def __init__(self, signature: Signature, loss: Any) -> None:
        names = list(signature.outputs)
        self.structure = signature.output
        self.targets = {
            name: Target(
                "y" if len(names) == 1 else f"y[{name!r}]",
                tuple(signature.outputs[name].shape[1:]),
                each,
            )
            for name, each in zip(names, losses_by_output(loss, names), strict=True)
        }

    def arrays(self, y: Any, finite: bool) -> list[np.ndarray]:
        """Return one array for each output; none where there is no target."""
        if y is None:
            return self._none()
        values = self._values(y, "y")
        pairs = zip(self.targets.values(), values, strict=True)
        return [target.array(value, finite) for target, value in pairs]

    def weights(self, sample_weight: Any, finite: bool) -> list[np.ndarray]:
        """Return the weights: one array, or one for each output."""
        if sample_weight is None:
            return []
        by_output = len(self.targets) > 1 and (
            isinstance(sample_weight, Mapping) or is_several(sample_weight)
        )
        values = self._values(sample_weight, "sample_weight") if by_output else [sample_weight]
        return [_weight(value, finite) for value in values]

    def pack(self, tensors: Sequence[Any]) -> Any:
        """Arrange targets (or weights) as the network arranges its outputs."""
        if not tensors:
            return None
        if len(tensors) < len(self.targets):
            return tensors[0]
        return keras.tree.pack_sequence_as(self.structure, list(tensors))

    def _none(self) -> list[np.ndarray]:
        needing = [each.argument for each in self.targets.values() if each.loss.is_given]
        if needing:
            raise ModelInputError(
                f"{needing[0]} is missing: the loss cannot be computed without it"
            )
        return []

    def _values(self, given: Any, argument: str) -> list[Any]:
        names = list(self.targets)
        if isinstance(given, Mapping):
            return by_name(given, argument, "output", names)
        if len(names) == 1:
            return [given]
        if is_several(given) and len(given) == len(names):
            return list(given)
        raise ModelInputError(
            f"the network has {len(names)} outputs: {argument} must be a dict of {names}"
        )


@functools.lru_cache
def _suits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Tell whether targets of a shape are as expected, but for a last axis of size one."""
    shapes = [found, (*found, 1), *([found[:-1]] if found[-1:] == (1,) else [])]
    return any(fits(shape, expected) for shape in shapes)


def _is_label(array: np.ndarray, high: int) -> bool:
    """Tell whether all values are from 0 to the highest label."""
    if array.dtype == np.int64:
        # One look is enough: without a sign, what is below zero is above all labels.
        return 0 <= array.item(array.view(np.uint64).argmax()) <= high
    return bool(array.min() >= 0 and array.max() <= high)


def _weight(value: Any, finite: bool) -> np.ndarray:
    array = cast(as_array(value, "sample_weight"), keras.config.floatx(), "sample_weight")
    if finite:
        check_finite(array, "sample_weight")
    return array
