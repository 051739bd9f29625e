"""Stages: prepare batches ahead and in parallel, then act on them in order.

A stage takes portions of batches from upstream, prepares them (itself, or in a pool), and gives them out
in order with its in-order operations done. All movement is in the thread that runs the pipeline, so that
the pool's work never waits for other work of the pool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from batchloom.batch import Batch
from batchloom.runtime.operations import Operation, perform
from batchloom.runtime.outcomes import Outcome, Problem
from batchloom.runtime.source import EpochEnd, RunEnd, Supply, Upstream
from batchloom.runtime.work import Pool, Preparation, Work

CHEAP_SECONDS = 5e-4
"""Work on a portion below this is hardly worth a hand-over between threads, which costs a tenth of it."""

VAIN_PORTIONS = 4
"""So many portions in a row that a pool gave back, and a stage no longer asks it."""

Item = Batch | EpochEnd | RunEnd


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
            self._on_problem(Problem(exc))
            return None
