"""The compiled steps of one network: one for each signature, the number of rows left open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from batchloom.errors import ModelConfigError, ModelInputError, UnknownNameError
from batchloom_tf.arrays import check_finite, check_rows
from batchloom_tf.classes import derived_outputs
from batchloom_tf.feeding import Feed
from batchloom_tf.graph import Values, Wanted, compile_function, forward_pass, loop, update
from batchloom_tf.library import keras, tf
from batchloom_tf.losses import losses_by_output
from batchloom_tf.networks import states_of
from batchloom_tf.outputs import readable, to_numpy
from batchloom_tf.signature import Signature, is_symbolic
from batchloom_tf.targets import Targets
from batchloom_tf.tensors import own_tensor, tensor

#: What training gives out besides metrics and layers.
TRAIN = ("loss", "predictions", "learning_rate", "iterations", "grad_norm")


class Checked(NamedTuple):
    """A batch that passed the checks.

    Parameters
    ----------
    key : hashable
        The signature that its step is compiled for.
    arrays : tuple of ndarray
        Inputs, targets and weights.
    """

    key: Any
    arrays: tuple[np.ndarray, ...]


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
    learned : int
        How many batches were learned from in the last call of `train_several`, if it failed: those before
        the one that failed, or all of them if it was not their training.
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
        self._taken_as_they_are: dict[Any, Any] = {}
        self._lock = threading.RLock()
        # It only grows: setting it back would take a call of its own, as long as a batch's Python.
        self._begun = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._begun_before = 0
        self.learned = 0
        self._states = states_of(network)

    def check(self, feed: Feed, names: tuple[str, ...], with_logs: bool = False) -> Checked:
        """Make a batch ready for training, and compile its step if it is the first of its kind.

        Parameters
        ----------
        feed : Feed
        names : tuple of str
            The values asked for; they are those before the update.
        with_logs : bool
            Add the loss and all metrics as ``"logs"``, for callbacks.

        Raises
        ------
        ModelInputError, UnknownNameError
            If data or a name is refused.
        """
        form = _form(feed, names, with_logs)
        known = self._taken_as_they_are.get(form)
        if known is not None and len(feed.x) == len(feed.y):
            key, argument, target = known
            if self.check_finite:
                check_finite(feed.x, argument)
            target.check_values(feed.y, self.check_finite)
            return Checked(key, (feed.x, feed.y))
        self._check_trainable()  # first: what the data should be like depends on it
        x = self.signature.arrays(feed.x, self.check_finite)
        y = self.targets.arrays(feed.y, self.check_finite)
        weights = self.targets.weights(feed.sample_weight, self.check_finite)
        rows = check_rows(_rows(x, y, weights))
        if not rows:
            raise ModelInputError("x has no rows: there is nothing to learn from")
        self._check_fixed_rows(rows)
        specs = self._target_specs(y), tuple(((None, *w.shape[1:]), w.dtype) for w in weights)
        key = (*specs, names, with_logs)
        self._step(key)
        if form is not None and not self._states and x[0] is feed.x and y[0] is feed.y:
            (taken,), (target,) = self.signature.inputs, self.targets.targets.values()
            self._taken_as_they_are[form] = key, taken.argument, target
        return Checked(key, (*x, *y, *weights))

    def train(self, batch: Checked) -> Values:
        """Update the weights with one batch.

        Returns
        -------
        dict of str to tensor
        """
        return self._step(batch.key)(*map(tensor, batch.arrays))

    def train_several(self, key: Any, stacks: Sequence[np.ndarray]) -> list[Values]:
        """Update the weights with several batches of one kind, one after the other in one call.

        The step is the same that `train` calls, so the weights come out the same to the bit.

        Parameters
        ----------
        key : Any
            The batches' own.
        stacks : sequence of ndarray, shape (batches, rows, ...)
            Nobody may write into them afterwards.

        Returns
        -------
        list of dict of str to array
            For each batch.
        """
        count = len(stacks[0])
        self.learned = 0
        if count == 1:
            return [self._step(key)(*(own_tensor(stack[0]) for stack in stacks))]
        try:
            values = self.several(key)(*map(own_tensor, stacks))
            values = to_numpy(values) if values else values
        except BaseException:
            begun = int(self._begun)
            self.learned = max(begun - self._begun_before - 1, 0)
            self._begun_before = begun
            raise
        self._begun_before += count + 1
        if not values:
            return [{} for _ in range(count)]
        parts = {name: _parts(each, count) for name, each in values.items()}
        return [{name: each[number] for name, each in parts.items()} for number in range(count)]

    def several(self, key: Any) -> Callable[..., Values]:
        """Return the compiled loop over batches of one kind."""
        name = "several", key
        return self._compiled.get(name) or self._compile(
            name, lambda: loop(self._step(key), self._begun)
        )

    def predict(self, feed: Feed, names: tuple[str, ...]) -> Values:
        """Run the network forward; safe in several threads."""
        x = self.signature.arrays(feed.x, self.check_finite)
        self._check_fixed_rows(check_rows(_rows(x)))
        step = self._compiled.get(names) or self._compile(names, lambda: self._predict_step(names))
        if not self._states:
            return step(*map(tensor, x))
        with self._lock:  # predicting goes on from where training is, and leaves it there
            before = [each.numpy() for each in self._states]
            values = step(*map(tensor, x))
            for state, value in zip(self._states, before, strict=True):
                state.assign(value)
        return values

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

    def _check_fixed_rows(self, rows: int) -> None:
        for state in self._states:
            if state.shape[0] != rows:
                raise ModelInputError(
                    f"x has {rows} rows, and the network keeps states of {state.shape[0]} sequences "
                    "from batch to batch (stateful=True): drop_last=True leaves out a short last batch"
                )

    def _step(self, key: Any) -> Any:
        return self._compiled.get(key) or self._compile(key, lambda: self._train_step(*key))

    def _metric_results(self, y: Any, predictions: Any, weights: Any) -> Values:
        if self.network.loss is not None:  # with several outputs it makes metrics of their losses
            self.network.compute_loss(None, y, predictions, weights)
        return self.network.compute_metrics(None, y, predictions, weights)

    def _target_specs(self, y: Sequence[Any]) -> tuple[Any, ...]:
        pairs = zip(self.targets.targets.values(), y, strict=False)
        return tuple(((None, *t.open_shape(array)), array.dtype) for t, array in pairs)

    def _compile(
        self, key: Any, make: Callable[[], Callable[..., Values]]
    ) -> Callable[..., Values]:
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = make()
            return self._compiled[key]

    def _predict_step(self, names: tuple[str, ...]) -> Callable[..., Values]:
        if not _is_keras_own(self.network.predict_step):
            raise ModelConfigError(
                f"{type(self.network).__qualname__} overrides predict_step(), which is not called here. Put "
                "what it does into call(), or derive from batchloom.models.BaseModel"
            )
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


def _form(feed: Feed, names: tuple[str, ...], with_logs: bool) -> Any:
    """Return what tells a batch's kind sooner than its key; None unless it is two plain arrays with rows.

    Where such arrays were taken as they are, neither cast nor reshaped, others of their form are, too.
    """
    x, y, weights = feed
    if type(x) is not np.ndarray or type(y) is not np.ndarray or weights is not None:
        return None
    if not (x.ndim and y.ndim and len(x)):
        return None
    return x.dtype, x.shape[1:], y.dtype, y.shape[1:], names, with_logs


def _rows(*groups: Sequence[Any]) -> Mapping[str, int]:
    names = ("x", "y", "sample_weight")
    counted = {}
    for name, group in zip(names, groups, strict=False):
        for position, array in enumerate(group):
            counted[f"{name}[{position}]" if len(group) > 1 else name] = len(array)
    return counted


def _parts(value: Any, count: int) -> list[Any]:
    # Copied: a small part would keep the whole in memory.
    if isinstance(value, np.ndarray):
        return [copy(each) for each in value]
    tree = keras.tree.map_structure
    return [tree(lambda each, at=at: copy(each[at]), value) for at in range(count)]


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
