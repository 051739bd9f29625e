"""Late-bound references: ``B`` (component), ``V`` (variable), ``C`` (config) and ``F`` (function).

They stand for a value that is only known when a batch is there. An expression holds no value itself, so
that one expression can serve many batches at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, Protocol

from batchloom.batch import Batch
from batchloom.errors import DefinitionError, UnknownNameError


class Surroundings(Protocol):
    """What an expression may look at: the running pipeline, as a batch or a static model sees it."""

    @property
    def config(self) -> Mapping[str, Any]: ...

    def read_variable(self, name: str) -> Any:
        """Give the value of a variable to an argument."""


class Expression:
    """A value that is worked out for each batch."""

    kind = "expression"

    def evaluate(self, batch: Batch | None, pipeline: Surroundings) -> Any:
        """Work out the value.

        Parameters
        ----------
        batch : Batch or None
            None for a static model, which is made before there is a batch.
        pipeline : Surroundings
        """
        raise NotImplementedError

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has no truth value yet: it is worked out for each batch. Use F(function) to "
            "compute with the batch"
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self!r} cannot be iterated: it is worked out for each batch")

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(f"'in {self!r}' cannot be answered: it is worked out for each batch")

    def __getitem__(self, key: object) -> NoReturn:
        raise self._refusal("{}[...]")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Expression):
            return self is other
        # False, which Python would answer, would be taken for what holds of each batch.
        raise self._refusal("{} == ...")

    __hash__ = object.__hash__

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: object, **kwargs: object
    ) -> NoReturn:
        places = ", ".join("{}" if each is self else "..." for each in inputs)
        raise self._refusal(f"np.{ufunc.__name__}({places})")

    def _refusal(self, form: str) -> TypeError:
        """Say that an expression computes nothing, and how to write what was meant."""
        asked, meant = form.replace("{}", repr(self)), form.replace("{}", self._of_batch())
        return TypeError(
            f"{asked} cannot be worked out before there is a batch. Write it as a function of the batch: "
            f"F(lambda batch: {meant})"
        )

    def _of_batch(self) -> str:
        """Write the value as a function of the batch has it."""
        raise NotImplementedError


def _refusing(form: str) -> Callable[..., NoReturn]:
    def refuse(self: Expression, *others: object) -> NoReturn:
        raise self._refusal(form)

    return refuse


for _name, _sign in {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "matmul": "@", "and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
}.items():  # fmt: skip
    setattr(Expression, f"__{_name}__", _refusing(f"{{}} {_sign} ..."))
    setattr(Expression, f"__r{_name}__", _refusing(f"... {_sign} {{}}"))
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    setattr(Expression, f"__{_name}__", _refusing(f"{{}} {_sign} ..."))
for _name, _sign in {"neg": "-", "pos": "+", "invert": "~"}.items():
    setattr(Expression, f"__{_name}__", _refusing(f"{_sign}{{}}"))


class Named(Expression):
    """An expression that names one thing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"{self.kind}({self.name!r})"


class Component(Named):
    """``B.images``: a component of the batch."""

    kind = "B"

    def evaluate(self, batch: Batch | None, pipeline: Surroundings) -> Any:
        if batch is None:
            raise DefinitionError(
                f"{self!r} needs a batch, and a static model is made before there is one: "
                "use a dynamic model"
            )
        return getattr(batch, self.name)

    def _of_batch(self) -> str:
        named = self.name.isidentifier()
        return f"batch.{self.name}" if named else f"getattr(batch, {self.name!r})"


class Variable(Named):
    """``V.loss_history``: a variable of the pipeline."""

    kind = "V"

    def evaluate(self, batch: Batch | None, pipeline: Surroundings) -> Any:
        return pipeline.read_variable(self.name)

    def _of_batch(self) -> str:
        return f"batch.pipeline.get_variable({self.name!r})"


class Config(Named):
    """``C.lr``: an entry of the pipeline's config."""

    kind = "C"

    def evaluate(self, batch: Batch | None, pipeline: Surroundings) -> Any:
        try:
            return pipeline.config[self.name]
        except KeyError:
            raise UnknownNameError(
                "config entry",
                self.name,
                map(str, pipeline.config),
                hint=f"Give it as Pipeline(config={{{self.name!r}: ...}})",
            ) from None

    def _of_batch(self) -> str:
        return f"batch.pipeline.config[{self.name!r}]"


class Function(Expression):
    """``F(function)``: what a function makes of the batch."""

    kind = "F"

    def __init__(self, function: Callable[[Batch], Any]) -> None:
        if not callable(function):
            raise DefinitionError(f"F takes a function of a batch, not {function!r}")
        self.function = function

    def __repr__(self) -> str:
        return f"F({getattr(self.function, '__qualname__', repr(self.function))})"

    def evaluate(self, batch: Batch | None, pipeline: Surroundings) -> Any:
        if batch is None:
            raise DefinitionError(
                f"{self!r} needs a batch, and a static model is made before there is one: "
                "use a dynamic model"
            )
        return self.function(batch)

    def _of_batch(self) -> str:
        return f"{getattr(self.function, '__name__', 'function')}(batch)"


class Reference:
    """Makes the expressions of one kind: ``B.images``, ``B("images")`` or ``B["images"]``."""

    def __init__(self, expression: type[Named]) -> None:
        self._expression = expression

    def __getattr__(self, name: str) -> Named:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._expression(name)

    def __call__(self, name: str) -> Named:
        return self._expression(_checked(self._expression, name))

    def __getitem__(self, name: str) -> Named:
        return self._expression(_checked(self._expression, name))

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be iterated")

    def __repr__(self) -> str:
        return self._expression.kind


B = Reference(Component)
V = Reference(Variable)
C = Reference(Config)
F = Function


def find_expressions(value: Any) -> Iterator[Expression]:
    """Find the expressions in a value, also inside dicts, lists and tuples."""
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from find_expressions(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from find_expressions(each)


def has_expressions(value: Any) -> bool:
    """Tell whether there is an expression in a value."""
    # Not any(): an expression refuses to be asked whether it is true.
    return next(find_expressions(value), None) is not None


def evaluate(value: Any, batch: Batch | None, pipeline: Surroundings) -> Any:
    """Replace the expressions in a value, also inside dicts, lists and tuples, by what they stand for."""
    return replace(
        value,
        lambda leaf: leaf.evaluate(batch, pipeline) if isinstance(leaf, Expression) else leaf,
    )


def replace(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Rebuild a nest of dicts, lists and tuples with each leaf replaced."""
    if isinstance(value, dict):
        return {key: replace(each, leaf) for key, each in value.items()}
    if not isinstance(value, (list, tuple)):
        return leaf(value)
    made = [replace(each, leaf) for each in value]
    if isinstance(value, list):
        return made
    # A named tuple takes its values one by one.
    return type(value)(*made) if hasattr(value, "_fields") else tuple(made)


def _checked(expression: type[Named], name: object) -> str:
    if not isinstance(name, str):
        raise DefinitionError(f"{expression.kind}(...) takes a name, not {name!r}")
    return name
