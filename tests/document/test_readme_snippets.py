"""Every Python snippet of the README and of docs/ runs, and every link to a file leads somewhere.

The snippets of a page share their names, as they do for a reader who types them in one after the
other. A snippet that cannot run here is preceded by a comment that says why::

    <!-- not run: needs a GPU -->
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]

FENCE = re.compile(r"^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S)
EXCUSE = re.compile(r"<!-- not run:(?P<reason>[^>]*)-->\s*\Z")
LINK = re.compile(r"\[[^\]]*\]\((?!\w+:|#)(?P<target>[^)#]+)")


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Snippet:
    """A block of Python of a page, its first line, and the reason why it does not run."""

    page: Path
    line: int
    code: str
    excuse: str | None

    def run(self, names: dict[str, object]) -> None:
        # Empty lines before it let a traceback point to the line of the page.
        source = "\n" * (self.line - 1) + self.code
        exec(compile(source, str(self.page), "exec"), names)


def snippets(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        excuse = EXCUSE.search(text[: block.start()])
        yield Snippet(
            page,
            line=text[: block.start("code")].count("\n") + 1,
            code=re.sub(f"^{block['indent']}", "", block["code"], flags=re.M),
            excuse=excuse["reason"].strip() if excuse else None,
        )


@contextmanager
def tracked() -> Iterator[None]:
    """Switch tracking on for a page, as it is for who has installed it (see tests/conftest.py)."""
    import mlflow

    from batchloom.models import registry

    before = mlflow.get_tracking_uri()
    try:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            patch.delenv("BATCHLOOM_DISABLE_PLUGINS")
            patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
            registry.refresh()
            yield
    finally:
        mlflow.set_tracking_uri(before)
        registry.refresh()


@pytest.mark.parametrize("page", [each for each in PAGES if any(snippets(each))], ids=title)
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where classes and actions are looked up
    monkeypatch.chdir(tmp_path)
    with tracked() if "mlflow" in title(page) else nullcontext():
        for snippet in snippets(page):
            if snippet.excuse is None:
                snippet.run(vars(module))


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_snippet_that_does_not_run_says_why(page: Path) -> None:
    assert [each.line for each in snippets(page) if each.excuse == ""] == []


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = [match["target"] for match in LINK.finditer(text)]
    assert [each for each in targets if not (page.parent / each).exists()] == []


def test_snippets_are_found_with_their_line_and_excuse(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n```python\na = 1\n```\n\n"
        "<!-- not run: needs a GPU -->\n\n```python\nb\n```\n\n"
        "- item\n\n  ```python\n  if a:\n      c = 2\n  ```\n\n"
        "```\nnot Python\n```\n"
    )
    first, second, third = snippets(page)
    assert (first.line, first.code, first.excuse) == (4, "a = 1\n", None)
    assert (second.code, second.excuse) == ("b\n", "needs a GPU")
    assert third.code == "if a:\n    c = 2\n"
    names: dict[str, object] = {}
    first.run(names)
    third.run(names)
    assert names["c"] == 2
