"""train_model and predict_model: what reaches the model."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import pytest
from spied_models import Spy, given, pipeline, plain

from batchloom import B, Batch, C, F, V
from batchloom.errors import ActionError, DefinitionError, UnknownComponentError
from batchloom.models.handle import handle_of


@pytest.mark.parametrize("method", ["train_model", "predict_model"])
@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("x", "x", [0, 1, 2]),
        ("x", B.x, [0, 1, 2]),
        ("x", "v", 5),
        ("x", V.v, 5),
        ("x", C.lr, 0.1),
        ("x", F(lambda batch: batch.x.sum()), 3),
        ("x", 7, 7),
        ("x", None, None),
        ("other", "x", [0, 1, 2]),
        ("other", "no such name", "no such name"),
        ("output", "x", "x"),
        ("fetches", ["x", "v"], ["x", "v"]),
        ("fetches", V.v, 5),
    ],
    ids=str,
)
def test_strings_and_expressions_become_data(
    method: str, prefetch: int, argument: str, value: Any, expected: Any
) -> None:
    base = getattr(pipeline(), method)("spy", **{argument: value})
    assert plain(given(base, prefetch=prefetch)[0][argument]) == expected


def test_they_do_so_inside_dicts_lists_and_tuples() -> None:
    pair = collections.namedtuple("pair", "a b")("x", 1)
    feed = {"x": "x", "more": ["y", ("v", "free text", 3)], "deep": {"lr": C.lr}, "pair": pair}
    base = pipeline().train_model("spy", inputs=feed)
    got = given(base)[1]["inputs"]
    assert got["x"].tolist() == [3, 4, 5]
    assert got["more"][0].tolist() == [1, 0, 1]
    assert got["more"][1] == (5, "free text", 3)
    assert got["deep"] == {"lr": 0.1}
    assert got["pair"].a.tolist() == [3, 4, 5]
    assert feed["x"] == "x"


def test_a_component_comes_before_a_variable_of_its_name() -> None:
    base = pipeline().init_variable("x", "the variable")
    assert plain(given(base.train_model("spy", x="x"))[0]["x"]) == [0, 1, 2]
    assert given(base.train_model("spy", x=V.x))[0]["x"] == "the variable"


def test_data_that_names_nothing_is_refused_when_it_is_written() -> None:
    for wrong in ("xs", {"a": "xs"}, ["x", "xs"]):
        with pytest.raises(UnknownComponentError, match=r"xs.*did you mean 'x'|xs.*There is"):
            pipeline().train_model("spy", feed_dict=wrong)
    with pytest.raises(UnknownComponentError, match="'historz'.*did you mean 'history'"):
        pipeline().predict_model("spy", x="historz")
    with pytest.raises(UnknownComponentError, match="component 'made'"):
        pipeline().train_model("spy", other=B.made)


def test_data_that_names_nothing_at_its_turn_never_reaches_the_model() -> None:
    base = pipeline().add().train_model("spy", x="mode")  # `add` might have made it
    with pytest.raises(UnknownComponentError, match="did you mean 'made'") as caught:
        base.run(3)
    assert base.get_model_by_name("spy").given == []
    assert any("train_model('spy', x='mode')" in note for note in caught.value.__notes__)
    assert plain(given(pipeline().add().train_model("spy", x="made"))[0]["x"]) == [0, 10, 20]


def make_data(batch: Batch, model: Spy) -> dict[str, Any]:
    return {"x": batch.x * 2, "seen": len(model.given), "text": "x"}


class Maker:
    def make(self, batch: Batch, model: Spy) -> dict[str, Any]:
        return make_data(batch, model)

    def __call__(self, batch: Batch, model: Spy) -> dict[str, Any]:
        return make_data(batch, model)


@pytest.mark.parametrize("method", ["train_model", "predict_model"])
@pytest.mark.parametrize(
    "maker", [make_data, Maker().make, Maker(), lambda batch, model: make_data(batch, model)]
)
@pytest.mark.parametrize("by_name", [False, True])
def test_make_data_gives_arguments(method: str, maker: Any, by_name: bool) -> None:
    call = getattr(pipeline(), method)
    base = call("spy", make_data=maker, y="y") if by_name else call("spy", maker, y="y")
    first, second = given(base)
    assert first["x"].tolist() == [0, 2, 4]
    assert first["y"].tolist() == [0, 1, 0]
    assert (first["seen"], second["seen"]) == (0, 1)
    assert first["text"] == "x"  # made data is what it is


@pytest.mark.parametrize(
    ("maker", "error", "said"),
    [
        (lambda batch, model: [batch.x], ActionError, "returned list.*dict"),
        (lambda batch, model: None, ActionError, "returned NoneType"),
        (lambda batch, model: {1: batch.x}, ActionError, "by name"),
        (lambda batch, model: {"y": 1}, DefinitionError, "makes y, which.*given too"),
    ],
)
def test_make_data_must_make_arguments(maker: Any, error: type, said: str) -> None:
    base = pipeline().train_model("spy", maker, y="y")
    with pytest.raises(error, match=said):
        base.run(3)
    assert base.get_model_by_name("spy").given == []


@pytest.mark.parametrize("wrong", ["images", 3, {"x": 1}])
def test_make_data_is_a_function(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="make_data="):
        pipeline().train_model("spy", wrong)


def test_an_exception_of_make_data_keeps_its_type() -> None:
    def fails(batch: Batch, model: Spy) -> dict[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pipeline().train_model("spy", fails).run(3)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("ends", ["through", "early"])
def test_a_model_keeps_no_run_that_has_ended(prefetch: int, ends: str) -> None:
    """With the run it would keep the dataset."""
    p = pipeline().train_model("spy", x="x")
    batches = p.gen_batch(1, prefetch=prefetch)
    next(batches)
    handle = handle_of(p.get_model_by_name("spy"))
    assert handle.in_run is not None
    if ends == "early":
        batches.close()  # type: ignore[attr-defined]
    else:
        collections.deque(batches, 0)
    assert handle.in_run is None


def test_data_of_all_items_in_the_place_of_a_component_is_warned_of() -> None:
    with pytest.warns(
        UserWarning, match=r"x= is given 6 rows .*as many as the dataset.*x='\.\.\.'"
    ):
        given(pipeline().train_model("spy", x=np.arange(6)))


@pytest.mark.parametrize("name", ["x", "other"])
def test_data_that_is_the_same_for_all_batches_is_not(name: str) -> None:
    rows = {"x": 3, "other": 6}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(given(pipeline().train_model("spy", **{name: np.arange(rows)}))[0][name]) == rows
