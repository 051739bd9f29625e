"""train_model and predict_model: what reaches the model, and where its output goes."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import pytest

from batchloom import B, Batch, C, Dataset, F, Pipeline, V, action
from batchloom.errors import (
    ActionError,
    DataError,
    DefinitionError,
    ModelNotBuiltError,
    UnknownComponentError,
    UnknownDestinationError,
    UnknownModelError,
    UnknownVariableError,
)
from batchloom.models import BaseModel


class Spy(BaseModel):
    """Keeps what it is given; gives back what its config says."""

    data_args = ("x", "y", "feed_dict")
    literal_args = ("output", "fetches")

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.given: list[dict[str, Any]] = []
        self.answer = self.config.get("answer", lambda **kwargs: len(self.given))

    def _train(self, **kwargs: Any) -> Any:
        self.given.append(kwargs)
        return self.answer(**kwargs)

    _predict = _train


class Strict(Spy):
    pass


class Items(Batch):
    @action
    def add(self) -> Items:
        self.add_component("made", self.x * 10)
        return self


def pipeline(answer: Any = None, n: int = 6) -> Pipeline:
    data = {"x": np.arange(n), "y": np.arange(n) % 2}
    config = {} if answer is None else {"answer": answer}
    return (
        Dataset(batch_class=Items, data=data)
        .pipeline({"lr": 0.1})
        .init_variable("v", 5)
        .init_variable("history", init_on_each_run=list)
        .init_model("static", Spy, "spy", config)
    )


def given(base: Pipeline, **options: Any) -> list[dict[str, Any]]:
    base.get_model_by_name("spy").given.clear()
    return base.run(3, **options).get_model_by_name("spy").given


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


# What reaches the model


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


# Where the output goes


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


# Models by name


@pytest.mark.parametrize("method", ["train_model", "predict_model"])
def test_models_are_declared_before_they_are_used(method: str) -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'spy'"):
        getattr(pipeline(), method)("spi", x="x")
    template = getattr(Pipeline(), method)("m", x="x").init_model("static", Spy, "m")
    with pytest.raises(UnknownModelError, match="further down: move init_model above"):
        template << pipeline().dataset
    with pytest.raises(DefinitionError, match="called by its name"):
        getattr(pipeline(), method)(Spy, x="x")


@pytest.mark.parametrize("mode", ["Static", "dyn", "statik", 3, None, Spy])
def test_only_modes_are_modes(mode: Any) -> None:
    with pytest.raises(DefinitionError, match="'static'.*'dynamic'") as caught:
        Pipeline().init_model(mode, Spy)
    if isinstance(mode, str):
        assert "did you mean" in str(caught.value)


def test_swapped_arguments_are_told_apart() -> None:
    with pytest.raises(DefinitionError, match="the mode comes first"):
        Pipeline().init_model("spy", "static")
    with pytest.raises(DefinitionError, match="the mode comes first"):
        Pipeline().init_model(Spy, "dynamic")


def test_a_model_is_called_by_its_class_name_unless_it_has_one() -> None:
    assert list(Pipeline().init_model("static", Spy).models) == ["Spy"]
    with pytest.raises(DefinitionError, match="declared twice"):
        Pipeline().init_model("static", Spy).init_model("dynamic", Spy)


def test_looking_models_up() -> None:
    base = pipeline().init_model("dynamic", Spy, "later")
    assert list(base.models) == ["spy"]
    with pytest.raises(ModelNotBuiltError, match="dynamic and was not made yet"):
        base.get_model_by_name("later")
    with pytest.raises(ModelNotBuiltError):
        base.save_model("later", "nowhere")
    for look in (
        base.get_model_by_name,
        base.models.__getitem__,
        lambda name: base.save_model(name, "nowhere"),
    ):
        with pytest.raises(UnknownModelError, match="did you mean 'spy'"):
            look("spyy")
    with pytest.raises(ModelNotBuiltError):
        base.models["later"]
    assert base.models.get("spyy") is None


def test_an_action_finds_all_models_in_the_mapping() -> None:
    class Looks(Batch):
        @action
        def look(self) -> Batch:
            seen.append(sorted(self.pipeline.models))
            return self

    seen: list[list[str]] = []
    source = pipeline().init_model("dynamic", Spy, "there").train_model("there", x="x").run(6)
    (
        Dataset(batch_class=Looks, data={"x": np.arange(6)})
        .p.init_model("static", Spy, "spy")
        .init_model("dynamic", Spy, "later")
        .import_model("there", source)
        .look()
        .train_model("later", x="x")
        .look()
        .run(6)
    )
    assert seen == [["spy", "there"], ["later", "spy", "there"]]


@pytest.mark.parametrize("prefetch", [0, 8])
def test_a_dynamic_model_is_made_once_from_the_first_batch_as_it_is_then(prefetch: int) -> None:
    made: list[tuple[Any, ...]] = []

    class Sees(Spy):
        def _build(self, *args: Any, pipeline: Any = None, batch: Any = None, **kw: Any) -> None:
            super()._build()
            made.append(
                (
                    batch.number,
                    batch.made.tolist(),
                    dict(pipeline.config),
                    pipeline.get_variable("v"),
                )
            )

    base = Dataset(batch_class=Items, data={"x": np.arange(40)}).pipeline({"lr": 1})
    base = (
        base.init_variable("v", 3).init_model("dynamic", Sees, "m").add().train_model("m", x="made")
    )
    assert made == []
    base.run(4, prefetch=prefetch)
    base.run(4, prefetch=prefetch)
    assert made == [(0, [0, 10, 20, 30], {"lr": 1}, 3)]
    assert len(base.get_model_by_name("m").given) == 20


def test_a_static_model_sees_the_pipeline_when_it_is_made() -> None:
    seen: list[Any] = []

    class Sees(Spy):
        def _build(self, *args: Any, pipeline: Any = None, batch: Any = None, **kw: Any) -> None:
            seen.append(
                (batch, pipeline.config["lr"], pipeline.get_variable("v"), pipeline.dataset)
            )

    base = pipeline().init_model("static", Sees, "m")
    assert seen == [(None, 0.1, 5, base.dataset)]


def test_a_model_that_cannot_be_made_raises_where_it_is_made() -> None:
    class Fails(Spy):
        def _build(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("no memory")

    with pytest.raises(OSError, match="no memory"):
        pipeline().init_model("static", Fails)
    base = pipeline().init_model("dynamic", Fails, "f").train_model("f", x="x")
    for _ in range(2):
        with pytest.raises(OSError, match="no memory"):
            base.run(3, prefetch=2)
    assert list(base.models) == ["spy"]


def test_empty_batches_are_not_shown_to_a_model() -> None:
    class Empties(Items):
        @action
        def none_of_the_first(self) -> Batch:
            return self.take(slice(0, 0)) if self.number == 0 else self

    config = {"answer": lambda x: x * 2}
    base = (
        Dataset(batch_class=Empties, data={"x": np.arange(6)})
        .p.init_model("dynamic", Spy, "spy", config)
        .none_of_the_first()
        .train_model("spy", x="x")
        .predict_model("spy", x="x", save_to=B.out)
    )
    batches = list(base.gen_batch(3))
    assert [len(each["x"]) for each in base.get_model_by_name("spy").given] == [3, 3]
    assert [each.out.tolist() for each in batches] == [[], [6, 8, 10]]


def test_an_empty_batch_fills_components_and_leaves_variables_alone() -> None:
    class Empties(Items):
        @action
        def none_of_the_first(self) -> Batch:
            return self.take(slice(0, 0)) if self.number == 0 else self

    base = (
        Dataset(batch_class=Empties, data={"x": np.arange(6)})
        .p.init_variable("all", init_on_each_run=list)
        .init_variable("last", "none")
        .init_model("dynamic", Spy, "spy", {"answer": lambda x: [x * 2, x * 3]})
        .none_of_the_first()
        .predict_model("spy", x="x", save_to=[B.twice, "last"])
        .predict_model("spy", x="x", append_to="all")
    )
    first = base.next_batch(3)
    assert (first.twice.tolist(), base.get_variable("last")) == ([], "none")
    assert base.next_batch().twice.tolist() == [6, 8, 10]
    assert base.get_variable("last").tolist() == [9, 12, 15]
    assert len(base.get_variable("all")) == 1


@pytest.mark.parametrize(
    ("value", "error"),
    [(V.vv, UnknownVariableError), (B.images, UnknownComponentError)],
    ids=str,
)
def test_names_in_the_config_of_a_dynamic_model_are_held_against_what_there_is(
    value: Any, error: type
) -> None:
    base = pipeline().init_model("dynamic", Spy, "later", {"a": [value], "b": (V.v, B.x, C.lr)})
    with pytest.raises(error, match=value.name):
        base.train_model("later", x="x")


def test_a_model_that_an_action_trains_hears_of_the_run_and_its_epochs() -> None:
    class Listens(Spy):
        def _begin_run(self, run: Any) -> None:
            calls.append(("begin", run.n_epochs))

        def _end_epoch(self, epoch: int, last: bool) -> None:
            calls.append(("end", epoch, last))

        def _abandon_run(self) -> None:
            calls.append("abandon")

    class Trains(Batch):
        @action(model="m")
        def train(self, model: Any) -> Batch:
            model.train(x=self.x)
            other.train(x=self.x)
            calls.append("train")
            return self

        @action
        def fail(self) -> Batch:
            raise OSError

    calls: list[Any] = []
    other = pipeline().init_model("static", Listens, "m").get_model_by_name("m")
    base = (
        Dataset(batch_class=Trains, data={"x": np.arange(4)})
        .p.init_model("dynamic", Listens, "m")
        .train()
    )
    base.run(2, n_epochs=2)
    epoch = ["train", "train"]
    expected = [("begin", 2), *epoch, ("end", 0, False), *epoch, ("end", 1, True)]
    assert calls == expected, "and not the model of another pipeline"
    calls.clear()
    with pytest.raises(OSError):
        base.fail().run(2)
    assert calls == [("begin", 1), "train", "abandon"]


# Import


def test_an_imported_model_is_the_model() -> None:
    train = pipeline().init_model("dynamic", Spy, "own").train_model("own", x="x")
    infer = Pipeline().import_model("own", train).predict_model("own", x="y")
    linked = infer << train.dataset
    with pytest.raises(
        ModelNotBuiltError, match=r"has not made this dynamic model yet.*Run it first"
    ):
        linked.run(3)
    train.run(3)
    linked.run(3)
    assert linked.get_model_by_name("own") is train.get_model_by_name("own")
    assert len(train.get_model_by_name("own").given) == 4
    again = linked.dataset.p.import_model("own", linked).predict_model("own", x="x")
    assert again.run(3).get_model_by_name("own") is train.get_model_by_name("own")


def test_the_arguments_of_import_model_swapped() -> None:
    with pytest.raises(DefinitionError, match="takes a pipeline, after the model's name") as caught:
        Pipeline().import_model(pipeline(), "spy")
    assert "\n" not in str(caught.value)


def test_a_template_makes_no_dynamic_model_to_import() -> None:
    template = Pipeline().init_model("dynamic", Spy, "own")
    with pytest.raises(ModelNotBuiltError, match=r"template << dataset"):
        pipeline().import_model("own", template).run(3)


def test_what_cannot_be_imported_is_refused_when_it_is_written() -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'spy'"):
        Pipeline().import_model("spi", pipeline())
    with pytest.raises(DefinitionError, match="takes a pipeline"):
        Pipeline().import_model("spy", Spy)
    with pytest.raises(DefinitionError, match="declared twice"):
        pipeline().import_model("spy", pipeline())


def test_nothing_warns_where_nothing_is_wrong() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline().train_model("spy", x="x", append_to="history").run(4)
