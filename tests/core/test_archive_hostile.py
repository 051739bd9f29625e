"""A damaged or crafted file is refused before a model sees a byte of it."""

from __future__ import annotations

import json
import os
import random
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from blob_model import Blob, load, saved_in

from batchloom.errors import CorruptFileError, FormatVersionError, SavedModelError, UnsafeFileError
from batchloom.models import load_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return saved_in(tmp_path)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    Blob.seen.clear()


def refused(path: Path, error: type[Exception], match: str | None = None) -> None:
    with pytest.raises(error, match=match):
        load(path)
    assert Blob.seen == [], "the model was given bytes that nobody had checked"


def contents(path: Path) -> list[tuple[zipfile.ZipInfo, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(info, archive.read(info)) for info in archive.infolist()]


def rewrite(
    path: Path, *, add: Iterable[tuple[Any, bytes]] = (), change: Callable | None = None
) -> None:
    """Write the archive anew, its manifest changed and members added."""
    before = contents(path)
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in before:
            if info.filename == "manifest.json" and change:
                manifest = json.loads(data)
                data = json.dumps(change(manifest) or manifest).encode()
            archive.writestr(info, data)
        for info, data in add:
            archive.writestr(info, data)


def test_an_honest_rewrite_is_accepted(saved: Path) -> None:
    rewrite(saved)
    load(saved)
    assert Blob.seen == ["loaded"], "the refusals below would mean nothing"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "../../etc/passwd",
        "a/../../x",
        "/etc/passwd",
        "..\\x",
        "C:x",
        "a//b",
        "a/./b",
        "./a",
        "nul\x01",
        "trailing.",
        "trailing ",
        "folder",
        "STATE.BIN",
        "state.bin/x",
        "x" * 300,
        "/".join("abcdefghijklmnopqrst"),
    ],
)
def test_a_member_with_an_unsafe_name(saved: Path, name: str) -> None:
    def listed(manifest):
        manifest["members"][name] = {"size": 1, "sha256": "0" * 64}

    rewrite(saved, add=[(name, b"x")], change=listed)
    refused(saved, UnsafeFileError)
    assert not (saved.parent / "x").exists()


def test_a_name_with_a_zero_byte(saved: Path) -> None:
    info = zipfile.ZipInfo("state.bin2")
    rewrite(saved, add=[(info, b"x")])
    saved.write_bytes(saved.read_bytes().replace(b"state.bin2", b"state.bi\0x"))
    refused(saved, SavedModelError)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_a_member_that_is_no_file(saved: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (kind | 0o777) << 16
    rewrite(saved, add=[(info, b"/etc/passwd")])
    refused(saved, UnsafeFileError, "no regular file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["state.bin", "manifest.json"])
def test_two_members_of_one_name(saved: Path, name: str) -> None:
    rewrite(saved, add=[(name, b"x")])
    refused(saved, UnsafeFileError, "two files of one name")


def test_a_member_that_is_not_listed(saved: Path) -> None:
    rewrite(saved, add=[("extra.py", b"import os")])
    refused(saved, UnsafeFileError, r"does not list: \['extra.py'\]")


def test_a_listed_member_that_is_missing(saved: Path) -> None:
    def more(manifest):
        manifest["members"]["gone.bin"] = {"size": 1, "sha256": "0" * 64}

    rewrite(saved, change=more)
    refused(saved, CorruptFileError, r"lists: \['gone.bin'\]")


def test_other_bytes_than_were_written(saved: Path) -> None:
    before = contents(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        for info, data in before:
            archive.writestr(info, data[::-1] if info.filename == "state.bin" else data)
    refused(saved, CorruptFileError, "'state.bin' are not those that were written")


def test_another_size_than_was_written(saved: Path) -> None:
    def larger(manifest):
        manifest["members"]["state.bin"]["size"] += 1

    rewrite(saved, change=larger)
    refused(saved, CorruptFileError, "'state.bin' has 16384 bytes, and 16385 were written")


def test_a_file_cut_short_anywhere(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, 21, 22, 100, len(whole) // 2, len(whole) - 23, len(whole) - 1]:
        saved.write_bytes(whole[:length])
        refused(saved, CorruptFileError)
    saved.write_bytes(whole)
    load(saved)


def test_other_files_are_called_what_they_are_not(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 100)
    refused(tmp_path / "text", CorruptFileError, "no saved model of Batchloom")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
    refused(tmp_path / "zip", CorruptFileError, "no proper manifest")


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no saved model at") as caught:
        load(tmp_path / "nothing")
    assert isinstance(caught.value, SavedModelError)
    refused(tmp_path, SavedModelError)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    refused(tmp_path / "pipe", UnsafeFileError, "no regular file")
    assert time.monotonic() - started < 2


def test_a_newer_format_names_both_versions(saved: Path) -> None:
    def newer(manifest):
        return {"format": 2, "packages": {"batchloom": "9.1"}}

    rewrite(saved, change=newer)
    refused(saved, FormatVersionError, r"format 2, written by batchloom 9.1; .* up to 1")


GROWN = """
import resource, sys
from batchloom.errors import SavedModelError
from batchloom.models.archive import read_manifest
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_manifest(sys.argv[1])
except SavedModelError as exc:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, exc)
"""


@pytest.mark.parametrize(
    ("unit", "size"),
    [(each, 4 * 2**20 - 2**10) for each in (b"{},", b"[[]],", b'"",', b'{"a":{}},')]
    + [(b"{},", 2**27)],
)
def test_a_manifest_that_would_swell_is_refused_within_bounds(
    saved: Path, unit: bytes, size: int
) -> None:
    """As large as a manifest may be, and larger: kilobytes of memory per kilobyte are counted."""
    before = contents(saved)
    data = b"[" + unit * (size // len(unit)) + b"{}]"
    with zipfile.ZipFile(saved, "w") as archive:
        for info, old in before:
            archive.writestr(info.filename, data if info.filename == "manifest.json" else old)
    done = subprocess.run(
        [sys.executable, "-c", GROWN, str(saved)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout.split()[0]) < 200 * 1024, done.stdout


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"format": true}',
        b'{"format": "1"}',
        b'{"format": 1}',
        b'{"format": ' + b"9" * 5000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_a_manifest_that_is_none(saved: Path, data: bytes) -> None:
    before = contents(saved)
    with zipfile.ZipFile(saved, "w") as archive:
        for info, old in before:
            archive.writestr(info, data if info.filename == "manifest.json" else old)
    refused(saved, CorruptFileError)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("members", []),
        ("members", {"state.bin": None}),
        ("members", {"state.bin": {"size": -1, "sha256": "0" * 64}}),
        ("members", {"state.bin": {"size": True, "sha256": "0" * 64}}),
        ("members", {"state.bin": {"size": 1, "sha256": "x"}}),
        ("config", None),
        ("packages", {"a": 1}),
        ("config_omitted", {"a": {}}),
        ("registered_name", 7),
        ("class", None),
        ("name", ["clf"]),
    ],
)
def test_a_manifest_of_the_wrong_types(saved: Path, key: str, value: Any) -> None:
    rewrite(saved, change=lambda manifest: {**manifest, key: value})
    refused(saved, CorruptFileError)


def test_compressed_members_are_refused_unread(saved: Path) -> None:
    info = zipfile.ZipInfo("bomb")
    info.compress_type = zipfile.ZIP_DEFLATED
    rewrite(saved, add=[(info, b"\0" * 50_000_000)])
    assert saved.stat().st_size < 200_000
    refused(saved, UnsafeFileError, "'bomb' is compressed")


def test_a_size_that_is_claimed_and_not_there(saved: Path) -> None:
    rewrite(saved, add=[("huge", b"x" * 1000)])
    data = bytearray(saved.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<LL", data, at + 20, 2**31, 2**31)
    saved.write_bytes(data)
    refused(saved, UnsafeFileError, "more bytes than it has")


def test_an_end_record_that_claims_a_huge_directory(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    struct.pack_into("<HHL", data, len(data) - 14, 65535, 65535, 2**31)
    saved.write_bytes(data)
    refused(saved, UnsafeFileError, "claims to hold")


def test_too_many_members(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        for number in range(10_001):
            archive.writestr(f"n/{number}", b"")
    started = time.monotonic()
    refused(saved, UnsafeFileError, "claims to hold 100")
    assert time.monotonic() - started < 2


def test_a_dotted_path_in_the_file_is_never_imported(saved: Path) -> None:
    def crafted(manifest):
        manifest["class"] = "antigravity:main"
        manifest["registered_name"] = None

    rewrite(saved, change=crafted)
    with pytest.raises(SavedModelError, match="model_class="):
        load_model(saved)
    assert "antigravity" not in sys.modules


def test_four_hundred_mutated_files(saved: Path) -> None:
    whole, draw = saved.read_bytes(), random.Random(7)
    harmless = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 1, 4, 32])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        saved.write_bytes(data)
        Blob.seen.clear()
        try:
            load(saved)
            harmless += 1
        except SavedModelError:
            assert Blob.seen == []
    assert harmless < 100, "most mutations hit bytes that count"


def test_four_hundred_mutated_manifests(saved: Path) -> None:
    before, draw = contents(saved), random.Random(8)
    original = next(data for info, data in before if info.filename == "manifest.json")
    tokens = [
        b"null",
        b"-1",
        b"[]",
        b'"',
        b"}",
        b"{",
        b",",
        b"1e999",
        b'"../x"',
        b"\xff",
        b"9" * 30,
    ]
    refusals = 0
    for _ in range(400):
        data = bytearray(original)
        at = draw.randrange(len(data))
        data[at : at + draw.choice([0, 1, 8])] = draw.choice(tokens)
        with zipfile.ZipFile(saved, "w") as archive:
            for info, old in before:
                archive.writestr(info, data if info.filename == "manifest.json" else old)
        try:
            load(saved)
        except SavedModelError:
            refusals += 1
    assert refusals > 200
