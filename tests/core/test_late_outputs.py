"""Models that train several batches in one call: their outputs come late, and where they belong."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from batchloom import B, Dataset, Pipeline, V
from batchloom.models import BaseModel, LateOutput, hookimpl, register_plugin, unregister_plugin


class Sum(BaseModel):
    """Adds up its batches, three at a time; the output is the sum before the batch."""

    data_args = ("x",)
    predict_is_thread_safe = True

    def _build(self, **kwargs):
        self.sum, self.waiting, self.calls = 0, [], 0

    def _train(self, x, output=True):
        late = LateOutput(self._finish) if output else None
        self.waiting.append((int(x.sum()), late))
        self.rows = len(x)
        if len(self.waiting) == 3:
            self._add()
        return late

    def _predict(self, x):
        return np.full(len(x), self.sum)

    def _finish(self):
        self._alone(self._add)

    def _add(self):
        self.calls += bool(self.waiting)
        waiting, self.waiting = self.waiting, []
        for value, late in waiting:
            if late is not None:
                self._give(late, value)
            self.sum += value

    def _give(self, late, value):
        if value == self.config.get("refused"):
            late.drop()
        else:
            late.give(np.full(self.rows, self.sum) if self.config.get("by_row") else self.sum)

    def _end_epoch(self, epoch, last):
        self._add()


DATA = Dataset(data={"x": np.arange(1, 11)})
BEFORE = [0, 3, 10, 21, 36]  # of two items each


def training(config=None, **given):
    return (
        Pipeline()
        .init_variable("sums", init_on_each_run=list)
        .init_variable("last", init_on_each_run=lambda: -1)
        .init_model("static", Sum, "sum", config=config)
        .train_model("sum", x="x", **(given or {"append_to": "sums"}))
        << DATA
    )


@pytest.mark.parametrize("prefetch", [0, 3])
def test_each_batch_appends_its_own_value_in_order(prefetch):
    done = training().run(2, prefetch=prefetch)
    assert done.get_variable("sums") == BEFORE
    assert done.get_model_by_name("sum").calls == 2
    again = done.run(2, n_epochs=2)
    assert again.get_variable("sums") == [55, 58, 65, 76, 91, 110, 113, 120, 131, 146]


def test_who_reads_the_variable_in_between_gets_all_that_was_asked():
    pipeline = training()
    waited = []
    for number, _ in enumerate(pipeline.gen_batch(2)):
        waited.append(len(pipeline.get_model_by_name("sum").waiting))
        if number in (1, 3):
            assert pipeline.get_variable("sums") == BEFORE[: number + 1]
    assert waited == [1, 2, 1, 2, 0]
    assert pipeline.get_variable("sums") == BEFORE


def test_a_variable_that_is_set_holds_the_value_of_the_latest_batch():
    pipeline = training(save_to="last")
    seen = [pipeline.get_variable("last") for _ in pipeline.gen_batch(2)]
    assert seen == BEFORE
    assert training(save_to=V.last).run(2).get_variable("last") == BEFORE[-1]


def test_a_component_has_the_value_at_once():
    pipeline = training({"by_row": True}, save_to=B.before)
    assert [batch.before.tolist() for batch in pipeline.gen_batch(2)] == [[n, n] for n in BEFORE]


def test_steps_that_follow_read_and_write_the_variable_in_turn():
    pipeline = (
        training(save_to="last").update_variable("sums", V.last, mode="append").inc_variable("last")
    )
    done = pipeline.run(2)
    assert done.get_variable("sums") == BEFORE
    assert done.get_variable("last") == BEFORE[-1] + 1


def test_a_batch_that_was_dropped_appends_nothing():
    done = training({"refused": 11}).run(2)
    assert done.get_variable("sums") == [0, 3, 21, 36]


def test_plug_ins_and_actions_get_the_values_themselves():
    seen = []

    class Watch:
        @hookimpl(wrapper=True)
        def train_model(self):
            boxed = yield
            seen.append(boxed[0])
            return boxed

    pipeline = training()
    name = register_plugin(Watch())
    try:
        assert pipeline.run(2).get_variable("sums") == BEFORE == seen
    finally:
        unregister_plugin(name)
    model = pipeline.get_model_by_name("sum")
    assert model.train(np.array([1])) == 55
    assert model.train(np.array([1]), output=False) is None
    assert len(model.waiting) == 1


def test_variables_travel_with_their_values():
    pipeline = training()
    for number, _ in enumerate(pipeline.gen_batch(2)):
        if number == 1:
            assert copy.deepcopy(pipeline.variables)["sums"] == BEFORE[:2]


def test_an_error_in_the_batches_that_wait_reaches_who_reads():
    class Broken(Sum):
        def _add(self):
            raise OSError("no such number")

    pipeline = (
        Pipeline()
        .init_variable("sums", init_on_each_run=list)
        .init_model("static", Broken, "sum")
        .train_model("sum", x="x", append_to="sums")
        << DATA
    )
    batches = pipeline.gen_batch(2)
    next(batches)
    with pytest.raises(OSError, match="no such number") as info:
        pipeline.get_variable("sums")
    assert any("'sum'" in note for note in info.value.__notes__)
    batches.close()
