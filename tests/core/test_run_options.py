"""The options of a run are checked before anything is done, and refused with the nearest name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, BatchloomError, Dataset, Pipeline, action
from batchloom.errors import DefinitionError, UnknownArgumentError

CALLS: list[int] = []


class Watched(Batch):
    @action
    def touch(self) -> Watched:
        CALLS.append(self.number)
        return self


def pipeline() -> Pipeline:
    CALLS.clear()
    dataset = Dataset(batch_class=Watched, data={"x": np.arange(20)})
    return dataset.p.init_variable("v", init_on_each_run=list).touch()


METHODS: dict[str, Callable[..., Any]] = {
    "run": lambda p, *args, **kw: p.run(*args, **kw),
    "lazy run": lambda p, *args, **kw: p.run(*args, lazy=True, **kw),
    "gen_batch": lambda p, *args, **kw: p.gen_batch(*args, **kw),
    "next_batch": lambda p, *args, **kw: p.next_batch(*args, **kw),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("options", "nearest"),
    [
        ({"n_epoch": 5}, "n_epochs"),
        ({"shufle": True}, "shuffle"),
        ({"dropLast": True}, "drop_last"),
        ({"prefech": 2}, "prefetch"),
        ({"executer": None}, "executor"),
        ({"seeds": 1}, "seed"),
        ({"on_eror": "skip"}, "on_error"),
        ({"max_skiped": 3}, "max_skipped"),
        ({"n_epoch": 5, "shuffle": True}, "n_epochs"),
    ],
    ids=str,
)
def test_unknown_options_are_refused_with_the_nearest(
    method: str, options: dict, nearest: str
) -> None:
    base = pipeline()
    base.variables["v"] = "as it was"
    with pytest.raises(UnknownArgumentError, match=f"did you mean '{nearest}'") as caught:
        METHODS[method](base, 4, **options)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, BatchloomError)
    assert CALLS == []
    assert base.get_variable("v") == "as it was"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 2.5},
        {"batch_size": True},
        {"batch_size": "8"},
        {"n_epochs": -1},
        {"n_epochs": 1.5},
        {"n_epochs": True},
        {"prefetch": -1},
        {"prefetch": 0.5},
        {"prefetch": True},
        {"drop_last": 1},
        {"drop_last": "yes"},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": "1"},
        {"seed": True},
        {"bar": "yes"},
        {"on_error": "ignore"},
        {"on_error": None},
        {"executor": 0},
        {"executor": -2},
        {"executor": 1.5},
        {"executor": True},
        {"max_skipped": -1},
        {"max_skipped": 1.5},
        {"max_skipped": True},
        {"on_sigterm": "exit"},
        {"on_sigterm": True},
        {"on_damage": "prevoius"},
        {"force": 1},
        {"debug": "yes"},
        {"checkpoint": True},
        {"checkpoint": 3},
        {"executor": "threads"},
    ],
    ids=str,
)
def test_values_that_cannot_be_meant_are_refused_before_any_work(
    method: str, options: dict
) -> None:
    [(name, value)] = options.items()
    base = pipeline()
    base.variables["v"] = "as it was"
    given = {"batch_size": 4, **options}
    with pytest.raises(DefinitionError, match=f"{name}=.*{value}"):
        METHODS[method](base, given.pop("batch_size"), **given)
    assert CALLS == []
    assert base.get_variable("v") == "as it was"


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_size_is_needed(method: str) -> None:
    with pytest.raises(DefinitionError, match="needs a batch_size"):
        METHODS[method](pipeline())


def test_integers_of_numpy_are_integers() -> None:
    base = pipeline()
    base.run(np.int64(8), n_epochs=np.int32(2), prefetch=np.int8(2), seed=np.uint64(3))
    assert sorted(CALLS) == list(range(6))
    assert base.seed == 3


def test_only_the_batch_size_goes_without_a_name() -> None:
    with pytest.raises(TypeError):
        pipeline().run(4, True)


def test_options_of_a_lazy_run_are_checked_when_they_are_written() -> None:
    with pytest.raises(DefinitionError, match="shuffle='yes'"):
        pipeline().run(4, shuffle="yes", lazy=True)
    with pytest.raises(DefinitionError, match="lazy='no': give True or False"):
        pipeline().run(4, lazy="no")


@pytest.mark.parametrize("wrong", ["itertion", "model", "everything"])
def test_unknown_arguments_of_reset_change_nothing(wrong: str) -> None:
    base = pipeline()
    base.variables["v"] = "as it was"
    assert base.next_batch(4).number == 0
    with pytest.raises(UnknownArgumentError, match="of reset"):
        base.reset("all", wrong)
    assert base.next_batch(4).number == 1
