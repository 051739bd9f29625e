"""``batchloom new-plugin``: a complete package for a model or a lifecycle plug-in, from templates."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import batchloom
from batchloom.errors import DefinitionError

KINDS = ("model", "lifecycle")
OURS = ("batchloom", "sklearn", "tf", "xgboost", "mlflow")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENDING = ".in"  # so that nobody takes a template for a module
_MOST_CHARACTERS = 60


@dataclass(frozen=True)
class Written:
    """A package that was written.

    Attributes
    ----------
    name, kind : str
        The namespace, and ``"model"`` or ``"lifecycle"``.
    directory : Path
        Where it is.
    files : tuple of str
        What is in it.
    """

    name: str
    kind: str
    directory: Path
    files: tuple[str, ...]


def write_plugin(name: str, kind: str = "model", parent: str | os.PathLike[str] = ".") -> Written:
    """Write a package that builds, installs and passes its own tests as it is.

    Parameters
    ----------
    name : str
        The namespace: ``"acme"`` makes the distribution ``batchloom-acme``.
    kind : {"model", "lifecycle"}
        Whether it publishes a model or acts on all models.
    parent : path
        The directory in which ``batchloom-acme`` is made.

    Raises
    ------
    DefinitionError
        If the name cannot be used, or the directory is there already. Nothing is written then.
    """
    namespace = checked_name(name)
    if kind not in KINDS:
        raise DefinitionError(f"kind={kind!r} is none of {', '.join(KINDS)}")
    target = Path(parent) / f"batchloom-{namespace}"
    _check_free(target)
    words = _words(namespace)
    place = Path(tempfile.mkdtemp(prefix=f".batchloom-{namespace}-", dir=target.parent))
    try:
        package = place / target.name
        written = tuple(_write(files("batchloom") / "templates" / kind, package, words))
        os.rename(package, target)  # all of it or nothing
    except FileExistsError as exc:
        raise _taken(target) from exc
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Written(namespace, kind, target, written)


def checked_name(name: str) -> str:
    """Return the namespace that a name stands for.

    Raises
    ------
    DefinitionError
        With what a name must look like, and the nearest one that does.
    """
    namespace = name.removeprefix("batchloom-")
    if namespace in OURS:
        raise DefinitionError(
            f"{name!r} belongs to Batchloom itself: choose a name of your own, such as acme"
        )
    if _NAME.fullmatch(namespace) and len(namespace) <= _MOST_CHARACTERS:
        return namespace
    near = re.sub(r"[^a-z0-9]+", "-", namespace.lower()).strip("-0123456789")[:_MOST_CHARACTERS]
    hint = f": did you mean {near!r}?" if _NAME.fullmatch(near) and near not in OURS else "."
    raise DefinitionError(
        f"{name!r} cannot name a package{hint} A name is lower-case letters and digits, joined by "
        f"single hyphens, begins with a letter, and has at most {_MOST_CHARACTERS} characters"
    )


def next_steps(written: Written) -> str:
    """Say what to do with a new package."""
    name = written.name
    use = f"batchloom info {name}/Ridge" if written.kind == "model" else "batchloom plugins"
    lines = [f"{written.directory}:", *(f"  {each}" for each in written.files)]
    lines += ["", "Next:", f"  cd {written.directory}", "  pip install -e '.[test]'", "  pytest"]
    return "\n".join([*lines, f"  {use}"])


def _check_free(target: Path) -> None:
    if not target.parent.is_dir():
        raise DefinitionError(f"there is no directory {target.parent}: make it, or give another")
    if os.path.lexists(target):
        raise _taken(target)


def _taken(target: Path) -> DefinitionError:
    return DefinitionError(
        f"{target} is there already, and nothing of it is overwritten: remove it, or give another "
        "name or --dir"
    )


def _words(namespace: str) -> dict[str, str]:
    major, minor, *_ = batchloom.__version__.split(".")
    return {
        "name": namespace,
        "distribution": f"batchloom-{namespace}",
        "package": f"batchloom_{namespace.replace('-', '_')}",
        "title": namespace.replace("-", " ").title(),
        "core": f"batchloom>={major}.{minor},<{major}.{int(minor) + 1}",
    }


def _write(source: Traversable, target: Path, words: dict[str, str]) -> Iterator[str]:
    """Fill in the templates below a folder, and their names."""
    for template, path in sorted(_templates(source), key=lambda each: each[1]):
        relative = Template(path.removesuffix(_ENDING)).substitute(words)
        text = Template(template.read_text(encoding="utf-8")).substitute(words)
        file = target / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        yield relative


def _templates(folder: Traversable, path: str = "") -> Iterator[tuple[Traversable, str]]:
    for each in folder.iterdir():
        here = f"{path}{each.name}"
        if each.is_dir():
            yield from _templates(each, f"{here}/")
        elif here.endswith(_ENDING):
            yield each, here
