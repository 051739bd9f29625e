"""Model names: who asks for one gets its class, and only what is asked for is loaded."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from acme_sources import NET, RESOLVER

from batchloom.errors import (
    DefinitionError,
    ModelNotFoundError,
    ModelProtocolError,
)
from batchloom.models import BaseModel, get_model_class, list_models, register
from batchloom.models.handle import ModelSpec
from batchloom.models.registry import name_of, namespaces


def test_only_the_module_asked_for_is_imported(install) -> None:
    install(
        "batchloom-acme",
        models={"acme/Net": "acme_net:Net", "acme/Heavy": "acme_heavy:Heavy"},
        acme_net=NET,
        acme_heavy="raise RuntimeError('should not have been imported')",
    )
    assert get_model_class("acme/Net").__name__ == "Net"
    assert "acme_heavy" not in sys.modules
    assert get_model_class("acme/Net") is get_model_class("acme/Net")


def test_aliases_and_default_names(install) -> None:
    install(
        "batchloom-acme",
        models={"acme/Net": "acme_net:Net", "acme/Quick": "acme_net:Net"},
        acme_net=NET,
    )
    assert get_model_class("acme/Quick") is get_model_class("acme/Net")
    spec = ModelSpec.resolve("acme/Quick")
    assert (spec.name, spec.registered_name) == ("Quick", "acme/Quick")


def test_a_resolver_answers_for_an_open_set(install) -> None:
    install(
        "batchloom-acme",
        models={"acme/*": "acme_resolver:resolver", "acme/Lasso": "acme_net:Other"},
        acme_net=NET,
        acme_resolver=RESOLVER,
    )
    assert get_model_class("acme/Ridge").__name__ == "Ridge"
    assert get_model_class("acme/Ridge") is get_model_class("acme/Ridge")
    assert get_model_class("acme/Lasso").__name__ == "Other", "an exact key wins"
    spec = ModelSpec.resolve("acme/linear.Ridge")
    assert (spec.name, spec.registered_name) == ("Ridge", "acme/linear.Ridge")
    assert name_of(get_model_class("acme/Ridge")) == "acme/Ridge"
    assert "acme/Ridge" in list_models("acme")
    assert "acme/*" not in list_models("acme")


def test_listing_names_imports_no_model(install) -> None:
    install(
        "batchloom-acme",
        models={"acme/*": "acme_resolver:resolver", "acme/Net": "acme_net:Net"},
        acme_net=NET,
        acme_resolver=RESOLVER,
    )
    install("batchloom-zeta", models={"zeta/A": "zeta_mod:A"}, zeta_mod="raise RuntimeError")
    assert list_models("acme") == [
        "acme/Keyed", "acme/Lasso", "acme/Needy", "acme/Net", "acme/Ridge", "acme/linear.Ridge",
    ]  # fmt: skip
    assert "zeta/A" in list_models()
    assert {"acme", "zeta"} <= set(namespaces())
    assert "acme_net" not in sys.modules
    assert "zeta_mod" not in sys.modules


@pytest.mark.parametrize("given", [BaseModel, 3, ["my/Net"], None])
def test_only_names_are_looked_up(given: object) -> None:
    with pytest.raises(DefinitionError, match="takes a registered name"):
        get_model_class(given)


def test_names_of_this_process(install) -> None:
    class Mine(BaseModel):
        pass

    class Yours(BaseModel):
        pass

    assert register("my/Net", Mine) is Mine
    assert get_model_class("my/Net") is Mine
    assert "my/Net" in list_models("my")
    assert ModelSpec.resolve(Mine).registered_name == "my/Net"
    again = type("Mine", (BaseModel,), {"__module__": Mine.__module__})
    again.__qualname__ = Mine.__qualname__
    register("my/Net", again)
    assert get_model_class("my/Net") is again, "a notebook's cell may be run again"
    with pytest.raises(DefinitionError, match="replace=True"):
        register("my/Net", Yours)
    assert register("my/Net", Yours, replace=True) is get_model_class("my/Net")
    register("Bare", Mine)
    assert get_model_class("Bare") is Mine
    assert "Bare" in list_models()
    with pytest.raises(ModelProtocolError, match="'my/Half'"):
        register("my/Half", type("Half", (), {}))
    for wrong in ("", "my/*", "my/", 3):
        with pytest.raises(DefinitionError):
            register(wrong, Mine)
    with pytest.raises(
        ModelNotFoundError, match=r"'my/Nett': did you mean 'my/Net'.*list_models\('my'\)"
    ):
        get_model_class("my/Nett")


def test_a_class_is_known_by_its_entry_point_and_its_subclass_is_not(install) -> None:
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net=NET)
    from acme_net import Net

    assert ModelSpec.resolve(Net).registered_name == "acme/Net"
    assert ModelSpec.resolve(type("Sub", (Net,), {})).registered_name is None
    Net.registered_name = "acme/Net"
    assert ModelSpec.resolve(type("Sub", (Net,), {})).registered_name is None
    assert ModelSpec.resolve("acme/Net").make(pipeline=None).model.registered_name == "acme/Net"


def test_many_threads_get_one_class(install, monkeypatch) -> None:
    loads: list[int] = []
    monkeypatch.setitem(sys.modules, "acme_loads", loads)
    install(
        "batchloom-acme",
        models={"acme/*": "acme_resolver:resolver"},
        acme_net="import sys, time; time.sleep(0.2)\n"
        "sys.modules['acme_loads'].append(1)\n" + textwrap.dedent(NET),
        acme_resolver=RESOLVER,
    )
    start = threading.Barrier(8)

    def ask() -> type:
        start.wait(5)
        return get_model_class("acme/Ridge")

    with ThreadPoolExecutor(8) as pool:
        found = {each.result(20) for each in [pool.submit(ask) for _ in range(8)]}
    assert (len(found), loads) == (1, [1])


def test_import_of_batchloom_scans_nothing() -> None:
    code = """
        import sys
        import batchloom
        import batchloom.models
        heavy = {"pluggy", "importlib_metadata", "packaging", "pandas", "sklearn", "xgboost",
                 "tensorflow", "keras"}
        loaded = heavy & set(sys.modules)
        assert not loaded, loaded
        batchloom.models.BaseModel, batchloom.models.RunInfo
        assert not heavy & set(sys.modules)
        batchloom.models.list_models()
        assert "importlib_metadata" in sys.modules, "the test would pass whatever happened"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=True)
