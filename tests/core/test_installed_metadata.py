"""What core reads of installed packages by itself, because importing what else could takes so long."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from packaging.requirements import Requirement

import batchloom
from batchloom.models import entries
from batchloom.models.compatibility import unmet

BOUNDS = ["0.1", "0.1.0", "0.2", "0.10", "1", "1.0.0", "0"]
RANGES = [f"{operator}{bound}" for operator in (">=", "<") for bound in BOUNDS]
REQUIREMENTS = [
    *RANGES,
    *(f"{at_least}, {below}" for at_least in RANGES[:7] for below in RANGES[7:]),
    *(
        "==0.1.*",
        "~=0.1.0",
        "!=0.1",
        ">0.1",
        "<=0.2",
        ">=0.1a1,<0.2",
        "==0.1.0; python_version>'3'",
    ),
]


@pytest.mark.parametrize(
    "version", ["0.1", "0.1.0", "0.1.5", "0.2.0", "1.0", "0.2.0rc1", "0.2.dev1"]
)
def test_a_core_meets_what_packaging_says_it_meets(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(batchloom, "__version__", version)
    for each in REQUIREMENTS:
        for written in (f"batchloom{each}", f"Batchloom {each}"):
            asked = Requirement(written).specifier
            met = asked.contains(version, prereleases=True)
            assert (unmet(["numpy>=9", written]) is None) == met, (version, written)


@pytest.mark.parametrize("other", ["batchloom-sklearn>=9", "batchloom_sklearn>=9", "batchloom2<0"])
def test_requirements_on_other_packages_are_theirs(other: str) -> None:
    assert unmet([other]) is None


def test_headers_are_read_as_they_may_be_written(install) -> None:
    folder = install("batchloom-acme", models={"acme/Net": "acme_net:Net"})
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nNAME: Batchloom_Acme\nversion:\t2.0 \nSummary: one\n  Version: 3.0\n"
        "Requires-Dist: batchloom\n  >=0.1\nRequires-Dist: numpy\n\nName: of-the-description\n"
        "Version: 4.0\nRequires-Dist: scipy\n"
    )
    entries.forget()
    (entry,) = [each for each in entries.entries("batchloom.models") if each.key == "acme/Net"]
    assert entry.owner == "batchloom-acme 2.0"
    assert entry.requires == ("batchloom >=0.1", "numpy")


def test_an_egg_is_read_as_well(site, install) -> None:
    folder = site / "batchloom_acme-1.5.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 1.2\nName: batchloom-acme\nVersion: 1.5\n")
    (folder / "requires.txt").write_text("batchloom>=0.1\n\n[extra]\nscipy\n")
    (folder / "entry_points.txt").write_text("[batchloom.models]\nacme/Net = acme_net:Net\n")
    entries.forget()
    (entry,) = [each for each in entries.entries("batchloom.models") if each.key == "acme/Net"]
    assert entry.owner == "batchloom-acme 1.5"
    assert entry.requires == ("batchloom>=0.1", 'scipy; extra == "extra"')


def test_a_model_is_found_without_what_takes_long_to_import(install) -> None:
    source = """
        from batchloom.models import BaseModel

        class Net(BaseModel):
            pass
    """
    install("batchloom-acme", models={"acme/Net": "acme_net:Net"}, acme_net=source)
    code = """
        import sys
        from batchloom import Pipeline

        before = set(sys.modules)
        Pipeline().init_model("dynamic", "acme/Net")
        assert "acme_net" in sys.modules and "importlib_metadata" in sys.modules
        slow = {"email.message", "email.parser", "packaging.requirements", "subprocess", "pluggy"}
        assert not slow & (set(sys.modules) - before), slow & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=True)
