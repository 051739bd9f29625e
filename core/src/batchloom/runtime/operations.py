"""Operations: steps made ready to be called, and how they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from batchloom.batch import Batch
from batchloom.errors import ActionError
from batchloom.records import Record

if TYPE_CHECKING:
    from batchloom.index import Ids
    from batchloom.steps import Step


class PlainAction(Record):
    """An action that is called with the same arguments for every batch.

    Attributes
    ----------
    name : str
    function : callable
        The batch class's method, which takes the batch.
    args : tuple
    kwargs : dict
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Operation(Record):
    """One step as a function of a batch.

    Attributes
    ----------
    label : str
        The step as its user wrote it, for notes on exceptions.
    call : callable
        Takes a batch and returns the batch that goes on.
    in_order : bool
        Whether it uses something shared, and so must run for one batch after the other.
    here : bool
        Whether it must run in this process.
    locks : frozenset of str
        The named locks that it holds.
    reads : tuple of str
        The components that it is known to read.
    step : Step
    action : PlainAction or None
        What `call` does, where it is nothing but an action.
    call_filled : callable or None
        `call` for batches that are known to have items, if that is less to do.
    """

    label: str
    call: Callable[[Batch], Batch]
    step: Step
    in_order: bool = False
    here: bool = False
    locks: frozenset[str] = frozenset()
    reads: tuple[str, ...] = ()
    action: PlainAction | None = None
    call_filled: Callable[[Batch], Batch] | None = None


class Origin(Record):
    """Where an exception came from.

    Attributes
    ----------
    step : str
    epoch, number : int
        Of the batch.
    indices : array
        The ids of the items that it then had.
    """

    step: str
    epoch: int
    number: int
    indices: Ids


def perform(operations: Sequence[Operation], batch: Batch) -> Batch:
    """Call operations one after the other.

    Raises
    ------
    BaseException
        What an operation raised, with a note of the step, the batch and its first indices.
    """
    operation: Operation | None = None
    try:
        for operation in operations:
            batch = operation.call(batch)
    except BaseException as exc:
        assert operation is not None
        raise located(exc, operation.label, batch)  # noqa: B904  (the very same exception)
    return batch


def taken_over(made: Any, batch: Batch, name: str) -> Batch:
    """Take over what an action returned: the batch, or another one in its place.

    Raises
    ------
    ActionError
        If it is no batch.
    DataError
        If a component was written whose rows are not as many as the batch has items.
    """
    if made is not batch:
        made = _replacement(made, batch, name)
    made.check_lengths()
    return made  # type: ignore[no-any-return]


def _replacement(made: Any, batch: Batch, name: str) -> Batch:
    if not isinstance(made, Batch):
        raise ActionError(
            f"action {name!r} of {type(batch).__name__} returned {type(made).__name__}; an action returns "
            f"the batch{_advice(made)}"
        )
    assert batch.pipeline is not None
    made.__dict__.update(number=batch.number, epoch=batch.epoch, _draws=batch._draws)
    made.__dict__["pipeline"] = batch.pipeline.for_batch(made)
    return made


def _advice(made: Any) -> str:
    if made is None:
        return ": did it forget `return self`?"
    if isinstance(made, CoroutineType):
        made.close()  # Python would warn that nobody awaited it
        return ", and nobody awaits it: write it with def, and asyncio.run(...) for what is async in it"
    if isinstance(made, GeneratorType):
        return ", and nobody goes through what it yields: write it without yield"
    return ""


def located(exc: BaseException, label: str, batch: Batch) -> BaseException:
    """Note on an exception where it happened; `StopIteration` becomes an error that ends no loop."""
    if isinstance(exc, StopIteration):
        stopped = RuntimeError(
            f"{label} raised StopIteration, which would have ended the run in silence"
        )
        stopped.__cause__ = exc
        exc = stopped
    note = f"in step {label}, batch {batch.number} of epoch {batch.epoch}, first indices {_first(batch)}"
    if note not in getattr(exc, "__notes__", ()):
        exc.add_note(note)
    # Kept by the exception itself, because it may come from another process, where the batch stays.
    exc.__dict__["_batchloom_origin"] = Origin(label, batch.epoch, batch.number, batch.indices)
    return exc


def origin_of(exc: BaseException) -> Origin | None:
    """Say where an exception came from; None if it came from no step."""
    return getattr(exc, "_batchloom_origin", None)


def traceback_taken(exc: BaseException) -> str:
    """Take an exception's traceback away, and give it as text: its frames would keep the batch in memory."""
    import traceback

    text = "".join(traceback.format_exception(exc))
    seen: set[int] = set()
    links: list[BaseException | None] = [exc]
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            links += [link.__cause__, link.__context__]
    return text


def gathering(names: Iterable[str], step: Step) -> Operation:
    """Make the operation that gathers components before they are needed."""
    wanted = tuple(dict.fromkeys(names))

    def gather(batch: Batch) -> Batch:
        for name in wanted:
            if name in batch.components:
                getattr(batch, name)
        return batch

    return Operation(f"gathering of {', '.join(wanted)}", gather, step, reads=wanted)


def _first(batch: Batch) -> str:
    indices = batch.first_indices()
    more = ", ..." if batch.size > len(indices) else ""
    return f"[{', '.join(map(str, indices.tolist()))}{more}]"
