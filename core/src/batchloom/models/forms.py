"""Forms of a call: how what was gathered for a model's method becomes its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchloom.source_names import is_source_name

if TYPE_CHECKING:
    from batchloom.batch import Batch

# A batch has what it has gathered in its dict, where it is found sooner than as an attribute.
_READING = """
def read(batch):
    state = batch.__dict__
    try:
        return {there}
    except KeyError:
        pass  # what the next line raises is not to have come of this
    return {values}
"""

Spelled = tuple[tuple[Any, ...], Mapping[str, Any]]


class SpelledForm:
    """What was given are the positional and the keyword arguments themselves."""

    def call(self, function: Callable[..., Any], given: Spelled) -> Any:
        """Call a function."""
        return function(*given[0], **given[1])

    def spelled(self, given: Spelled) -> Spelled:
        """Give what was given."""
        return given


SPELLED = SpelledForm()


class ComponentsForm:
    """What was given are the values of some components of a batch, each for an argument of its own.

    For what is called for each batch: both functions are made of source text, so that there is no
    dictionary between the batch and the call, which costs more than the call of a small function.

    Parameters
    ----------
    components : mapping of str to str
        For each argument, the component.
    fixed : dict
        Arguments that are the same each time.

    Attributes
    ----------
    read : callable
        Takes a batch and gives the values, as a tuple.
    call : callable
    """

    def __init__(self, components: Mapping[str, str], fixed: dict[str, Any]) -> None:
        self._names, self._fixed = tuple(components), fixed
        self.read = _reader(tuple(components.values()))
        self.call = self._call_spelled
        if all(map(is_source_name, [*components, *fixed])):
            values = "".join(f"{each}=fixed[{each!r}], " for each in fixed)
            values += "".join(f"{each}=given[{at}], " for at, each in enumerate(components))
            self.call = eval(f"lambda function, given: function({values})", {"fixed": fixed})

    def spelled(self, given: tuple[Any, ...]) -> Spelled:
        """Give the arguments, all by their names."""
        return (), self.by_name(given)

    def by_name(self, given: tuple[Any, ...]) -> dict[str, Any]:
        """Give the arguments in a dict of their own."""
        return {**self._fixed, **dict(zip(self._names, given, strict=True))}

    def _call_spelled(self, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        return SPELLED.call(function, self.spelled(given))


Form = SpelledForm | ComponentsForm


def _reader(components: Sequence[str]) -> Callable[[Batch], tuple[Any, ...]]:
    if not components or not all(map(is_source_name, components)):
        return lambda batch: tuple(getattr(batch, each) for each in components)
    there = "".join(f"state[{each!r}], " for each in components)
    values = "".join(f"batch.{each}, " for each in components)
    scope: dict[str, Any] = {}
    exec(_READING.format(there=there, values=values), scope)
    read: Callable[[Batch], tuple[Any, ...]] = scope["read"]
    return read
