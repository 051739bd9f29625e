"""The exceptions that Batchloom raises itself.

An exception of a user's action or of a model library is never replaced by one of these: it keeps its
type and gains a note of where it happened. ::

    BatchloomError
    ├── UnknownNameError (LookupError)     a name that is not there; the nearest real ones are named
    │   ├── UnknownActionError (AttributeError)
    │   ├── UnknownArgumentError (TypeError)
    │   ├── UnknownComponentError (AttributeError)
    │   ├── UnknownVariableError (KeyError)
    │   ├── UnknownModelError (KeyError)   a name that no init_model or import_model of the pipeline made
    │   └── UnknownDestinationError        save_to or append_to names nothing
    ├── DefinitionError (ValueError)       a pipeline that cannot mean what it says
    │   └── TemplateError                  a pipeline without a dataset was asked to run
    ├── DataError (ValueError)             a dataset, an index or a batch that is refused
    ├── ActionError (TypeError)            an action that breaks the contract of actions
    ├── PluginError                        a model package and what is wrong with it
    │   ├── ModelNotFoundError (LookupError)
    │   ├── NamespaceNotInstalledError (LookupError)
    │   ├── AmbiguousModelError            two packages register one name
    │   ├── PluginVersionError             made for another version of core
    │   ├── PluginImportError (ImportError)
    │   └── PluginDisabledError            switched off by BATCHLOOM_DISABLE_PLUGINS
    ├── ModelError                         a model that cannot do what was asked of it
    │   ├── ModelProtocolError (TypeError) methods are missing
    │   ├── ModelConfigError (ValueError)
    │   ├── ModelInputError (ValueError)   data that the model refuses
    │   └── ModelNotBuiltError             not made, loaded or fitted yet
    ├── SavedModelError                    a saved model that cannot be written or read
    │   ├── SavedModelNotFoundError (FileNotFoundError)
    │   ├── SaveError (OSError)
    │   ├── CorruptFileError (ValueError)
    │   ├── UnsafeFileError (ValueError)   loading it would run code or read outside the file
    │   └── FormatVersionError (ValueError)
    ├── CheckpointError                a run that cannot be kept, or cannot go on
    │   └── CheckpointMismatchError (ValueError)  kept by another definition, other data or options
    ├── TooManySkippedError (RuntimeError)  actions left out more batches than max_skipped allows
    └── WorkerError (RuntimeError)         a worker process that was lost or cannot be given its work

    SkipBatch                              raised by an action: leave this batch out, and say so
"""

from __future__ import annotations

from collections.abc import Iterable


class BatchloomError(Exception):
    """Base of every exception that Batchloom raises itself."""

    def __str__(self) -> str:
        # LookupError's subclasses would print the repr of their argument.
        return str(self.args[0]) if self.args else ""


class UnknownNameError(BatchloomError, LookupError):
    """A name that is not there.

    Parameters
    ----------
    kind : str
        What was looked for, in the singular: ``"variable"``.
    name : str
        The name that was asked for.
    known : iterable of str
        The names there are.
    where : str, optional
        What was being searched: ``"of Digits"``.
    hint : str, optional
        What to do next.
    """

    def __init__(
        self, kind: str, name: object, known: Iterable[str] = (), where: str = "", hint: str = ""
    ) -> None:
        names = sorted({str(each) for each in known})
        head = f"unknown {kind} {name!r}" + (f" {where}" if where else "")
        asked = head + (nearest(str(name), names) or ".")
        known_too = listing(kind, names) + ("." if hint else "")
        super().__init__(" ".join(part for part in (asked, known_too, hint) if part))
        self.kind, self.known = kind, names
        self.asked = str(name)

    def __reduce__(self) -> tuple[object, ...]:
        # The message is made from the arguments, so that it cannot be passed through __init__ again.
        return _restore, (type(self), self.args, self.__dict__)


class UnknownActionError(UnknownNameError, AttributeError):
    """An action that the batch class does not have."""


class UnknownArgumentError(UnknownNameError, TypeError):
    """An argument that a method does not take."""


class UnknownComponentError(UnknownNameError, AttributeError):
    """A component that the batch does not have."""


class UnknownVariableError(UnknownNameError, KeyError):
    """A pipeline variable that was never declared."""


class UnknownModelError(UnknownNameError, KeyError):
    """A model that the pipeline neither initialises nor imports."""


class UnknownDestinationError(UnknownNameError):
    """A ``save_to`` or ``append_to`` that names neither a component nor a variable."""


class DefinitionError(BatchloomError, ValueError):
    """A pipeline, or an argument of one of its methods, that cannot mean what it says."""


class TemplateError(DefinitionError):
    """A pipeline that is linked to no dataset was asked to run."""


class DataError(BatchloomError, ValueError):
    """A dataset, an index or a batch that is refused."""


class ActionError(BatchloomError, TypeError):
    """An action that breaks the contract of actions, such as one that forgets to return its batch."""


class PluginError(BatchloomError):
    """A model package or lifecycle plug-in, and what is wrong with it."""


class ModelNotFoundError(PluginError, LookupError):
    """A model name that its (installed) namespace does not have."""


class NamespaceNotInstalledError(PluginError, LookupError):
    """A model name whose namespace no installed package provides."""


class AmbiguousModelError(PluginError, LookupError):
    """A model name that two installed packages register."""


class PluginVersionError(PluginError):
    """A package that asks for another version of Batchloom."""


class PluginImportError(PluginError, ImportError):
    """A package that is installed and cannot be imported."""


class PluginDisabledError(PluginError, LookupError):
    """A package that ``BATCHLOOM_DISABLE_PLUGINS`` switches off."""


class ModelError(BatchloomError):
    """A model that cannot do what was asked of it."""


class ModelProtocolError(ModelError, TypeError):
    """A class that lacks methods of the model protocol."""


class ModelConfigError(ModelError, ValueError):
    """A config that the model cannot be made from."""


class ModelInputError(ModelError, ValueError):
    """Data that the model refuses before anything is changed."""


class ModelNotBuiltError(ModelError):
    """A model that has not been made, loaded or fitted yet."""


class SavedModelError(BatchloomError):
    """A saved model that cannot be written or read."""


class SavedModelNotFoundError(SavedModelError, FileNotFoundError):
    """A saved model that is not where it was looked for."""


class SaveError(SavedModelError, OSError):
    """A model that could not be written; what was there before is untouched."""


class CorruptFileError(SavedModelError, ValueError):
    """A saved model whose bytes are not those that were written."""


class UnsafeFileError(SavedModelError, ValueError):
    """A saved model that could run code, or reach outside its file, when loaded."""


class FormatVersionError(SavedModelError, ValueError):
    """A saved model written by a newer version of Batchloom or of a backend."""


class CheckpointError(BatchloomError):
    """A run that cannot be kept in a checkpoint, or cannot go on from one."""


class CheckpointMismatchError(CheckpointError, ValueError):
    """A checkpoint of another definition, other data or other options."""


class TooManySkippedError(BatchloomError, RuntimeError):
    """An action raised `SkipBatch` once more than ``max_skipped`` allows."""


class WorkerError(BatchloomError, RuntimeError):
    """Work that an executor lost or could not be given."""


class SkipBatch(Exception):  # noqa: N818  (a signal of the user's, like StopIteration)
    """Raised by an action to leave its batch out of the rest of the pipeline.

    The batch is recorded in ``pipeline.failures`` with this exception and its message.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names look like a misspelt one.

    Parameters
    ----------
    name : str
        The name as it was written.
    known : iterable of str
        The names there are.

    Returns
    -------
    str
        ``": did you mean 'images'?"``, or ``""`` when nothing comes near.
    """
    from difflib import get_close_matches  # imported only when something is wrong

    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.6)
    if not close:
        return ""
    return ": did you mean " + " or ".join(repr(by_lower[each]) for each in close) + "?"


def listing(kind: str, names: list[str], most: int = 20) -> str:
    """List the names there are, as a clause for an error message."""
    if not names:
        return f"There is no {kind} at all"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"There is: {', '.join(names[:most])}{more}"


def _restore(
    cls: type[UnknownNameError], args: tuple[object, ...], state: dict[str, object]
) -> UnknownNameError:
    exc = cls.__new__(cls, *args)
    exc.args = args
    exc.__dict__.update(state)
    return exc
