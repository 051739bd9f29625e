"""Component arguments: a model's arguments that are components of a batch, or the same for every batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchloom.models.handle import ModelHandle, add_note_once
from batchloom.models.lifecycle import plugins
from batchloom.models.protocol import explain_call
from batchloom.models.runs import current_run
from batchloom.runtime.compiled import code_of
from batchloom.source_names import is_source_name

if TYPE_CHECKING:
    from batchloom.batch import Batch

# What ModelHandle.train does for a plain model, without a call or a dict between the batch and the model:
# these cost more than the call of a small function. A batch has what it has gathered in its dict, where it
# is found sooner than as an attribute; for what is not there, and what is not plain, the long way is there.
_TRAINING = """
def train(handle, batch):
    state = batch.__dict__
    try:
        {values} = {components}
    except KeyError:
        pass
    else:
        if handle.is_plain and not plugins.trainings_are_heard:
            run = current_run()
            if run is not handle.in_run and run is not None and run.begin_model is not None:
                run.begin_model(handle)
            lock = handle.lock
            try:
                if lock.readers:
                    lock.refuse_a_reader()
                with lock.writing:
                    if lock.readers:
                        lock.wait_for_readers()
                    handle.version += 1
                    calls = handle.calls
                    try:
                        if calls.of_base_model:
                            output = calls.model._train({arguments})
                        else:
                            output = calls.model.train({arguments})
                    except TypeError as exc:
                        explain_call(exc, calls.training, (), made(batch))
                        raise
                    handle.is_built = True
                    return output
            except Exception as exc:
                add_note_once(exc, handle.label)
                raise
    return handle.train((), made(batch), batch)
"""


class ComponentArguments:
    """Arguments that are components of a batch, or the same for every batch.

    Parameters
    ----------
    components : mapping of str to str
        For each argument, the component.
    fixed : dict
        Arguments that are the same each time.

    Attributes
    ----------
    train : callable
        Takes a `ModelHandle` and a batch, and trains: `ModelHandle.train` for what is done for each batch.
    """

    def __init__(self, components: Mapping[str, str], fixed: dict[str, Any]) -> None:
        self._components, self._fixed = dict(components), fixed
        self.train = self._train
        if components and all(map(is_source_name, [*components, *fixed])):
            self.train = self._made_of_source()

    def __call__(self, batch: Batch) -> dict[str, Any]:
        """Give the arguments in a dict of their own."""
        given = {name: getattr(batch, each) for name, each in self._components.items()}
        return {**self._fixed, **given}

    def _train(self, handle: ModelHandle, batch: Batch) -> Any:
        return handle.train((), self(batch), batch)

    def _made_of_source(self) -> Any:
        given = {name: f"given_{at}" for at, name in enumerate(self._components)}
        same = {name: f"same_{at}" for at, name in enumerate(self._fixed)}
        source = _TRAINING.format(
            values="".join(f"{each}, " for each in given.values()),
            components="".join(f"state[{each!r}], " for each in self._components.values()),
            arguments=", ".join(f"{name}={value}" for name, value in {**same, **given}.items()),
        )
        scope = {
            "add_note_once": add_note_once,
            "current_run": current_run,
            "explain_call": explain_call,
            "made": self,
            "plugins": plugins,
            **dict(zip(same.values(), self._fixed.values(), strict=True)),
        }
        exec(code_of(source), scope)
        return scope["train"]
