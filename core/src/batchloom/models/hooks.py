"""The lifecycle hooks: their specifications, core's own implementation, and who else is registered.

A plug-in marks functions with `hookimpl` and is published in the entry-point group
``batchloom.plugins``, or registered for this process with `register_plugin`. It acts on every model
of every backend. Several plug-ins act in the order of their packages' names and then of their keys
(the first is the outermost wrapper, and the first to be asked); those registered in the process
come before, the latest first; pluggy's ``tryfirst`` and ``trylast`` take precedence over all that.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pluggy

from batchloom.batch import Batch
from batchloom.errors import PluginError, nearest
from batchloom.models.handle import handle_of
from batchloom.models.late import settled
from batchloom.models.runs import PipelineRun

PROJECT = "batchloom"
CORE = "batchloom"  # what core's own implementation is registered as
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Box(tuple[Any, ...]):
    """A result of core's own implementation: a 1-tuple, because pluggy drops a bare None."""

    __slots__ = ()


class LifecycleSpecs:
    """The hooks. Where only the first result counts, it is a 1-tuple: ``return (value,)``."""

    @hookspec
    def begin_run(self, run: PipelineRun) -> None:
        """Begin a run of a pipeline that has models. All implementations are called."""

    @hookspec
    def end_run(self, run: PipelineRun, exception: BaseException | None) -> None:
        """End a run, however it ends. All implementations are called.

        `exception` is None if the run came to its end, ``GeneratorExit`` if whoever asked for batches
        stopped asking, else what was raised.
        """

    @hookspec(firstresult=True)
    def build_model(
        self, model: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[None] | None:
        """Make a model. Nobody else has seen it yet."""

    @hookspec(firstresult=True)
    def load_model(
        self, model: Any, name: str, path: Any, kwargs: Mapping[str, Any]
    ) -> tuple[None] | None:
        """Read a model from the saved file at `path`."""

    @hookspec(firstresult=True)
    def train_model(
        self,
        model: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        batch: Batch | None,
        run: PipelineRun | None,
    ) -> tuple[Any] | None:
        """Train a model on one batch.

        `batch` is None when an action calls ``model.train``, and `run` outside a pipeline's run.
        """

    @hookspec(firstresult=True)
    def predict_model(
        self,
        model: Any,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        batch: Batch | None,
    ) -> tuple[Any] | None:
        """Predict for one batch; `batch` is None when an action calls ``model.predict``."""

    @hookspec(firstresult=True)
    def save_model(
        self, model: Any, name: str, path: Any, kwargs: Mapping[str, Any]
    ) -> tuple[None] | None:
        """Write a model into the file `path`."""

    @hookspec
    def end_epoch(
        self, model: Any, name: str, epoch: int, last: bool, run: PipelineRun | None
    ) -> Any:
        """Finish an epoch in which the model was trained. All implementations are called."""


HOOKS = tuple(name for name in vars(LifecycleSpecs) if not name.startswith("_"))


class CoreLifecycle:
    """Core's own implementation, the last to be asked: it calls the model."""

    @hookimpl(trylast=True)
    def build_model(self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Box:
        """Call the model's build."""
        handle_of(model).call_build(args, kwargs)
        return Box((None,))

    @hookimpl(trylast=True)
    def load_model(self, model: Any, path: Any, kwargs: Mapping[str, Any]) -> Box:
        """Verify the file and call the model's load."""
        handle_of(model).call_load(path, kwargs)
        return Box((None,))

    @hookimpl(trylast=True)
    def train_model(self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Box:
        """Call the model's train."""
        return Box((settled(handle_of(model).calls.train(args, kwargs)),))

    @hookimpl(trylast=True)
    def predict_model(self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Box:
        """Call the model's predict."""
        return Box((handle_of(model).calls.predict(args, kwargs),))

    @hookimpl(trylast=True)
    def save_model(self, model: Any, path: Any, kwargs: Mapping[str, Any]) -> Box:
        """Call the model's save and put the file in place."""
        handle_of(model).call_save(path, kwargs)
        return Box((None,))

    @hookimpl(trylast=True)
    def end_epoch(self, model: Any, epoch: int, last: bool) -> Box:
        """Call the model's end of epoch."""
        return Box((handle_of(model).calls.end_epoch(epoch, last),))


def new_manager() -> pluggy.PluginManager:
    """Return a pluggy manager that knows the hooks and core's implementation."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(LifecycleSpecs)
    manager.register(CoreLifecycle(), CORE)
    return manager


def add_plugin(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    """Register a plug-in whole or not at all.

    Parameters
    ----------
    plugin : object
        A module, an instance, or a class that can be made without arguments.

    Raises
    ------
    PluginError
        If a hook of it is misspelt or asks for arguments that the hook does not have, or if it has
        no hook at all.
    """
    plugin = plugin() if inspect.isclass(plugin) else plugin
    try:
        if manager.register(plugin, name) is None:
            raise PluginError(f"the plug-in name {name!r} is blocked")
        _check_hooks(manager, plugin, name)
    except Exception as exc:
        if manager.has_plugin(name) and manager.get_plugin(name) is plugin:
            manager.unregister(plugin)
        if isinstance(exc, pluggy.PluginValidationError):
            raise PluginError(f"plug-in {name!r}: {exc}") from exc
        raise


def _check_hooks(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    # pluggy's check_pending says the same about all plug-ins at once, without near names.
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise PluginError(
            f"plug-in {name!r} has no hook. Mark its functions with batchloom.models.hookimpl; "
            f"the hooks are {', '.join(HOOKS)}"
        )
    for caller in callers:
        mine = [each for each in caller.get_hookimpls() if each.plugin is plugin]
        if not caller.has_spec() and not all(each.optionalhook for each in mine):
            raise PluginError(
                f"plug-in {name!r} has an unknown hook {caller.name!r}"
                f"{nearest(caller.name, HOOKS)} The hooks are {', '.join(HOOKS)}"
            )


def listened(manager: pluggy.PluginManager) -> frozenset[str]:
    """Return the hooks that somebody besides core implements."""
    return frozenset(
        hook
        for hook in HOOKS
        if any(each.plugin_name != CORE for each in getattr(manager.hook, hook).get_hookimpls())
    )
