"""Stages: prepare batches ahead and in parallel, then act on them in order.

A stage takes portions of batches from upstream, prepares them (itself, or in a pool), and gives them out
in order with its in-order operations done. All movement is in the thread that runs the pipeline, so that
the pool's work never waits for other work of the pool.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from batchloom.batch import Batch
from batchloom.models.runs import PipelineRun, doing
from batchloom.runtime.ahead import Monitor, OrderedLock, RunCancelledError
from batchloom.runtime.operations import Operation, perform
from batchloom.runtime.outcomes import Outcome, Prepared, Problem
from batchloom.runtime.source import RUN_END, EpochEnd, Portion, RunEnd, Supply, Upstream
from batchloom.runtime.state import State
from batchloom.runtime.turns import NotNowError, Turn, Turns
from batchloom.runtime.view import RunningPipeline

CHEAP_SECONDS = 5e-4
"""Work on a portion below this is hardly worth a hand-over between threads, which costs a tenth of it."""

VAIN_PORTIONS = 4
"""So many portions in a row that a pool gave back, and a stage no longer asks it."""

Item = Batch | EpochEnd | RunEnd


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
        self.accept([Prepared(Problem(exc, None))] * missing, 0.0)

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
        return self._linked(found, position) if found.holds else self._again(position)

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
        batch = None
        try:
            batch = self.portion.batch(position, again)
            batch.__dict__["pipeline"] = RunningPipeline(self._prepare.state, batch, turn)
            return self._prepare(batch, self._ticket + position)
        except BaseException as exc:
            if isinstance(exc, NotNowError) and exc.turn is turn:
                raise
            if isinstance(exc, RunCancelledError) and exc.monitor is self.monitor:
                raise
            return Problem(exc, batch)

    def _linked(self, prepared: Prepared, position: int) -> Outcome:
        """Link what another process has prepared to this one."""
        outcome = prepared.outcome
        if isinstance(outcome, BaseException):
            try:
                return Problem(outcome, self.portion.batch(position, again=True))
            except BaseException as exc:
                return Problem(exc, None)
        assert outcome is not None
        if isinstance(outcome, Batch) and outcome.pipeline is None:
            outcome.__dict__["pipeline"] = RunningPipeline(self._prepare.state, outcome)
            if outcome._rows is not None:
                outcome._rows.dataset = self.portion.rows.dataset  # type: ignore[attr-defined]
        return outcome


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

    Attributes
    ----------
    done : int
        How many batches of the epoch have been given out, or left out because of a problem.
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
        self._vain = 0
        self._ticket = 0
        self._position = 0
        self.done = 0
        self._ended = False
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
                self.done = 0
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
        """Tell whether the epoch's end is known to be all that comes after the batch given last."""
        return self._ended

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
        pool = self._pool
        work = Work(supply, self._preparation, self._ticket, pool is None or pool.may_wait)
        self._ticket += supply.count
        self._window.append(work)
        if pool is not None:
            pool.submit(work)

    def _outcome(self, head: Work) -> Outcome:
        outcome = head.take(self._position)
        self._position += 1
        self.done += 1
        self._ended = head.portion.last and self._position == head.portion.count
        if self._position == head.portion.count:
            self._window.popleft()
            self._position = 0
            self._tune(head)
            self._fill()
        return outcome

    def _tune(self, done: Work) -> None:
        """Hand over more at a time where batches are cheap and still waited for; nothing in vain."""
        if done.given_back == done.portion.count:
            self._vain += 1
            if self._vain == VAIN_PORTIONS:
                self._pool, self._depth = None, 0
        else:
            self._vain = 0
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
    last: bool
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
    made : int
        How many batches it has made before, in a run that goes on.
    """

    def __init__(
        self, stage: Stage, batch_size: int, number: int, seed: int, made: int = 0
    ) -> None:
        self._stage = stage
        self._size = batch_size
        self._draws = (seed, number)
        self._parts: list[Batch] = []
        self._offset = 0
        self._have = 0
        self._count = made
        self._end: EpochEnd | RunEnd | None = None

    def take(self, most: int) -> Supply:
        supply = self._next(self._stage.take)
        assert supply is not None
        return supply

    def ahead(self, most: int) -> Supply | None:
        return self._next(self._stage.ahead)

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
            batch = self._cut(min(self._size, self._have))
            return ReadyPortion(batch, not self._have and self._at_epoch_end())
        end, self._end, self._parts = self._end, None, []
        if isinstance(end, EpochEnd):
            return replace(end, rebatched=(*end.rebatched, self._count))
        return end if end is not None else RUN_END

    def _at_epoch_end(self) -> bool:
        if self._end is None:
            return self._stage.at_epoch_end()
        return isinstance(self._end, EpochEnd)

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
