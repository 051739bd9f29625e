"""The arguments of a model's call: strings and expressions in them become a batch's data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from batchloom.batch import Batch
from batchloom.columns import row_count
from batchloom.definition import Definition
from batchloom.errors import ActionError, DefinitionError, UnknownComponentError
from batchloom.expressions import (
    Component,
    Expression,
    Variable,
    find_expressions,
    has_expressions,
    replace,
)
from batchloom.runtime.component_arguments import ComponentArguments


class Arguments:
    """Makes the keyword arguments of a model's call from a batch.

    A string that names a component becomes its data; else one that names a variable becomes its value;
    else it is itself.

    Parameters
    ----------
    given : mapping
        The arguments as they were written.
    make_data : callable or None
        Takes the batch and the model and returns a dict of arguments.
    data_args, literal_args : sequence of str
        As the model class declares them.
    definition : Definition

    Attributes
    ----------
    plain : ComponentArguments
        The arguments of batches with the components `plain_of`, which is less to do than to call this.
    plain_of : tuple of str or None
        None until a batch was seen all of whose arguments are components, or the same for every batch.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        make_data: Callable[..., Any] | None,
        data_args: Sequence[str],
        literal_args: Sequence[str],
        definition: Definition,
    ) -> None:
        self._given = given
        self._make_data = make_data
        self._data_args = frozenset(data_args)
        self._literal_args = frozenset(literal_args)
        self._variables = definition.variables
        self._fixed = {name: each for name, each in given.items() if self._is_fixed(name, each)}
        late = {name: each for name, each in given.items() if name not in self._fixed}
        self._names = {name: each for name, each in late.items() if isinstance(each, str)}
        self._nests = {name: each for name, each in late.items() if name not in self._names}
        self.plain = ComponentArguments(self._names, self._fixed)
        self.plain_of: tuple[str, ...] | None = None

    def __call__(self, batch: Batch, model: Any) -> dict[str, Any]:
        """Work the arguments out for one batch."""
        if batch.components is self.plain_of:
            return self.plain(batch)
        looked_up = {name: self._look_up(name, each, batch) for name, each in self._names.items()}
        made = {**self._fixed, **looked_up}
        for name, each in self._nests.items():
            made[name] = self._resolve(name, each, batch)
        if self._make_data is not None:
            made |= self._made_data(batch, model)
        elif not self._nests and all(each in batch.components for each in self._names.values()):
            self.plain_of = batch.components  # all are in every batch that has these
        return made

    def variables(self) -> set[str]:
        """Name the variables that are (or may be) read."""
        strings = {each for each in self._strings() if each in self._variables}
        return strings | {
            each.name for each in find_expressions(dict(self._given)) if isinstance(each, Variable)
        }

    def components(self, known: Sequence[str]) -> list[str]:
        """Name the components that are known to be read."""
        named = [
            each.name for each in find_expressions(dict(self._given)) if isinstance(each, Component)
        ]
        return [each for each in [*self._strings(), *named] if each in known]

    def columns(self, known: Sequence[str]) -> dict[str, str]:
        """Say which argument is which component, where an argument is nothing but a component.

        An entry of an argument that is a dict goes by both names: ``"feed_dict.y"``.
        """
        found = {}
        for name, each in self._entries():
            component = getattr(each, "name", each)
            if isinstance(each, (str, Component)) and component in known:
                found[name] = component
        return found

    def check(self, components: Sequence[str]) -> None:
        """Refuse strings that stand for data and name nothing.

        Raises
        ------
        UnknownComponentError
        """
        for name in self._data_args & set(self._given):
            for each in strings_in(self._given[name]):
                if each not in components and each not in self._variables:
                    raise self._unknown(name, each, components)

    def warn_of_whole_columns(self, n_items: int) -> None:
        """Say which arguments are data of all items, where each batch should have those of its own."""
        for name in sorted(self._data_args & self._fixed.keys()):
            if n_items > 1 and row_count(self._fixed[name]) == n_items:
                warnings.warn(
                    f"{name}= is given {n_items} rows of data, as many as the dataset has items, and every "
                    f"batch hands the model all of them. To hand over the batch's own name a component: "
                    f"{name}='...'",
                    stacklevel=2,
                )

    def _entries(self) -> Iterator[tuple[str, Any]]:
        for name, each in self._given.items():
            if name in self._literal_args:
                continue
            if isinstance(each, Mapping):
                yield from ((f"{name}.{key}", value) for key, value in each.items())
            else:
                yield name, each

    def _is_fixed(self, name: str, value: Any) -> bool:
        if name in self._literal_args:
            return not has_expressions(value)
        return not has_expressions(value) and not strings_in(value)

    def _strings(self) -> list[str]:
        looked_up = (v for name, v in self._given.items() if name not in self._literal_args)
        return [each for value in looked_up for each in strings_in(value)]

    def _resolve(self, name: str, value: Any, batch: Batch) -> Any:
        looks_up = name not in self._literal_args

        def leaf(each: Any) -> Any:
            if isinstance(each, Expression):
                assert batch.pipeline is not None
                return each.evaluate(batch, batch.pipeline)
            return self._look_up(name, each, batch) if looks_up and isinstance(each, str) else each

        return replace(value, leaf)

    def _look_up(self, argument: str, name: str, batch: Batch) -> Any:
        if name in batch.components:
            return getattr(batch, name)
        if name in self._variables:
            assert batch.pipeline is not None
            return batch.pipeline.read_variable(name)
        if argument in self._data_args:
            raise self._unknown(argument, name, batch.components)
        return name

    def _unknown(
        self, argument: str, name: str, components: Sequence[str]
    ) -> UnknownComponentError:
        return UnknownComponentError(
            "component or variable",
            name,
            [*components, *self._variables],
            f"in {argument}={name!r}",
            f"{argument} is data: name a component or a variable, or give the data itself",
        )

    def _made_data(self, batch: Batch, model: Any) -> dict[str, Any]:
        assert self._make_data is not None
        made = self._make_data(batch, model)
        label = getattr(self._make_data, "__qualname__", repr(self._make_data))
        if not isinstance(made, Mapping) or not all(isinstance(each, str) for each in made):
            raise ActionError(
                f"make_data {label} returned {type(made).__name__}; it must return a dict of arguments "
                "for the model, by name"
            )
        if both := sorted(set(made) & set(self._given)):
            raise DefinitionError(
                f"make_data {label} makes {', '.join(both)}, which train_model or predict_model was given too"
            )
        return dict(made)


def strings_in(value: Any) -> list[str]:
    """Find the strings in a value, also inside dicts, lists and tuples (not the keys of dicts)."""
    found: list[str] = []

    def leaf(each: Any) -> Any:
        if isinstance(each, str):
            found.append(each)
        return each

    replace(value, leaf)
    return found
