"""Stages: prepare batches ahead and in parallel, then act on them in order.

A stage takes lots of batches from upstream, prepares them (itself, or in a pool), and gives them out
in order with its in-order operations done. All movement is in the thread that runs the pipeline, so that
the pool's work never waits for other work of the pool.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from batchloom.batch import Batch
from batchloom.models.runs import within
from batchloom.portion import Portion
from batchloom.runtime.compiled import Compiled, Loop
from batchloom.runtime.outcomes import Outcome, Problem
from batchloom.runtime.pace import Pace
from batchloom.runtime.source import EpochEnd, RunEnd
from batchloom.runtime.view import Views
from batchloom.runtime.work import Preparation, Work

if TYPE_CHECKING:
    from batchloom.runtime.protocols import Lot, Supply, Upstream

LEARN_LOTS = 256
"""After so many lots a stage looks anew at which components are used."""

Item = Batch | EpochEnd | RunEnd


class Stage:
    """Prepares batches ahead and acts on them in order.

    Parameters
    ----------
    upstream : Upstream
    preparation : Preparation
    act : Compiled
        What is done in order, in the thread that runs the pipeline.
    pace : Pace
        How many batches are prepared in one go, and by whom.
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
        act: Compiled,
        pace: Pace,
        on_problem: Callable[[Problem], None],
    ) -> None:
        self._upstream = upstream
        self._preparation = preparation
        self._act = act
        self._acts = bool(act.operations)
        self._all = preparation.steps.followed_by(act)
        self._views = Views(preparation.state, preparation.run)
        self._pace = pace
        # A user's executor, and processes, are there to be used.
        own = pace.pool is not None and pace.pool.may_wait
        self._helps = own and preparation.never_waits
        self._on_problem = on_problem
        self._gathered: tuple[str, ...] = ()
        self._lots = 0
        self._ticket = 0
        self._position = 0
        self.done = 0
        self._ended = False
        self._has_all = False
        self._window: deque[Work | EpochEnd | RunEnd] = deque()

    def take(self) -> Item:
        """Give the next batch, with everything done, or what comes instead of one."""
        while isinstance(head := self._head(), Work):
            batch = self._acted(self._outcome(head))
            if batch is not None:
                return batch
        self._window.popleft()
        self.done = 0
        return head

    def give(self) -> Iterator[Iterable[Batch]]:
        """Give batches, with everything done, for as long as nothing else has to be seen to.

        They come in pieces, so that no more than one generator stands between a batch and who gets it.
        What is left for `take` is the last batch of an epoch, and one that is not prepared yet.
        """
        # One lot more is wanted while the first is given out, or who has prepared that would rest.
        while isinstance(head := self._head(begun=1), Work):
            loop = self._loop_of(head)
            if loop is not None:
                yield from self._give_at_once(head, loop)
            else:
                yield self._give_prepared(head)
            if self._position < head.lot.count:
                return
            self._finish(head)

    def _loop_of(self, head: Work) -> Loop | None:
        """Give the loop for a lot whose preparation nobody has begun, if it can be done in one go."""
        if self._position or head.done or not head.begin_here():
            return None
        return self._preparation.loop(head.lot, self._gathered, self._all)

    def _give_at_once(self, head: Work, loop: Loop) -> Iterator[Iterable[Batch]]:
        lot = head.lot
        assert isinstance(lot, Portion)
        lot.views = self._views
        self._position = min(lot.full, lot.count - lot.last)
        batches = loop(lot, 0, self._position, self._on_exception)
        # The first batch shows what the lot costs, the second what each batch costs; nobody else can tell,
        # because the others are made while their user works on them.
        for others in (0, lot.count - 2):
            began = time.perf_counter()
            batch = next(batches, None)
            head.seconds += (time.perf_counter() - began) * (1 + others)
            if batch is None:
                return
            yield (batch,)
        yield batches

    def _give_prepared(self, head: Work) -> Iterator[Batch]:
        stop = head.lot.count - head.lot.last
        run = self._preparation.run
        while self._position < stop and self._is_prepared(head):
            acts = self._acts
            batch = within(run, self._acted_next, head) if acts else self._acted_next(head)
            if batch is not None:
                yield batch

    def _acted_next(self, head: Work) -> Batch | None:
        return self._acted(self._next_of(head))

    def _is_prepared(self, head: Work) -> bool:
        """Tell whether the next batch is prepared; until it is, gather others here that are wanted soon.

        To be woken up costs as much as to gather a large batch.
        """
        while len(head.done) <= self._position:
            if not self._helps:
                return False
            head.waited = True
            if not any(each.gather_next() for each in self._window if isinstance(each, Work)):
                return False
        return True

    def ahead(self) -> Item | None:
        """Give the next batch if it can be given before those that are further on are done."""
        if self._acts:
            return None
        self._fill()
        if not self._window:
            return None
        head = self._window[0]
        if isinstance(head, Work) and not head.make_ready(self._position):
            return None
        return self.take()

    def close(self) -> None:
        """Let go of what was prepared and nobody took."""
        while self._window:
            left = self._window.popleft()
            if isinstance(left, Work):
                left.close()

    def at_epoch_end(self) -> bool:
        """Tell whether the epoch's end is known to be all that comes after the batch given last."""
        return self._ended

    def _head(self, begun: int = 0) -> Work | EpochEnd | RunEnd:
        """Give what comes next, and stays there until it is done."""
        self._fill(begun)
        if not self._window:
            self._admit(self._upstream.take(self._pace.size))
        return self._window[0]

    def _fill(self, begun: int = 0) -> None:
        """Have as many lots prepared ahead as there should be, besides the first, if that is given out."""
        depth = self._pace.depth
        most = depth + begun if depth else 0
        while len(self._window) < most and not self._has_all:
            supply = self._upstream.ahead(self._pace.size)
            if supply is None:
                return
            self._admit(supply)

    def _admit(self, supply: Supply) -> None:
        if isinstance(supply, (EpochEnd, RunEnd)):
            self._window.append(supply)
            self._has_all = isinstance(supply, RunEnd)
            return
        pool = self._pace.pool
        may_wait = pool is None or pool.may_wait
        work = Work(supply, self._preparation, self._ticket, may_wait, self._gathered)
        self._ticket += supply.count
        self._window.append(work)
        if pool is not None:
            pool.submit(work)

    def _outcome(self, head: Work) -> Outcome:
        self._is_prepared(head)
        outcome = self._next_of(head)
        self.done += 1
        self._ended = head.lot.last and self._position == head.lot.count
        if self._position == head.lot.count:
            self._finish(head)
            self._fill()
        return outcome

    def _next_of(self, head: Work) -> Outcome:
        position, self._position = self._position, self._position + 1
        return head.take(position)

    def _finish(self, head: Work) -> None:
        self._window.popleft()
        self._position = 0
        self._learn(head.lot)
        self._pace.learn(head)

    def _learn(self, lot: Lot) -> None:
        """See which components most batches of a lot asked for: the next lots gather them beforehand."""
        self._lots += 1
        if isinstance(lot, Portion) and lot.rows is not None and lot.rows.asked and lot.full:
            asked = lot.rows.asked_for(lot.full // 2 + 1)
            self._gathered = tuple(dict.fromkeys([*self._gathered, *asked]))
        if self._lots % LEARN_LOTS == 0:
            self._gathered = ()
            self._pace.begin_anew()  # so that learning costs little

    def _on_exception(self, exc: BaseException) -> None:
        self._on_problem(Problem(exc))

    def _acted(self, outcome: Outcome) -> Batch | None:
        if isinstance(outcome, Problem):
            self._on_problem(outcome)
            return None
        try:
            return self._act(outcome) if self._acts else outcome
        except BaseException as exc:
            self._on_problem(Problem(exc))
            return None
