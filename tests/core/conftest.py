"""Packages that are installed for one test: real metadata, real entry points, real imports."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchloom.models import registry

Install = Callable[..., Path]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on ``sys.path``, and on that of child processes, where packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def install(site: Path) -> Iterator[Install]:
    """``install("batchloom-acme", models={"acme/Net": "acme:Net"}, acme="class Net: ...")``."""
    modules = set(sys.modules)
    own = dict(registry._own)
    registry._own.clear()  # a page of the docs may have registered something in this process

    def write(
        name: str,
        version: str = "1.0",
        requires: tuple[str, ...] = ("batchloom>=0.1,<0.2",),
        models: dict[str, str] | None = None,
        adapters: dict[str, str] | None = None,
        metrics: dict[str, str] | None = None,
        plugins: dict[str, str] | None = None,
        **sources: str,
    ) -> Path:
        metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
        metadata += [f"Requires-Dist: {each}" for each in requires]
        groups = {"models": models, "adapters": adapters, "metrics": metrics, "plugins": plugins}
        points = []
        for group, keys in groups.items():
            if keys:
                points.append(f"[batchloom.{group}]")
                points += [f"{key} = {value}" for key, value in keys.items()]
        folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("\n".join(metadata) + "\n")
        (folder / "entry_points.txt").write_text("\n".join(points) + "\n")
        for module, source in sources.items():
            (site / f"{module}.py").write_text(textwrap.dedent(source))
        registry.refresh()
        return folder

    registry.refresh()
    yield write
    for each in set(sys.modules) - modules:
        if getattr(sys.modules[each], "__file__", None) and str(site) in sys.modules[each].__file__:
            del sys.modules[each]
    registry._own.clear()
    registry._own.update(own)


@pytest.fixture(autouse=True)
def forget_packages(request: pytest.FixtureRequest) -> Iterator[None]:
    """What one test installed is not seen by the next."""
    yield
    if "install" in request.fixturenames:
        registry.refresh()
