"""``batchloom new-plugin``: names, refusals before anything is written, and what is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from batchloom.cli import main
from batchloom.errors import DefinitionError
from batchloom.new_plugin import checked_name, write_plugin


@pytest.mark.parametrize(("given", "namespace"), [
    ("acme", "acme"),
    ("batchloom-acme", "acme"),
    ("acme-trees2", "acme-trees2"),
])  # fmt: skip
def test_names_that_can_be_used(given: str, namespace: str) -> None:
    assert checked_name(given) == namespace


@pytest.mark.parametrize(("given", "words"), [
    ("Acme", "did you mean 'acme'"),
    ("acme_trees", "did you mean 'acme-trees'"),
    ("acme/Net", "did you mean 'acme-net'"),
    ("2acme", "did you mean 'acme'"),
    ("acme-", "did you mean 'acme'"),
    ("../evil", "did you mean 'evil'"),
    ("", "begins with a letter"),
    ("日本", "lower-case letters"),
    ("a" * 61, "at most 60"),
    ("sklearn", "belongs to Batchloom itself"),
    ("batchloom", "belongs to Batchloom itself"),
])  # fmt: skip
def test_names_that_cannot(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=words):
        write_plugin(given, parent=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    there = tmp_path / "batchloom-acme"
    there.mkdir()
    (there / "mine.py").write_text("precious = 1\n")
    with pytest.raises(DefinitionError, match="is there already"):
        write_plugin("acme", parent=tmp_path)
    (tmp_path / "batchloom-link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DefinitionError, match="is there already"):
        write_plugin("link", parent=tmp_path)
    assert [each.name for each in there.iterdir()] == ["mine.py"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["batchloom-acme", "batchloom-link"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no directory"):
        write_plugin("acme", parent=tmp_path / "nowhere")


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def full(self: Path, text: str, **kwargs: object) -> int:
        written.append(self)
        if len(written) > 3:
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_plugin("acme", parent=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["model", "lifecycle"])
def test_every_file_is_filled_in(tmp_path: Path, kind: str) -> None:
    written = write_plugin("acme-labs", kind, tmp_path)
    package = tmp_path / "batchloom-acme-labs"
    found = {each.relative_to(package).as_posix() for each in package.rglob("*") if each.is_file()}
    assert found == set(written.files)
    assert {
        ".github/workflows/test.yml", ".gitignore", "LICENSE", "README.md", "pyproject.toml",
        "src/batchloom_acme_labs/__init__.py", "src/batchloom_acme_labs/py.typed",
    } < found  # fmt: skip
    for each in found:
        text = (package / each).read_text(encoding="utf-8")
        assert "$" not in text.replace("${{", "{{"), each
        if each.endswith(".py"):
            compile(text, each, "exec")
    declared = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert declared["name"] == "batchloom-acme-labs"
    assert declared["dependencies"][0] == "batchloom>=0.1,<0.2"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "acme", "--dir", str(tmp_path)]) == 0
    assert "pip install -e '.[test]'" in capsys.readouterr().out
    assert main(["new-plugin", "acme", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("batchloom: ")
