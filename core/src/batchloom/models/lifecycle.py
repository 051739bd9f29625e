"""The typed way in to each hook: through the plug-ins if there are any, else to the model."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchloom.errors import PluginError
from batchloom.models.runs import PipelineRun, current_run

if TYPE_CHECKING:
    import pluggy

    from batchloom.batch import Batch
    from batchloom.models.entries import Entry
    from batchloom.models.handle import ModelHandle

GROUP = "batchloom.plugins"
Path = str | os.PathLike[str]


class _Running(threading.local):
    """The operations that this thread is passing through the hooks now."""

    operations: frozenset[tuple[int, str]] = frozenset()


class _Plugins:
    """Who listens to which hook; plug-ins are loaded at the first operation of any model."""

    trainings_are_heard = True
    """Whether somebody may listen to ``train_model``: it is asked for each batch."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.manager: pluggy.PluginManager | None = None
        self.listened: frozenset[str] = frozenset()
        self.loaded = False
        self.broken: dict[Entry, Exception] = {}
        self.own: dict[str, object] = {}  # registered in this process
        self.running = _Running()

    def load(self) -> None:
        """Load the installed plug-ins, each in isolation."""
        from batchloom.models.entries import disabled_by, entries

        with self.lock:
            if self.loaded:
                return
            self.manager, self.broken = None, {}
            found = [each for each in entries(GROUP) if disabled_by(each) is None]
            # pluggy asks the latest first, so the first in order is registered last.
            for entry in sorted(found, key=lambda each: (each.package, each.key), reverse=True):
                self._load_one(entry)
            for name, plugin in self.own.items():
                self._add(plugin, name)
            self.loaded = True
            self.trainings_are_heard = "train_model" in self.listened

    def _load_one(self, entry: Entry) -> None:
        from batchloom.models.entries import load

        try:
            self._add(load(entry), f"{entry.package}:{entry.key}")
        except (Exception, SystemExit) as exc:
            self.broken[entry] = exc if isinstance(exc, Exception) else PluginError(str(exc))
            warnings.warn(f"left out the {entry}: {exc}", RuntimeWarning, stacklevel=2)

    def _add(self, plugin: object, name: str) -> None:
        from batchloom.models.hooks import add_plugin, new_manager

        self.manager = self.manager or new_manager()
        add_plugin(self.manager, plugin, name)
        self.listen()

    def listen(self) -> None:
        """See who listens to which hook now."""
        from batchloom.models.hooks import listened

        assert self.manager is not None
        self.listened = listened(self.manager)
        self.trainings_are_heard = not self.loaded or "train_model" in self.listened

    def forget(self) -> None:
        """Drop what was loaded, so that the next operation loads again."""
        with self.lock:
            self.manager, self.listened, self.loaded = None, frozenset(), False
            self.trainings_are_heard = True


plugins = _Plugins()


def register_plugin(plugin: object, name: str | None = None) -> str:
    """Register a lifecycle plug-in for this process, before all that are registered already.

    Parameters
    ----------
    plugin : object
        A module, an instance, or a class that can be made without arguments, with functions marked
        by `batchloom.models.hookimpl`.
    name : str, optional
        A name to take it out by; one is made up by default.

    Returns
    -------
    str
        The name.

    Raises
    ------
    PluginError
        If a hook is misspelt or takes unknown arguments, or the name is taken.
    """
    name = name or f"{getattr(plugin, '__name__', type(plugin).__name__)}-{id(plugin):x}"
    with plugins.lock:
        plugins.load()
        if name in plugins.own:
            raise PluginError(f"a plug-in {name!r} is registered already: unregister it first")
        plugins._add(plugin, name)
        plugins.own[name] = plugin
    return name


def unregister_plugin(name: str) -> None:
    """Take out a plug-in that `register_plugin` put in.

    Raises
    ------
    PluginError
        If there is none of that name.
    """
    with plugins.lock:
        if name not in plugins.own:
            raise PluginError(f"no plug-in {name!r} is registered; there is: {list(plugins.own)}")
        del plugins.own[name]
        assert plugins.manager is not None
        plugins.manager.unregister(name=name)
        plugins.listen()


def loaded_plugins() -> tuple[pluggy.PluginManager | None, dict[Entry, Exception]]:
    """Load the plug-ins and return their manager (None if there are none) and the broken ones."""
    plugins.load()
    return plugins.manager, dict(plugins.broken)


def forget_plugins() -> None:
    """Have the installed plug-ins looked for again at the next operation."""
    plugins.forget()


def begin_run(run: PipelineRun) -> None:
    """Tell the plug-ins that a run begins."""
    _tell("begin_run", run=run)


def end_run(run: PipelineRun, exception: BaseException | None) -> None:
    """Tell the plug-ins that a run has ended, and how."""
    _tell("end_run", run=run, exception=exception)


def build_model(handle: ModelHandle, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Make a model."""
    if _passes("build_model", handle):
        _call("build_model", handle, args=args, kwargs=kwargs)
    else:
        handle.call_build(args, kwargs)


def load_model(handle: ModelHandle, path: Path | None, kwargs: Mapping[str, Any]) -> None:
    """Read a model from a saved file."""
    if _passes("load_model", handle):
        _call("load_model", handle, path=path, kwargs=kwargs)
    else:
        handle.call_load(path, kwargs)


def train_model(
    handle: ModelHandle, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Batch | None
) -> Any:
    """Train a model on one batch."""
    if _passes("train_model", handle):
        run = current_run()
        return _call("train_model", handle, args=args, kwargs=kwargs, batch=batch, run=run)
    return handle.calls.train(args, kwargs)


def predict_model(
    handle: ModelHandle, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch: Batch | None
) -> Any:
    """Predict for one batch."""
    if _passes("predict_model", handle):
        return _call("predict_model", handle, args=args, kwargs=kwargs, batch=batch)
    return handle.calls.predict(args, kwargs)


def save_model(handle: ModelHandle, path: Path, kwargs: Mapping[str, Any]) -> None:
    """Write a model into a file."""
    if _passes("save_model", handle):
        _call("save_model", handle, path=path, kwargs=kwargs)
    else:
        handle.call_save(path, kwargs)


def end_epoch(handle: ModelHandle, epoch: int, last: bool) -> Any:
    """Finish an epoch; the value is the model's own, whatever plug-ins return."""
    if not _passes("end_epoch", handle):
        return handle.calls.end_epoch(epoch, last)
    from batchloom.models.hooks import Box

    results = _pluggy("end_epoch", handle, epoch=epoch, last=last, run=current_run())
    boxes = [each for each in results or () if isinstance(each, Box)]
    if not boxes:
        raise PluginError(
            "a wrapper of end_epoch has lost the model's own result: return all of them"
        )
    return boxes[0][0]


def _tell(hook: str, **arguments: Any) -> None:
    if not plugins.loaded:
        plugins.load()
    if hook in plugins.listened:
        assert plugins.manager is not None
        getattr(plugins.manager.hook, hook)(**arguments)


def _passes(hook: str, handle: ModelHandle) -> bool:
    # A plug-in that calls the operation it is wrapping means the model itself, not itself again.
    if not plugins.loaded:
        plugins.load()
    return hook in plugins.listened and (id(handle), hook) not in plugins.running.operations


def _call(hook: str, handle: ModelHandle, **arguments: Any) -> Any:
    result = _pluggy(hook, handle, **arguments)
    if not isinstance(result, tuple) or len(result) != 1:
        raise PluginError(
            f"a plug-in returned {result!r} from the hook {hook}. Results are boxed, so that None "
            "can be one: return (value,), and from a wrapper what the yield gave"
        )
    return result[0]


def _pluggy(hook: str, handle: ModelHandle, **arguments: Any) -> Any:
    assert plugins.manager is not None
    before = plugins.running.operations
    plugins.running.operations = before | {(id(handle), hook)}
    try:
        caller = getattr(plugins.manager.hook, hook)
        return caller(model=handle.model, name=handle.name, **arguments)
    finally:
        plugins.running.operations = before
