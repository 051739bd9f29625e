"""Records: frozen classes whose fields are what they annotate, and which cost next to nothing to define.

They are written and read like frozen dataclasses. `dataclasses` itself takes a millisecond to import and a
tenth of one for each class, which for the thirty of a first run is a fifth of what importing the rest takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, dataclass_transform

MISSING: Any = object()


class Field:
    """What is known of one field.

    Attributes
    ----------
    default : object
        `MISSING` if there is none.
    default_factory : callable or None
        Makes a default for each record.
    repr : bool
        Whether the record's repr shows it.
    """

    __slots__ = ("default", "default_factory", "repr")

    def __init__(
        self,
        default: Any = MISSING,
        default_factory: Callable[[], Any] | None = None,
        repr: bool = True,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.repr = repr


def field(
    *,
    default: Any = MISSING,
    default_factory: Callable[[], Any] | None = None,
    repr: bool = True,
) -> Any:
    """Declare a field that is more than its default: for the right side of an annotation."""
    return Field(default, default_factory, repr)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
class Record:
    """A frozen class: subclasses annotate their fields. Two records are equal if they are the same.

    Raises
    ------
    TypeError
        For an argument that is missing, given twice or not known.
    """

    __record_fields__: ClassVar[Mapping[str, Field]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        known = fields(self)
        values = dict(zip(known, args, strict=False))
        if len(args) > len(known) or not kwargs.keys() <= known.keys() - values.keys():
            raise TypeError(f"{type(self).__name__}{_misfit(args, kwargs, tuple(known))}")
        for name, each in known.items():
            if name not in values:
                values[name] = kwargs[name] if name in kwargs else self._default(name, each)
        self.__dict__.update(values)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the values; for subclasses."""

    def _default(self, name: str, missing: Field) -> Any:
        if missing.default_factory is not None:
            return missing.default_factory()
        if missing.default is MISSING:
            raise TypeError(f"{type(self).__name__} needs the argument {name!r}")
        return missing.default

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise _frozen(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise _frozen(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        shown = (name for name, each in fields(self).items() if each.repr)
        said = (f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({', '.join(said)})"


def fields(record: Record | type[Record]) -> Mapping[str, Field]:
    """Give the fields of a record or of a class of records, by name."""
    kind = record if isinstance(record, type) else type(record)
    found = vars(kind).get("__record_fields__")
    return _find_fields(kind) if found is None else found  # of most kinds a run makes no record


if TYPE_CHECKING:
    from dataclasses import replace as replace  # whose keywords type checkers know from the fields
else:

    def replace(record: Record, **changes: Any) -> Record:
        """Make a record like another one but for some fields, and check it like any other."""
        kept = {name: record.__dict__[name] for name in fields(record)}
        return type(record)(**kept | changes)


def _find_fields(kind: type[Record]) -> Mapping[str, Field]:
    made = dict(fields(next(each for each in kind.__mro__[1:] if issubclass(each, Record))))
    for name in vars(kind).get("__annotations__", ()):
        given = vars(kind).get(name, MISSING)
        made[name] = given if isinstance(given, Field) else Field(given)
    kind.__record_fields__ = made
    return made


def _misfit(args: tuple[Any, ...], kwargs: Mapping[str, Any], known: tuple[str, ...]) -> str:
    """Say which arguments do not fit the fields of a record."""
    from batchloom.errors import nearest

    if len(args) > len(known):
        found = f"takes {len(known)} arguments at most, not {len(args)}"
    else:
        name = next(each for each in kwargs if each not in known[len(args) :])
        found = f"got {name!r} twice"
        if name not in known:
            found = f"has no argument {name!r}{nearest(name, known)}"
    return f" {found}{'' if found.endswith('?') else '.'} Its arguments are {', '.join(known)}"


def _frozen(message: str) -> AttributeError:
    from dataclasses import FrozenInstanceError  # what such classes raise, imported when one does

    return FrozenInstanceError(message)
