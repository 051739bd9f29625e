"""Work: the preparation of a portion of batches, by a pool or by the thread that wants them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from batchloom.batch import Batch
from batchloom.models.runs import PipelineRun, doing
from batchloom.runtime.ahead import Monitor, OrderedLock, RunCancelledError
from batchloom.runtime.operations import Operation, perform
from batchloom.runtime.outcomes import Outcome, Prepared, Problem
from batchloom.runtime.source import Portion
from batchloom.runtime.state import State
from batchloom.runtime.turns import NotNowError, Turn, Turns
from batchloom.runtime.view import RunningPipeline


class Pool(Protocol):
    """Runs work outside of the thread that runs the pipeline.

    Attributes
    ----------
    may_wait : bool
        Whether its threads are the run's own, so that they may wait for the turn of a batch.
    """

    may_wait: bool

    def submit(self, job: Work) -> None: ...

    def close(self) -> None: ...


class Preparation:
    """The operations of a stage that can run ahead, with the named locks that they hold.

    Parameters
    ----------
    operations : sequence of Operation
    state : State
    monitor : Monitor
    parallel : bool
        Whether several batches may be prepared at once, so that locks are needed.
    run : PipelineRun
        What the work belongs to, in whatever thread it is done.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        state: State,
        monitor: Monitor,
        parallel: bool,
        run: PipelineRun,
    ) -> None:
        self.run = run
        self.state = state
        self.monitor = monitor
        self._operations = operations
        names = {name for each in operations for name in each.locks} if parallel else set()
        self.locks = {name: OrderedLock(monitor) for name in names}

    def __call__(self, batch: Batch, ticket: int | None) -> Batch:
        """Prepare a batch; one without a ticket takes no locks, because its turn has come."""
        if not self.locks or ticket is None:
            return perform(self._operations, batch)
        held = dict(self.locks)
        last = {name: at for at, each in enumerate(self._operations) for name in each.locks}
        try:
            for at, operation in enumerate(self._operations):
                for name in sorted(operation.locks):
                    held[name].enter(ticket)
                batch = perform((operation,), batch)
                for name in [each for each in operation.locks if last[each] == at]:
                    held.pop(name).leave(ticket)
        finally:
            for lock in held.values():
                lock.leave(ticket)
        return batch


class Work:
    """The preparation of one portion, by whoever comes first: a pool, or the thread that wants it.

    That thread never waits for work that nobody has begun, so that no pool can be too small, or too
    busy with other runs, for a run to go on.

    Parameters
    ----------
    portion : Portion
    preparation : Preparation
    first_ticket : int
        The place of its first batch among all batches of the stage.
    may_wait : bool
        Whether a batch may wait for its turn in the pool; it is given back otherwise.
    """

    def __init__(
        self, portion: Portion, preparation: Preparation, first_ticket: int, may_wait: bool
    ) -> None:
        self.portion = portion
        self.monitor = preparation.monitor
        self.seconds = 0.0
        self.waited = False
        self.given_back = 0
        self._prepare = preparation
        # What was done under a named lock cannot be done again: others may have passed it since.
        self._repeatable = portion.repeatable and not preparation.locks
        self._ticket = first_ticket
        self._unclaimed = threading.Lock()
        self._is_ours = False
        self._turns = Turns(self.monitor if may_wait else None)
        self._done: list[Prepared | None] = []

    def claim(self) -> bool:
        """Take the work on; tells whether nobody else has."""
        return self._unclaimed.acquire(blocking=False)

    def run(self) -> None:
        """Prepare all batches of the portion, in a thread of a pool, unless somebody else does."""
        if not self.claim():
            return
        with doing(self._prepare.run):
            self._run()

    def _run(self) -> None:
        began = time.perf_counter()
        try:
            for position in range(self.portion.count):
                prepared = self._ahead(position)
                self.seconds = time.perf_counter() - began
                self._done.append(prepared)
                self.monitor.changed()
                if self.monitor.cancelled:
                    return
        except RunCancelledError:
            return
        except BaseException as exc:
            self.refuse(exc)

    def accept(self, prepared: Sequence[Prepared], seconds: float) -> None:
        """Take over what another process has prepared."""
        self.seconds = seconds
        self._done.extend(prepared)
        self.monitor.changed()

    def refuse(self, exc: BaseException) -> None:
        """Take over why nothing more gets prepared."""
        missing = self.portion.count - len(self._done)
        self.accept([Prepared(Problem(exc))] * missing, 0.0)

    def ready(self, position: int) -> bool:
        """Tell whether a batch is prepared and can go on without its turn."""
        found = self._done[position] if len(self._done) > position else None
        return found is not None and isinstance(found.outcome, Batch) and not found.reads

    def take(self, position: int) -> Outcome:
        """Give a batch its turn, and give it out once it is prepared."""
        self._turns.granted = position + 1
        if not position and self.claim():
            self._is_ours = self.waited = True
        if self._is_ours:
            began = time.perf_counter()
            outcome = self._attempt(position, None)
            self.seconds += time.perf_counter() - began
            return outcome
        self.monitor.changed()
        if len(self._done) <= position:
            self.waited = True
            self.monitor.wait_until(lambda: len(self._done) > position)
        found, self._done[position] = self._done[position], None
        assert found is not None
        return self._linked(found) if found.holds else self._again(position)

    def _ahead(self, position: int) -> Prepared:
        """Prepare a batch ahead of its turn."""
        turn = Turn(self._turns, position, self._repeatable)
        try:
            return Prepared(self._attempt(position, turn), turn.reads)
        except NotNowError:
            return Prepared(None)

    def _again(self, position: int) -> Outcome:
        """Prepare a batch at its turn, because it could not be, or not rightly, ahead of it."""
        self.given_back += 1
        return self._attempt(position, None, again=True)

    def _attempt(self, position: int, turn: Turn | None, again: bool = False) -> Outcome:
        try:
            batch = self.portion.batch(position, again)
            batch.__dict__["pipeline"] = RunningPipeline(self._prepare.state, batch, turn)
            return self._prepare(batch, self._ticket + position)
        except BaseException as exc:
            if isinstance(exc, NotNowError) and exc.turn is turn:
                raise
            if isinstance(exc, RunCancelledError) and exc.monitor is self.monitor:
                raise
            return Problem(exc)

    def _linked(self, prepared: Prepared) -> Outcome:
        """Link what another process has prepared to this one."""
        outcome = prepared.outcome
        assert outcome is not None
        if isinstance(outcome, Batch) and outcome.pipeline is None:
            outcome.__dict__["pipeline"] = RunningPipeline(self._prepare.state, outcome)
            if outcome._rows is not None:
                outcome._rows.dataset = self.portion.rows.dataset  # type: ignore[attr-defined]
        return outcome
