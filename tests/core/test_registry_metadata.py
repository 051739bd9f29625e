"""Model names and what is installed: what packages say of themselves, as it is written and where it lies."""

from __future__ import annotations

import textwrap
import zipfile
from pathlib import Path

import pytest
from acme_sources import NET

from batchloom.errors import (
    NamespaceNotInstalledError,
)
from batchloom.models import get_model_class, refresh
from batchloom.models.entries import Entry, entries


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
