"""Only what is certain to return its batch is taken at its word; everything else is looked at."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, action
from batchloom.errors import ActionError, DataError
from batchloom.runtime.model_steps import EvaluateCall, PredictCall, TrainCall
from batchloom.runtime.returned import returns_its_batch


def itself(batch: Any) -> Any:
    return batch


def early(batch: Any, wanted: bool = True) -> Any:
    if wanted:
        batch.done = True
        return batch
    return batch


def out_of_a_loop(batch: Any) -> Any:
    for _ in range(3):
        return batch  # the loop's iterator is put away before it returns: not worth following


def never(batch: Any) -> Any:
    raise RuntimeError


def forgetful(batch: Any) -> Any:
    batch.done = True


def sometimes(batch: Any, wanted: bool) -> Any:
    if wanted:
        return batch


def either(batch: Any, other: Any) -> Any:
    return batch if other is None else other


def either_way_round(batch: Any, other: Any) -> Any:
    return other if other is not None else batch


def fallback(batch: Any, other: Any) -> Any:
    return other or batch


def anew(batch: Any) -> Any:
    batch = batch.take([0])
    return batch


def in_a_loop(batch: Any) -> Any:
    for batch in (1, 2):  # noqa: B007
        pass
    return batch


def in_a_pair(batch: Any, other: Any) -> Any:
    other, batch = batch, other
    return batch


def in_an_expression(batch: Any) -> Any:
    if batch := batch.take([0]):
        pass
    return batch


def as_an_exception(batch: Any) -> Any:
    try:
        raise ValueError
    except ValueError as batch:  # noqa: F841
        pass
    return batch


def in_a_closure(batch: Any) -> Any:
    def change() -> None:
        nonlocal batch
        batch = None

    change()
    return batch


def at_the_end(batch: Any, other: Any) -> Any:
    try:
        return batch
    finally:
        if other is not None:
            return other  # noqa: B012


def other_argument(other: Any, batch: Any) -> Any:
    return batch


def generator(batch: Any) -> Iterator[Any]:
    yield 1
    return batch


async def coroutine(batch: Any) -> Any:
    return batch


def of_all(*batch: Any) -> Any:
    return batch


def by_name(*, batch: Any) -> Any:
    return batch


class Called:
    def __call__(self, batch: Any) -> Any:
        return batch

    def method(self, batch: Any) -> Any:
        return batch

    def own(self, batch: Any) -> Any:
        return self


@pytest.mark.parametrize("call", [itself, early, never, Called().method, TrainCall.train])
def test_what_is_certain(call: Callable[..., Any]) -> None:
    if call is TrainCall.train:
        call = TrainCall.train.__get__(object.__new__(TrainCall))
    assert returns_its_batch(call)


@pytest.mark.parametrize(
    "call",
    [
        out_of_a_loop, forgetful, sometimes, either, either_way_round, fallback, anew, in_a_loop, in_a_pair,
        in_an_expression, as_an_exception, in_a_closure, at_the_end, other_argument, generator, coroutine,
        of_all, by_name, Called(), Called().own, Called.method, functools.partial(itself),
        functools.wraps(itself)(lambda *args: None), len, contextlib.nullcontext,
    ],
)  # fmt: skip
def test_what_is_not(call: Callable[..., Any]) -> None:
    assert not returns_its_batch(call)


def test_steps_that_predict_go_on_with_their_batch() -> None:
    """They are called for each batch, too."""
    for kind in (PredictCall, EvaluateCall):
        assert returns_its_batch(object.__new__(kind).__call__)


class Odd(Batch):
    components = ("x",)

    @action
    def right(self) -> Odd:
        return self

    @action
    def nothing(self, at: int) -> Odd:
        return None if self.number == at else self  # type: ignore[return-value]

    @action
    def fewer(self) -> Odd:
        return self.take([0])  # type: ignore[return-value]

    @action
    def wrong_length(self) -> Odd:
        self.x = self.x[:1]
        return self


@pytest.fixture(params=[0, 2])
def pipeline(request: pytest.FixtureRequest) -> Any:
    dataset = Dataset(data={"x": np.arange(40)}, batch_class=Odd)
    return lambda steps: steps(dataset.p.right()).right().gen_batch(4, prefetch=request.param)


def test_what_another_action_returned_is_seen(pipeline: Any) -> None:
    with pytest.raises(ActionError, match="did it forget `return self`"):
        list(pipeline(lambda p: p.nothing(3)))
    assert [batch.x.tolist() for batch in pipeline(lambda p: p.fewer())] == [
        [4 * number] for number in range(10)
    ]


def test_lengths_are_held_after_an_action_that_returns_itself(pipeline: Any) -> None:
    with pytest.raises(DataError, match="component 'x' has 1 rows") as caught:
        list(pipeline(lambda p: p.wrong_length()))
    assert any("in step wrong_length()" in each for each in caught.value.__notes__)
