"""``@action`` marks the methods of a batch class that a pipeline may call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

from batchloom.errors import DefinitionError, UnknownArgumentError
from batchloom.records import Record, fields

Method = TypeVar("Method", bound=Callable[..., Any])
_MARK = "_batchloom_action"


class ActionMark(Record):
    """What `action` was told of a method.

    Attributes
    ----------
    model : str or None
        The model that the method gets as its first argument after ``self``.
    use_lock : str or None
        The lock that it holds: steps with the same lock run one at a time, in the order of batches.
    """

    model: str | None = None
    use_lock: str | None = None


@overload
def action(method: Method, /) -> Method: ...
@overload
def action(
    *, model: str | None = None, use_lock: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def action(method: Any = None, /, **options: Any) -> Any:
    """Make a method of a batch class an action of pipelines.

    An action takes the batch, works on it and returns it (or another batch in its place).

    Parameters
    ----------
    model : str, optional
        The name of a model of the pipeline, which the method gets as its first argument after ``self``.
    use_lock : str, optional
        A name. Actions with the same name run one at a time and in the order of batches, also when
        batches are prepared ahead.

    Examples
    --------
    >>> class Digits(Batch):
    ...     components = "images", "labels"
    ...
    ...     @action
    ...     def scale(self, by=16):
    ...         self.images = self.images / by
    ...         return self
    """
    for name in options:
        if name not in fields(ActionMark):
            raise UnknownArgumentError("argument", name, fields(ActionMark), "of @action")
    mark = ActionMark(**options)
    for name, value in options.items():
        if value is not None and not isinstance(value, str):
            raise DefinitionError(f"{name}= of @action takes a name, not {value!r}")
    if method is None:
        return lambda each: _marked(each, mark)
    if not callable(method):
        raise DefinitionError(
            f"@action stands before a method, or takes keywords (model=, use_lock=), not {method!r}"
        )
    return _marked(method, mark)


def action_mark(batch_class: type, name: str) -> ActionMark | None:
    """Give what `action` was told of a method, or None for what is no action."""
    return getattr(getattr(batch_class, name, None), _MARK, None)


def action_names(batch_class: type) -> list[str]:
    """List the actions of a batch class."""
    return [each for each in dir(batch_class) if action_mark(batch_class, each) is not None]


def _marked(method: Callable[..., Any], mark: ActionMark) -> Callable[..., Any]:
    if mark.model is None:
        setattr(method, _MARK, mark)
        return method
    model = mark.model

    @functools.wraps(method)
    def with_model(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, self.get_model_by_name(model), *args, **kwargs)

    setattr(with_model, _MARK, mark)
    return with_model
