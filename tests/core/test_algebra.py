"""The algebra of pipelines: operands stay as they are, and everything a pipeline has is carried."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from batchloom import B, Batch, C, Dataset, Pipeline, V, action
from batchloom.errors import DefinitionError, TemplateError, UnknownActionError
from batchloom.models import BaseModel


class Items(Batch):
    @action
    def add(self, by: float) -> Items:
        self.x = self.x + by
        return self

    @action
    def log(self, what: object) -> Items:
        self.pipeline.variables["log"].append(what)
        return self

    @action
    def pair(self, other: Batch, by: float = 1) -> Items:
        assert other.indices.tolist() == self.indices.tolist()
        self.x = self.x + by * other.x
        return self


class Mean(BaseModel):
    data_args = ("x",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.seen: list[int] = []

    def _train(self, x: np.ndarray) -> int:
        self.seen += x.tolist()
        return len(self.seen)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), len(self.seen))

    def _save(self, path: Any) -> None:
        (path / "seen.txt").write_text(repr(self.seen))


def dataset(n: int = 12) -> Dataset:
    return Dataset(batch_class=Items, data={"x": np.arange(float(n))})


def full() -> Pipeline:
    """A pipeline that has everything."""
    return (
        dataset()
        .pipeline({"lr": 0.5})
        .init_variable("log", init_on_each_run=list)
        .init_variable("n", 0)
        .init_model("static", Mean, "shared")
        .init_model("dynamic", Mean, "own")
        .add(1)
        .train_model("shared", x="x")
        .train_model("own", x="x", save_to="n")
    )


def picture(pipeline: Pipeline) -> tuple[Any, ...]:
    """All that can be seen of a pipeline."""
    return (
        pipeline.describe(),
        pipeline._definition,
        pipeline._definition.steps,
        pipeline.dataset,
        dict(pipeline.config),
        copy.deepcopy(dict(pipeline.variables)),
        dict(pipeline.models),
        pipeline.seed,
        list(pipeline.failures),
    )


OPERATIONS: dict[str, Callable[[Pipeline], Pipeline]] = {
    "action": lambda p: p.add(2),
    "+": lambda p: p + Pipeline().add(3),
    "+ itself": lambda p: p + p,
    "template +": lambda p: Pipeline().add(3) + p,
    "* 0": lambda p: p * 0,
    "* 1": lambda p: p * 1,
    "* 3": lambda p: p * 3,
    "* numpy": lambda p: p * np.int64(2),
    "@": lambda p: p @ 0.5,
    "@ numpy": lambda p: p @ np.float32(0.5),
    "(+) @": lambda p: (p + p.add(1)) @ 0.5,
    "<<": lambda p: p << dataset(5),
    ">>": lambda p: dataset(5) >> p,
    "join": lambda p: p.join(dataset().p.add(1)).pair(),
    "join itself": lambda p: p.join(dataset().p).pair(),
    "merge": lambda p: p.merge(dataset().p),
    "rebatch": lambda p: p.rebatch(5),
    "init_variable": lambda p: p.init_variable("m", 1),
    "init_variables": lambda p: p.init_variables({"a": {"default": 1}, "b": {"init": list}}),
    "init_variables of names": lambda p: p.init_variables(["a", "b"]),
    "set_variable": lambda p: p.set_variable("n", 1),
    "assign_variable": lambda p: p.assign_variable("n", 1),
    "inc_variable": lambda p: p.inc_variable("n"),
    "update_variable": lambda p: p.update_variable("log", 1, mode="append"),
    "delete_variable": lambda p: p.init_variable("gone", 1).delete_variable("gone"),
    "print_variable": lambda p: p.print_variable("n"),
    "init_model": lambda p: p.init_model("static", Mean, "third"),
    "init dynamic model": lambda p: p.init_model("dynamic", Mean, "third"),
    "import_model": lambda p: p.import_model(
        "theirs", Pipeline().init_model("static", Mean, "theirs")
    ),
    "train_model": lambda p: p.train_model("own", x="x"),
    "predict_model": lambda p: p.predict_model("own", x="x", save_to=B.out),
    "evaluate_model": lambda p: p.evaluate_model(
        "own", x="x", y="x", metrics={"n": lambda true, predicted: len(true)}, save_to="n"
    ),
    "run lazily": lambda p: p.run(4, lazy=True),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("has_run", [False, True])
def test_operands_are_unchanged_and_everything_is_carried(name: str, has_run: bool) -> None:
    base = full()
    if has_run:
        base.run(5, seed=1)
    before = picture(base)
    made = OPERATIONS[name](base)
    assert picture(base) == before
    assert made is not base
    assert made.dataset is (base.dataset if name not in ("<<", ">>") else made.dataset)
    assert len(made.dataset) in (5, 12)
    assert dict(made.config) == {"lr": 0.5}
    assert {"log", "n"} <= set(made.variables)
    assert made.get_variable("n") == 0  # values belong to the pipeline that ran
    assert made.get_model_by_name("shared") is base.get_model_by_name("shared")
    assert "own" not in made.models
    made.run(4, seed=2)
    untouched = [each for at, each in enumerate(picture(base)) if at not in (0, 6)]
    assert untouched == [each for at, each in enumerate(before) if at not in (0, 6)]
    assert base.models.get("own") is not made.models.get("own") or "own" not in made.models


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_pipeline_runs_the_same_before_and_after_another_is_made_of_it(name: str) -> None:
    alone, operand = full(), full()
    OPERATIONS[name](operand).run(4, seed=2)
    operand.get_model_by_name("shared").seen.clear()
    for each in (alone, operand):
        each.run(5, seed=1, shuffle=True)
    for model in ("shared", "own"):
        assert alone.get_model_by_name(model).seen == operand.get_model_by_name(model).seen
    assert dict(alone.variables) == dict(operand.variables)


def values(pipeline: Pipeline, size: int = 4, **options: Any) -> list[list[float]]:
    return [each.x.tolist() for each in pipeline.gen_batch(size, **options)]


def test_sums_do_all_steps_in_order() -> None:
    data = dataset(4)
    first, second = Pipeline().add(1), Pipeline().add(10).add(100)
    assert values((first + second) << data) == [[111.0, 112.0, 113.0, 114.0]]
    assert values((data >> first) + second) == values(first + (second << data))
    log = Pipeline().init_variable("log", init_on_each_run=list)
    both = ((log.log(1).log(2) + Pipeline().log(3)) << data).run(4)
    assert both.get_variable("log") == [1, 2, 3]


def test_a_sum_of_two_branches_of_one_pipeline_declares_what_they_share_once() -> None:
    base = Pipeline().init_variable("log", init_on_each_run=list).init_model("static", Mean, "m")
    total = (base.log("a") + base.log("b")) << dataset()
    assert total.run(12).get_variable("log") == ["a", "b"]
    assert total.get_model_by_name("m") is base.get_model_by_name("m")


def test_what_two_pipelines_declare_differently_cannot_be_added() -> None:
    for declare in (
        lambda p: p.init_variable("v", 1),
        lambda p: p.init_model("static", Mean, "v"),
    ):
        with pytest.raises(DefinitionError, match="'v' is declared twice"):
            declare(Pipeline()) + declare(Pipeline())
    with pytest.raises(DefinitionError, match="dataset"):
        dataset().p + dataset().p
    with pytest.raises(DefinitionError, match="'lr' \\(1 and 2\\)"):
        Pipeline({"lr": 1}) + Pipeline({"lr": 2})
    assert dict((Pipeline({"a": 1, "b": 2}) + Pipeline({"b": 2, "c": 3})).config) == {
        "a": 1,
        "b": 2,
        "c": 3,
    }
    for other in (1, None, dataset()):
        with pytest.raises(TypeError):
            Pipeline() + other


@pytest.mark.parametrize("times", [0, 1, 2, 5])
def test_repeating_does_the_steps_so_many_times(times: int) -> None:
    pipeline = (Pipeline().add(1).add(10) * times) << dataset(3)
    assert values(pipeline) == [[11.0 * times, 1 + 11.0 * times, 2 + 11.0 * times]]


def test_zero_times_does_nothing_but_keeps_what_is_declared() -> None:
    base = full()
    nothing = (base * 0).run(4)
    assert nothing.get_model_by_name("shared").seen == []
    assert nothing.get_variable("n") == 0
    assert values(base * 0) == values(dataset().p)


def test_repeating_one_pipeline_twice_makes_two_independent_ones() -> None:
    base = dataset(2).p.add(1)
    twice, thrice = base * 2, base * 3
    assert values(base) == [[1.0, 2.0]]
    assert values(twice) == [[2.0, 3.0]]
    assert values(thrice) == [[3.0, 4.0]]
    assert values((base * 2) * 3) == [[6.0, 7.0]]
    assert values(base * 2 + Pipeline().add(10) * 2) == [[22.0, 23.0]]


def test_training_in_a_repeated_pipeline_trains_so_many_times() -> None:
    pipeline = dataset(4).p.init_model("static", Mean, "m") + Pipeline().train_model("m", x="x") * 3
    pipeline.run(2)
    assert len(pipeline.get_model_by_name("m").seen) == 12


@pytest.mark.parametrize("times", [-1, 1.5, True, "2", None])
def test_only_whole_numbers_repeat(times: object) -> None:
    with pytest.raises((DefinitionError, TypeError)):
        Pipeline() * times


@pytest.mark.parametrize("probability", [-0.1, 1.1, "0.5", None, float("nan")])
def test_only_probabilities_leave_to_chance(probability: object) -> None:
    with pytest.raises((DefinitionError, TypeError)):
        Pipeline() @ probability


def test_certain_and_impossible() -> None:
    assert values((Pipeline().add(1) @ 1) << dataset(2)) == [[1.0, 2.0]]
    assert values((Pipeline().add(1) @ 0) << dataset(2)) == [[0.0, 1.0]]


@pytest.mark.parametrize("prefetch", [0, 4])
def test_chance_is_drawn_from_each_batchs_own_generator(prefetch: int) -> None:
    data = dataset(400)
    pipeline = ((Pipeline().add(1000) + Pipeline().add(1000)) @ 0.5) << data
    batches = list(pipeline.gen_batch(2, seed=7, prefetch=prefetch))
    did = [each.x[0] >= 2000 for each in batches]
    assert not any(1000 <= each.x[0] < 2000 for each in batches)  # all of the sum or nothing
    assert 70 <= sum(did) <= 130
    drawn = [each.random.random() < 0.5 for each in data.gen_batch(2, seed=7)]
    assert did == drawn
    assert did != [each.x[0] >= 2000 for each in pipeline.gen_batch(2, seed=8)]


def test_chance_keeps_dataset_variables_models_and_config() -> None:
    base = full()
    other = Pipeline().inc_variable("n", C.lr)
    some = ((base + other) @ 0.5).run(1, seed=3, n_epochs=5)
    seen = some.get_model_by_name("own").seen
    assert 0 < len(seen) < 60
    assert seen == some.get_model_by_name("shared").seen
    assert some.get_variable("n") == len(seen) + 0.5  # train saves the count, then the config's 0.5


def test_a_join_cannot_be_left_hanging() -> None:
    other = dataset().p
    joined = dataset().p.join(other)
    with pytest.raises(DefinitionError, match="followed by an action"):
        joined.run(4)
    with pytest.raises(DefinitionError, match="followed by an action"):
        joined.rebatch(3)
    with pytest.raises(DefinitionError, match="followed by an action"):
        joined @ 0.5
    with pytest.raises(DefinitionError, match="followed by an action"):
        joined.init_variable("v").inc_variable("v")
    assert values(joined.init_variable("v").pair()) == values(joined.pair())
    assert values(joined.pair() * 2) == [[3.0 * i for i in range(k, k + 4)] for k in (0, 4, 8)]


def test_linking_makes_a_new_pipeline_over_the_dataset() -> None:
    template = Pipeline().add(1)
    for linked in (template << dataset(3), dataset(3) >> template):
        assert values(linked) == [[1.0, 2.0, 3.0]]
    assert template.dataset is None
    assert values((template << dataset(3)) << dataset(2)) == [[1.0, 2.0]]
    for wrong in (np.arange(3), None, Pipeline()):
        with pytest.raises(DefinitionError, match="Dataset"):
            template << wrong


@pytest.mark.parametrize("method", ["run", "gen_batch", "next_batch"])
def test_a_template_cannot_run_and_says_what_to_do(method: str) -> None:
    with pytest.raises(TemplateError, match=r"template << dataset\)." + method):
        getattr(Pipeline().add(1), method)(4)


def test_a_template_is_checked_when_it_is_linked() -> None:
    template = Pipeline().ad(1)
    with pytest.raises(UnknownActionError, match="did you mean 'add'"):
        template << dataset()
    with pytest.raises(UnknownActionError, match="did you mean 'add'"):
        dataset() >> template


def test_with_names_an_empty_pipeline() -> None:
    with Pipeline({"lr": 1}) as p:
        template = p.add(C.lr) + p.add(1) * 2
    assert values(template << dataset(2)) == [[3.0, 4.0]]


def test_the_config_cannot_be_changed() -> None:
    given = {"lr": 1}
    pipeline = Pipeline(given)
    given["lr"] = 2
    assert pipeline.config["lr"] == 1
    with pytest.raises(TypeError):
        pipeline.config["lr"] = 3

    class Writes(Batch):
        @action
        def write(self) -> Writes:
            self.pipeline.config["lr"] = 3
            return self

    with pytest.raises(TypeError):
        (pipeline.write() << Dataset(3, Writes)).run(3)
    with pytest.raises(DefinitionError, match="mapping"):
        Pipeline([("lr", 1)])


def test_run_gives_the_pipeline_back() -> None:
    pipeline = full()
    assert pipeline.run(4) is pipeline


def test_a_lazy_run_is_remembered_and_carried() -> None:
    lazy = full().run(5, n_epochs=2, seed=1, lazy=True)
    assert lazy.get_model_by_name("shared").seen == []
    assert "own" not in lazy.models
    lazy.run()
    assert len(lazy.get_model_by_name("own").seen) == 24
    assert [each.size for each in lazy.add(1).gen_batch()] == [5, 5, 2] * 2
    assert [each.size for each in lazy.gen_batch(6, n_epochs=1)] == [6, 6]
    assert [
        each.size for each in (Pipeline().add(1).run(6, lazy=True) << dataset()).gen_batch()
    ] == [6, 6]


# State


def test_static_models_are_shared_by_descendants_and_dynamic_ones_are_not() -> None:
    template = (
        Pipeline()
        .init_model("static", Mean, "shared")
        .init_model("dynamic", Mean, "own")
        .train_model("shared", x="x")
        .train_model("own", x="x")
    )
    one, two = template << dataset(3), template << dataset(4)
    one.run(2)
    assert "own" not in two.models
    two.run(2)
    assert one.get_model_by_name("shared") is two.get_model_by_name("shared")
    assert one.get_model_by_name("shared") is template.get_model_by_name("shared")
    assert len(one.get_model_by_name("shared").seen) == 7
    assert one.get_model_by_name("own").seen == [0, 1, 2]
    assert two.get_model_by_name("own").seen == [0, 1, 2, 3]


def test_variables_belong_to_one_pipeline() -> None:
    mutable: list[int] = []
    base = dataset(4).p.init_variable("kept", mutable).init_variable("made", init=list)
    base = base.update_variable("kept", 1, "append").update_variable("made", 2, "append")
    child = base.add(1)
    base.run(2)
    assert dict(base.variables) == {"kept": [1, 1], "made": [2, 2]}
    assert dict(child.variables) == {"kept": [], "made": []}
    assert mutable == []
    child.run(4)
    assert dict(child.variables) == {"kept": [1], "made": [2]}
    assert dict(base.variables) == {"kept": [1, 1], "made": [2, 2]}


def test_a_second_run_renews_what_wants_it_and_keeps_models() -> None:
    pipeline = full().log("x")
    pipeline.run(4)
    own = pipeline.get_model_by_name("own")
    pipeline.variables["n"] = 100
    pipeline.log("y").run(4)  # a pipeline of its own
    pipeline.run(6)
    assert pipeline.get_model_by_name("own") is own
    assert len(own.seen) == 24
    assert pipeline.get_variable("log") == ["x", "x"]
    assert pipeline.get_variable("n") == 24


def test_the_place_in_the_data_belongs_to_one_pipeline() -> None:
    base = dataset(6).p
    base.next_batch(2)
    child = base.add(0)
    assert child.next_batch(2).indices.tolist() == [0, 1]
    assert base.next_batch(2).indices.tolist() == [2, 3]
    assert base.dataset.next_batch(2).indices.tolist() == [0, 1]


# Copies


def copies(pipeline: Pipeline) -> list[Pipeline]:
    return [pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline)]


def test_a_copy_goes_on_from_where_the_pipeline_is_and_apart_from_it() -> None:
    pipeline = full().rebatch(5).init_variable("lr").set_variable("lr", C.lr).add(V.n)
    pipeline.run(4, seed=1)
    for each in copies(pipeline):
        assert each.describe() == pipeline.describe()
        assert dict(each.variables) == dict(pipeline.variables)
        assert each.get_model_by_name("own").seen == pipeline.get_model_by_name("own").seen
        each.run(4, seed=1)
        assert len(each.get_model_by_name("own").seen) == 24
        assert len(pipeline.get_model_by_name("own").seen) == 12
        assert each.get_model_by_name("own").name == "own"
        made = each.add(1).get_model_by_name("shared")
        assert made is each.get_model_by_name("shared")
        assert made is not pipeline.get_model_by_name("shared")


def test_a_copy_of_a_pipeline_whose_batches_are_being_read_begins_anew() -> None:
    pipeline = full()
    pipeline.next_batch(4, prefetch=2)
    for each in copies(pipeline):
        assert each.next_batch(4).indices.tolist() == [0, 1, 2, 3]
    pipeline.reset()


class Plain:
    """A model of the protocol, no BaseModel."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def build(self, **kwargs: Any) -> None: ...

    def load(self, path: Any) -> None: ...

    def save(self, path: Any) -> None: ...

    def train(self, x: np.ndarray) -> None:
        self.seen += x.tolist()

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x


def test_models_of_the_protocol_are_copied_too() -> None:
    pipeline = dataset(3).p.init_model("static", Plain, "m").train_model("m", x="x").run(2)
    for each in copies(pipeline):
        each.run(3)
        assert each.get_model_by_name("m").seen == [0, 1, 2, 0, 1, 2]
    assert pipeline.get_model_by_name("m").seen == [0, 1, 2]


def test_what_cannot_be_pickled_is_said() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(dataset().p.add(lambda: 1))


def test_configs_that_disagree_are_told_in_a_line() -> None:
    one, other = Pipeline({"rates": np.arange(1000)}), Pipeline({"rates": np.ones(1000)})
    with pytest.raises(DefinitionError, match="'rates' .*and array") as caught:
        one + other
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)
