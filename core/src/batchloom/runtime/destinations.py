"""Destinations: where ``save_to`` and ``append_to`` put the output of a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from batchloom.batch import Batch
from batchloom.definition import Definition
from batchloom.errors import DefinitionError, UnknownDestinationError
from batchloom.expressions import Component, Variable
from batchloom.variables import CHANGES, Variables

if TYPE_CHECKING:
    from batchloom.models.late import LateOutput


class Destination:
    """One place for a value: a component of the batch, or a variable of the pipeline.

    Parameters
    ----------
    target : str, B.name or V.name
        A plain name is that of a component if the batch has one, else that of a variable.
    definition : Definition
    """

    append = False
    _change = staticmethod(CHANGES["set"])

    def __init__(self, target: Any, definition: Definition) -> None:
        if not isinstance(target, (str, Component, Variable)):
            raise DefinitionError(f"save_to={target!r}: give a name, B.name or V.name")
        self.name = target if isinstance(target, str) else target.name
        self.target = target
        self._variables = definition.variables
        self._is_variable = isinstance(target, Variable)
        self._is_component = isinstance(target, Component)

    def may_write_variable(self) -> bool:
        """Tell whether this can be a variable."""
        return not self._is_component and self.name in self._variables

    def check(self, batch: Batch, variables: Variables | None = None) -> None:
        """Refuse a destination that is not there, before the model is called.

        Without the variables they are asked for through the batch's pipeline.

        Raises
        ------
        UnknownDestinationError, DefinitionError
        """
        if not self._is_variable and self.is_component(batch):
            return
        if self.name not in self._variables:
            raise unknown_destination(self, False, batch.components, self._variables)

    def store(self, batch: Batch, value: Any, variables: Variables | None = None) -> None:
        """Put a value there."""
        if not self._is_variable and self.is_component(batch):
            batch.add_component(self.name, value)
            return
        (_variables_of(batch) if variables is None else variables).change(
            self.name, self._change, value
        )

    def store_when_there(
        self, batch: Batch, output: LateOutput, part: Callable[[Any], Any], variables: Variables
    ) -> None:
        """Put a part of an output there once the model gives it; a component waits for nothing."""
        if not self.is_component(batch):
            variables.change_when_there(self.name, self._change, output, part)
        elif (value := output.get()) is not None:
            batch.add_component(self.name, part(value))

    def store_late(self, variables: Variables, value: Any) -> None:
        """Put a value there that came when the epoch's batches were gone.

        Raises
        ------
        DefinitionError
            If this is no variable.
        """
        if not self.may_write_variable():
            raise DefinitionError(
                f"save_to={self.target!r}: this model gives its output at the end of the epoch, when there "
                f"is no batch to put it into. Declare a variable: init_variable({self.name!r})"
            )
        variables.change(self.name, self._change, value)

    def is_component(self, batch: Batch) -> bool:
        """Tell whether this is a component of a batch."""
        if self._is_variable:
            return False
        return self._is_component or batch.has_component(self.name)


class AppendingDestination(Destination):
    """One variable of the pipeline, to which values are appended."""

    append = True
    _change = staticmethod(CHANGES["append"])

    def __init__(self, target: Any, definition: Definition) -> None:
        if not isinstance(target, (str, Variable)):
            raise DefinitionError(f"append_to={target!r}: give a variable's name or V.name")
        super().__init__(target, definition)
        self._is_variable = True

    def check(self, batch: Batch, variables: Variables | None = None) -> None:
        if self.name not in self._variables:
            raise unknown_destination(self, True, batch.components, self._variables)
        value = (_variables_of(batch) if variables is None else variables).so_far(self.name)
        if not callable(getattr(value, "append", None)):
            raise DefinitionError(
                f"append_to={self.name!r}: the variable holds {type(value).__name__} {value!r}, which "
                f"has no append(). Declare it with init_variable({self.name!r}, init_on_each_run=list)"
            )

    def store(self, batch: Batch, value: Any, variables: Variables | None = None) -> None:
        (_variables_of(batch) if variables is None else variables).append(self.name, value)


class Destinations:
    """Where the output of one step goes: nowhere, to one place, or each part to a place of its own.

    Parameters
    ----------
    save_to, append_to : object
        As in `Pipeline.train_model`; `append_to` wins.
    definition : Definition
    """

    def __init__(self, save_to: Any, append_to: Any, definition: Definition) -> None:
        append = append_to is not None
        given = append_to if append else save_to
        self.several = isinstance(given, (list, tuple))
        targets: Sequence[Any] = given if self.several else [given] if given is not None else []
        kind = AppendingDestination if append else Destination
        self.places = [kind(each, definition) for each in targets]

    def __bool__(self) -> bool:
        return bool(self.places)

    def warn_of_double_names(self, components: Sequence[str]) -> None:
        """Say which destinations are both a component and a variable."""
        for each in self.places:
            plain = isinstance(each.target, str) and not each.append
            if plain and each.name in components and each.may_write_variable():
                warnings.warn(
                    f"save_to={each.name!r} names a component and a variable: the component is used. "
                    f"Write B.{each.name} or V.{each.name} to say which",
                    stacklevel=2,
                )

    def written_variables(self, components: Sequence[str]) -> set[str]:
        """Name the variables that are (or may be) written."""
        return {
            each.name
            for each in self.places
            if each.may_write_variable()
            and (each.append or isinstance(each.target, Variable) or each.name not in components)
        }

    @property
    def only(self) -> Destination | Destinations:
        """The one place where everything goes as it is, if there is just one."""
        return self.places[0] if len(self.places) == 1 and not self.several else self

    def check(self, batch: Batch, variables: Variables | None = None) -> None:
        """Refuse what cannot be written, before the model is called."""
        for each in self.places:
            each.check(batch, variables)

    def store(self, batch: Batch, output: Any, variables: Variables | None = None) -> None:
        """Put an output where it goes."""
        if not self.several:
            for place in self.places:
                place.store(batch, output, variables)
            return
        for place, value in zip(self.places, self._values(output), strict=True):
            place.store(batch, value, variables)

    def store_when_there(self, batch: Batch, output: LateOutput, variables: Variables) -> None:
        """Put an output where it goes, once the model gives it."""
        for number, place in enumerate(self.places):
            place.store_when_there(batch, output, partial(self._value, number), variables)

    def store_nothing(self, batch: Batch) -> None:
        """Fill the components of a batch without items, which the steps that follow may read."""
        for each in self.places:
            if each.is_component(batch):
                each.store(batch, np.empty(0))

    def store_late(self, variables: Variables, output: Any) -> None:
        """Put an output where it goes, at the end of an epoch."""
        for place, value in zip(self.places, self._values(output), strict=True):
            place.store_late(variables, value)

    def _value(self, place: int, output: Any) -> Any:
        return self._values(output)[place]

    def _values(self, output: Any) -> Sequence[Any]:
        if not self.several:
            return [output] * len(self.places)
        if not isinstance(output, (list, tuple)) or len(output) != len(self.places):
            found = (
                f"{len(output)} values"
                if isinstance(output, (list, tuple))
                else type(output).__name__
            )
            raise DefinitionError(
                f"the model gave {found} for {len(self.places)} destinations "
                f"({', '.join(str(each.name) for each in self.places)}): name as many as there are outputs"
            )
        return output


def unknown_destination(
    place: Destination, only_variable: bool, components: Sequence[str], variables: Any
) -> UnknownDestinationError:
    """Say that an output would go nowhere."""
    name = place.name
    known = list(variables) if only_variable else [*components, *variables]
    component = "" if only_variable else f", or write save_to=B.{name} to make a component"
    return UnknownDestinationError(
        "destination",
        name,
        known,
        "in " + ("append_to" if place.append else "save_to"),
        f"Declare a variable with init_variable({name!r}, ...){component}",
    )


def _variables_of(batch: Batch) -> Variables:
    assert batch.pipeline is not None
    return batch.pipeline.variables
