"""What a compiled step computes: the forward pass, the loss, the update of the weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from batchloom_tf.library import keras, tf
from batchloom_tf.outputs import readable
from batchloom_tf.signature import Signature

Values = dict[str, Any]
Forward = Callable[..., tuple[Any, Values]]


@dataclass(frozen=True)
class Wanted:
    """What a train step gives out.

    Parameters
    ----------
    names : frozenset of str
        The values asked for.
    metrics : tuple of str
        The network's metrics, of which some may be asked for.
    logs : bool
        Give out the loss and all metrics as well, under ``"logs"``.
    """

    names: frozenset[str]
    metrics: tuple[str, ...]
    logs: bool

    @property
    def needs_metrics(self) -> bool:
        """Whether the metrics are computed at all; Keras computes all of them at once."""
        return self.logs or not self.names.isdisjoint(self.metrics)


def compile_function(
    step: Callable[..., Values], specs: Iterable[Any], jit: bool
) -> Callable[..., Values]:
    """Trace a step once, for the specs of its arguments."""
    return tf.function(step, jit_compile=jit or None).get_concrete_function(*specs)


def loop(step: Any, begun: Any) -> Callable[..., Values]:
    """Compile a loop in the graph over stacked batches, which calls a compiled step with each.

    Parameters
    ----------
    step : concrete function
        It may have been compiled by XLA; the loop is not.
    begun : tf.Variable
        Counts the batches that the loop has begun with, and one more when it is through.
    """
    outputs = step.structured_outputs

    def several(*stacks: Any) -> Values:
        count = tf.shape(stacks[0], tf.int64)[0]
        kept = [
            tf.TensorArray(each.dtype, tf.cast(count, tf.int32), element_shape=each.shape)
            for each in tf.nest.flatten(outputs)
        ]

        def body(number: Any, kept: Any) -> Any:
            with tf.control_dependencies([begun.assign_add(1)]):
                values = step(*(stack[number] for stack in stacks))
            place = tf.cast(number, tf.int32)
            flat = tf.nest.flatten(values)
            return number + 1, [a.write(place, v) for a, v in zip(kept, flat, strict=True)]

        first = tf.constant(0, tf.int64)
        _, kept = tf.while_loop(
            lambda number, _: number < count, body, (first, kept), parallel_iterations=1
        )
        begun.assign_add(1)
        return tf.nest.pack_sequence_as(outputs, [each.stack() for each in kept])

    single = step.structured_input_signature[0]
    specs = [tf.TensorSpec((None, *each.shape), each.dtype) for each in single]
    return tf.function(several, autograph=False).get_concrete_function(*specs)


def forward_pass(network: Any, signature: Signature, layers: Sequence[str]) -> Forward:
    """Return the forward pass, with the outputs of layers beside the predictions."""
    if not layers:
        return lambda x, training: (network(x, training=training), {})
    found = [network.get_layer(name).output for name in layers]
    # The same layers with more outputs: one pass, one draw of each dropout.
    wider = keras.Model(signature.structure, [signature.output, found])

    def forward(x: Any, training: bool) -> tuple[Any, Values]:
        predictions, values = wider(x, training=training)
        return predictions, dict(zip(layers, map(readable, values), strict=True))

    return forward


def update(network: Any, batch: tuple[Any, Any, Any], forward: Forward, wanted: Wanted) -> Values:
    """Make one step of gradient descent and return what is wanted, as it was before the step.

    Parameters
    ----------
    network : keras.Model
    batch : tuple
        Inputs, targets and weights, arranged as the network and its loss take them.
    forward : callable
        From `forward_pass`.
    wanted : Wanted
    """
    x, y, weights = batch
    if wanted.needs_metrics:
        network.reset_metrics()  # so that they are this batch's, and no running means
    with tf.GradientTape() as tape:
        predictions, values = forward(x, training=True)
        loss = _loss(network, x, y, predictions, weights)
        scaled = network.optimizer.scale_loss(loss)
    variables = network.trainable_variables
    gradients = tape.gradient(scaled, variables)
    metrics = {}
    if wanted.needs_metrics:
        metrics = network.compute_metrics(x, y, predictions, sample_weight=weights)
    values |= metrics | {"loss": loss, "predictions": predictions}
    values |= _of_optimizer(network.optimizer, gradients, wanted.names)
    network.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    found = {name: readable(values[name]) for name in wanted.names}
    if wanted.logs:
        found["logs"] = {name: readable(values[name]) for name in ("loss", *wanted.metrics)}
    return found


def _loss(network: Any, x: Any, y: Any, predictions: Any, weights: Any) -> Any:
    # Models written before Keras 3.3 override it without `training`.
    newer = "training" in inspect.signature(network.compute_loss).parameters
    return network.compute_loss(
        x=x, y=y, y_pred=predictions, sample_weight=weights, **({"training": True} if newer else {})
    )


def _of_optimizer(optimizer: Any, gradients: Sequence[Any], names: frozenset[str]) -> Values:
    values = {}
    if "learning_rate" in names:
        values["learning_rate"] = tf.convert_to_tensor(optimizer.learning_rate)
    if "iterations" in names:
        values["iterations"] = tf.convert_to_tensor(optimizer.iterations)
    if "grad_norm" in names:
        there = [each for each in gradients if each is not None]
        values["grad_norm"] = tf.linalg.global_norm(there) / optimizer.scale_loss(1.0)
    return values
