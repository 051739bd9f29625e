"""train_model and predict_model: where the output goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from spied_models import Spy, pipeline

from batchloom import B, Batch, C, Pipeline, V
from batchloom.errors import DataError, DefinitionError, UnknownDestinationError


def last(base: Pipeline, **options: Any) -> Batch:
    return list(base.gen_batch(3, **options))[-1]


@pytest.mark.parametrize("prefetch", [0, 3])
def test_output_goes_to_a_component_or_a_variable(prefetch: int) -> None:
    base = pipeline(lambda x, **kwargs: x + 100)
    for method in (base.train_model, base.predict_model):
        assert last(method("spy", x="x", save_to="x"), prefetch=prefetch).x.tolist() == [
            103,
            104,
            105,
        ]
        made = last(method("spy", x="x", save_to=B.new), prefetch=prefetch)
        assert made.new.tolist() == [103, 104, 105]
        assert made.components == ("x", "y", "new")
        for target in ("v", V.v):
            stored = method("spy", x="x", save_to=target).run(3, prefetch=prefetch)
            assert stored.get_variable("v").tolist() == [103, 104, 105]
        for target in ("history", V.history):
            stored = method("spy", x="x", append_to=target).run(3, prefetch=prefetch)
            assert [each.tolist() for each in stored.get_variable("history")] == [
                [100, 101, 102],
                [103, 104, 105],
            ]


def test_a_new_component_can_be_used_by_the_steps_that_follow() -> None:
    base = pipeline(lambda x: x + 1).predict_model("spy", x="x", save_to=B.new)
    assert last(base.predict_model("spy", x="new", save_to="new")).new.tolist() == [5, 6, 7]
    assert last(base.set_variable("v", B.new).rebatch(6)).new.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_component_wins_over_a_variable_of_its_name_and_says_so() -> None:
    base = pipeline(lambda x: x + 1).init_variable("x", "untouched")
    base = base.train_model("spy", x="x", save_to="x")
    with pytest.warns(UserWarning, match=r"names a component and a variable.*V\.x"):
        batch = last(base)
    assert batch.x.tolist() == [4, 5, 6]
    assert base.get_variable("x") == "untouched"
    silent = pipeline(lambda x: x + 1).init_variable("x").train_model("spy", x="x", save_to=V.x)
    assert silent.run(3).get_variable("x").tolist() == [4, 5, 6]


def test_append_to_wins_over_save_to_and_says_so() -> None:
    with pytest.warns(UserWarning, match="only append_to is used"):
        base = pipeline().train_model("spy", x="x", save_to="v", append_to="history")
    base.run(3)
    assert base.get_variable("v") == 5
    assert base.get_variable("history") == [1, 2]


@pytest.mark.parametrize("method", ["train_model", "predict_model"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"save_to": "histori"}, "did you mean 'history'"),
        (
            {"save_to": "nothing"},
            r"init_variable\('nothing', \.\.\.\), or write save_to=B\.nothing",
        ),
        ({"save_to": V.nothing}, "init_variable"),
        ({"save_to": ["v", "histori"]}, "did you mean 'history'"),
        ({"append_to": "histori"}, "did you mean 'history'"),
        ({"append_to": "x"}, "unknown destination 'x' in append_to"),
    ],
    ids=str,
)
def test_a_destination_that_is_not_there_is_refused_when_it_is_written(
    method: str, options: dict, said: str
) -> None:
    with pytest.raises(UnknownDestinationError, match=said):
        getattr(pipeline(), method)("spy", x="x", **options)
    dataset = pipeline().dataset
    template = Pipeline().init_variables(["v", "history"]).init_model("static", Spy, "spy")
    with pytest.raises(UnknownDestinationError, match=said):
        getattr(template, method)("spy", x="x", **options) << dataset


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"save_to": 3}, DefinitionError),
        ({"save_to": C.lr}, DefinitionError),
        ({"append_to": B.x}, DefinitionError),
        ({"append_to": 3}, DefinitionError),
        ({"save_to": B.size}, DataError),
        ({"save_to": B.indices}, DataError),
        ({"save_to": B._x}, DataError),
        ({"save_to": [B.a, B.take]}, DataError),
    ],
    ids=str,
)
def test_what_is_no_destination_is_refused_when_it_is_written(options: dict, error: type) -> None:
    with pytest.raises(error):
        pipeline().train_model("spy", x="x", **options)


def test_a_destination_that_is_not_there_at_its_turn_is_found_before_the_model_is_called() -> None:
    base = pipeline().add().train_model("spy", x="x", save_to="mode")
    with pytest.raises(UnknownDestinationError, match="did you mean 'made'"):
        base.run(3)
    assert base.get_model_by_name("spy").given == []


@pytest.mark.parametrize("value", [None, 5, "text", np.zeros(3), {}])
def test_append_to_what_cannot_be_appended_to_is_found_before_the_model_is_called(
    value: Any,
) -> None:
    base = pipeline().init_variable("w", value).train_model("spy", x="x", append_to="w")
    with pytest.raises(DefinitionError, match=r"no append\(\).*init_on_each_run=list"):
        base.run(3)
    assert base.get_model_by_name("spy").given == []
    assert base.get_variable("w") is not None or value is None


def test_several_outputs_go_to_several_places() -> None:
    base = pipeline(lambda x, **kwargs: [x + 1, x.sum(), "text"])
    batch = last(base.train_model("spy", x="x", save_to=[B.more, "v", V.history]))
    assert batch.more.tolist() == [4, 5, 6]
    two = pipeline(lambda x, **kwargs: (x.min(), x.max())).init_variable(
        "h2", init_on_each_run=list
    )
    two = two.train_model("spy", x="x", append_to=("history", "h2")).run(3)
    assert (two.get_variable("history"), two.get_variable("h2")) == ([0, 3], [2, 5])
    one = pipeline(lambda x, **kwargs: [1, 2]).train_model("spy", x="x", save_to="v").run(3)
    assert one.get_variable("v") == [1, 2]


@pytest.mark.parametrize(
    ("answer", "said"),
    [(lambda x: [1], "1 values for 2"), (lambda x: 3, "int for 2"), (lambda x: "ab", "str for 2")],
)
def test_as_many_outputs_as_places(answer: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        pipeline(answer).train_model("spy", x="x", save_to=["v", "history"]).run(3)


@pytest.mark.parametrize("method", ["train_model", "predict_model"])
def test_no_output_is_not_stored(method: str) -> None:
    call = getattr(pipeline(lambda x: None), method)
    assert call("spy", x="x", save_to="v").run(3).get_variable("v") == 5
    assert call("spy", x="x", append_to="history").run(3).get_variable("history") == []
    assert last(call("spy", x="x", save_to="x")).x.tolist() == [3, 4, 5]


def test_an_output_that_does_not_fit_its_component_is_named() -> None:
    with pytest.raises(DataError, match="'new' has 2 rows, but the batch has 3"):
        pipeline(lambda x: [1, 2]).predict_model("spy", x="x", save_to=B.new).run(3)
    with pytest.raises(DataError, match="'new' has no rows"):
        pipeline(lambda x: 1).predict_model("spy", x="x", save_to=B.new).run(3)
