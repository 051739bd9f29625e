"""Pace: how many batches a stage has prepared in one go, and whether by a pool or where they are wanted.

A hand-over between threads costs as much as tens of small batches. So batches are handed over in lots that
are worth it, and those that are made sooner than a thread would be woken are not handed over at all. What a
batch costs is measured where no other thread is at work: threads of one interpreter slow each other down.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from batchloom.runtime.source import AHEAD_BYTES

if TYPE_CHECKING:
    from batchloom.runtime.protocols import Pool
    from batchloom.runtime.work import Work

CHEAP_SECONDS = 5e-4
"""Work on a lot below this is hardly worth a hand-over between threads, which costs a tenth of it."""

ERRAND_SECONDS = 1e-3
"""And below this for a hand-over to another process, which costs both sides a quarter of it."""

REST_SECONDS = 2e-5
"""A batch that takes less is made sooner by who wants it than by another thread of the interpreter."""

GROWTH = 4
"""So many times as many batches the next lots have at most, where that is worth it."""

VAIN_LOTS = 4
"""So many lots in a row that a pool gave back, and it is no longer asked."""

CERTAIN_LOTS = 2
"""So many lots in a row that are worth a hand-over: one alone may have met a pause of the machine."""

WAITED_LOTS, RECENT_LOTS = 3, 8
"""So many of the last lots that were waited for, and another process gets more of them at once.

While the consumer waits for the lot of one process, others finish theirs: not each lot is waited for.
"""


class Pace:
    """How many batches a stage has prepared in one go, and by whom.

    Parameters
    ----------
    pool : Pool or None
        Who can prepare batches ahead.
    depth : int
        How many lots a pool prepares ahead.
    most : int
        How many batches a lot may have.
    may_rest : bool
        Whether a pool need not be asked: nobody wants batches before their turn.

    Attributes
    ----------
    size : int
        Of the next lot. The first batches are to be there soon, later ones share what a lot costs.
    pool : Pool or None
        Who prepares the next lot; None for the thread that wants it.
    depth : int
        How many lots are prepared ahead.
    """

    def __init__(self, pool: Pool | None, depth: int, most: int, may_rest: bool) -> None:
        self.size = 1
        self._pool = pool
        self._depth = 0 if pool is None else depth
        self._let_rest(False)
        self._most = most
        # A user's executor, and processes, are there to be used, whatever it costs.
        is_own = pool is not None and pool.may_wait
        self._may_rest = may_rest and is_own
        self._cheap_seconds = CHEAP_SECONDS if is_own else ERRAND_SECONDS
        self._in_a_row = 0
        self._waited: deque[bool] = deque(maxlen=RECENT_LOTS)
        self._vain = 0

    def learn(self, done: Work) -> None:
        """See from a lot that is done how the next ones are to be."""
        if self._pool is None:
            self.size = min(2 * self.size, self._most)
        elif self._rests:
            self._learn_here(done)
        else:
            self._learn_elsewhere(done)

    def begin_anew(self) -> None:
        """Have small lots again where that costs nothing."""
        if self._pool is None:
            self.size = 1

    def _learn_here(self, done: Work) -> None:
        """Ask the pool again once a lot is worth a hand-over, or cannot become larger."""
        is_worth_it = done.seconds >= CHEAP_SECONDS or self.size == self._most
        if is_worth_it and done.seconds >= REST_SECONDS * done.lot.count:
            self._in_a_row += 1
            self._let_rest(self._in_a_row < CERTAIN_LOTS)
        else:
            self._in_a_row = 0
            self._grow()

    def _learn_elsewhere(self, done: Work) -> None:
        """Hand over more at a time where batches are cheap and still waited for; nothing in vain."""
        self._vain = self._vain + 1 if done.given_back == done.lot.count else 0
        if self._vain == VAIN_LOTS:
            self._pool, self._depth = None, 0
            self._let_rest(False)
            return
        # What a process sends back costs by the byte, the more so where the processor's cache is too small.
        growth = min(GROWTH, AHEAD_BYTES // max(1, done.shipped))
        is_cheap = done.seconds < self._cheap_seconds and growth > 1
        if not is_cheap or self.size >= self._most:
            self._waited.clear()
            return
        self._waited.append(done.waited)
        if sum(self._waited) >= (1 if self._may_rest else WAITED_LOTS):
            self._let_rest(self._may_rest)
            self._in_a_row = 0
            self._waited.clear()
            self._grow(growth)

    def _let_rest(self, rests: bool) -> None:
        self._rests = rests
        self.pool, self.depth = (None, 0) if rests else (self._pool, self._depth)

    def _grow(self, times: int = GROWTH) -> None:
        self.size = min(times * self.size, self._most)
