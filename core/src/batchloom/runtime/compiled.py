"""Compiled steps: the operations of a stage as one Python function, made of source text.

The loop over a portion makes each batch and calls the operations on it without anything in between that is
known beforehand. On batches of a few rows, whatever a loop over operations and attributes would do besides
takes longer than the work itself.
"""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from batchloom.batch import Batch
from batchloom.portion import Portion
from batchloom.runtime.operations import Operation, located, perform, taken_over

if TYPE_CHECKING:
    from batchloom.models.runs import PipelineRun

Loop = Callable[[Portion, int, int, Callable[[BaseException], None]], Iterator[Batch]]
"""Gives the batches from one position of a portion to another, and each exception to a function."""


MADE = "made ="
"""How a line of the loop begins that calls an operation."""


class _Bare:
    """What a batch is before it gets its class: an object whose attributes are set at no price."""


class _DivertedError(BaseException):
    """Leaves the compiled steps with another batch than the loop has made, for which they do not hold."""

    def __init__(self, batch: Batch, step: int) -> None:
        super().__init__()
        self.batch = batch
        self.step = step


class Compiled:
    """The operations of a stage, compiled for one class of batches.

    Parameters
    ----------
    operations : sequence of Operation
    batch_class : type
    names : tuple of str
        The components of a batch that nothing was done to.
    run : PipelineRun or None
        What the operations belong to, where that is not known from the thread.

    Attributes
    ----------
    is_possible : bool
        Whether there is a `loop`: the batches of some classes are made by calling them.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        batch_class: type[Batch],
        names: tuple[str, ...],
        run: PipelineRun | None,
    ) -> None:
        self.operations = operations
        self._batch_class = batch_class
        self._names = names
        self._run = run
        self._loops: dict[tuple[tuple[str, ...], ...], Loop] = {}
        self.is_possible = _can_be_bare(batch_class)

    def followed_by(self, others: Compiled) -> Compiled:
        """Give these operations and others as one."""
        operations = [*self.operations, *others.operations]
        return Compiled(operations, self._batch_class, self._names, self._run)

    def __call__(self, batch: Batch) -> Batch:
        """Do the operations on one batch."""
        return perform(self.operations, batch)

    def loop(self, portion: Portion, wanted: tuple[str, ...]) -> Loop:
        """Give the loop for a portion of whose components some are wanted beforehand."""
        rows = portion.rows
        assert rows is not None
        plain = _source_names(wanted) if wanted else []
        shared = tuple(each for each in plain if rows.shares(each))
        alone = tuple(each for each in plain if each not in shared)
        found = self._loops.get((shared, alone))
        if found is None:
            found = self._loops[shared, alone] = self._compiled(shared, alone)
        return found

    def _compiled(self, shared: tuple[str, ...], alone: tuple[str, ...]) -> Loop:
        names_differ = self._batch_class.components != self._names
        steps = _steps(self.operations, alone, self._run is not None)
        source = _source(shared, alone, names_differ, len(self.operations), steps)
        scope = self._scope()
        scope["located"] = functools.partial(self._located, _lines_of_calls(source))
        exec(code_of(source), scope)
        loop: Loop = scope["loop"]
        return loop

    def _scope(self) -> dict[str, Any]:
        from batchloom.models.runs import current_run, enter_run

        scope: dict[str, Any] = {
            "Bare": _Bare,
            "Diverted": _DivertedError,
            "arrays": _arrays,
            "batch_class": self._batch_class,
            "current_run": current_run,
            "enter_run": enter_run,
            "gathering": _gathering,
            "go_on": self._go_on,
            "names": self._names,
            "run": self._run,
            "see_to": self._see_to,
        }
        for at, each in enumerate(self.operations):
            scope[f"call_{at}"] = _called(each)
            if each.action is not None:
                scope[f"args_{at}"], scope[f"keywords_{at}"] = each.action.args, each.action.kwargs
        return scope

    def _see_to(self, step: int, made: Any, batch: Batch) -> None:
        """Hold what was written against the batch's size, or go on with what a step returned in its place."""
        if made is batch:
            batch.check_lengths()  # unless it is another batch of the portion that was written
            return
        action = self.operations[step].action
        if action is not None:
            made = taken_over(made, batch, action.name)
        raise _DivertedError(made, step + 1)

    def _located(self, lines: list[int], exc: BaseException, batch: Batch) -> BaseException:
        """Note on an exception where it happened; the line of the loop says which step that was."""
        assert exc.__traceback__ is not None
        begun = sum(line <= exc.__traceback__.tb_lineno for line in lines)
        label = self.operations[begun - 1].label if begun else "gathering of components"
        return located(exc, label, batch)

    def _go_on(self, diverted: _DivertedError) -> Batch:
        return perform(self.operations[diverted.step :], diverted.batch)


def _arrays(portion: Portion, name: str, start: int, stop: int) -> np.ndarray[Any, Any]:
    """Give an array component of batches that are full, with the batches as its first axis."""
    assert portion.rows is not None
    size = portion.batch_size
    array = portion.rows.whole(name)[start * size : stop * size]
    return array.reshape(stop - start, size, *array.shape[1:])  # type: ignore[no-any-return]


def _gathering(portion: Portion, name: str) -> Callable[[int], Any]:
    """Give what gathers a component of the batch at a position, which is full, for it alone."""
    assert portion.rows is not None
    return portion.rows.gathering(name, portion.batch_size)


def _can_be_bare(batch_class: type[Batch]) -> bool:
    """Tell whether batches of a class can be made without calling it."""
    if batch_class.__init__ is not Batch.__init__ or batch_class.__new__ is not object.__new__:
        return False
    try:
        _Bare().__class__ = batch_class  # type: ignore[assignment]
    except TypeError:  # it has slots of its own
        return False
    return True


def _source(
    shared: tuple[str, ...],
    alone: tuple[str, ...],
    names_differ: bool,
    count: int,
    steps: list[str],
) -> str:
    """Write the loop.

    Parameters
    ----------
    shared : tuple of str
        The components that are gathered for all batches together.
    alone : tuple of str
        The components that are gathered for each batch by itself.
    names_differ : bool
        Whether a batch has other components than its class declares.
    count : int
        How many operations there are.
    steps : list of str
        The lines that do them on each batch.
    """
    values = ["position", *(f"value_{at}" for at in range(len(shared)))]
    sources = ["range(start, stop)"]
    sources += [f"arrays(portion, {name!r}, start, stop)" for name in shared]
    each = (
        f"{', '.join(values)} in zip({', '.join(sources)})"
        if shared
        else "position in range(start, stop)"
    )
    # As parameters with defaults they are local variables, which are found faster than global ones.
    fast = ["Bare", "batch_class", "current_run", "enter_run", "run"]
    fast += [f"call_{at}" for at in range(count)]
    return "\n".join(
        [
            f"def loop(portion, start, stop, problem, {', '.join(f'{n}={n}' for n in fast)}):",
            "    written = portion.written",
            *(f"    gather_{at} = gathering(portion, {name!r})" for at, name in enumerate(alone)),
            f"    for {each}:",
            "        batch = Bare()",
            "        batch._portion = portion",
            "        batch._position = position",
            *(["        batch.components = names"] if names_differ else []),
            *(f"        batch.{name} = value_{at}" for at, name in enumerate(shared)),
            "        batch.__class__ = batch_class",
            *steps,
            "        yield batch",
            "",
        ]
    )


def _steps(operations: Sequence[Operation], alone: tuple[str, ...], enters: bool) -> list[str]:
    """Write what is done on each batch.

    Parameters
    ----------
    operations : sequence of Operation
    alone : tuple of str
        The components that are gathered for each batch by itself.
    enters : bool
        Whether all of it is to belong to the run.
    """
    if not operations and not alone:
        return []
    lines = ["        outer = current_run()"] if enters else []
    lines += ["        try:"]
    lines += ["            enter_run(run)"] if enters else []
    if alone:
        lines += [
            f"            batch.__dict__[{name!r}] = gather_{at}(position)"
            for at, name in enumerate(alone)
        ]
    for at, each in enumerate(operations):
        lines += _step(at, each)
    lines += [
        "        except Diverted as diverted:",
        "            try:",
        "                batch = go_on(diverted)",
        "            except BaseException as exc:",
        "                problem(exc)",
        "                continue",
        "        except BaseException as exc:",
        "            problem(located(exc, batch))",
        "            continue",
    ]
    if enters:
        lines += ["        finally:", "            enter_run(outer)"]
    return lines


def _step(at: int, operation: Operation) -> list[str]:
    from batchloom.runtime.returned import returns_its_batch  # imported by runs that have steps

    action, given = operation.action, ""
    if action is not None:
        given += f", *args_{at}" if action.args else ""
        given += f", **keywords_{at}" if action.kwargs else ""
    certain = returns_its_batch(_called(operation))
    return [
        f"            {MADE} call_{at}(batch{given})",
        "            if written:" if certain else "            if made is not batch or written:",
        f"                see_to({at}, made, batch)",
    ]


def _called(operation: Operation) -> Callable[..., Any]:
    """Give what is called for a batch that has items."""
    if operation.action is not None:
        return operation.action.function
    return operation.call_filled or operation.call


def _source_names(names: Iterable[str]) -> list[str]:
    from batchloom.source_names import is_source_name

    return [each for each in names if is_source_name(each)]


def _lines_of_calls(source: str) -> list[int]:
    """Number the lines of a loop that call an operation, from 1."""
    lines = source.splitlines()
    return [number for number, line in enumerate(lines, 1) if line.lstrip().startswith(MADE)]


@functools.lru_cache(maxsize=256)
def code_of(source: str) -> CodeType:
    """Compile source text; tracebacks show its lines."""
    filename = f"<batchloom steps {hash(source) & 0xFFFFFFFF:08x}>"
    linecache.cache[filename] = len(source), None, source.splitlines(keepends=True), filename
    return compile(source, filename, "exec")
