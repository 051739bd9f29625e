"""The compiled steps of one network: one for each signature, the number of rows left open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchloom.errors import ModelConfigError, ModelInputError, UnknownNameError
from batchloom_tf.arrays import check_rows
from batchloom_tf.classes import derived_outputs
from batchloom_tf.feeding import Feed
from batchloom_tf.graph import Values, Wanted, compile_function, forward_pass, update
from batchloom_tf.library import keras, tf
from batchloom_tf.losses import losses_by_output
from batchloom_tf.outputs import readable
from batchloom_tf.signature import Signature, is_symbolic
from batchloom_tf.targets import Targets

#: What training gives out besides metrics and layers.
TRAIN = ("loss", "predictions", "learning_rate", "iterations", "grad_norm")


class Steps:
    """Train and predict functions of a network, compiled at the first call of each signature.

    A signature is the shapes and dtypes of targets and weights (the network fixes those of its
    inputs) and the names asked for: what nobody asks for is not computed.

    Parameters
    ----------
    network : keras.Model
        Built, and compiled if it is to be trained.
    signature : Signature
        Its inputs and outputs.
    check_finite : bool
        Refuse NaN and infinity.

    Attributes
    ----------
    traces : int
        How often a step was traced. A second batch of another length adds none.
    """

    def __init__(self, network: Any, signature: Signature, check_finite: bool = True) -> None:
        self.network = network
        self.signature = signature
        self.check_finite = check_finite
        self.targets = Targets(signature, getattr(network, "loss", None))
        self.traces = 0
        self._jit = network.compiled and bool(network.jit_compile)
        self._compiled: dict[Any, Callable[..., Values]] = {}
        self._metrics: dict[Any, tuple[str, ...]] = {}
        self._lock = threading.RLock()

    def train(self, feed: Feed, names: tuple[str, ...], with_logs: bool = False) -> Values:
        """Update the weights with one batch.

        Parameters
        ----------
        feed : Feed
            Checked before anything changes.
        names : tuple of str
            The values asked for; they are those before the update.
        with_logs : bool
            Add the loss and all metrics as ``"logs"``, for callbacks.

        Returns
        -------
        dict of str to tensor

        Raises
        ------
        ModelInputError, UnknownNameError
            If data or a name is refused; nothing has changed then.
        """
        x = self.signature.arrays(feed.x, self.check_finite)
        y = self.targets.arrays(feed.y, self.check_finite)
        weights = self.targets.weights(feed.sample_weight, self.check_finite)
        if not check_rows(_rows(x, y, weights)):
            raise ModelInputError("x has no rows: there is nothing to learn from")
        specs = self._target_specs(y), tuple(((None, *w.shape[1:]), str(w.dtype)) for w in weights)
        key = (*specs, names, with_logs)
        step = self._compiled.get(key) or self._compile(key, lambda: self._train_step(*key))
        return step(*map(tf.constant, (*x, *y, *weights)))

    def predict(self, feed: Feed, names: tuple[str, ...]) -> Values:
        """Run the network forward; safe in several threads."""
        x = self.signature.arrays(feed.x, self.check_finite)
        check_rows(_rows(x))
        step = self._compiled.get(names) or self._compile(names, lambda: self._predict_step(names))
        return step(*map(tf.constant, x))

    def metric_names(self, y: Any, weights: Any) -> tuple[str, ...]:
        """List the compiled metrics, and each output's loss where there are several.

        Keras names them when they first see data: here by a trace that is never run.
        """
        key = y, weights
        if key not in self._metrics:
            found = tf.function(self._metric_results).get_concrete_function(
                self.targets.pack([_spec(each) for each in y]),
                keras.tree.map_structure(
                    lambda t: _spec((t.shape, t.dtype)), self.signature.output
                ),
                self.targets.pack([_spec(each) for each in weights]),
            )
            self._metrics[key] = tuple(n for n in found.structured_outputs if n != "loss")
        return self._metrics[key]

    def layer_names(self) -> tuple[str, ...]:
        """List the layers whose outputs can be asked for by name."""
        if not is_symbolic(self.network) or not _is_keras_own(self.network.call):
            return ()
        return tuple(layer.name for layer in self.network.layers if _has_output(layer))

    def _metric_results(self, y: Any, predictions: Any, weights: Any) -> Values:
        if self.network.loss is not None:  # with several outputs it makes metrics of their losses
            self.network.compute_loss(None, y, predictions, weights)
        return self.network.compute_metrics(None, y, predictions, weights)

    def _target_specs(self, y: Sequence[Any]) -> tuple[Any, ...]:
        pairs = zip(self.targets.targets.values(), y, strict=False)
        return tuple(((None, *t.open_shape(array)), str(array.dtype)) for t, array in pairs)

    def _compile(
        self, key: Any, make: Callable[[], Callable[..., Values]]
    ) -> Callable[..., Values]:
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = make()
            return self._compiled[key]

    def _predict_step(self, names: tuple[str, ...]) -> Callable[..., Values]:
        loss = losses_by_output(getattr(self.network, "loss", None), [""])[0]
        derived = derived_outputs(list(self.signature.outputs.values()), loss)
        layers = self._check(names, ("predictions", *derived))
        forward = forward_pass(self.network, self.signature, layers)

        def step(*x: Any) -> Values:
            self.traces += 1
            predictions, values = forward(self.signature.pack(x), training=False)
            values["predictions"] = readable(predictions)
            for name in derived.keys() & set(names):
                values[name] = derived[name](values["predictions"])
            return {name: values[name] for name in names}

        return compile_function(step, [each.spec() for each in self.signature.inputs], self._jit)

    def _train_step(
        self, y: Any, weights: Any, names: tuple[str, ...], with_logs: bool
    ) -> Callable[..., Values]:
        self._check_trainable()
        unsettled = [name for name in names if name not in TRAIN]
        metrics = self.metric_names(y, weights) if unsettled or with_logs else ()
        layers = self._check(names, (*TRAIN, *metrics))
        forward = forward_pass(self.network, self.signature, layers)
        wanted = Wanted(frozenset(names), metrics, with_logs)
        ends = len(self.signature.inputs), len(self.signature.inputs) + len(y)

        def step(*flat: Any) -> Values:
            self.traces += 1
            batch = (
                self.signature.pack(flat[: ends[0]]),
                self.targets.pack(flat[ends[0] : ends[1]]),
                self.targets.pack(flat[ends[1] :]),
            )
            return update(self.network, batch, forward, wanted)

        specs = [each.spec() for each in self.signature.inputs] + list(map(_spec, (*y, *weights)))
        if not self.network.optimizer.built:  # one that scales losses would begin anew
            self.network.optimizer.build(self.network.trainable_variables)
        return compile_function(step, specs, self._jit)

    def _check(self, names: tuple[str, ...], known: Sequence[str]) -> list[str]:
        """Return the names that are layers; refuse those that are nothing."""
        others = [name for name in names if name not in known]
        layers = self.layer_names() if others else ()
        for name in others:
            if name not in layers:
                raise UnknownNameError("output", name, (*known, *layers), "of the network")
        return others

    def _check_trainable(self) -> None:
        network = self.network
        if not network.compiled:
            raise ModelConfigError(
                "the network cannot be trained without a loss: config={'loss': "
                "'sparse_categorical_crossentropy'} for labels 0, 1, 2, …, or 'mean_squared_error'"
            )
        if not _is_keras_own(network.train_step):
            raise ModelConfigError(
                f"{type(network).__qualname__} overrides train_step(), which is not called here. "
                "Override compute_loss() and compute_metrics(), or derive from "
                "batchloom.models.BaseModel"
            )


def _rows(*groups: Sequence[Any]) -> Mapping[str, int]:
    names = ("x", "y", "sample_weight")
    counted = {}
    for name, group in zip(names, groups, strict=False):
        for position, array in enumerate(group):
            counted[f"{name}[{position}]" if len(group) > 1 else name] = len(array)
    return counted


def _spec(described: tuple[Any, Any]) -> Any:
    return tf.TensorSpec(*described)


def _has_output(layer: Any) -> bool:
    # Where a layer is called several times, Keras's `output` is that of the first call.
    try:
        return layer.output is not None
    except AttributeError:
        return False


def _is_keras_own(method: Any) -> bool:
    return method.__func__.__module__.startswith("keras.")
