"""What a batch read ahead of its turn may have changed: it is prepared again, as if for the first time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, V, action

pytestmark = pytest.mark.timeout(30)


class Steps(Batch):
    """Reads a variable, doubles in place, and writes the variable from inside an action."""

    @action
    def double(self, seen: int) -> Steps:
        self.x *= 2
        self._seen = seen
        return self

    @action
    def count(self) -> Steps:
        self.pipeline.inc_variable("counter")
        return self

    @action(use_lock="ledger")
    def count_locked(self) -> Steps:
        if self.number % 3 == 0:
            time.sleep(0.002)
        self.pipeline.config["ledger"].append(self.number)
        self.pipeline.inc_variable("counter")
        return self


def pipeline(*actions: str, **config: object) -> Pipeline:
    dataset = Dataset(batch_class=Steps, data={"x": np.arange(120.0)})
    made = dataset.pipeline(config).init_variable("counter", init_on_each_run=0).double(V.counter)
    for name in actions:
        made = getattr(made, name)()
    return made


@pytest.mark.parametrize("prefetch", [0, 1, 4, 32])
@pytest.mark.parametrize("shuffle", [False, 3])
def test_in_place_work_is_done_once_however_often_the_batch_is_prepared(
    prefetch: int, shuffle: int
) -> None:
    run = pipeline("count")
    batches = list(run.gen_batch(2, prefetch=prefetch, shuffle=shuffle))
    assert [each._seen for each in batches] == list(range(60))
    for each in batches:
        assert each.x.tolist() == [2.0 * item for item in each.indices]
    assert run.get_variable("counter") == 60


@pytest.mark.parametrize("prefetch", [0, 1, 4, 32])
def test_what_is_done_under_a_lock_is_done_once_and_in_order(prefetch: int) -> None:
    ledger: list[int] = []
    run = pipeline("count_locked", ledger=ledger)
    batches = list(run.gen_batch(2, prefetch=prefetch))
    assert ledger == list(range(60))
    assert [each._seen for each in batches] == list(range(60))
    assert run.get_variable("counter") == 60
