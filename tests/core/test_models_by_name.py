"""Models of a pipeline by their names: declared, looked up, made, imported."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from spied_models import Items, Spy, pipeline

from batchloom import B, Batch, C, Dataset, Pipeline, V, action
from batchloom.errors import (
    DefinitionError,
    ModelNotBuiltError,
    UnknownComponentError,
    UnknownModelError,
    UnknownVariableError,
)


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
