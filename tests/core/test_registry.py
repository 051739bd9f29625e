"""Model names: only what is asked for is loaded, and each fault says whose it is."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pluggy
import pytest

import batchloom
from batchloom.errors import (
    AmbiguousModelError,
    DefinitionError,
    ModelNotFoundError,
    ModelProtocolError,
    NamespaceNotInstalledError,
    PluginDisabledError,
    PluginImportError,
    PluginVersionError,
)
from batchloom.models import BaseModel, get_model_class, list_models, refresh, register
from batchloom.models.entries import Entry, entries
from batchloom.models.handle import ModelSpec
from batchloom.models.registry import name_of, namespaces

NET = """
    from batchloom.models import BaseModel

    class Net(BaseModel):
        pass

    class Other(BaseModel):
        pass
"""

RESOLVER = """
    names_ = {"Ridge", "Lasso", "linear.Ridge"}

    class Resolver:
        def __call__(self, rest):
            if rest == "Keyed":
                {}["a KeyError of the library's own"]
            if rest == "Needy":
                import a_library_that_is_not_there
            if rest not in names_:
                raise LookupError(rest)
            from acme_net import Net
            return type(rest.rpartition(".")[2], (Net,), {"registered_name": f"acme/{rest}"})

        def names(self):
            return [*sorted(names_), "Keyed", "Needy"]

    resolver = Resolver()
"""


def imported(name: str) -> bool:
    return name in sys.modules


def test_only_the_module_asked_for_is_imported(install) -> None:
    install(
        "batchloom-acme",
        models={"acme/Net": "acme_net:Net", "acme/Heavy": "acme_heavy:Heavy"},
        acme_net=NET,
        acme_heavy="raise RuntimeError('should not have been imported')",
    )
    assert get_model_class("acme/Net").__name__ == "Net"
    assert not imported("acme_heavy")
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
    assert not imported("acme_net")
    assert not imported("zeta_mod")


def test_a_broken_resolver_is_left_out_of_all_names_with_a_warning(install) -> None:
    install("batchloom-acme", models={"acme/*": "acme_gone:resolver"})
    install("batchloom-zeta", models={"zeta/A": "zeta_mod:A"})
    with pytest.warns(RuntimeWarning, match="left out the models of acme/.*batchloom-acme 1.0"):
        assert "zeta/A" in list_models()
    with pytest.raises(PluginImportError):
        list_models("acme")


# The order of faults: namespace, name, owner, version, import, protocol.


def test_an_absent_namespace(install) -> None:
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"})
    with pytest.raises(NamespaceNotInstalledError, match=r"'acmy': did you mean 'acme'\?"):
        get_model_class("acmy/Net")
    with pytest.raises(NamespaceNotInstalledError, match="pip install batchloom-quux"):
        get_model_class("quux/Net")
    with pytest.raises(NamespaceNotInstalledError):
        list_models("quux")


def test_a_known_backend_that_is_absent(tmp_path: Path) -> None:
    # The packages that are here, without those of ours but core's code.
    (tmp_path / "batchloom").symlink_to(Path(batchloom.__file__).parent)
    for each in Path(pluggy.__file__).parents[1].iterdir():
        if "batchloom" not in each.name and each.suffix != ".pth":
            (tmp_path / each.name).symlink_to(each)
    code = "from batchloom.models import get_model_class; get_model_class('tf/Anything')"
    ended = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "'tf': pip install batchloom-tf (installed: none)" in ended.stderr


def test_an_unknown_name_in_a_namespace(install) -> None:
    install("batchloom-acme", models={"acme/Forecaster": "acme_net:Net"}, acme_net=NET)
    with pytest.raises(
        ModelNotFoundError, match=r"'acme/forcaster': did you mean 'acme/Forecaster'"
    ):
        get_model_class("acme/forcaster")
    with pytest.raises(ModelNotFoundError, match=r"batchloom-acme 1.0 has 1 under acme/"):
        get_model_class("acme/Zzz")
    with pytest.raises(ModelNotFoundError, match=r"'Forecaster': did you mean 'acme/Forecaster'\?"):
        get_model_class("Forecaster")
    assert not imported("acme_net")


def test_an_unknown_name_of_a_resolver(install) -> None:
    install("batchloom-acme", models={"acme/*": "acme_resolver:resolver"}, acme_resolver=RESOLVER)
    with pytest.raises(ModelNotFoundError, match=r"'acme/Rigde': did you mean 'acme/Ridge'"):
        get_model_class("acme/Rigde")


def test_two_owners_are_an_error_only_for_who_asks(install) -> None:
    models = {"acme/Net": "acme_net:Net"}
    install("one", version="1.1", models=models, acme_net=NET)
    install("two", version="2.2", models={**models, "acme/Other": "acme_net:Other"})
    with pytest.raises(AmbiguousModelError) as caught:
        get_model_class("acme/Net")
    assert "one 1.1" in str(caught.value)
    assert "two 2.2" in str(caught.value)
    assert not imported("acme_net")
    assert get_model_class("acme/Other").__name__ == "Other"


def test_switching_one_owner_off_settles_it(install, monkeypatch) -> None:
    install("one", models={"acme/Net": "acme_net:Net"}, acme_net=NET)
    install("two", models={"acme/Net": "acme_net:Other"})
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", "one")
    assert get_model_class("acme/Net").__name__ == "Other"


def test_nobody_slips_a_name_into_the_namespace_of_another_package(install, monkeypatch) -> None:
    install("batchloom-acme", models={"acme/*": "acme_resolver:resolver"}, acme_resolver=RESOLVER)
    install("intruder", models={"acme/Ridge": "evil:Ridge"}, acme_net=NET, evil="raise SystemExit")
    with pytest.raises(AmbiguousModelError, match="belongs to batchloom-acme") as caught:
        get_model_class("acme/Ridge")
    assert "intruder 1.0" in str(caught.value)
    assert "batchloom-acme 1.0" in str(caught.value)
    assert not imported("evil")
    assert get_model_class("acme/Lasso").__name__ == "Lasso"
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", "intruder")
    assert get_model_class("acme/Ridge").__name__ == "Ridge"


@pytest.mark.parametrize(
    "requires",
    ["batchloom>=9", "Batchloom (<0.1)", "batchloom==0.0.7; python_version >= '3'"],
)
def test_a_package_for_another_core_is_named_before_it_is_imported(install, requires) -> None:
    install(
        "batchloom-acme",
        requires=("numpy", requires),
        models={"acme/Net": "acme_net:Net"},
        acme_net="raise RuntimeError('imported')",
    )
    with pytest.raises(
        PluginVersionError, match=r"batchloom-acme 1.0 asks for .*this is batchloom"
    ):
        get_model_class("acme/Net")
    assert not imported("acme_net")


@pytest.mark.parametrize(
    "requires", ["batchloom", "batchloom>=9; extra == 'new'", "not a requirement at all !"]
)
def test_requirements_that_do_not_apply(install, requires) -> None:
    install(
        "batchloom-acme",
        requires=(requires,),
        models={"acme/Net": "acme_net:Net"},
        acme_net=NET,
    )
    assert get_model_class("acme/Net")


@pytest.mark.parametrize(
    ("value", "source", "message"),
    [
        ("acme_net:Net", "1 / 0", "ZeroDivisionError: division by zero"),
        ("acme_net:Net", "raise SystemExit('no licence')", "SystemExit: no licence"),
        ("acme_net:Net", "import xyz_missing", "needs the module 'xyz_missing'"),
        ("acme_net:Nett", NET, "no attribute 'Nett'.* of two versions"),
        ("acme_gone.sub:Net", NET, "own module is not there.*pip uninstall batchloom-acme"),
    ],
)
def test_an_import_that_fails_says_whose_it_is(install, value, source, message) -> None:
    install("batchloom-acme", models={"acme/Net": value, "acme/Ok": "fine:Net"}, acme_net=source)
    install("other", fine=NET)
    with pytest.raises(PluginImportError, match=message) as caught:
        get_model_class("acme/Net")
    assert f"entry point 'acme/Net' ({value}) of batchloom-acme 1.0" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert get_model_class("acme/Ok"), "other names are not affected"


def test_a_failed_import_can_be_mended(install, site: Path) -> None:
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net="1 / 0")
    with pytest.raises(PluginImportError):
        get_model_class("acme/Net")
    (site / "acme_net.py").write_text(textwrap.dedent(NET) + "# mended\n")
    refresh()
    assert get_model_class("acme/Net")


def test_an_interrupt_is_no_fault_of_the_package(install) -> None:
    install(
        "batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net="raise KeyboardInterrupt"
    )
    with pytest.raises(KeyboardInterrupt):
        get_model_class("acme/Net")


def test_what_a_library_raises_inside_a_resolver_is_no_unknown_name(install) -> None:
    install("batchloom-acme", models={"acme/*": "acme_resolver:resolver"}, acme_resolver=RESOLVER)
    with pytest.raises(PluginImportError, match=r"KeyError: .*library's own"):
        get_model_class("acme/Keyed")
    with pytest.raises(PluginImportError, match="'a_library_that_is_not_there'"):
        get_model_class("acme/Needy")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "class Net:\n    def train(self): pass",
            "Net lacks the methods build, load, predict, save",
        ),
        ("Net = 5", "is 5, of type int, and no model class"),
    ],
)
def test_what_is_no_model_is_refused_when_it_is_asked_for(install, source, message) -> None:
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net=source)
    with pytest.raises(ModelProtocolError, match=message) as caught:
        ModelSpec.resolve("acme/Net")
    assert "batchloom-acme 1.0" in str(caught.value)


@pytest.mark.parametrize(
    "word", ["batchloom-acme", "Batchloom_Acme", "acme", "acme/*", "acme/Net", "*"]
)
def test_switched_off_by_the_environment_before_any_import(install, monkeypatch, word) -> None:
    install(
        "batchloom-acme",
        models={"acme/Net": "acme_net:Net"},
        acme_net="raise RuntimeError('imported')",
    )
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", f"something, {word}")
    with pytest.raises(PluginDisabledError, match=r"batchloom-acme 1.0, which is switched off by"):
        get_model_class("acme/Net")
    assert "acme/Net" not in list_models("acme")
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", "acme/Nets")
    with pytest.raises(PluginImportError):
        get_model_class("acme/Net")


def test_one_name_of_a_resolver_switched_off(install, monkeypatch) -> None:
    install(
        "batchloom-acme",
        models={"acme/*": "acme_resolver:resolver"},
        acme_net=NET,
        acme_resolver=RESOLVER,
    )
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", "acme/Ridge")
    with pytest.raises(PluginDisabledError):
        get_model_class("acme/Ridge")
    assert "acme/Ridge" not in list_models("acme")
    assert get_model_class("acme/Lasso")


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
    with pytest.raises(ModelNotFoundError, match=r"'my/Nett': did you mean 'my/Net'"):
        get_model_class("my/Nett")


def test_a_class_is_known_by_its_entry_point_and_its_subclass_is_not(install) -> None:
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net=NET)
    from acme_net import Net

    assert ModelSpec.resolve(Net).registered_name == "acme/Net"
    assert ModelSpec.resolve(type("Sub", (Net,), {})).registered_name is None
    Net.registered_name = "acme/Net"
    assert ModelSpec.resolve(type("Sub", (Net,), {})).registered_name is None
    assert ModelSpec.resolve("acme/Net").make(pipeline=None).model.registered_name == "acme/Net"


def test_refresh_sees_what_was_installed_since(install, site: Path) -> None:
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net=NET)
    assert get_model_class("acme/Net")
    folder = site / "batchloom_later-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: batchloom-later\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[batchloom.models]\nlater/Net = acme_net:Net\n")
    with pytest.raises(NamespaceNotInstalledError):
        get_model_class("later/Net")
    refresh()
    assert get_model_class("later/Net")
    (folder / "entry_points.txt").unlink()
    refresh()
    with pytest.raises(NamespaceNotInstalledError):
        get_model_class("later/Net")


def test_metadata_that_cannot_be_read_harms_nobody_else(install, site: Path) -> None:
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net=NET)
    broken = install("broken")
    (broken / "entry_points.txt").write_text("[batchloom.models]\nthis is no entry point\n")
    nameless = site / "batchloom_nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "entry_points.txt").write_text("[batchloom.models]\nnameless/Net = acme_net:Net\n")
    refresh()
    with pytest.warns(UserWarning, match="unreadable metadata of broken"):
        assert get_model_class("acme/Net")
    assert get_model_class("nameless/Net")
    assert [
        each.package for each in entries("batchloom.models") if each.namespace == "nameless"
    ] == ["batchloom-nameless"]


def test_the_first_package_of_a_name_on_the_path_is_the_one(
    install, tmp_path: Path, monkeypatch
) -> None:
    install("batchloom-acme", "1.0", models={"acme/Net": "acme_net:Net"}, acme_net=NET)
    nearer = tmp_path / "nearer" / "Batchloom.Acme-2.0.dist-info"
    nearer.mkdir(parents=True)
    (nearer / "METADATA").write_text("Metadata-Version: 2.1\nName: batchloom-acme\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(str(nearer.parent))
    refresh()
    with pytest.raises(NamespaceNotInstalledError):
        get_model_class("acme/Net")
    (nearer / "entry_points.txt").write_text("[batchloom.models]\nacme/Net = acme_net:Other\n")
    refresh()
    assert get_model_class("acme/Net").__name__ == "Other"


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
def test_packages_in_archives_are_found(install, site: Path, monkeypatch, kind) -> None:
    header = "Metadata-Version: 2.1\nName: batchloom-acme\nVersion: 3.0\n"
    info, metadata = f"batchloom_acme-3.0.{kind}", {"dist-info": "METADATA", "egg-info": "PKG-INFO"}
    with zipfile.ZipFile(site / "packages.zip", "w") as archive:
        archive.writestr("acme_net.py", textwrap.dedent(NET))
        archive.writestr(f"{info}/{metadata[kind]}", header)
        archive.writestr(
            f"{info}/entry_points.txt", "[batchloom.models]\nacme/Net = acme_net:Net\n"
        )
    monkeypatch.syspath_prepend(str(site / "packages.zip"))
    refresh()
    assert get_model_class("acme/Net").__name__ == "Net"
    (entry,) = [each for each in entries("batchloom.models") if each.key == "acme/Net"]
    assert entry.owner == "batchloom-acme 3.0"


@pytest.mark.parametrize(
    "value", ["acme_net:Net", "acme_net : Net", "acme_net:Nets.Net", "acme_net:Net [fast, small]"]
)
def test_an_entry_point_is_written_as_packages_may_write_it(install, value) -> None:
    source = textwrap.dedent(NET) + "\nclass Nets:\n    Net = Net\n"
    install("batchloom-acme", models={"acme/Net": value}, acme_net=source)
    assert get_model_class("acme/Net").__name__ == "Net"


def test_equal_entry_points_are_one(install) -> None:
    folder = install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net=NET)
    text = (folder / "entry_points.txt").read_text()
    (folder / "entry_points.txt").write_text(text + "acme/Net = acme_net:Net\n")
    refresh()
    found = [each for each in entries("batchloom.models") if each.key == "acme/Net"]
    assert found == [
        Entry(
            "batchloom.models", "acme/Net", "acme_net:Net", "batchloom-acme", "1.0",
            ("batchloom>=0.1,<0.2",),
        )
    ]  # fmt: skip
    assert get_model_class("acme/Net")


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
