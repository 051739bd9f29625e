"""Work: the preparation of a lot of batches, by a pool or by the thread that wants them."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from batchloom.batch import Batch
from batchloom.models.runs import PipelineRun, within
from batchloom.portion import Portion
from batchloom.runtime.ahead import Monitor, OrderedLock, RunCancelledError
from batchloom.runtime.compiled import Compiled, Loop
from batchloom.runtime.operations import perform
from batchloom.runtime.outcomes import Outcome, Prepared, Problem
from batchloom.runtime.state import State
from batchloom.runtime.turns import NotNowError, Turn, Turns
from batchloom.runtime.view import RunningPipeline, Views

if TYPE_CHECKING:
    from batchloom.runtime.protocols import Lot, Read


class Preparation:
    """The operations of a stage that can run ahead, with the named locks that they hold.

    Parameters
    ----------
    steps : Compiled
    state : State
    monitor : Monitor
    parallel : bool
        Whether several batches may be prepared at once, so that locks are needed.
    run : PipelineRun
        What the work belongs to, in whatever thread it is done.
    never_waits : bool
        Whether nothing but rows is gathered, from memory: no user's code is called.
    """

    def __init__(
        self,
        steps: Compiled,
        state: State,
        monitor: Monitor,
        parallel: bool,
        run: PipelineRun,
        never_waits: bool,
    ) -> None:
        self.steps = steps
        self.never_waits = never_waits
        self.run = run
        self.turns = Turns()
        self.state = state
        self.monitor = monitor
        names = {name for each in steps.operations for name in each.locks} if parallel else set()
        self.locks = {name: OrderedLock(monitor) for name in names}

    def __call__(self, batch: Batch, ticket: int | None) -> Batch:
        """Prepare a batch; one without a ticket takes no locks, because its turn has come."""
        if not self.locks or ticket is None:
            return self.steps(batch)
        held = dict(self.locks)
        operations = self.steps.operations
        last = {name: at for at, each in enumerate(operations) for name in each.locks}
        try:
            for at, operation in enumerate(operations):
                for name in sorted(operation.locks):
                    held[name].enter(ticket)
                batch = perform((operation,), batch)
                for name in [each for each in operation.locks if last[each] == at]:
                    held.pop(name).leave(ticket)
        finally:
            for lock in held.values():
                lock.leave(ticket)
        return batch

    def loop(
        self, lot: Lot, gathered: tuple[str, ...], steps: Compiled | None = None
    ) -> Loop | None:
        """Give the loop that does these steps (or others) on a portion, if that can be done in one go."""
        if self.locks or not isinstance(lot, Portion) or not self.steps.is_possible:
            return None
        return (steps or self.steps).loop(lot, gathered)


class Work:
    """The preparation of one lot, by whoever comes first: a pool, or the thread that wants it.

    That thread never waits for work that nobody has begun, so that no pool can be too small, or too
    busy with other runs, for a run to go on.

    Parameters
    ----------
    lot : Lot
    preparation : Preparation
    first_ticket : int
        The place of its first batch among all batches of the stage.
    may_wait : bool
        Whether a batch may wait for its turn in the pool; it is given back otherwise.
    gathered : tuple of str
        The array components to gather beforehand.

    Attributes
    ----------
    is_ours : bool
        Whether the batches are prepared by the thread that takes them.
    wait_until : callable
        Waits until something holds: on the monitor, unless who does the work has a better way.
    shipped : int
        How many bytes of large arrays came back from another process.
    done : list of Outcome or None
        What became of the batches so far; None for one that has to be prepared at its turn.
    """

    def __init__(
        self,
        lot: Lot,
        preparation: Preparation,
        first_ticket: int,
        may_wait: bool,
        gathered: tuple[str, ...] = (),
    ) -> None:
        self.lot = lot
        self.monitor = preparation.monitor
        self.wait_until = self.monitor.wait_until
        self.done: list[Outcome | None] = []
        self._prepare = preparation
        self._ticket = first_ticket
        self._may_wait = may_wait
        self._gathered = gathered
        self._unclaimed = threading.Lock()

    # A lot is made between two batches, when nothing of this is in the processor's cache: what is not
    # known yet is not put down, and what only those need who prepare it is made by them.
    seconds = 0.0
    waited = False
    given_back = 0
    shipped = 0
    is_ours = False
    _gathering: Iterator[Batch] | None = None
    _reads: Mapping[int, Sequence[Read]] = MappingProxyType({})
    _began = 0.0
    _was_elsewhere = False
    _opened: Mapping[int, Turn] = MappingProxyType({})

    @property
    def _repeatable(self) -> bool:
        # What was done under a named lock cannot be done again: others may have passed it since.
        return self.lot.repeatable and not self._prepare.locks

    @functools.cached_property
    def _views(self) -> Views:
        """What the batches see of the pipeline; made by who claimed them."""
        made = self._prepare
        monitor = self.monitor if self._may_wait and not self.is_ours else None
        views = Views(made.state, made.run, made.turns, self._ticket, self._repeatable, monitor)
        self._opened = views.opened
        return views

    def claim(self) -> bool:
        """Take the work on; tells whether nobody else has."""
        return self._unclaimed.acquire(blocking=False)

    def begin_here(self) -> bool:
        """Have the batches prepared by the thread that takes them, unless somebody else has begun."""
        if self.claim():
            self.is_ours = self.waited = True
        return self.is_ours

    def gather_next(self) -> bool:
        """Gather one more batch in the thread that wants it, or one before it; tell whether there was one.

        Only of a lot whose preparation never waits, and that nobody else has begun.
        """
        began = time.perf_counter()
        if self._gathering is None:
            self._gathering = self._begin_gathering()
        batch = None if self._gathering is None else next(self._gathering, None)
        if batch is None:
            return False
        self.done.append(batch)
        self.seconds += time.perf_counter() - began
        return True

    def _begin_gathering(self) -> Iterator[Batch] | None:
        loop = None if self._unclaimed.locked() else self._prepare.loop(self.lot, self._gathered)
        if loop is None or not self.claim():
            return None
        self.is_ours = True
        assert isinstance(self.lot, Portion)
        self.lot.views = self._views
        return loop(self.lot, 0, self.lot.full, self._on_exception_here)

    def run(self) -> None:
        """Prepare all batches of the lot, in a thread of a pool, unless somebody else does."""
        if self.claim():
            within(self._prepare.run, self._run)

    def _run(self) -> None:
        self._began = time.perf_counter()
        try:
            loop = self._prepare.loop(self.lot, self._gathered)
            if loop is not None:
                assert isinstance(self.lot, Portion)
                self.lot.views = self._views
                for batch in loop(self.lot, 0, self.lot.full, self._on_exception):
                    self._finish(batch)
            for position in range(len(self.done), self.lot.count):
                self._finish(self._ahead(position))
        except RunCancelledError:
            return
        except BaseException as exc:
            self.refuse(exc)

    def _finish(self, outcome: Outcome | None) -> None:
        """Put down what became of the next batch.

        Raises
        ------
        RunCancelledError
            If nobody wants the others any more.
        """
        self.done.append(outcome)
        self.seconds = time.perf_counter() - self._began
        self.monitor.changed()
        if self.monitor.cancelled:
            raise RunCancelledError(self.monitor)

    def _on_exception(self, exc: BaseException) -> None:
        if self._ends(exc):
            raise RunCancelledError(self.monitor)
        self._finish(self._outcome_of(exc, self._opened.get(len(self.done))))

    def _on_exception_here(self, exc: BaseException) -> None:
        if not isinstance(exc, Exception):
            raise exc  # Ctrl-C does not wait for the batch's turn
        self.done.append(Problem(exc))

    def close(self) -> None:
        """Let go of what was prepared and nobody took.

        The traceback of an exception knows the work that it is the outcome of: in such a circle, batches
        would stay until the garbage is collected.
        """
        self.done.clear()
        self._gathering = None

    def accept(self, prepared: Sequence[Prepared], seconds: float, shipped: int = 0) -> None:
        """Take over what another process has prepared."""
        self.seconds, self.shipped = seconds, shipped
        self._was_elsewhere = True
        for each in prepared:
            if each.reads:
                self._reads = {**self._reads, len(self.done): each.reads}
            self.done.append(each.outcome)
        self.monitor.changed()

    def refuse(self, exc: BaseException) -> None:
        """Take over why nothing more gets prepared."""
        missing = self.lot.count - len(self.done)
        self.accept([Prepared(Problem(exc))] * missing, 0.0)

    def make_ready(self, position: int) -> bool:
        """Tell whether a batch is prepared, and can go on without its turn.

        Of a lot that was begun here it is prepared now: nobody else will do it.
        """
        if self.is_ours and self._repeatable and len(self.done) == position:
            self.done.append(self._ahead(position))
        found = self.done[position] if len(self.done) > position else None
        return isinstance(found, Batch) and not self._reads_of(position)

    def take(self, position: int) -> Outcome:
        """Give a batch its turn, and give it out once it is prepared."""
        self._prepare.turns.granted = self._ticket + position + 1
        if len(self.done) <= position and (self.is_ours or (not position and self.begin_here())):
            began = time.perf_counter()
            outcome = self._attempt(position, None)
            self.seconds += time.perf_counter() - began
            assert outcome is not None
            self.done.append(None)
            return outcome
        self.monitor.changed()
        if len(self.done) <= position:
            self.waited = True
            self.wait_until(lambda: len(self.done) > position)
        found, self.done[position] = self.done[position], None
        if found is None or not self._settles(position):
            return self._again(position)
        return self._linked(found) if self._was_elsewhere else found

    def _reads_of(self, position: int) -> Sequence[Read]:
        """Say what a batch that was prepared ahead rests on."""
        turn = self._opened.get(position)
        return turn.reads if turn is not None else self._reads.get(position, ())

    def _settles(self, position: int) -> bool:
        """Tell, at the batch's turn, whether what it rests on is still so."""
        turn = self._opened.get(position)
        if turn is not None:
            return turn.settle()
        return not (self._reads and any(each.changed() for each in self._reads.get(position, ())))

    def _ahead(self, position: int) -> Outcome | None:
        """Prepare a batch ahead of its turn, or give it back."""
        return self._attempt(position, self._views.turn(position))

    def _again(self, position: int) -> Outcome:
        """Prepare a batch at its turn, because it could not be, or not rightly, ahead of it."""
        self.given_back += 1
        outcome = within(self._prepare.run, self._attempt, position, None, True)
        assert outcome is not None
        return outcome

    def _attempt(self, position: int, turn: Turn | None, again: bool = False) -> Outcome | None:
        try:
            batch = self.lot.batch(position, again)
            batch.__dict__["pipeline"] = RunningPipeline(
                self._prepare.state, batch, turn, self._prepare.run
            )
            return self._prepare(batch, self._ticket + position)
        except BaseException as exc:
            if self._ends(exc):
                raise
            return self._outcome_of(exc, turn)

    def _ends(self, exc: BaseException) -> bool:
        """Tell whether an exception says that the run is over."""
        return isinstance(exc, RunCancelledError) and exc.monitor is self.monitor

    def _outcome_of(self, exc: BaseException, turn: Turn | None) -> Outcome | None:
        """Say what an exception means for the batch: None if it is to be prepared at its turn."""
        return None if isinstance(exc, NotNowError) and exc.turn is turn else Problem(exc)

    def _linked(self, outcome: Outcome) -> Outcome:
        """Link what another process has prepared to this one."""
        if isinstance(outcome, Batch) and "pipeline" not in outcome.__dict__:
            outcome.__dict__["pipeline"] = RunningPipeline(
                self._prepare.state, outcome, None, self._prepare.run
            )
            if outcome._rows is not None:
                outcome._rows.dataset = self.lot.rows.dataset  # type: ignore[attr-defined]
        return outcome
