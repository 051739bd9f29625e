"""Stages: prepare batches ahead and in parallel, then act on them in order.

A stage takes portions of batches from upstream, prepares them (itself, or in a pool), and gives them out
in order with its in-order operations done. All movement is in the thread that runs the pipeline, so that
the pool's work never waits for other work of the pool.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchloom.batch import Batch
from batchloom.errors import WorkerError
from batchloom.runtime.ahead import Monitor, OrderedLock, RunCancelledError, Turn
from batchloom.runtime.operations import Operation, perform
from batchloom.runtime.outcomes import NOT_THERE, NotThere, Outcome, Prepared, Problem, RemoteRead
from batchloom.runtime.source import RUN_END, EpochEnd, Portion, RunEnd, Supply, Upstream
from batchloom.runtime.state import State
from batchloom.runtime.view import RunningPipeline, StaleReadError

CHEAP_SECONDS = 5e-4
"""Work on a portion below this is hardly worth a hand-over between threads, which costs a tenth of it."""


Item = Batch | EpochEnd | RunEnd


class Pool(Protocol):
    """Runs work outside of the thread that runs the pipeline."""

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
    """

    def __init__(
        self, operations: Sequence[Operation], state: State, monitor: Monitor, parallel: bool
    ) -> None:
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
    """The preparation of one portion.

    Parameters
    ----------
    portion : Portion
    preparation : Preparation
    first_ticket : int
        The place of its first batch among all batches of the stage.
    """

    def __init__(self, portion: Portion, preparation: Preparation, first_ticket: int) -> None:
        self.portion = portion
        self.monitor = preparation.monitor
        self.turns_granted = 0
        self.seconds = 0.0
        self.waited = False
        self._submitted = False
        self._prepare = preparation
        # What was done under a named lock cannot be done again: others may have passed it since.
        self._repeatable = portion.repeatable and not preparation.locks
        self._ticket = first_ticket
        self._outcomes: list[Outcome | NotThere | None] = []
        self._views: list[RunningPipeline] = []

    def submit_to(self, pool: Pool) -> None:
        """Have a pool do the work."""
        self._submitted = True
        pool.submit(self)

    def run(self) -> None:
        """Prepare all batches of the portion, in a thread of the pool."""
        began = time.perf_counter()
        for position in range(self.portion.count):
            turn = Turn(self, position, self._repeatable)
            try:
                outcome, view = self._attempt(position, turn, self._ticket + position)
            except StaleReadError:  # the turn has come, and something read before it has changed
                outcome, view = self._attempt(position, None, None, again=True)
            except RunCancelledError:
                return
            self._views.append(view)
            self._outcomes.append(outcome)
            self.monitor.changed()
            if self.monitor.cancelled:
                return
        self.seconds = time.perf_counter() - began

    def accept(self, prepared: Sequence[Prepared], seconds: float) -> None:
        """Take over what another process has prepared."""
        for position, each in enumerate(prepared):
            view = RunningPipeline(self._prepare.state)
            for name, value in (each.reads or {}).items():
                view.note(RemoteRead(self._prepare.state.variables, name, value))
            self._views.append(view)
            self._outcomes.append(self._arrived(each, position))
        self.seconds = seconds
        self.monitor.changed()

    def refuse(self, exc: WorkerError) -> None:
        """Take over that another process has prepared nothing."""
        self.accept([Prepared(exception=exc)] * self.portion.count, 0.0)

    def ready(self, position: int) -> bool:
        """Tell whether a batch is prepared and can go on without its turn."""
        done = len(self._outcomes) > position
        return done and isinstance(self._outcomes[position], Batch)

    def take(self, position: int) -> Outcome:
        """Give a batch its turn, and give it out once it is prepared."""
        self.turns_granted = position + 1
        if not self._submitted:
            return self._attempt(position, None, None)[0]
        self.monitor.changed()
        if len(self._outcomes) <= position:
            self.waited = True
            self.monitor.wait_until(lambda: len(self._outcomes) > position)
        outcome, self._outcomes[position] = self._outcomes[position], None
        if outcome is None or isinstance(outcome, NotThere) or self._views[position].stale():
            return self._attempt(position, None, None, again=True)[0]
        return outcome

    def _arrived(self, prepared: Prepared, position: int) -> Outcome | NotThere:
        """Link what arrived from another process to this one."""
        if prepared.exception is not None:
            return Problem(prepared.exception, self.portion.batch(position))
        batch = prepared.batch
        if batch is None:
            return NOT_THERE
        if batch._rows is not None:
            batch._rows.dataset = self.portion.rows.dataset  # type: ignore[attr-defined]
        batch.__dict__["pipeline"] = RunningPipeline(self._prepare.state, batch)
        return batch

    def _attempt(
        self, position: int, turn: Turn | None, ticket: int | None, again: bool = False
    ) -> tuple[Outcome, RunningPipeline]:
        view = RunningPipeline(self._prepare.state, None, turn)
        batch = None
        try:
            batch = self.portion.batch(position, again)
            view = RunningPipeline(self._prepare.state, batch, turn)
            batch.__dict__["pipeline"] = view
            return self._prepare(batch, ticket), view
        except (StaleReadError, RunCancelledError):
            raise
        except BaseException as exc:
            return Problem(exc, batch), view


class Stage:
    """Prepares batches ahead and acts on them in order.

    Parameters
    ----------
    upstream : Upstream
    preparation : Preparation
    act : sequence of Operation
        What is done in order, in the thread that runs the pipeline.
    pool : Pool or None
        None prepares each batch when it is asked for.
    depth : int
        How many portions are prepared ahead.
    most : int
        How many batches a portion may have.
    on_problem : callable
        Raises what went wrong, or records it.
    """

    def __init__(
        self,
        upstream: Upstream,
        preparation: Preparation,
        act: Sequence[Operation],
        pool: Pool | None,
        depth: int,
        most: int,
        on_problem: Callable[[Problem], None],
    ) -> None:
        self._upstream = upstream
        self._preparation = preparation
        self._act = act
        self._pool = pool
        self._depth = depth if pool is not None else 0
        self._most = most
        self._on_problem = on_problem
        self._portion = 1 if pool is not None else most
        self._waits = 0
        self._ticket = 0
        self._position = 0
        self._window: deque[Work | EpochEnd | RunEnd] = deque()

    def take(self) -> Item:
        """Give the next batch, with everything done, or what comes instead of one."""
        while True:
            self._fill()
            if not self._window:
                self._admit(self._upstream.take(self._portion))
            head = self._window[0]
            if not isinstance(head, Work):
                self._window.popleft()
                return head
            batch = self._acted(self._outcome(head))
            if batch is not None:
                return batch

    def ahead(self) -> Item | None:
        """Give the next batch if it can be given before those that are further on are done."""
        if self._act:
            return None
        self._fill()
        if not self._window:
            return None
        head = self._window[0]
        if isinstance(head, Work) and not head.ready(self._position):
            return None
        return self.take()

    def at_epoch_end(self) -> bool:
        """Tell whether the epoch's end is all that comes next."""
        if self._window:
            return isinstance(self._window[0], EpochEnd)
        return self._upstream.at_epoch_end()

    def _fill(self) -> None:
        while len(self._window) < self._depth:
            if self._window and isinstance(self._window[-1], RunEnd):
                return
            supply = self._upstream.ahead(self._portion)
            if supply is None:
                return
            self._admit(supply)

    def _admit(self, supply: Supply) -> None:
        if isinstance(supply, (EpochEnd, RunEnd)):
            self._window.append(supply)
            return
        work = Work(supply, self._preparation, self._ticket)
        self._ticket += supply.count
        self._window.append(work)
        if self._pool is not None:
            work.submit_to(self._pool)

    def _outcome(self, head: Work) -> Outcome:
        outcome = head.take(self._position)
        self._position += 1
        if self._position == head.portion.count:
            self._window.popleft()
            self._position = 0
            self._tune(head)
            self._fill()
        return outcome

    def _tune(self, done: Work) -> None:
        """Hand over more batches at a time where they are cheap and still waited for."""
        self._waits = self._waits + 1 if done.waited and done.seconds < CHEAP_SECONDS else 0
        if self._waits >= 3 and self._portion < self._most:
            self._portion = min(2 * self._portion, self._most)
            self._waits = 0

    def _acted(self, outcome: Outcome) -> Batch | None:
        if isinstance(outcome, Problem):
            self._on_problem(outcome)
            return None
        try:
            return perform(self._act, outcome) if self._act else outcome
        except BaseException as exc:
            self._on_problem(Problem(exc, outcome))
            return None


@dataclass(slots=True)
class ReadyPortion:
    """One batch that is there already, from the stage before."""

    made: Batch
    count: int = 1
    repeatable: bool = False

    def batch(self, position: int, again: bool = False) -> Batch:
        return self.made


class Rebatcher:
    """Puts the items of one stage into batches of another size, within each epoch.

    Parameters
    ----------
    stage : Stage
        The stage before.
    batch_size : int
    number : int
        The stage's number, a part of the key of its batches' random generators.
    seed : int
    """

    def __init__(self, stage: Stage, batch_size: int, number: int, seed: int) -> None:
        self._stage = stage
        self._size = batch_size
        self._draws = (seed, number)
        self._parts: list[Batch] = []
        self._offset = 0
        self._have = 0
        self._count = 0
        self._end: EpochEnd | RunEnd | None = None

    def take(self, most: int) -> Supply:
        supply = self._next(self._stage.take)
        assert supply is not None
        return supply

    def ahead(self, most: int) -> Supply | None:
        return self._next(self._stage.ahead)

    def at_epoch_end(self) -> bool:
        if self._have:
            return False
        return isinstance(self._end, EpochEnd) or (self._end is None and self._stage.at_epoch_end())

    def _next(self, pull: Callable[[], Item | None]) -> Supply | None:
        while self._have < self._size and self._end is None:
            item = pull()
            if item is None:
                return None
            if isinstance(item, Batch):
                self._parts.append(item)
                self._have += item.size
            else:
                self._end = item
        if self._have:
            return ReadyPortion(self._cut(min(self._size, self._have)))
        end, self._end, self._parts = self._end, None, []
        return end if end is not None else RUN_END

    def _cut(self, size: int) -> Batch:
        """Take the first items that are left, copying each of them once."""
        parts, missing = [], size
        while missing:
            first = self._parts[0]
            stop = min(first.size, self._offset + missing)
            parts.append(
                first
                if stop - self._offset == first.size
                else first.take(slice(self._offset, stop))
            )
            missing -= stop - self._offset
            self._offset = stop
            if stop == first.size:
                self._parts.pop(0)
                self._offset = 0
        self._have -= size
        batch = parts[0].merge(parts) if len(parts) > 1 else parts[0]
        batch.__dict__.pop("random", None)
        batch.__dict__.update(number=self._count, _draws=self._draws)
        self._count += 1
        return batch
