"""@action: what a pipeline may call on a batch, with models and locks, and what an action must return."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, V, action
from batchloom.errors import (
    ActionError,
    DataError,
    DefinitionError,
    UnknownActionError,
    UnknownArgumentError,
    UnknownModelError,
)
from batchloom.models import BaseModel


class Total(BaseModel):
    def _build(self, *args: Any, pipeline: Any = None, batch: Any = None, **kwargs: Any) -> None:
        self.built_from = None if batch is None else batch.indices.tolist()
        self.total = 0.0

    def _train(self, x: np.ndarray) -> float:
        self.total += float(x.sum())
        return self.total


LEDGER: list[int] = []
INSIDE = threading.Semaphore(1)


class Items(Batch):
    @action
    def scale(self, by: float = 2.0, *, plus: float = 0.0) -> Items:
        """Multiply."""
        self.x = self.x * by + plus
        return self

    @action()
    def halve(self) -> Items:
        self.x = self.x / 2
        return self

    @action(model="total")
    def learn(self, model: Total, times: int = 1) -> Items:
        for _ in range(times):
            model.train(x=self.x)
        return self

    @action
    def learn_by_name(self, name: str) -> Items:
        self.get_model_by_name(name).train(x=self.x)
        return self

    @action(use_lock="ledger")
    def enter(self) -> Items:
        assert INSIDE.acquire(blocking=False), "two batches are under one lock"
        LEDGER.append(self.number)
        INSIDE.release()
        return self

    @action(use_lock="ledger")
    def fail_inside(self) -> Items:
        if self.number == 1:
            raise OSError("inside the lock")
        return self

    @action
    def forgets(self) -> None:
        self.x = self.x + 1

    @action
    async def waits(self) -> Items:
        return self

    @action
    def yields(self) -> Iterator[Items]:
        yield self

    @action
    def returns_data(self) -> np.ndarray:
        return self.x

    def plain(self) -> Items:
        return self


def dataset(n: int = 12) -> Dataset:
    return Dataset(batch_class=Items, data={"x": np.arange(float(n))})


def test_actions_are_methods_of_the_pipeline_and_of_the_batch() -> None:
    pipeline = dataset().p.scale(3, plus=1).halve()
    batch = next(pipeline.gen_batch(2))
    assert batch.x.tolist() == [0.5, 2.0]
    assert batch.scale(2) is batch
    assert batch.x.tolist() == [1.0, 4.0]
    assert Items.scale.__doc__ == "Multiply."
    assert Items.learn.__name__ == "learn"
    assert {"scale", "halve", "learn", "load"} <= set(dir(pipeline))
    assert "plain" not in dir(pipeline)


def test_actions_of_a_base_class_are_inherited_and_can_be_replaced() -> None:
    class Child(Items):
        @action
        def halve(self) -> Child:
            self.x = self.x * 0
            return self

    class Unmarked(Items):
        def halve(self) -> Unmarked:
            return self

    data = {"x": np.arange(4.0)}
    assert next(Dataset(None, Child, data).p.scale().halve().gen_batch(4)).x.tolist() == [0.0] * 4
    with pytest.raises(UnknownActionError, match="mark it with @action"):
        Dataset(None, Unmarked, data).p.halve()


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("prefetch", [0, 4])
def test_an_action_gets_the_model_it_names(mode: str, prefetch: int) -> None:
    pipeline = dataset().p.init_model(mode, Total, "total").scale(1).learn().learn(times=2)
    pipeline.run(5, prefetch=prefetch)
    model = pipeline.get_model_by_name("total")
    assert model.total == 3 * sum(range(12))
    assert model.built_from == (None if mode == "static" else [0, 1, 2, 3, 4])


@pytest.mark.parametrize("prefetch", [0, 4])
def test_an_action_may_look_a_model_up(prefetch: int) -> None:
    pipeline = dataset().p.init_model("dynamic", Total, "total").learn_by_name("total")
    assert pipeline.run(5, prefetch=prefetch).get_model_by_name("total").total == 66
    with pytest.raises(UnknownModelError, match="did you mean 'total'"):
        dataset().p.init_model("static", Total, "total").learn_by_name("totl").run(5)


def test_the_model_of_an_action_must_be_declared_before_it() -> None:
    with pytest.raises(UnknownModelError, match=r"'total' in step learn\(\).*init_model"):
        dataset().p.learn()
    with pytest.raises(UnknownModelError, match="did you mean 'totals'"):
        dataset().p.init_model("static", Total, "totals").learn()
    with pytest.raises(UnknownModelError):
        Pipeline().learn().init_model("static", Total, "total") << dataset()


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_a_lock_is_passed_one_at_a_time_in_the_order_of_batches(prefetch: int) -> None:
    LEDGER.clear()
    dataset(100).p.scale().enter().scale().run(2, prefetch=prefetch, shuffle=True)
    assert list(range(50)) == LEDGER


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_lock_is_released_when_its_action_raises(prefetch: int) -> None:
    pipeline = dataset().p.fail_inside().enter()
    for _ in range(2):
        LEDGER.clear()
        with pytest.raises(OSError, match="inside the lock"):
            pipeline.run(2, prefetch=prefetch)
        assert LEDGER[:1] == [0]
    LEDGER.clear()
    pipeline.run(2, prefetch=prefetch, on_error="skip")
    assert LEDGER == [0, 2, 3, 4, 5]
    assert [each.number for each in pipeline.failures] == [1]


@pytest.mark.parametrize("prefetch", [0, 4])
def test_an_action_that_returns_no_batch_is_named(prefetch: int) -> None:
    with pytest.raises(ActionError, match=r"'forgets' of Items returned NoneType.*return self"):
        dataset().p.forgets().scale().run(2, prefetch=prefetch)
    with pytest.raises(ActionError, match=r"'returns_data' of Items returned ndarray"):
        dataset().p.returns_data().run(2, prefetch=prefetch)
    with pytest.raises(ActionError, match=r"'waits' of Items returned coroutine.*asyncio\.run"):
        dataset().p.waits().run(2, prefetch=prefetch)
    with pytest.raises(ActionError, match=r"'yields' of Items returned generator.*without yield"):
        dataset().p.yields().run(2, prefetch=prefetch)


def test_wrong_arguments_of_an_action_are_pythons_own_error_with_the_step() -> None:
    with pytest.raises(TypeError, match="factor") as caught:
        dataset().p.scale(factor=3).run(2)
    assert any("scale(factor=3)" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"modle": "m"}, UnknownArgumentError, "did you mean 'model'"),
        ({"lock": "m"}, UnknownArgumentError, "'use_lock'|model, use_lock"),
        ({"model": 3}, DefinitionError, "model= of @action takes a name, not 3"),
        ({"use_lock": True}, DefinitionError, "use_lock="),
    ],
)
def test_arguments_of_the_decorator_are_checked(arguments: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        action(**arguments)


@pytest.mark.parametrize("wrong", ["model", 3, None])
def test_the_decorator_stands_before_a_method(wrong: Any) -> None:
    if wrong is None:
        assert callable(action(wrong))
        return
    with pytest.raises(DefinitionError, match="stands before a method"):
        action(wrong)


def test_arguments_may_be_expressions() -> None:
    pipeline = dataset().p.init_variable("by", 3).scale(V.by, plus=V("by"))
    assert next(pipeline.gen_batch(2)).x.tolist() == [3.0, 6.0]


class Halved(Items):
    """What `halve` puts in place of the batch."""


class Halves(Items):
    @action
    def halve(self) -> Batch:
        return self.take(slice(0, self.size // 2))

    @action
    def change_class(self) -> Batch:
        other = self.take(slice(None))
        other.__class__ = Halved
        return other

    @action
    def write(self, rows: int) -> Halves:
        self.x = np.zeros(rows)
        return self


@pytest.mark.parametrize("prefetch", [0, 3])
def test_what_is_written_to_a_batch_in_place_of_the_first_is_checked_too(prefetch: int) -> None:
    data = Dataset(batch_class=Halves, data={"x": np.arange(4000.0)})
    made = list(data.p.halve().write(2).gen_batch(4, prefetch=prefetch))
    assert len(made) == 1000
    assert {each.size for each in made} == {2}
    with pytest.raises(
        DataError, match="component 'x' has 4 rows, but the batch has 2 items"
    ) as caught:
        data.p.halve().write(4).run(4, prefetch=prefetch)
    assert any("in step write(4), batch 0 of epoch 0" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_steps_after_another_class_of_batches_are_those_of_that_class(prefetch: int) -> None:
    data = Dataset(batch_class=Halves, data={"x": np.arange(400.0)})
    made = list(data.p.scale(1).change_class().scale(3.0).gen_batch(4, prefetch=prefetch))
    assert {type(each) for each in made} == {Halved}
    assert [each.number for each in made] == list(range(100))
    assert np.concatenate([each.x for each in made]).tolist() == (np.arange(400.0) * 3).tolist()


@pytest.mark.parametrize("prefetch", [0, 3])
def test_writing_to_batches_in_the_loop_disturbs_no_later_one(prefetch: int) -> None:
    data = Dataset(batch_class=Halves, data={"x": np.arange(4000.0)})
    for batch in data.p.scale(2.0).gen_batch(4, prefetch=prefetch):
        expected = 2.0 * batch.indices
        assert batch.x.tolist() == expected.tolist()
        batch.x = np.zeros(1)  # its own business: no step comes after


def test_an_action_that_a_pipeline_would_take_for_its_own_method_is_refused() -> None:
    class Taken(Batch):
        @action
        def reset(self) -> Taken:
            return self

    taken = Dataset(batch_class=Taken, data={"x": np.arange(3)})
    with pytest.raises(DefinitionError, match="action 'reset' of Taken could never be a step"):
        taken.p.reset()
    with pytest.raises(DefinitionError, match="another name"):
        taken >> Pipeline()
