"""A live model: how it is made, who may use it when, and what errors say of it."""

from __future__ import annotations

import contextlib
import copy
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batchloom.errors import (
    DefinitionError,
    ModelConfigError,
    ModelError,
    ModelProtocolError,
    NamespaceNotInstalledError,
    UnknownArgumentError,
)
from batchloom.models import BaseModel, Model, RunInfo
from batchloom.models.handle import LockedModel, ModelHandle, ModelSpec, handle_of


class Counter(BaseModel):
    """Counts what it is given, in two steps that a second thread would tear."""

    data_args = ("x",)
    literal_args = ("output",)

    def _build(self, *args, **kwargs):
        self.count, self.built_with = 0, kwargs

    def _train(self, x, output=None):
        before = self.count
        time.sleep(0)
        self.count = before + x
        return self.count if output == "count" else None

    def _predict(self, x):
        return self.count * x

    def _end_epoch(self, epoch, last):
        return (epoch, last)

    def _begin_run(self, run):
        self.run = run

    def _abandon_run(self):
        self.run = None

    def _describe(self):
        return "counts batch by batch"


class Plain:
    """Fulfils the protocol, with all that is optional in it."""

    data_args = ("x",)
    predict_is_thread_safe = True

    def __init__(self, config=None):
        self.config, self.stop_training = config, False

    def build(self, batch):
        self.count, self.batch = 0, batch

    def load(self, path=None):
        self.loaded_from = path

    def train(self, x):
        self.count += x
        self.stop_training = True

    def predict(self, x):
        return self.count * x

    def save(self, path):
        pass

    def begin_run(self, run):
        self.run = run

    def end_epoch(self, epoch, last):
        return epoch

    def abandon_run(self):
        self.run = None


def made(model=Counter, config=None, **kwargs) -> ModelHandle:
    return ModelSpec.resolve(model, "c", config).make(pipeline="the pipeline", **kwargs)


def test_a_model_class_is_built_with_pipeline_and_batch() -> None:
    handle = made(config={"a": 1}, batch="the batch", seed=7)
    assert handle.model.built_with == {"pipeline": "the pipeline", "batch": "the batch"}
    assert (handle.model.config, handle.model.name, handle.model.seed) == ({"a": 1}, "c", 7)
    assert handle.data_args == handle.spec.data_args == ("x",)
    assert handle.literal_args == handle.spec.literal_args == ("output",)
    assert handle.predict_is_thread_safe is handle.spec.predict_is_thread_safe is False
    assert isinstance(handle.model, Model)


def test_a_run_in_its_order() -> None:
    for handle in (made(), made(Plain, batch="b")):
        run = RunInfo(seed=3)
        handle.begin_run(run)
        assert handle.model.run is run
        handle.train((), {"x": 2})
        assert handle.predict((), {"x": 5}) == 10
        assert handle.end_epoch(0, True) in (0, (0, True))
        handle.abandon_run()
        assert handle.model.run is None
        assert handle.version == 3, "built, trained, ended an epoch"


def test_output_of_train_and_none() -> None:
    handle = made()
    assert handle.train((2,), {"output": "count"}) == 2
    assert handle.train((2,), {}) is None
    assert handle.model.train(x=1, output="count") == 5


def test_stop_training_is_reset_when_a_run_begins() -> None:
    handle = made(Plain, batch=None)
    handle.train((1,), {})
    assert handle.stop_training
    handle.begin_run(RunInfo())
    assert not handle.stop_training


def test_an_object_of_the_protocol_has_a_stand_in() -> None:
    handle = made(Plain, {"a": 1}, batch="b")
    model = handle.model
    assert type(model) is LockedModel
    assert isinstance(model, Plain)
    assert (model.config, model.batch, model.count) == ({"a": 1}, "b", 0)
    model.extra = 5
    assert handle.calls.model.extra == 5
    del model.extra
    assert not hasattr(model, "extra")
    assert "count" in dir(model)
    model.train(3)
    assert (model.predict(2), handle.version) == (6, 2)
    assert handle_of(model) is handle


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (lambda self, config: setattr(self, "got", config), {"a": 1}),
        (lambda self, *args: setattr(self, "got", args), ({"a": 1},)),
        (lambda self, *, config: setattr(self, "got", config), {"a": 1}),
        (lambda self, **kwargs: setattr(self, "got", kwargs), {"config": {"a": 1}}),
    ],
)
def test_how_a_class_of_the_protocol_is_made(init, expected) -> None:
    built = type("Built", (Plain,), {"__init__": init})
    assert made(built, {"a": 1}, batch=None).model.got == expected


def test_a_class_that_takes_no_config() -> None:
    bare = type("Bare", (Plain,), {"__init__": lambda self: None})
    assert made(bare, {"build": True}, batch=None).model.count == 0
    with pytest.raises(ModelConfigError, match=r"Bare takes no config .* given \['a'\]") as caught:
        made(bare, {"a": 1})
    assert caught.value.__notes__ == ["model 'c' (Bare)"]


def test_an_init_that_forgets_its_base_class() -> None:
    class Forgetful(Counter):
        def __init__(self, config):
            self.mine = 1

    model = made(Forgetful, {"a": 1}).model
    assert (model.name, model.config, model.mine) == ("c", {"a": 1}, 1)


def test_build_false_and_load() -> None:
    assert not hasattr(made(config={"build": False}).model, "count")
    handle = made(Plain, {"load": True}, batch=None)
    assert handle.model.loaded_from is None, "an object of the protocol may know where to look"
    assert handle.model.count == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"load": True}, "load=True needs path="),
        ({"load": "yes"}, "'load' must be True or False, not 'yes'"),
        ({"build": 1}, "'build' must be True or False, not 1"),
        (["a"], "must be a mapping such as a dict, not list"),
        ({1: "a"}, "keys that are strings, not 1"),
    ],
)
def test_configs_that_contradict(config, message) -> None:
    with pytest.raises(ModelConfigError, match=message):
        made(config=config)
    made(config={"build": np.True_})


def test_either_built_or_loaded() -> None:
    class Either(Counter):
        load_needs_build = False

    with pytest.raises(ModelConfigError, match="either built or loaded, not both"):
        made(Either, {"build": True, "load": True, "path": "x"})


def test_names() -> None:
    assert ModelSpec.resolve(Counter).name == "Counter"
    assert ModelSpec.resolve(Counter, "c").describe() == "model 'c' (Counter)"
    assert made().describe() == "model 'c' (Counter), counts batch by batch"
    with pytest.raises(DefinitionError, match="non-empty string, not ''"):
        ModelSpec.resolve(Counter, "")


def test_half_a_model_is_refused_at_once() -> None:
    half = type("Half", (), {"build": print, "train": print})
    with pytest.raises(ModelProtocolError, match="it lacks load, predict, save"):
        ModelSpec.resolve(half)
    with pytest.raises(ModelProtocolError, match="an object of type int"):
        ModelSpec.resolve(3)
    with pytest.raises(NamespaceNotInstalledError):
        ModelSpec.resolve("sklern/SGDClassifier")


def test_methods_that_core_could_not_call_are_refused_at_once() -> None:
    class Wrong(Counter):
        def _save(self):
            pass

        def _end_epoch(self):
            pass

    with pytest.raises(ModelProtocolError, match=r"_save\(self\) .*1 argument.*_end_epoch\(self\)"):
        ModelSpec.resolve(Wrong)


def test_the_public_methods_of_a_base_model_belong_to_core() -> None:
    with pytest.raises(ModelProtocolError, match=r"overrides train\(\).*_train\(\) instead"):
        type("Wrong", (BaseModel,), {"train": lambda self: None})


def test_what_a_class_does_not_implement() -> None:
    class OnlyBuilt(BaseModel):
        def _build(self, *args, **kwargs):
            pass

    spec = ModelSpec.resolve(OnlyBuilt)
    assert spec.implements("build")
    assert not spec.implements("train")
    with pytest.raises(ModelProtocolError, match=r"OnlyBuilt cannot train.*_train\(\)"):
        spec.make(pipeline=None).model.train(1)


def test_a_ready_made_object_is_used_as_it_is() -> None:
    model = Counter({"a": 1})
    spec = ModelSpec.resolve(model, "mine")
    handle = spec.make(pipeline=None)
    assert handle.model is model
    assert handle.name == "mine"
    assert model.count == 0, "it had not been built"
    model.train(4)
    again = ModelSpec.resolve(model, "other").make(pipeline=None)
    assert again is handle, "one model has one lock"
    assert model.count == 4, "a trained model is not built anew"
    with pytest.raises(ModelConfigError, match=r"ready-made.*\['b'\]"):
        ModelSpec.resolve(model, None, {"b": 2})


def test_a_ready_made_object_of_the_protocol() -> None:
    plain = Plain()
    plain.count = 9
    first = ModelSpec.resolve(plain, "a").make(pipeline=None)
    second = ModelSpec.resolve(first.model, "b").make(pipeline=None)
    assert first is second
    assert first.predict((2,), {}) == 18
    ModelSpec.resolve(plain, None, {"build": True}).make(pipeline=None, batch="b")
    assert plain.count == 0, "built, because that was asked for"


def test_training_from_many_threads_counts_all() -> None:
    handle = made()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(handle.model.train, 1) for _ in range(2000)]:
                each.result(10)
    finally:
        sys.setswitchinterval(before)
    assert handle.model.count == 2000


def test_predictions_are_together_only_where_that_is_safe() -> None:
    most: list[int] = []
    inside = [0]

    class Watched(Counter):
        def _predict(self, x):
            inside[0] += 1
            most.append(inside[0])
            time.sleep(0.01)
            inside[0] -= 1

    def predict_all(model_class: type) -> int:
        most.clear()
        handle = made(model_class)
        with ThreadPoolExecutor(4) as pool:
            for each in [pool.submit(handle.predict, (1,), {}) for _ in range(8)]:
                each.result(10)
        return max(most)

    assert predict_all(Watched) == 1
    assert predict_all(type("Safe", (Watched,), {"predict_is_thread_safe": True})) > 1


def test_train_inside_predict_is_an_error_where_predictions_run_together() -> None:
    class Learning(Counter):
        predict_is_thread_safe = True

        def _predict(self, x):
            self.train(x)

    with pytest.raises(ModelError, match="inside its own predict"):
        made(Learning).predict((1,), {})


def test_settings_of_the_thread_that_resolved_it() -> None:
    local = threading.local()

    class Configured(Counter):
        @classmethod
        def _capture_settings(cls):
            value = getattr(local, "value", "unset")

            @contextlib.contextmanager
            def restored():
                before = getattr(local, "value", "unset")
                local.value = value
                yield
                local.value = before

            return restored

        def _predict(self, x):
            return local.value

    local.value = "chosen"
    spec = ModelSpec.resolve(Configured)
    local.value = "changed"
    with ThreadPoolExecutor(1) as pool:
        handle = pool.submit(spec.make, pipeline=None).result(5)
        assert pool.submit(handle.predict, (1,), {}).result(5) == "chosen"
        assert pool.submit(getattr, local, "value").result(5) == "unset"
    assert local.value == "changed"
    assert copy.deepcopy(handle).predict((1,), {}) == "changed", "a copy takes those it finds"


def test_an_exception_says_once_whose_it_is() -> None:
    class Failing(Counter):
        def _train(self, x):
            return self.predict(x)

        def _predict(self, x):
            return 1 / x

    with pytest.raises(ZeroDivisionError) as caught:
        made(Failing).train((0,), {})
    assert caught.value.__notes__ == [f"model 'c' ({Failing.__qualname__})"]


@pytest.mark.parametrize("model_class", [Counter, Plain])
def test_arguments_that_a_model_does_not_take_or_misses_are_named(model_class) -> None:
    handle = made(model_class, batch=None)
    with pytest.raises(UnknownArgumentError, match="'X' of train: did you mean 'x'"):
        handle.train((), {"X": 1})
    with pytest.raises(TypeError) as caught:
        handle.predict((), {})
    assert "the arguments of predict are x; given were: none" in caught.value.__notes__


def test_a_type_error_from_inside_a_model_is_left_as_it_is() -> None:
    handle = made(batch=None)
    with pytest.raises(TypeError) as caught:
        handle.train((), {"x": "text"})
    assert type(caught.value) is TypeError
    assert len(caught.value.__notes__) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("model_class", [Counter, Plain])
def test_a_copy_is_another_model(copied, model_class) -> None:
    handle = made(model_class, batch=None)
    handle.train((2,), {})
    other = copied(handle.model)
    other.train(1)
    assert (handle.model.count, other.count) == (2, 3)
    assert handle_of(other) is not handle
    assert handle_of(other).model.count == 3
