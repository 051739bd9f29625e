"""Variables: named values of one pipeline, which its steps and actions read and write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from batchloom.errors import DefinitionError, UnknownVariableError
from batchloom.expressions import Expression
from batchloom.records import Record
from batchloom.steps import short

if TYPE_CHECKING:
    from batchloom.models.late import LateOutput

    LateChange = tuple[Callable[[Any, Any], Any], LateOutput, Callable[[Any], Any]]

IMMUTABLE = (bool, int, float, complex, str, bytes, type(None))


class VariableDeclaration(Record):
    """What `Pipeline.init_variable` said of one variable.

    Attributes
    ----------
    name : str
    default : object
        The first value; each pipeline gets a deep copy of its own.
    init : callable or None
        Makes the first value, once for each pipeline.
    init_on_each_run : callable, object or None
        Makes the value anew when a run begins (a callable), or is copied then (anything else). ``True``
        repeats `default` or `init` at each run.
    """

    name: str
    default: Any = None
    init: Callable[[], Any] | None = None
    init_on_each_run: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DefinitionError(f"a variable's name is a string, not {self.name!r}")
        if self.init is not None and not callable(self.init):
            raise DefinitionError(
                f"init of variable {self.name!r} must be callable, not {self.init!r}; "
                "give a plain value as default="
            )
        if self.init is not None and self.default is not None:
            raise DefinitionError(
                f"variable {self.name!r} has both a default and an init: give one"
            )
        for each in (self.default, self.init_on_each_run):
            if isinstance(each, Expression):
                raise DefinitionError(
                    f"variable {self.name!r} cannot begin with {each!r}, which is worked out for each "
                    f"batch: give a value, or write it in a step, set_variable({self.name!r}, {each!r})"
                )

    def first_value(self) -> Any:
        """Make the value that the variable has before any run."""
        if self.default is None and self.init is None and self.each_run:
            return self.value_of_run()
        return self._made(self.default if self.init is None else self.init, self.init is not None)

    @property
    def each_run(self) -> bool:
        """Whether a run begins with a new value."""
        return self.init_on_each_run is not None and self.init_on_each_run is not False

    def value_of_run(self) -> Any:
        """Make the value that a run begins with."""
        if self.init_on_each_run is True:
            return self._made(
                self.default if self.init is None else self.init, self.init is not None
            )
        return self._made(self.init_on_each_run, callable(self.init_on_each_run))

    def _made(self, given: Any, is_called: bool) -> Any:
        try:
            return given() if is_called else _copied(given)
        except Exception as exc:
            way = f"{short(given)} makes" if is_called else "each pipeline gets a deep copy of"
            advice = (
                "" if is_called else ": a function makes it anew, init=... or init_on_each_run=..."
            )
            exc.add_note(f"variable {self.name!r}, whose value {way}{advice}")
            raise


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda old, value: value,
    "inc": lambda old, value: old + value,
    "append": lambda old, value: _in_place(old, "append", value),
    "extend": lambda old, value: _in_place(old, "extend", value),
    "update": lambda old, value: _in_place(old, "update", value),
}
"""How a variable is written: a function of its old value and of a new one."""


class Variables(MutableMapping[str, Any]):
    """The variables of one pipeline, by name. Only declared names can be read or written.

    Single reads and writes are atomic; `change` is the atomic form of read, compute and write.
    """

    def __init__(self, declarations: Mapping[str, VariableDeclaration]) -> None:
        self._declarations = dict(declarations)
        self._lock = threading.RLock()
        self._values = {name: each.first_value() for name, each in self._declarations.items()}
        self._late: dict[str, list[LateChange]] = {}

    def __getitem__(self, name: str) -> Any:
        if self._late:
            self._finish(name)
        return self.so_far(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if self._late:
            self._finish(name)
        with self._lock:
            self._check_write(name)
            self._values[name] = value

    def __delitem__(self, name: str) -> None:
        raise DefinitionError(
            f"variable {name!r} is part of the pipeline's definition: use pipeline.delete_variable"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        said = ", ".join(f"{name!r}: {short(each)}" for name, each in self._values.items())
        return f"Variables({{{said}}})"

    def __getstate__(self) -> dict[str, Any]:
        for name in list(self._late):
            self._finish(name)
        return {name: each for name, each in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    def change(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Replace a value by a function of it (and of `args`), atomically, and return the new value."""
        if self._late:
            self._finish(name)
        with self._lock:
            values = self._values
            if name not in values:
                raise self._unknown(name)
            values[name] = value = function(values[name], *args)
            return value

    def append(self, name: str, value: Any) -> None:
        """Append to a value, atomically: `change` for what is done after each batch."""
        if self._late:
            self._finish(name)
        with self._lock:
            old = self._values.get(name)
            if type(old) is list:
                old.append(value)
            else:
                self.change(name, CHANGES["append"], value)

    def change_when_there(
        self,
        name: str,
        function: Callable[[Any, Any], Any],
        output: LateOutput,
        part: Callable[[Any], Any],
    ) -> None:
        """Replace a value by a function of it and of a part of an output, once the model gives that.

        Whoever reads or writes the variable before that has the model finish.
        """
        with self._lock:
            self._check_write(name)
            self._late.setdefault(name, []).append((function, output, part))
            self._take_what_is_there(name)

    def is_list(self, name: str) -> bool:
        """Tell whether a value is a plain list."""
        return type(self._values.get(name)) is list

    def so_far(self, name: str) -> Any:
        """Return a value without the outputs that a model is yet to give."""
        try:
            return self._values[name]
        except KeyError:
            raise self._unknown(name) from None

    def begin_run(self) -> None:
        """Give the variables that want it the value a run begins with."""
        for name in list(self._late):
            self._finish(name)
        with self._lock:
            for name, declaration in self._declarations.items():
                if declaration.each_run:
                    self._values[name] = declaration.value_of_run()

    def _finish(self, name: str) -> None:
        # Not under the lock: finishing takes the model's, and who holds that may read variables.
        for _, output, _ in list(self._late.get(name, ())):
            output.get()
        with self._lock:
            self._take_what_is_there(name)

    def _take_what_is_there(self, name: str) -> None:
        waiting = self._late.pop(name, [])
        while waiting and waiting[0][1].state != "waiting":
            function, output, part = waiting.pop(0)
            value = output.get()
            if value is not None:
                self._values[name] = function(self._values[name], part(value))
        if waiting:
            self._late[name] = waiting

    def _check_write(self, name: str) -> None:
        if name not in self._values:
            raise self._unknown(name)

    def _unknown(self, name: object) -> UnknownVariableError:
        return UnknownVariableError(
            "variable", name, self._values, hint=f"Declare it with init_variable({name!r}, ...)"
        )


def _copied(value: Any) -> Any:
    import copy

    return copy.deepcopy(value)


def is_immutable(value: Any) -> bool:
    """Tell whether nobody can change a value in place."""
    if type(value) is tuple:
        return all(map(is_immutable, value))
    # A structured scalar is a view of its record.
    return type(value) in IMMUTABLE or (
        isinstance(value, np.generic) and not isinstance(value, (np.void, np.object_))
    )


def change_name(mode: str) -> str:
    """Give the name of a way to change a variable, or refuse it."""
    short = {"w": "set", "a": "append", "e": "extend", "u": "update", "write": "set"}
    name = short.get(mode, mode)
    if name not in CHANGES:
        raise DefinitionError(
            f"mode={mode!r}: a variable is changed by one of {', '.join(CHANGES)}"
        )
    return name


def _in_place(old: Any, method: str, value: Any) -> Any:
    change = getattr(old, method, None)
    if change is None:
        raise DefinitionError(
            f"a variable that holds {type(old).__name__} {old!r} has no {method}(): "
            "declare it with init_variable(name, init_on_each_run="
            f"{'dict' if method == 'update' else 'list'})"
        )
    change(value)
    return old
