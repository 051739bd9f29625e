"""Lifecycle plug-ins: they see every operation of every model exactly once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchloom.errors import PluginError
from batchloom.models import BaseModel, hookimpl, lifecycle, load_model
from batchloom.models.handle import ModelSpec
from batchloom.models.hooks import HOOKS
from batchloom.models.lifecycle import register_plugin, unregister_plugin


class Sum(BaseModel):
    """Adds up what it is trained on."""

    def _build(self, *args, **kwargs):
        self.total = 0

    def _train(self, x):
        self.total += x

    def _predict(self, x):
        return self.total + x

    def _end_epoch(self, epoch, last):
        return f"epoch {epoch}"

    def _save(self, path):
        (path / "total").write_text(str(self.total))

    def _load(self, path):
        self.total = int((path / "total").read_text())


class Plain:
    """The same, without a base class."""

    build, train, predict = Sum._build, Sum._train, Sum._predict
    save, load, end_epoch = Sum._save, Sum._load, Sum._end_epoch


class Recorder:
    """Wraps every hook and writes down what went through it."""

    def __init__(self, label: str = "") -> None:
        self.seen: list[tuple] = []
        self.label = label

    def _wrap(self, hook, name, *details):
        self.seen.append((self.label + hook, name, *details))
        result = yield
        self.seen.append((self.label + hook, result))
        return result

    @hookimpl(wrapper=True)
    def build_model(self, model, name, args, kwargs):
        return (yield from self._wrap("build", name, hasattr(model, "total")))

    @hookimpl(wrapper=True)
    def load_model(self, model, name, path, kwargs):
        return (yield from self._wrap("load", name, path.name))

    @hookimpl(wrapper=True)
    def train_model(self, model, name, args, kwargs, batch):
        return (yield from self._wrap("train", name, args, kwargs, batch))

    @hookimpl(wrapper=True)
    def predict_model(self, model, name, args, kwargs, batch):
        return (yield from self._wrap("predict", name, args, kwargs, batch))

    @hookimpl(wrapper=True)
    def save_model(self, model, name, path, kwargs):
        return (yield from self._wrap("save", name, path.name))

    @hookimpl(wrapper=True)
    def end_epoch(self, model, name, epoch, last):
        return (yield from self._wrap("end_epoch", name, epoch, last))


@pytest.fixture
def use() -> Iterator:
    names: list[str] = []

    def register(plugin):
        names.append(register_plugin(plugin))
        return plugin

    yield register
    for each in names:
        unregister_plugin(each)
    assert not lifecycle.plugins.listened, "a plug-in is still listening"


def made(model=Sum):
    return ModelSpec.resolve(model, "s").make(pipeline=None)


@pytest.mark.parametrize("model_class", [Sum, Plain])
def test_every_hook_sees_its_operation_once(use, tmp_path: Path, model_class) -> None:
    seen = use(Recorder()).seen
    handle = made(model_class)
    handle.train((2,), {}, batch="b")
    handle.model.train(x=3)
    assert handle.predict((1,), {}, batch="b") == 6
    assert handle.model.predict(2) == 7
    assert handle.end_epoch(0, True) == "epoch 0"
    handle.model.save(tmp_path / "m")
    assert load_model(tmp_path / "m", model_class=model_class).total == 5
    operations = [each for each in seen if len(each) > 2]
    assert operations == [
        ("build", "s", False),
        ("train", "s", (2,), {}, "b"),
        ("train", "s", (), {"x": 3}, None),
        ("predict", "s", (1,), {}, "b"),
        ("predict", "s", (2,), {}, None),
        ("end_epoch", "s", 0, True),
        ("save", "s", "m"),
        ("build", "s", False),
        ("load", "s", "m"),
    ]
    results = [each[1] for each in seen if len(each) == 2]
    assert results == [
        (None,), (None,), (None,), (6,), (7,), [("epoch 0",)], (None,), (None,), (None,),
    ]  # fmt: skip
    tested = {each[0].partition("_")[0] for each in operations} | {"begin"}
    assert tested == {each.partition("_")[0] for each in HOOKS}, "every hook has its test"


def test_a_wrapper_may_use_the_model(use) -> None:
    class Checking:
        @hookimpl(wrapper=True)
        def train_model(self, model):
            before = model.predict(0)
            result = yield
            self.change = model.predict(0) - before
            return result

        @hookimpl(wrapper=True)
        def predict_model(self, model, args):
            # The same operation of the same model: the model itself, not this wrapper again.
            assert model.predict(*args) == model.total + args[0]
            return (yield)

    for model_class in (Sum, Plain, type("Safe", (Sum,), {"predict_is_thread_safe": True})):
        checking = use(Checking())
        with ThreadPoolExecutor(1) as pool:  # a deadlock must not hang the test's own thread
            pool.submit(made(model_class).train, (4,), {}).result(10)
        assert checking.change == 4


def test_a_plugin_takes_an_operation_over(use) -> None:
    class Remote:
        @hookimpl
        def predict_model(self, name, args):
            return (f"{name} asked {args[0]}",) if args[0] > 5 else None

    use(Remote())
    handle = made()
    assert handle.predict((9,), {}) == "s asked 9"
    assert handle.predict((1,), {}) == 1


def test_results_that_are_not_boxed(use) -> None:
    class Unboxed:
        @hookimpl
        def predict_model(self):
            return 5

    class Losing:
        @hookimpl(wrapper=True)
        def train_model(self):
            yield

        @hookimpl(wrapper=True)
        def end_epoch(self):
            yield

    use(Unboxed())
    use(Losing())
    handle = made()
    with pytest.raises(PluginError, match=r"returned 5 from the hook predict_model.*\(value,\)"):
        handle.predict((1,), {})
    with pytest.raises(PluginError, match="returned None from the hook train_model"):
        handle.train((1,), {})
    with pytest.raises(PluginError, match="lost the model's own result"):
        handle.end_epoch(0, True)


def test_the_value_of_end_epoch_is_the_models_own(use) -> None:
    class Talking:
        @hookimpl(tryfirst=True)
        def end_epoch(self):
            return "first"

        @hookimpl(specname="end_epoch", trylast=True)
        def after(self):
            return ("last",)

    use(Talking())
    assert made().end_epoch(3, False) == "epoch 3"


def test_an_exception_of_a_plugin_or_model_passes_through_the_wrappers(use) -> None:
    use(Recorder())

    class Failing:
        @hookimpl
        def train_model(self):
            raise ZeroDivisionError("in the plug-in")

    handle = made()
    use(Failing())
    with pytest.raises(ZeroDivisionError) as caught:
        handle.train((1,), {})
    assert caught.value.__notes__ == ["model 's' (Sum)"]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handle.predict, (1,), {}).result(5) == 1, "the lock was released"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def train_modell(self): pass",
            r"unknown hook 'train_modell': did you mean 'train_model'",
        ),
        ("def train_model(self, modell): pass", "'modell'"),
    ],
)
def test_a_plugin_that_is_wrong_is_refused_whole(use, source: str, message: str) -> None:
    space: dict = {"hookimpl": hookimpl}
    right = "class Wrong:\n    @hookimpl\n    def predict_model(self): return ('wrong',)"
    exec(f"{right}\n    @hookimpl\n    {source}", space)
    with pytest.raises(PluginError, match=message):
        register_plugin(space["Wrong"])
    assert made().predict((1,), {}) == 1
    use(Recorder())  # who listens is counted anew
    assert made().predict((1,), {}) == 1


def test_a_plugin_without_hooks_and_a_name_taken_twice() -> None:
    with pytest.raises(PluginError, match=r"has no hook.*train_model"):
        register_plugin(object())
    name = register_plugin(Recorder(), "recorder")
    with pytest.raises(PluginError, match="'recorder' is registered already"):
        register_plugin(Recorder(), "recorder")
    unregister_plugin(name)
    with pytest.raises(PluginError, match="no plug-in 'recorder'"):
        unregister_plugin("recorder")


PLUGIN = """
    from batchloom.models import hookimpl
    order = []

    class First:
        @hookimpl(wrapper=True)
        def train_model(self):
            order.append("acme:a")
            return (yield)

    class Second:
        @hookimpl(wrapper=True)
        def train_model(self):
            order.append("acme:b")
            return (yield)

    class Foremost:
        @hookimpl(wrapper=True, tryfirst=True)
        def train_model(self):
            order.append("zeta:foremost")
            return (yield)
"""


def test_installed_plugins_act_in_the_order_of_packages_and_keys(install) -> None:
    install("zeta", plugins={"foremost": "watching:Foremost", "b": "watching:Second"})
    install("acme", plugins={"b": "watching:Second", "a": "watching:First"}, watching=PLUGIN)
    made().train((1,), {})
    from watching import order

    assert order == ["zeta:foremost", "acme:a", "acme:b", "acme:b"]


def test_a_broken_plugin_is_named_and_the_others_act(install) -> None:
    install("acme", plugins={"good": "watching:First"}, watching=PLUGIN)
    install(
        "bad",
        plugins={
            "stale": "gone_module:X",
            "leaving": "leaving:X",
            "misspelt": "misspelt",
        },
        leaving="raise SystemExit(3)",
        misspelt="""
            from batchloom.models import hookimpl
            @hookimpl
            def trian_model(): pass
        """,
    )
    with pytest.warns(RuntimeWarning) as caught:
        made().train((1,), {})
    messages = "\n".join(str(each.message) for each in caught)
    assert len(caught) == 3
    for part in (
        "'stale' (gone_module:X) of bad 1.0",
        "SystemExit: 3",
        "did you mean 'train_model'",
    ):
        assert part in messages
    from watching import order

    assert order == ["acme:a"]
    made().train((1,), {})
    assert order == ["acme:a", "acme:a"], "and nothing is said twice"


def test_a_plugin_that_is_switched_off_is_not_imported(install, monkeypatch) -> None:
    install("acme", plugins={"good": "watching:First"}, watching=PLUGIN)
    others = os.environ["BATCHLOOM_DISABLE_PLUGINS"]
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", f"Acme,{others}")
    made().train((1,), {})
    assert "watching" not in sys.modules


def test_many_threads_load_the_plugins_once(install) -> None:
    install(
        "acme",
        plugins={"slow": "slow"},
        slow="""
            import time
            from batchloom.models import hookimpl
            time.sleep(0.1)
            calls = []
            @hookimpl
            def train_model(args):
                calls.append(args)
        """,
    )
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(5)
        made().train((number,), {})

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(work, number) for number in range(8)]:
            each.result(20)
    from slow import calls

    assert sorted(calls) == [(number,) for number in range(8)]


def test_without_plugins_pluggy_is_not_even_imported() -> None:
    code = """
        import sys
        from batchloom.models import BaseModel
        class M(BaseModel):
            def _train(self, x): return x
        model = M()
        model.build()
        assert model.train(3) == 3
        assert "pluggy" not in sys.modules, "the direct way was not taken"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=True)
