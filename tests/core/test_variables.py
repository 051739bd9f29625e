"""Variables: declared, renewed, written by steps and by actions, and never anybody else's."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from batchloom import B, Batch, C, Dataset, F, Pipeline, V, action
from batchloom.errors import DefinitionError, UnknownArgumentError, UnknownVariableError


class Writing(Batch):
    @action
    def write(self, name: str, value: Any) -> Writing:
        self.pipeline.set_variable(name, value)
        return self

    @action
    def count(self, name: str = "n") -> Writing:
        self.pipeline.inc_variable(name)
        return self

    @action
    def collect(self) -> Writing:
        self.pipeline.update_variable("all", self.indices.tolist(), mode="extend")
        self.pipeline.variables["n"] += 1
        assert self.pipeline.get_variable("n") == self.number + 1
        return self


def pipeline(n: int = 6) -> Pipeline:
    return Dataset(batch_class=Writing, data={"x": np.arange(n)}).p


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({}, None, None),
        ({"default": 5}, 5, "written"),
        ({"default": [1]}, [1], "written"),
        ({"init": list}, [], "written"),
        ({"init_on_each_run": list}, [], []),
        ({"init_on_each_run": [1]}, [1], [1]),
        ({"init_on_each_run": 0}, 0, 0),
        ({"default": 5, "init_on_each_run": True}, 5, 5),
        ({"init": dict, "init_on_each_run": True}, {}, {}),
        ({"default": 5, "init_on_each_run": False}, 5, "written"),
        ({"init_on_each_run": False}, None, "written"),
        ({"default": 1, "init_on_each_run": lambda: 2}, 1, 2),
    ],
)
def test_a_variable_begins_and_begins_again_as_it_was_declared(
    options: dict, first: Any, second: Any
) -> None:
    base = pipeline().init_variable("v", **options)
    assert base.get_variable("v") == first
    base.variables["v"] = "written"
    base.run(3)
    assert base.get_variable("v") == (second if options else "written")


def test_values_that_are_renewed_are_fresh_each_time() -> None:
    shared: list[int] = []
    base = pipeline().init_variable("v", init_on_each_run=shared).update_variable("v", 1, "append")
    first = base.run(3).get_variable("v")
    second = base.run(3).get_variable("v")
    assert first == second == [1, 1]
    assert first is not second
    assert shared == []


def test_several_are_declared_at_once() -> None:
    base = pipeline().init_variables({"a": {"default": 1}, "b": {"init_on_each_run": list}})
    assert dict(base.init_variables(["c", "d"]).variables) == {
        "a": 1,
        "b": [],
        "c": None,
        "d": None,
    }
    with pytest.raises(UnknownArgumentError, match="did you mean 'default'"):
        pipeline().init_variables({"a": {"defualt": 1}})
    with pytest.raises(DefinitionError, match="'a' is given 1"):
        pipeline().init_variables({"a": 1})
    with pytest.raises(DefinitionError, match=r"init_variable\('loss'\)"):
        pipeline().init_variables("loss")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": 3}, "name is a string"),
        ({"name": ""}, "name is a string"),
        ({"name": "v", "init": 5}, "default="),
        ({"name": "v", "init": list, "default": 1}, "both"),
        ({"name": "v", "default": V.other}, r"'v' cannot begin with V.*set_variable\('v', V"),
        ({"name": "v", "init_on_each_run": C.lr}, "'v' cannot begin with C"),
    ],
)
def test_what_makes_no_variable_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Pipeline().init_variable(**arguments)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"init": lambda: 1 / 0}, ZeroDivisionError, "makes"),
        ({"init_on_each_run": lambda: 1 / 0}, ZeroDivisionError, "makes"),
        ({"default": threading.Lock()}, TypeError, "a deep copy of: a function makes it anew"),
        ({"init_on_each_run": (each for each in ())}, TypeError, "a deep copy of"),
    ],
)
def test_a_value_that_cannot_be_made_is_said_with_its_variable(
    options: dict, error: type[Exception], said: str
) -> None:
    counting = pipeline().init_variable("n", 0).init_variable("v", **options).inc_variable("n")
    with pytest.raises(error) as caught:
        counting.run(2)
    assert said in "".join(caught.value.__notes__) and "'v'" in caught.value.__notes__[0]


@pytest.mark.parametrize("prefetch", [0, 4])
def test_steps_write_variables(prefetch: int) -> None:
    base = (
        pipeline()
        .init_variables({"n": {"init_on_each_run": 0}, "last": {}, "h": {"init_on_each_run": list}})
        .init_variable("d", init_on_each_run=dict)
        .inc_variable("n")
        .inc_variable("n", 10)
        .set_variable("last", B.x)
        .assign_variable("last", F(lambda batch: int(batch.x[-1])))
        .update_variable("h", V.n, mode="append")
        .update_variable("h", ["-"], "extend")
        .update_variable("d", {"k": V.last}, "update")
        .update_variable("n", 100, "inc")
    )
    for _ in range(2):
        base.run(2, prefetch=prefetch)
        assert dict(base.variables) == {
            "n": 333,
            "last": 5,
            "h": [11, "-", 122, "-", 233, "-"],
            "d": {"k": 5},
        }


@pytest.mark.parametrize("prefetch", [0, 1, 8])
def test_actions_write_variables_and_none_is_lost(prefetch: int) -> None:
    base = pipeline(400).init_variable("n", init_on_each_run=0)
    base = base.init_variable("all", init_on_each_run=list)
    assert base.count().run(1, prefetch=prefetch).get_variable("n") == 400
    collected = base.collect().run(3, prefetch=prefetch, shuffle=5)
    order = [i for each in base.dataset.gen_batch(3, shuffle=5) for i in each.indices]
    assert collected.get_variable("all") == order


def test_a_value_printed(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline().init_variable("n", 0).inc_variable("n").print_variable("n").run(3, prefetch=2)
    assert capsys.readouterr().out == "n = 1\nn = 2\n"


@pytest.mark.parametrize(
    "build",
    [
        lambda p: p.set_variable("counte", 1),
        lambda p: p.inc_variable("counte"),
        lambda p: p.update_variable("counte", 1, "append"),
        lambda p: p.print_variable("counte"),
        lambda p: p.delete_variable("counte"),
        lambda p: p.get_variable("counte"),
        lambda p: p.variables["counte"],
        lambda p: p.variables.__setitem__("counte", 1),
        lambda p: p.set_variable("count", V.counte),
        lambda p: p.count("counte").run(3),
        lambda p: p.write("counte", 1).run(3, prefetch=2),
    ],
)
def test_unknown_variables_are_errors_with_the_nearest_name(build: Any) -> None:
    base = pipeline().init_variable("counter", 0).init_variable("count", 0)
    with pytest.raises(UnknownVariableError, match="did you mean 'counter'") as caught:
        build(base)
    assert caught.value.known == ["count", "counter"]
    assert dict(base.variables) == {"counter": 0, "count": 0}


def test_a_variable_is_declared_before_it_is_used() -> None:
    with pytest.raises(UnknownVariableError, match=r"inc_variable\('n', 1\).*init_variable"):
        Pipeline().inc_variable("n").init_variable("n", 0) << pipeline().dataset


def test_deleting_a_declaration() -> None:
    base = pipeline().init_variable("a", 1).init_variable("b", 2)
    assert dict(base.delete_variable("a").variables) == {"b": 2}
    assert dict(base.delete_variable("a").init_variable("a", 3).variables) == {"b": 2, "a": 3}
    with pytest.raises(UnknownVariableError):
        base.inc_variable("a").delete_variable("a")
    with pytest.raises(DefinitionError, match="delete_variable"):
        del base.variables["a"]


@pytest.mark.parametrize("mode", ["apend", "", None, 3])
def test_only_modes_are_modes(mode: Any) -> None:
    with pytest.raises(DefinitionError, match="set, inc, append, extend, update"):
        pipeline().init_variable("v").update_variable("v", 1, mode)


def test_a_value_that_cannot_be_changed_so_is_said_with_the_step() -> None:
    base = pipeline().init_variable("v", 3)
    with pytest.raises(DefinitionError, match=r"int 3 has no append\(\).*init_on_each_run=list"):
        base.update_variable("v", 1, "append").run(3)
    assert base.get_variable("v") == 3


def test_variables_are_a_mapping() -> None:
    base = pipeline().init_variable("a", 1).init_variable("b", [2])
    assert list(base.variables) == ["a", "b"]
    assert len(base.variables) == 2
    assert "a" in base.variables
    assert "c" not in base.variables
    assert base.variables.get("c") is None
    with pytest.raises(KeyError, match="init_variable"):
        base.variables["c"]
    assert base.variables.change("a", lambda old: old + 1) == 2


def test_reset_renews_variables_only_when_asked() -> None:
    base = pipeline().init_variable("n", 0).count()
    base.run(3)
    assert base.reset().get_variable("n") == 2
    assert base.reset("variables").get_variable("n") == 0
    base.run(3)
    with pytest.raises(UnknownArgumentError, match="did you mean 'variables'"):
        base.reset("models", "variable")
    assert base.get_variable("n") == 2
