"""B, V, C and F stand for values that are worked out for each batch, and for nothing else."""

from __future__ import annotations

import collections
import pickle
from typing import Any

import numpy as np
import pytest

from batchloom import B, Batch, C, Dataset, F, Pipeline, V, action
from batchloom.errors import DefinitionError, UnknownNameError, UnknownVariableError
from batchloom.expressions import evaluate, find_expressions
from batchloom.models import BaseModel


class Got(Batch):
    @action
    def get(self, *args: Any, **kwargs: Any) -> Got:
        self._got = args, kwargs
        return self


Pair = collections.namedtuple("Pair", "first second")


def got(*args: Any, prefetch: int = 0, **kwargs: Any) -> list[Any]:
    dataset = Dataset(batch_class=Got, data={"x": np.arange(6)})
    pipeline = dataset.pipeline({"lr": 0.1, "nested": {"a": 1}}).init_variable("v", "value")
    return [each._got for each in pipeline.get(*args, **kwargs).gen_batch(3, prefetch=prefetch)]


@pytest.mark.parametrize("prefetch", [0, 4])
def test_each_stands_for_its_value_in_each_batch(prefetch: int) -> None:
    first, second = got(B.x, V.v, C.lr, f=F(lambda batch: batch.number), prefetch=prefetch)
    assert first[0][0].tolist() == [0, 1, 2]
    assert second[0][0].tolist() == [3, 4, 5]
    assert first[0][1:] == ("value", 0.1)
    assert [each[1]["f"] for each in (first, second)] == [0, 1]


def test_attribute_call_and_item_name_the_same() -> None:
    for each in (V.v, V("v"), V["v"]):
        assert got(each)[0][0] == ("value",)
        assert repr(each) == "V('v')"


def test_they_are_replaced_inside_dicts_lists_and_tuples() -> None:
    nested = {"a": [V.v, (C.lr, 1)], "b": {"c": V.v}, "p": Pair(V.v, 2), "text": "v"}
    assert got(nested)[0][0][0] == {
        "a": ["value", (0.1, 1)],
        "b": {"c": "value"},
        "p": Pair("value", 2),
        "text": "v",
    }
    assert len(list(find_expressions(nested))) == 4
    assert isinstance(nested["a"][0], type(V.v))  # what was given is not changed


@pytest.mark.parametrize("each", [B.x, V.v, C.lr, F(len)], ids=repr)
def test_they_have_no_truth_value_and_no_items(each: Any) -> None:
    with pytest.raises(TypeError, match="truth value"):
        bool(each)
    with pytest.raises(TypeError, match="truth value"):
        each and 1
    with pytest.raises(TypeError, match="iterated"):
        iter(each)
    with pytest.raises(TypeError, match="cannot be answered"):
        assert "a" in each


@pytest.mark.parametrize("each", [B.x, V.x, C.x, F(len)], ids=repr)
@pytest.mark.parametrize(
    "compute",
    [
        lambda each: each + 1,
        lambda each: 2 * each,
        lambda each: each - each,
        lambda each: -each,
        lambda each: each > 3,
        lambda each: each == 3,
        lambda each: each != "text",
        lambda each: each[0],
        lambda each: np.arange(3) + each,
        lambda each: np.arange(3) == each,
        lambda each: np.sqrt(each),
    ],
    ids=["+", "2*", "-", "minus", ">", "==", "!=", "[]", "array+", "array==", "sqrt"],
)
def test_they_are_not_computed_with_and_say_what_to_write_instead(each: Any, compute: Any) -> None:
    with pytest.raises(TypeError, match=r"F\(lambda batch: .*batch") as caught:
        compute(each)
    assert "Component" not in str(caught.value) and "object at 0x" not in str(caught.value)


def test_what_they_say_to_write_does_what_was_meant() -> None:
    meant = [B.x, V.v, C.lr]
    for each in meant:
        with pytest.raises(TypeError) as caught:
            each * 2
        said = str(caught.value).split("F(lambda batch: ")[1][:-1].replace("...", "2")
        first = got(F(eval(f"lambda batch: {said}")))[0][0][0]
        assert np.array_equal(
            first,
            got(F(lambda batch, each=each: each.evaluate(batch, batch.pipeline)))[0][0][0] * 2,
        )


def test_they_are_equal_to_themselves_and_can_be_kept_in_sets() -> None:
    one = B.x
    assert one == one and one != B.x and one != V.x and one in [B.y, one]
    assert {one: 1, B.x: 2}[one] == 1


@pytest.mark.parametrize("each", [B, V, C], ids=repr)
def test_neither_have_their_makers(each: Any) -> None:
    with pytest.raises(TypeError, match="iterated"):
        list(each)
    for wrong in (3, None, b"x"):
        with pytest.raises(DefinitionError, match="takes a name"):
            each(wrong)
        with pytest.raises(DefinitionError, match="takes a name"):
            each[wrong]
    with pytest.raises(AttributeError):
        each.__wrapped__


def test_they_hold_no_value_between_batches() -> None:
    expression = F(lambda batch: batch.x)
    before = dict(expression.__dict__)
    pipelines = [
        Dataset(batch_class=Got, data={"x": np.arange(6) + k}).p.get(expression) for k in (0, 100)
    ]
    streams = [each.gen_batch(2, prefetch=2) for each in pipelines]
    for number in range(3):
        for stream, offset in zip(streams, (0, 100), strict=True):
            start = offset + 2 * number
            assert next(stream)._got[0][0].tolist() == [start, start + 1]
    for stream in streams:
        stream.close()
    assert expression.__dict__ == before


@pytest.mark.parametrize("each", [B.x, V.v, C.lr, F(len), [B.x, {"k": V.v}]], ids=repr)
def test_they_can_be_pickled(each: Any) -> None:
    assert repr(pickle.loads(pickle.dumps(each))) == repr(each)


def test_names_are_checked_where_they_can_be() -> None:
    with pytest.raises(UnknownVariableError, match="did you mean 'value'"):
        Dataset(3, Got).p.init_variable("value").get(V.valu)
    with pytest.raises(UnknownNameError, match=r"config entry 'l'.*Pipeline\(config="):
        Dataset(3, Got).p.get(C.l).run(2)
    with pytest.raises(DefinitionError, match="function of a batch"):
        F("x")


def test_an_exception_of_a_function_keeps_its_type_and_names_the_step() -> None:
    def fails(batch: Batch) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        got(F(fails))
    assert any("get(F(" in note and "batch 0" in note for note in caught.value.__notes__)


class Options(BaseModel):
    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.options = dict(self.config)

    def _predict(self, x: Any) -> Any:
        return x


def test_they_are_evaluated_in_the_config_of_a_static_model() -> None:
    template = (
        Pipeline({"lr": 0.1})
        .init_variable("v", 3)
        .init_model("static", Options, "m", {"rate": C.lr, "more": [V.v], "plain": "v"})
    )
    assert template.get_model_by_name("m").options == {"rate": 0.1, "more": [3], "plain": "v"}
    for late in (B.x, F(len)):
        with pytest.raises(DefinitionError, match="use a dynamic model"):
            Pipeline().init_model("static", Options, "m", {"late": late})
    with pytest.raises(UnknownVariableError, match="did you mean 'value'"):
        Pipeline().init_variable("value").init_model("static", Options, "m", {"late": V.valu})


def test_they_are_evaluated_with_the_first_batch_in_the_config_of_a_dynamic_model() -> None:
    config = {"shape": F(lambda batch: batch.x.shape), "first": B.x, "v": V.v}
    pipeline = (
        Dataset(data={"x": np.arange(6)})
        .p.init_variable("v", 0)
        .init_model("dynamic", Options, "m", config)
        .inc_variable("v", 5)
        .predict_model("m", x="x")
        .run(4)
    )
    options = pipeline.get_model_by_name("m").options
    assert options["shape"] == (4,)
    assert options["first"].tolist() == [0, 1, 2, 3]
    assert options["v"] == 5


def test_evaluating_leaves_other_objects_as_they_are() -> None:
    array = np.arange(3)
    assert evaluate(array, None, None) is array
    assert evaluate("V.v", None, None) == "V.v"
