"""Keras callbacks in a run whose loop is the pipeline's."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from batchloom.errors import CheckpointError, ModelConfigError
from batchloom.plain import is_plain
from batchloom_tf.library import keras
from batchloom_tf.outputs import scalar

_OF_THE_RUN = ("_model", "params")
_COMPARISONS = ("less", "greater")
_OF_BATCHES = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


class Callbacks:
    """Calls callbacks where `fit` would: at the ends of batches, epochs and the run.

    They are called one after the other in the training thread. The logs of a batch are its own
    values; those of an epoch are their means over its batches, weighted by rows.

    Parameters
    ----------
    given : iterable of keras.callbacks.Callback
    copied : bool
        Whether each is copied, so that two pipelines do not share its state.
    sees_batches : bool
        Whether the network is between two batches when they are called for one: not if several are
        trained on in one call.

    Raises
    ------
    ModelConfigError
        If one is no callback, or looks at batches where it would see another batch's weights.
    """

    def __init__(self, given: Iterable[Any], copied: bool, sees_batches: bool = True) -> None:
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ModelConfigError(
                f"config['callbacks'] is {given!r}: give a list, also of a single callback"
            )
        self.callbacks = [copy.deepcopy(each) if copied else each for each in given]
        for each in self.callbacks:
            if not isinstance(each, keras.callbacks.Callback):
                raise ModelConfigError(
                    f"config['callbacks'] has {each!r}, which is no keras.callbacks.Callback"
                )
        if not sees_batches:
            self._refuse_observers_of_batches()
        self._made_with = [dict(vars(each)) for each in self.callbacks]
        self._network: Any = None
        self._n_epochs: int | None = None
        self._reset()

    def begin_run(self, n_epochs: int | None) -> None:
        """Expect a run; for the callbacks it begins with its first batch."""
        self._n_epochs = n_epochs
        self._network = None

    def begin_batch(self, network: Any) -> None:
        """Announce a batch, and the epoch and the run if it is their first."""
        if self._network is None:
            self._begin(network)
        if self._batch == 0:
            self._call("on_epoch_begin", self._epoch)
        self._call("on_train_batch_begin", self._batch)

    def end_batch(self, values: Mapping[str, Any], rows: int) -> bool:
        """Hand out a batch's loss and metrics; return whether one asks for the end of training."""
        logs = {name: scalar(value) for name, value in values.items()}
        for name, value in logs.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * rows
        self._rows += rows
        self._call("on_train_batch_end", self._batch, logs)
        self._batch += 1
        return self._stops()

    def end_batches(self, values: Iterable[tuple[Mapping[str, Any], int]]) -> bool:
        """Hand out the loss and metrics of several batches, each with its rows; the first has begun."""
        stops = False
        for number, each in enumerate(values):
            if number:
                self.begin_batch(self._network)
            stops |= self.end_batch(*each)
        return stops

    def end_epoch(self, epoch: int, last: bool) -> bool:
        """Hand out an epoch's means; return whether one asks for the end of training."""
        if self._network is None:
            return False
        logs = {name: value / self._rows for name, value in self._sums.items()}
        self._call("on_epoch_end", epoch, logs)
        stops = self._stops()
        self._reset(epoch + 1)
        if last or stops:
            finish(self._network)
            self._call("on_train_end")
            self._network = None
        return stops

    def abandon(self) -> None:
        """Forget a run that ended early."""
        self._network = None
        self._reset()

    def state(self) -> dict[str, Any]:
        """Return where the callbacks have come to, as plain data.

        Raises
        ------
        CheckpointError
            If one of the user's own keeps what is no plain data, and has no ``get_state()``.
        """
        return {
            "begun": self._network is not None,
            "place": (self._epoch, self._batch, self._rows, self._sums),
            "stops": self._network is not None and self._stops(),
            "callbacks": list(map(_state_of, self.callbacks, self._made_with)),
        }

    def restore(self, network: Any, kept: Mapping[str, Any]) -> None:
        """Go on with what `state` gave; ``on_train_begin`` is called before."""
        if not kept["begun"]:
            return
        self._begin(network)
        self._epoch, self._batch, self._rows, sums = kept["place"]
        self._sums |= sums
        network.stop_training = kept["stops"]
        for each, state in zip(self.callbacks, kept["callbacks"], strict=True):
            _restore(each, state)

    def _refuse_observers_of_batches(self) -> None:
        for each in self.callbacks:
            if _observes_batches(each):
                raise ModelConfigError(
                    f"the callback {type(each).__qualname__} acts on every batch, and with steps_per_call "
                    "several are trained on before it is called: leave out steps_per_call, or let it act "
                    "on epochs"
                )

    def _begin(self, network: Any) -> None:
        self._network = network
        network.stop_training = False
        self._reset()
        for each in self.callbacks:
            each.set_params({"epochs": self._n_epochs, "steps": None, "verbose": 0})
            each.set_model(network)
        self._call("on_train_begin")

    def _call(self, method: str, *args: Any) -> None:
        for each in self.callbacks:
            getattr(each, method)(*args)

    def _stops(self) -> bool:
        return bool(self._network.stop_training)

    def _reset(self, epoch: int = 0) -> None:
        self._epoch, self._batch, self._rows = epoch, 0, 0
        self._sums: dict[str, float] = {}


def finish(network: Any) -> None:
    """Do what `fit` does after its last epoch: put averages of the weights in their place (``use_ema``)."""
    if network is not None and network.compiled and network.optimizer is not None:
        network.optimizer.finalize_variable_values(network.trainable_weights)


def _state_of(callback: Any, made_with: Mapping[str, Any]) -> Any:
    if hasattr(callback, "get_state"):
        return callback.get_state()
    own = {key: each for key, each in vars(callback).items() if key not in _OF_THE_RUN}
    kept = {key: each for key, each in own.items() if is_plain(each)}
    if _is_keras_own(callback):
        # Chosen at the first epoch, when the best value so far is forgotten as well.
        name = getattr(own.get("monitor_op"), "__name__", None)
        return kept | ({"monitor_op": name} if name in _COMPARISONS else {})
    for key in own.keys() - kept.keys():
        # The definition makes a function again, if it is the one it made.
        if not callable(own[key]) or own[key] is not made_with.get(key):
            raise _cannot_keep(callback, key)
    return kept


def _restore(callback: Any, state: Any) -> None:
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    given = dict(state)
    if _is_keras_own(callback) and given.get("monitor_op") in _COMPARISONS:
        given["monitor_op"] = getattr(keras.ops, given["monitor_op"])
    vars(callback).update(given)


def _observes_batches(callback: Any) -> bool:
    if _is_keras_own(callback):
        # They read logs, unless a moment was set for them, or functions given.
        return isinstance(getattr(callback, "save_freq", None), int) or any(
            name in vars(callback) for name in _OF_BATCHES
        )
    of_all = keras.callbacks.Callback
    return any(getattr(type(callback), name) is not getattr(of_all, name) for name in _OF_BATCHES)


def _is_keras_own(callback: Any) -> bool:
    return type(callback).__module__.startswith("keras.")


def _cannot_keep(callback: Any, key: str) -> CheckpointError:
    title, value = type(callback).__qualname__, vars(callback)[key]
    return CheckpointError(
        f"the callback {title} keeps {key!r}, a {type(value).__qualname__}, which a checkpoint cannot "
        f"hold. Give {title} the methods get_state(), which returns plain data, and set_state(state)"
    )
