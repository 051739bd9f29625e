"""Whatever the arguments of a train step are called, they reach the model as they were written."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest

from batchloom import B, Batch, Dataset, action
from batchloom.errors import ModelError, UnknownArgumentError, UnknownComponentError
from batchloom.models import BaseModel, hookimpl, register_plugin, unregister_plugin
from batchloom.models.handle import handle_of
from batchloom.runtime.component_arguments import ComponentArguments

ROWS = 102
SIZES = [*[4] * 25, 2]  # enough that components are gathered beforehand


class Noted(BaseModel):
    """Notes what it was given."""

    literal_args = ("mode",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.given: list[dict[str, Any]] = []

    def _train(self, **given: Any) -> None:
        self.given.append(given)


class Strict(BaseModel):
    """Takes one argument."""

    data_args = ("x",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _train(self, x: Any) -> None:
        pass


def trained(model: type[BaseModel], columns: tuple[str, ...], **arguments: Any) -> Any:
    data = {name: np.arange(float(ROWS)) + at for at, name in enumerate(columns)}
    pipeline = Dataset(data=data).p.init_model("dynamic", model, "m")
    pipeline = pipeline.train_model("m", **arguments).run(4)
    return pipeline.get_model_by_name("m")


@pytest.mark.parametrize(
    ("columns", "argument"),
    [
        (("x",), "x"),
        (("in", "x"), "x"),
        (("x y", "x"), "not a name"),
        (("x", "class"), "lambda"),
        (("fit", "\ufb01t"), "\ufb01t"),  # which Python reads as "fit" in source text
        (("x",), "__debug__"),
    ],
)
def test_any_string_can_name_a_component_or_an_argument(
    columns: tuple[str, ...], argument: str
) -> None:
    given = trained(Noted, columns, **{argument: columns[-1], "mode": "x", "rate": 0.5}).given
    assert [len(each[argument]) for each in given] == SIZES
    whole = np.concatenate([each[argument] for each in given])
    np.testing.assert_array_equal(whole, np.arange(float(ROWS)) + len(columns) - 1)
    assert all(each["mode"] == "x" and each["rate"] == 0.5 for each in given)
    assert all(set(each) == {argument, "mode", "rate"} for each in given)


def test_a_step_without_arguments_calls_without_any() -> None:
    assert trained(Noted, ("x",)).given == [{}] * len(SIZES)


def test_a_plug_in_sees_the_arguments_by_their_names() -> None:
    heard: list[Any] = []

    class Listener:
        @hookimpl
        def train_model(self, args: Any, kwargs: Any) -> None:
            heard.append((args, sorted(kwargs)))

    name = register_plugin(Listener)
    try:
        trained(Noted, ("x", "y"), x="x", y=B.y, rate=0.5)
        trained(Noted, ("x", "y"), x="x", y="y", rate=0.5)
    finally:
        unregister_plugin(name)
    assert heard == [((), ["rate", "x", "y"])] * 2 * len(SIZES)


def test_an_argument_that_the_model_does_not_take_is_named() -> None:
    with pytest.raises(UnknownArgumentError, match="'z'"):
        trained(Strict, ("x", "z"), x="x", z="z")
    with pytest.raises(UnknownComponentError, match="'w'"):
        trained(Strict, ("x", "z"), x="w")


class Masked(Batch):
    components = "x", "mask"

    @action
    def fill_in_ten(self) -> Masked:
        if self.number < 10:
            self.mask = self.x > 2
        return self


def test_what_is_missing_is_said_alone() -> None:
    pipeline = Dataset(data={"x": np.arange(80.0)}, batch_class=Masked).p.fill_in_ten()
    pipeline = pipeline.init_model("dynamic", Noted, "m").train_model("m", x="x", y="mask")
    with pytest.raises(UnknownComponentError, match="declared, but holds nothing yet") as info:
        pipeline.run(4)
    assert info.value.__context__ is None
    assert len(pipeline.get_model_by_name("m").given) == 10


class Duck:
    """Fulfils the protocol, and is no `BaseModel`."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def build(self, *args: Any, **kwargs: Any) -> None:
        pass

    load = save = predict = build

    def train(self, **given: Any) -> None:
        self.given.append(given)


class Handed(Noted):
    """Asks for the batch."""

    def _train(self, batch: Batch, **given: Any) -> None:
        assert batch.size
        self.given.append(given)


@pytest.mark.parametrize("model", [Duck, Handed])
def test_a_model_that_is_called_otherwise_gets_the_same(model: type) -> None:
    plain = trained(Noted, ("a", "b"), x="a", y="b", rate=0.5).given
    other = trained(model, ("a", "b"), x="a", y="b", rate=0.5).given
    np.testing.assert_equal(other, plain)


class Failing(Noted):
    """Does not get through its tenth batch."""

    def _train(self, x: Any, rate: float = 0.0) -> None:
        self.given.append({"x": x})
        if len(self.given) == 10:
            len(x[0])


def test_the_traceback_of_a_models_exception_shows_the_lines_that_called_it() -> None:
    with pytest.raises(TypeError, match="has no len") as info:
        trained(Failing, ("a",), x="a", rate=0.5)
    notes = "\n".join(info.value.__notes__)
    assert "model 'm'" in notes and "train_model('m', x='a', rate=0.5)" in notes
    shown = "".join(traceback.format_exception(info.value))
    assert "calls.model._train(rate=same_0, x=given_0)" in shown


def test_a_model_of_one_handle_is_told_of_each_run_and_counts_its_trainings() -> None:
    class Told(Noted):
        def _begin_run(self, run: Any) -> None:
            self.told = getattr(self, "told", 0) + 1

    pipeline = Dataset(data={"x": np.arange(float(ROWS))}).p.init_model("dynamic", Told, "m")
    pipeline = pipeline.train_model("m", x="x")
    for times in (1, 2, 3):
        pipeline.run(4)
        model = pipeline.get_model_by_name("m")
        assert model.told == times and len(model.given) == times * len(SIZES)


def test_who_predicts_cannot_train_on_the_way() -> None:
    class Reentrant(Noted):
        predict_is_thread_safe = True

        def _predict(self, x: Any) -> Any:
            pipeline.reset().run(4)  # would train the model that is being read
            return x

    pipeline = Dataset(data={"x": np.arange(float(ROWS))}).p.init_model("dynamic", Reentrant, "m")
    pipeline = pipeline.train_model("m", x="x").run(4)
    model = pipeline.get_model_by_name("m")
    with pytest.raises(ModelError, match="from inside its own predict"):
        model.predict(x=np.zeros(1))


def test_the_short_way_holds_the_lock_alone() -> None:
    seen: list[Any] = []

    class Watched(Noted):
        predict_is_thread_safe = True

        def _train(self, **given: Any) -> None:
            handle = handle_of(self)
            seen.append((handle.lock.is_held_alone, handle.version))

        def _predict(self, x: Any) -> Any:
            return arguments.train(handle_of(self), batch)

    pipeline = Dataset(data={"x": np.arange(float(ROWS))}).p.init_model("dynamic", Watched, "m")
    pipeline = pipeline.train_model("m", x="x").run(4)
    assert [held for held, _ in seen] == [True] * len(SIZES)
    versions = [version for _, version in seen]
    assert versions == list(range(versions[0], versions[0] + len(SIZES)))
    batch = pipeline.dataset.p.next_batch(4)
    assert len(batch.x) == 4  # gathered, or the long way is taken
    arguments = ComponentArguments({"x": "x"}, {})
    with pytest.raises(ModelError, match="from inside its own predict"):
        pipeline.get_model_by_name("m").predict(x=np.zeros(1))
    assert len(seen) == len(SIZES)
