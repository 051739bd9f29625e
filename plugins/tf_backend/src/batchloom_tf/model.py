"""The model classes: `tf/Model`, `tf/Sequential`, and one for each architecture."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from batchloom.errors import ModelConfigError, ModelNotBuiltError, nearest
from batchloom.models import BaseModel, LateOutput, RunInfo
from batchloom.plain import read_plain, write_plain
from batchloom_tf import chains, files, networks
from batchloom_tf import config as keys
from batchloom_tf.callbacks import Callbacks, finish
from batchloom_tf.checkpoints import numbers_of, restore_numbers
from batchloom_tf.compiling import compile_network, options
from batchloom_tf.facts import Facts, NotYetKnownError
from batchloom_tf.feeding import Feed, bind, first_row, shapes_of
from batchloom_tf.graph import Values
from batchloom_tf.library import keras
from batchloom_tf.outputs import Request
from batchloom_tf.settings import WithDtypePolicy, seed_of_name, seeded
from batchloom_tf.signature import Signature
from batchloom_tf.steps import Checked, Steps
from batchloom_tf.waiting import Entry, Waiting

if TYPE_CHECKING:
    from batchloom.batch import Batch


class KerasModel(BaseModel):
    """What all models of this package have in common; derived classes make the network.

    Training takes ``x=``, ``y=``, ``sample_weight=`` or ``feed_dict=``, and gives out what
    ``output=`` (or ``fetches=``) asks for; predicting takes ``x=`` or ``feed_dict=``.
    """

    data_args = ("x", "y", "sample_weight", "feed_dict")
    literal_args = ("output", "fetches")
    predict_is_thread_safe: bool = True
    may_stop_training = True
    load_needs_build = False
    library = "keras"
    network_keys: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        keys.check_keys(self.config, self.describe_config())
        self._network: Any = None
        self._steps: Steps | None = None
        self._run: RunInfo | None = None
        self._is_dynamic = self._is_loaded = self._is_prepared = False
        self._shown: Feed | None = None
        self._making = threading.RLock()
        self._callbacks: Callbacks | None = None
        self._waiting = Waiting(keys.steps_per_call(self.config))
        self._has_failed = False  # since it was last given a batch

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"model {self.name!r} cannot be copied or pickled, nor can a pipeline that has made it: a part "
            "of it belongs to TensorFlow. Save it, save_model(...), and load it where it is wanted, "
            'config={"load": True, "path": ...}'
        )

    @classmethod
    def _check_config(cls, config: Mapping[str, Any]) -> None:
        keys.check_keys(config, cls.describe_config())
        keys.steps_per_call(config)
        options(config)

    @classmethod
    def describe_config(cls) -> dict[str, str]:
        """Say what each key of the config means."""
        return {**cls.network_keys, **keys.COMPILE, **keys.RUNNING}

    @property
    def network(self) -> Any:
        """The keras.Model.

        Raises
        ------
        ModelNotBuiltError
            If it is made from the first batch, and there has been none.
        """
        if len(self._waiting):
            self._finish()
        if self._network is None:
            raise ModelNotBuiltError(
                f"the network of {self.name!r} is made from its first batch, which is yet to come. "
                "With config['input_shape'] and config['classes'] it is made at once"
            )
        return self._network

    def compile(self, **config: Any) -> None:
        """Compile the network again: after layers were frozen or released, or for another loss.

        The optimizer and its state stay, unless one is stated.

        Parameters
        ----------
        **config
            ``loss``, ``optimizer``, ``learning_rate``, ``metrics``, …, as in the config.

        Raises
        ------
        ModelNotBuiltError
            If there is no network yet.
        ModelConfigError
            For an unknown key or name.
        """
        keys.check_keys(config, keys.COMPILE)
        network = self.network
        with self._making:
            compile_network(network, config)
            self._steps = None

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write a SavedModel for serving, which takes any number of rows.

        It is a program that TensorFlow runs, so it is never loaded here: `save` is for that.

        Parameters
        ----------
        path : str or path
            A directory that does not exist yet.

        Raises
        ------
        ModelNotBuiltError
            If there is no network yet.
        FileExistsError
            If there is something at `path`.
        """
        if os.path.lexists(path):
            raise FileExistsError(f"{os.fspath(path)!r} exists: export() overwrites nothing")
        self.network.export(os.fspath(path), format="tf_saved_model", verbose=False)

    def _make_network(self, facts: Facts) -> Any:
        raise NotImplementedError

    def _build(self, *args: Any, pipeline: Any = None, batch: Any = None, **kwargs: Any) -> None:
        self._train_waiting()
        self._is_dynamic, self._is_loaded = batch is not None, False
        self._network = self._steps = None
        self._prepare()
        with contextlib.suppress(NotYetKnownError):
            self._network = self._made(Facts(self.config))

    def _load(self, path: Path, *, compile: bool = True, **kwargs: Any) -> None:
        """Read the network; with ``compile=False`` it is compiled from the config instead."""
        self._train_waiting()
        self._is_dynamic = True  # it may be: what the config holds is not shared then
        self._prepare()
        self._network = files.load(path, compile)
        self._steps, self._is_loaded = None, True
        if not self._network.compiled:
            compile_network(self._network, self.config)

    def _save(self, path: Path, **kwargs: Any) -> None:
        files.save(self.network, path)

    def _train(
        self,
        x: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        output: Any = None,
        fetches: Any = None,
        feed_dict: Mapping[str, Any] | None = None,
        batch: Batch | None = None,
        **unknown: Any,
    ) -> Any:
        feed = Feed(x, y, sample_weight)
        if x is None or feed_dict or unknown:
            feed = bind(feed._asdict(), feed_dict, unknown, self._input_names())
        request = Request.of(output, fetches)
        self._has_failed = False
        checked = self._ready(feed).check(feed, request.names, self._callbacks is not None)
        rows = len(checked.arrays[0])
        if self._waiting.most > 1:
            return self._train_later(checked, request, rows, batch)
        return request.fill(self._train_now(checked, rows))

    def _train_now(self, batch: Checked, rows: int) -> Values:
        assert self._steps is not None
        if self._callbacks is None:
            return self._steps.train(batch)
        self._callbacks.begin_batch(self.network)
        values = self._steps.train(batch)
        self.stop_training |= self._callbacks.end_batch(values["logs"], rows)
        return values

    def _train_later(self, checked: Checked, request: Request, rows: int, batch: Any) -> Any:
        """Keep a batch until there are as many as are trained on in one call."""
        if not self._waiting.has_place_for(checked):
            self._train_waiting()
            assert self._steps is not None
            self._steps.several(checked.key)  # what cannot be compiled is refused with nothing lost
            self._waiting.make_place_for(checked)
        output = LateOutput(self._finish) if request.names else None
        named = None if batch is None else batch.stand_in()
        self._waiting.add(checked, Entry(request, output, rows, named))
        self.predict_is_thread_safe = False  # a prediction has to train first
        if self._waiting.is_full:
            self._train_waiting()
        return request.fill({}) if output is None else output

    def _train_waiting(self) -> None:
        """Train on the batches that wait; to be called under the lock."""
        if not len(self._waiting):
            return
        assert self._steps is not None
        if self._callbacks is not None:
            self._callbacks.begin_batch(self._network)
        try:
            done = self._waiting.train(self._steps)
        except Exception:
            self._has_failed = True
            raise
        finally:
            self.predict_is_thread_safe = not len(self._waiting)
        for entry, values in done:
            entry.give(values)
        if self._callbacks is not None:
            logs = [(values["logs"], entry.rows) for entry, values in done]
            self.stop_training |= self._callbacks.end_batches(logs)

    def _drop_waiting(self) -> None:
        self._waiting.drop()
        self.predict_is_thread_safe = True

    def _finish(self) -> None:
        """Train on the batches that wait, for somebody who asks from outside."""
        self._alone(self._train_waiting)

    def _predict(
        self,
        x: Any = None,
        output: Any = None,
        fetches: Any = None,
        feed_dict: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> Any:
        feed = bind({"x": x}, feed_dict, unknown, self._input_names())
        request = Request.of(output, fetches, default="predictions")
        if len(self._waiting) and self._live().lock.is_held_alone:
            self._train_waiting()
        return request.fill(self._ready(feed).predict(feed, request.names))

    def _begin_run(self, run: RunInfo) -> None:
        self._train_waiting()
        self._run = run
        if self._callbacks is not None:
            self._callbacks.begin_run(run.n_epochs)

    def _end_epoch(self, epoch: int, last: bool) -> None:
        self._train_waiting()
        if self._callbacks is not None:
            self.stop_training |= self._callbacks.end_epoch(epoch, last)
        elif last:
            finish(self._network)

    def _abandon_run(self) -> None:
        if self._has_failed:  # batch by batch, training would have ended there
            self._drop_waiting()
        self._train_waiting()
        if self._callbacks is not None:
            self._callbacks.abandon()

    def _save_checkpoint(self, path: Path) -> None:
        self._train_waiting()
        if self._is_loaded:  # the definition cannot make it again
            files.save(self.network, path)
        state = {
            "is_loaded": self._is_loaded,
            "shown": None if self._shown is None else self._shown._asdict(),
            "numbers": None if self._network is None else numbers_of(self._network),
            "callbacks": None if self._callbacks is None else self._callbacks.state(),
        }
        write_plain(state, path / "state", f"model {self.name!r}")

    def _load_checkpoint(self, path: Path, run: RunInfo | None) -> None:
        self._drop_waiting()
        state = read_plain(path / "state")
        if state["is_loaded"]:
            self._load(path)
        self._run = run
        if state["shown"] is not None:
            self._ready(Feed(**state["shown"]))
        if state["numbers"] is not None:
            restore_numbers(self.network, state["numbers"])
        if self._callbacks is not None:
            self._callbacks.begin_run(None if run is None else run.n_epochs)
            self._callbacks.restore(self._network, state["callbacks"])

    @classmethod
    def _capture_settings(cls) -> Callable[[], AbstractContextManager[Any]]:
        return functools.partial(WithDtypePolicy, keras.config.dtype_policy())

    def _describe(self) -> str:
        if self._network is None:
            return "made from the first batch"
        return f"{self._network.count_params():,} weights" if self._network.built else ""

    def _prepare(self) -> None:
        """Find what is wrong with the config before any data comes."""
        options(self.config)
        self._is_prepared = True
        given = self.config.get("callbacks")
        sees_batches = self._waiting.most == 1
        self._callbacks = Callbacks(given, self._is_dynamic, sees_batches) if given else None

    def _input_names(self) -> tuple[str, ...]:
        return self._steps.signature.names if self._steps is not None else ()

    def _ready(self, feed: Feed) -> Steps:
        """Return the compiled steps; the first call makes the network and them."""
        if self._steps is not None:
            return self._steps
        with self._making:
            if self._steps is None:
                self._steps = self._first_steps(feed)
            return self._steps

    def _first_steps(self, feed: Feed) -> Steps:
        if not self._is_prepared:
            raise ModelNotBuiltError(
                f"{self.name!r} was neither built nor loaded: build=False in its config"
            )
        if self._network is None:
            self._network = self._made(Facts(self.config, feed, self._run))
        with self._own_settings(stage=1):  # what is made only now must not repeat earlier draws
            network = _built(self._network, feed.x)
            signature = Signature(network, feed.x, self.config.get("input_shape"))
        self._shown = first_row(feed)
        return Steps(self._network, signature, bool(self.config.get("check_finite", True)))

    def _made(self, facts: Facts) -> Any:
        with self._own_settings():
            network = self._make_network(facts)
            compile_network(network, self.config)
        return network

    @contextlib.contextmanager
    def _own_settings(self, stage: int = 0) -> Iterator[None]:
        policy = self.config.get("dtype_policy")
        with (
            seeded(self._seed() + stage),
            WithDtypePolicy(policy) if policy else contextlib.nullcontext(),
        ):
            yield

    def _seed(self) -> int:
        given = self.config.get("seed")
        if given is not None:
            return int(given)
        if self._run is not None:
            return self._run.seed
        return self.seed if self.seed is not None else seed_of_name(self.name)


class Model(KerasModel):
    """A Keras model of the user's: an object, a function or class that makes one, or a config.

    A model object is used as it is by a static model, and copied (weights, loss, metrics and
    optimizer, without the optimizer's state) by a dynamic one. A function is called with
    ``input_shape`` and ``classes`` if it has such parameters, and with ``config["model_args"]``.
    """

    registered_name = "tf/Model"
    network_keys: ClassVar = {**keys.MODEL, **keys.SHAPES}

    def _make_network(self, facts: Facts) -> Any:
        if self.config.get("model") is None:
            raise ModelConfigError(
                "tf/Model needs config['model']: a keras.Model, or a function or config of one"
            )
        args = self.config.get("model_args", {})
        return networks.from_model(self.config["model"], args, facts, copied=self._is_dynamic)


class Sequential(KerasModel):
    """A chain of layers, from ``config["layers"]``."""

    registered_name = "tf/Sequential"
    network_keys: ClassVar = {**keys.LAYERS, **keys.SHAPES}

    def _make_network(self, facts: Facts) -> Any:
        if self.config.get("layers") is None:
            raise ModelConfigError("tf/Sequential needs config['layers'], a list of layers")
        return chains.sequential(self.config["layers"], facts)


class Architecture(KerasModel):
    """An architecture of `keras.applications`; no weights are downloaded unless asked for."""

    architecture: ClassVar[str]

    def _make_network(self, facts: Facts) -> Any:
        return networks.architecture(self.architecture, self.config, facts)


@functools.cache
def application(name: str) -> type[Architecture]:
    """Return the model class of an architecture.

    Parameters
    ----------
    name : str
        A function of `keras.applications`, such as ``"ResNet50"``.
    """
    described = {
        key: f"as in keras.applications.{name}; default {default!r}"
        for key, default in networks.architecture_arguments(name).items()
    }
    described["weights"] = "'imagenet' (downloads them) or a path to weights; default None"
    members = {
        "__doc__": f"{name} of `keras.applications`, without downloaded weights unless asked for.",
        "__module__": __name__,
        "registered_name": f"tf/{name}",
        "architecture": name,
        "network_keys": {**described, **keys.SHAPES},
    }
    return type(name, (Architecture,), members)


def __getattr__(name: str) -> type[Architecture]:
    # A class that is pickled by reference is found again.
    from batchloom_tf.architectures import ARCHITECTURES

    if name in ARCHITECTURES:
        return application(name)
    raise AttributeError(f"no model class {name!r}{nearest(name, ARCHITECTURES)}")


def _built(network: Any, x: Any) -> Any:
    """Return the network, built for the shape of x if it was not."""
    if isinstance(network, keras.Sequential) and not network.built:
        network.build((None, *shapes_of(x)))
    return network
