"""Model names that come to nothing: each fault says whose it is, and harms nobody else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pluggy
import pytest
from acme_sources import NET, RESOLVER

import batchloom
from batchloom.errors import (
    AmbiguousModelError,
    ModelNotFoundError,
    ModelProtocolError,
    NamespaceNotInstalledError,
    PluginDisabledError,
    PluginError,
    PluginImportError,
    PluginVersionError,
)
from batchloom.models import get_model_class, list_models, refresh
from batchloom.models.entries import entries
from batchloom.models.handle import ModelSpec
from batchloom.models.states import by_loading as states_of

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
    assert "acme_net" not in sys.modules


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
    assert "acme_net" not in sys.modules
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
    assert "evil" not in sys.modules
    assert get_model_class("acme/Lasso").__name__ == "Lasso"
    monkeypatch.setenv("BATCHLOOM_DISABLE_PLUGINS", "intruder")
    assert get_model_class("acme/Ridge").__name__ == "Ridge"


def test_who_has_a_name_is_said_of_that_name_alone(install) -> None:
    models = {"acme/Net": "acme_net:Net", "acme/Other": "acme_net:Other"}
    install("batchloom-acme", models=models, acme_net=NET)
    install("intruder", models={"acme/Net": "acme_net:Net", "acme/Mine": "acme_net:Other"})
    with pytest.raises(AmbiguousModelError, match="by more than one package: ") as caught:
        get_model_class("acme/Net")
    assert "acme/Other" not in str(caught.value)
    with pytest.raises(
        AmbiguousModelError,
        match=r"by intruder 1.0 .*belongs to batchloom-acme 1.0, which has no such name",
    ):
        get_model_class("acme/Mine")


@pytest.mark.parametrize("value", ["acme_net:Net", "acme_net:__doc__"])
def test_what_is_no_resolver_is_told_so(install, value) -> None:
    install("batchloom-acme", models={"acme/*": value}, acme_net=NET)
    for asked in (lambda: get_model_class("acme/Ridge"), lambda: list_models("acme")):
        with pytest.raises(PluginError, match=r"no resolver. A key that ends in \* names"):
            asked()
    with pytest.raises(ModelNotFoundError, match="'Ridge': did you mean 'sklearn/Ridge'"):
        get_model_class("Ridge")  # nobody else's names are touched


def test_a_key_that_is_no_name_is_said_to_be_broken(install) -> None:
    models = {"Net": "acme_net:Net", "acme/": "acme_net:Net", "acme/Net": "acme_net:Net"}
    install("batchloom-acme", models=models, acme_net=NET)
    assert list_models("acme") == ["acme/Net"]
    assert "Net" not in list_models()
    with pytest.raises(ModelNotFoundError, match=r"'Net': did you mean 'acme/Net'\?"):
        get_model_class("Net")
    with pytest.raises(ModelNotFoundError):
        get_model_class("acme/")
    mine = (each for each in entries("batchloom.models") if each.package == "batchloom-acme")
    states = {each.key: states_of(each) for each in mine}
    assert {key: each.word for key, each in states.items()} == {
        "Net": "broken",
        "acme/": "broken",
        "acme/Net": "ready",
    }
    assert "its key is 'namespace/Name'" in states["Net"].advice


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
    assert "acme_net" not in sys.modules


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


def test_a_broken_resolver_is_left_out_of_all_names_with_a_warning(install) -> None:
    install("batchloom-acme", models={"acme/*": "acme_gone:resolver"})
    install("batchloom-zeta", models={"zeta/A": "zeta_mod:A"})
    with pytest.warns(RuntimeWarning, match="left out the models of acme/.*batchloom-acme 1.0"):
        assert "zeta/A" in list_models()
    with pytest.raises(PluginImportError):
        list_models("acme")
