"""Checks of saved models: whole or not at all, the same elsewhere, refused when damaged."""

from __future__ import annotations

import io
import pickletools
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchloom.models import load_model
from batchloom.models.archive import publish, verified
from batchloom.testing import child
from batchloom.testing.promises import NotApplicable, Seen, described, promise
from batchloom.testing.subject import Subject
from batchloom.testing.values import difference, must_be_same

MOST_MEMBERS = 6


@promise("A saved model, loaded in another process by its name alone, gives the same predictions.")
def saved_and_loaded_elsewhere(subject: Subject, folder: Path) -> None:
    """Save, load in a new process, and compare to the bit."""
    model, path = subject.saved(folder)
    expected = subject.predictions(model)
    (*reports, end) = child.ask(subject, folder, "predict", paths=[str(path)])
    found = child.predictions(reports[-1] if reports else end)
    must_be_same(expected, found, "loaded in another process")


@promise(
    "Saving leaves a model as it is, and a loaded one can be saved and trained like any other."
)
def saving_changes_nothing(subject: Subject, folder: Path) -> None:
    """Ask after saving; save and train the loaded model."""
    model, path = subject.saved(folder)
    expected = subject.predictions(model)
    model.save(folder / "second")
    must_be_same(expected, subject.predictions(model), "after it was saved")
    loaded = _load(subject, path)
    loaded.save(folder / "third")
    again = _load(subject, folder / "third")
    must_be_same(expected, subject.predictions(again), "saved, loaded, saved and loaded")
    if subject.can_train:
        subject.run(subject.pipeline("static", changes={"load": True, "path": path}))


@promise("A save that is interrupted leaves the old file as it was: no disk is too full for that.")
def interrupted_saves(subject: Subject, folder: Path) -> None:
    """Save over a file without room for what the model writes, and then be killed in the middle."""
    model, path = subject.saved(folder)
    expected = subject.predictions(model)
    full, killed = folder / "full", folder / "killed"
    for each in (full, killed):
        shutil.copy(path, each)
    room = _half_of_the_largest(path)
    files = {"path": str(path), "full": str(full), "killed": str(killed), "room": room}
    *reports, end = child.ask(subject, folder, "save_interrupted", **files)
    said = {each["how"]: each for each in reports}
    if "saved" in said.get("full", {}):
        _check_what_was_saved_without_room(subject, full, expected)
    elif full.read_bytes() != path.read_bytes():
        raise Seen(f"the save failed ({said['full'].get('raised')}), and the old file is gone")
    if said.get("killed", {}).get("raised") or end["ended"] not in (-9, 9, 137):
        raise Seen(f"saving in another process, it came to {reports[-1:] or ''} {end}")
    if killed.read_bytes() != path.read_bytes():
        raise Seen("killed while it saved, it had changed the old file")


@promise("A file that is damaged is refused: the model raises, it never predicts something else.")
def corrupt_files(subject: Subject, folder: Path) -> None:
    """Load files that are cut, changed, or lack a part that their manifest does not miss either."""
    model, path = subject.saved(folder)
    expected = subject.predictions(model)
    variants = {str(path): "that is whole", **dict(_damaged(path, folder))}
    reports = child.ask(subject, folder, "predict", paths=list(variants))
    must_be_same(
        expected,
        child.predictions(reports[1] if len(reports) > 2 else reports[-1]),
        "from a whole file",
    )
    for report in reports[:-1]:
        if "predicted" in report and difference(expected, child.predictions(report)):
            raise Seen(f"it loaded a file {variants[report['path']]}, and predicts something else")
    if reports[-1]["ended"]:
        last = variants[reports[-2]["path"]] if len(reports) > 1 else "that is whole"
        raise Seen(f"a file {last} ended the process with {reports[-1]['ended']}")


@promise("A saved file holds data and no code: nothing in it is a pickle.")
def no_pickles_in_files(subject: Subject, folder: Path) -> None:
    """Look at every member, and into the archives among them."""
    _, path = subject.saved(folder)
    with verified(path) as (manifest, directory):
        for name in manifest.members:
            for inner in _pickles(name, (directory / name).read_bytes()):
                raise Seen(f"{inner} is a pickle, and loading it may run any code")


def _load(subject: Subject, path: Path) -> Any:
    found = subject.spec
    named = None if found.registered_name is not None else found.model_class
    return load_model(path, model_class=named, **subject.load_options)


def _half_of_the_largest(path: Path) -> int:
    with verified(path) as (manifest, _):
        sizes = [each.size for each in manifest.members.values()]
    if not sizes or max(sizes) < 2:
        raise NotApplicable("the model writes nothing that a full disk could cut short")
    return max(sizes) // 2


def _check_what_was_saved_without_room(subject: Subject, path: Path, expected: Any) -> None:
    try:
        found = subject.predictions(_load(subject, path))
    except Exception as exc:
        seen = f"cannot be loaded: {described(exc)}"
    else:
        seen = difference(expected, found)
    if seen:
        raise Seen(f"on a full disk save() raised nothing, and the file that it left {seen}")


def _damaged(path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    data = path.read_bytes()
    for name, content, what in [
        ("cut", data[: len(data) // 2], "that was cut in half"),
        ("changed", data[:200] + bytes([data[200] ^ 0xFF]) + data[201:], "with a changed byte"),
    ]:
        (folder / name).write_bytes(content)
        yield str(folder / name), what
    with verified(path) as (manifest, directory):
        members = sorted(manifest.members, key=lambda each: -manifest.members[each].size)
        for at, member in enumerate(members[:MOST_MEMBERS]):
            for kind in ("halved", "emptied", "missing"):
                target = folder / f"{kind}-{at}"
                _forge(directory, member, kind, manifest, target)
                yield str(target), f"in which {member!r} is {kind}"


def _forge(directory: Path, member: str, kind: str, manifest: Any, target: Path) -> None:
    """Write a file whose manifest fits what is in it: only the model itself can tell."""
    place = target.with_name(f"{target.name}-place")
    shutil.copytree(directory, place / "files")
    damaged = place / "files" / member
    if kind == "missing":
        damaged.unlink()
    else:
        content = damaged.read_bytes()
        damaged.write_bytes(content[: len(content) // 2] if kind == "halved" else b"")
    publish(place / "files", manifest, place, target)
    shutil.rmtree(place)


def _pickles(name: str, data: bytes) -> Iterator[str]:
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for each in archive.namelist():
                yield from _pickles(f"{name}/{each}", archive.read(each))
    elif data[:6] == b"\x93NUMPY":
        if b"'|O'" in data[:512]:
            yield name
    elif _is_pickle(data):
        yield name


def _is_pickle(data: bytes) -> bool:
    if data[:1] != b"\x80" or data[1:2] not in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return False
    try:
        for _ in pickletools.genops(data):
            pass
    except Exception:
        return False
    return True


CHECKS = (
    saved_and_loaded_elsewhere,
    saving_changes_nothing,
    interrupted_saves,
    corrupt_files,
    no_pickles_in_files,
)
