"""The site builds without a warning and without the network, and fetches nothing when it is read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A proxy that nobody answers at: whatever is fetched fails.
OFFLINE = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "HTTP", "HTTPS")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs"]
    command += ["-d", str(folder / "doctrees"), ".", str(folder / "html")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **OFFLINE},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_there(site: Path) -> None:
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md"), ROOT / "README.md"]
    for page in pages:
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists(), page
    assert 'url=docs/index.html"' in (site / "index.html").read_text()


def test_links_between_the_files_lead_to_pages(site: Path) -> None:
    index = (site / "docs" / "index.html").read_text()
    assert 'href="../plugins/sklearn_backend/README.html"' in index
    for page in site.rglob("*.html"):
        targets = re.findall(r'href="([^":#?]+)(?:#[^"]*)?"', page.read_text())
        assert [each for each in targets if not (page.parent / each).exists()] == [], page


def test_the_public_names_are_in_the_reference(site: Path) -> None:
    import batchloom
    import batchloom.models

    reference = (site / "docs" / "api.html").read_text()
    markers = {"hookimpl", "hookspec"}
    for name in {*batchloom.__all__, *batchloom.models.__all__} - markers:
        assert re.search(rf'id="[\w.]*\b{name}"', reference), name


def test_nothing_is_fetched_when_it_is_read(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//[^"]*"', text) == [], page
        assert re.findall(r'<link[^>]+href="(?:https?:)?//[^"]*"', text) == [], page
