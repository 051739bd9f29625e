"""Records: frozen dataclasses that cost next to nothing to define.

`dataclasses` compiles six methods for each frozen class, half a millisecond each time the class is
imported. Records share theirs, and are dataclasses in every other respect (`replace`, `fields`).
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from typing import Any, ClassVar, NoReturn, dataclass_transform


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
class Record:
    """A frozen dataclass: subclasses annotate their fields. Two records are equal if they are the same.

    Raises
    ------
    TypeError
        For an argument that is missing, given twice or not known.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields = self.__dataclass_fields__
        values = dict(zip(fields, args, strict=False))
        wrong = [*args[len(fields) :], *(each for each in kwargs if each not in fields)]
        if wrong or not values.keys().isdisjoint(kwargs):
            raise TypeError(f"{type(self).__name__}({', '.join(fields)}) got {args} and {kwargs}")
        for name, each in fields.items():
            if name not in values:
                values[name] = kwargs[name] if name in kwargs else self._default(each)
        self.__dict__.update(values)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the values; for subclasses."""

    def _default(self, missing: Field[Any]) -> Any:
        if missing.default_factory is not MISSING:
            return missing.default_factory()
        if missing.default is MISSING:
            raise TypeError(f"{type(self).__name__} needs the argument {missing.name!r}")
        return missing.default

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        fields = (each for each in self.__dataclass_fields__.values() if each.repr)
        said = (f"{each.name}={getattr(self, each.name)!r}" for each in fields)
        return f"{type(self).__qualname__}({', '.join(said)})"
