"""BaseModel: the class that most models derive from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import batchloom.models
from batchloom.batch import Batch
from batchloom.errors import ModelProtocolError
from batchloom.models.late import settled


class BaseModel:
    """A model: override ``_build``, ``_load``, ``_train``, ``_predict`` and ``_save``.

    The public methods of those names belong to core. Wherever they are called from, each takes the
    model's lock and passes through the lifecycle hooks once. A ``_train`` or ``_predict`` that has a
    parameter called ``batch`` is given the batch by `train_model` and `predict_model`.

    Parameters
    ----------
    config : mapping, optional
        Options; a pipeline hands them over with their expressions evaluated.
    name : str, optional
        The name of the model in its pipeline; the class name by default.

    Attributes
    ----------
    config : dict
        A copy of `config`.
    name : str
        The model's name in its pipeline.
    registered_name : str or None
        The name that `load_model` finds the class by; set by core.
    seed : int or None
        Set by core before the model is built; derived from the pipeline's seed and the name.
    stop_training : bool
        Set it to True to end the run after this epoch; core resets it when a run begins.
    data_args : tuple of str
        Arguments that are data: a string there must name a component or a variable.
    literal_args : tuple of str
        Arguments that are plain options: a string there is never looked up.
    predict_is_thread_safe : bool
        Whether several threads may predict at once. A live model may say no where its class says
        yes: it is then asked by one thread at a time.
    may_stop_training : bool
        Whether `_end_epoch` may set `stop_training`. Such models get their end of epoch before the
        others, which are then told truly whether it is the last.
    load_needs_build : bool
        Whether a model is built before it is loaded. If False, ``load=True`` skips the build, and
        ``build=True`` beside it is an error.
    library : str or None
        Distribution or import name of the library below; its version goes into saved files.

    Examples
    --------
    >>> class Mean(BaseModel):
    ...     data_args = ("x",)
    ...     def _build(self, *args, **kwargs):
    ...         self.sum, self.count = 0.0, 0
    ...     def _train(self, x):
    ...         self.sum, self.count = self.sum + x.sum(), self.count + len(x)
    ...     def _predict(self, x):
    ...         return [self.sum / self.count] * len(x)
    """

    data_args: ClassVar[tuple[str, ...]] = ()
    literal_args: ClassVar[tuple[str, ...]] = ()
    predict_is_thread_safe: bool = False
    may_stop_training: ClassVar[bool] = False
    load_needs_build: ClassVar[bool] = True
    library: ClassVar[str | None] = None

    registered_name: str | None = None
    config: dict[str, Any]
    name: str
    seed: int | None = None
    stop_training: bool = False
    _handle: batchloom.models.ModelHandle | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for each in ("build", "load", "train", "predict", "save"):
            if getattr(cls, each) is not getattr(BaseModel, each):
                raise ModelProtocolError(
                    f"{cls.__qualname__} overrides {each}(), which belongs to core (lock and hooks "
                    f"are in it). Override _{each}() instead"
                )

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        self.config = dict(config or {})
        self.name = name or type(self).__name__

    def build(
        self,
        *args: Any,
        pipeline: batchloom.Pipeline | None = None,
        batch: Batch | None = None,
        **kwargs: Any,
    ) -> None:
        """Make the model.

        Parameters
        ----------
        pipeline : Pipeline, optional
            The pipeline it is made for.
        batch : Batch, optional
            The first batch of a dynamic model.
        """
        self._live().build(args, {"pipeline": pipeline, "batch": batch, **kwargs})

    def load(self, path: str | os.PathLike[str], **kwargs: Any) -> None:
        """Read the model from a saved file.

        Raises
        ------
        SavedModelError
            If the file is missing, damaged, unsafe, too new, or holds another kind of model.
        """
        self._live().load(path, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Learn from one batch and return what the model has to say about it."""
        return settled(self._live().train(args, kwargs))

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict for one batch."""
        return self._live().predict(args, kwargs)

    def save(self, path: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write the model into one file; what was there before stays whole until the end.

        Raises
        ------
        SaveError
            If it cannot be written.
        ModelNotBuiltError
            If there is nothing to write yet.
        """
        self._live().save(path, **kwargs)

    def _build(
        self,
        *args: Any,
        pipeline: batchloom.Pipeline | None = None,
        batch: Batch | None = None,
        **kwargs: Any,
    ) -> None:
        """Make the model: override."""

    def _load(self, path: Path, **kwargs: Any) -> None:
        """Read the model from a directory of verified files: override.

        The directory is gone when the method has returned.
        """
        self._lacks("_load")

    def _train(self, *args: Any, **kwargs: Any) -> Any:
        """Learn from one batch: override. None means that there is no output.

        A model that trains several batches in one call may return a `LateOutput`.
        """
        self._lacks("_train")

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict for one batch: override."""
        self._lacks("_predict")

    def _save(self, path: Path, **kwargs: Any) -> None:
        """Write the model's files into an empty directory: override."""
        self._lacks("_save")

    def _begin_run(self, run: batchloom.models.RunInfo) -> None:
        """Prepare for a run: called once per run, before the first train of that run."""

    def _end_epoch(self, epoch: int, last: bool) -> Any:
        """Finish an epoch in which the model was trained, after its last batch.

        A value that is not None goes to the destination (``save_to``, ``append_to``) of the train
        step: this is how a model that gathers its data delivers its history.
        """
        return None

    def _abandon_run(self) -> None:
        """Drop what was gathered: the run ended early."""

    def _save_checkpoint(self, path: Path) -> None:
        """Write all that the model needs to go on in the middle of a run: override if it gathers.

        What `_save` writes, unless the model keeps more than that from batch to batch, such as data
        that it has gathered, or may be asked before there is anything for `_save` to write.
        `batchloom.plain` writes and reads plain data and arrays.

        Parameters
        ----------
        path : Path
            An empty directory.
        """
        self._save(path)

    def _load_checkpoint(self, path: Path, run: batchloom.models.RunInfo | None) -> None:
        """Read what `_save_checkpoint` wrote, and go on.

        The model was made as its definition says, and built unless it is one that is loaded instead
        (``load_needs_build`` and ``config["load"]``); it may also have come further than the
        checkpoint. What can be had from the definition need not be read.

        Parameters
        ----------
        path : Path
            A directory of verified files; it is gone when the method has returned.
        run : RunInfo or None
            The run that goes on, if the model was trained in it before: `_begin_run` is then not
            called by core. None if the model is yet to be trained.
        """
        if run is not None:
            self._begin_run(run)
        self._load(path)

    @classmethod
    def _check_config(cls, config: Mapping[str, Any]) -> None:
        """Refuse a config that no model could be made from, when the pipeline is written: override.

        Parameters
        ----------
        config : mapping
            As given to ``init_model``, without the entries that are (or hold) expressions.

        Raises
        ------
        ModelConfigError
        """

    @classmethod
    def _capture_settings(cls) -> Callable[[], AbstractContextManager[Any]] | None:
        """Return a maker of contexts that restore the library's thread-local settings of now."""
        return None

    def _describe(self) -> str:
        """Say in one clause how the model is trained, if that is not batch by batch."""
        return ""

    @classmethod
    def describe_unbuilt(cls, config: Mapping[str, Any]) -> str:
        """Say the same of a model that is yet to be made; nothing if its config cannot tell.

        Parameters
        ----------
        config : mapping
            As it was written: expressions in it have no value yet.
        """
        return ""

    def __repr__(self) -> str:
        kind = self.registered_name or type(self).__qualname__
        return f"<model {getattr(self, 'name', '')!r} ({kind})>"

    def _alone(self, do: Callable[..., Any], /, *args: Any) -> Any:
        """Call a function with the model's lock held alone, for work that no operation asked for."""
        return self._live().alone(do, *args)

    def _live(self) -> batchloom.models.ModelHandle:
        from batchloom.models.handle import handle_of

        return handle_of(self)

    def _lacks(self, method: str) -> NoReturn:
        raise ModelProtocolError(
            f"{type(self).__qualname__} cannot {method[1:]}: it does not define {method}()"
        )
