"""The file of a saved model: written whole or not at all, and read with mistrust."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from batchloom.errors import (
    CorruptFileError,
    SavedModelError,
    SavedModelNotFoundError,
    SaveError,
    UnsafeFileError,
)
from batchloom.models import manifest as manifests
from batchloom.models.manifest import Manifest, Member
from batchloom.models.staging import save_error, sync_directory

_CHUNK = 2**20
_MOST_DIRECTORY_BYTES = 16 * 2**20
_END = 22  # bytes of a zip's end record, without a comment
_ZIP64_END = 56 + 20  # its zip64 record and locator, before the end record
# What zipfile raises on bytes that are not what they seem.
_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)


def publish(files: Path, manifest: Manifest, place: Path, target: Path) -> None:
    """Write the files and their manifest into one archive and put it in the target's place.

    Parameters
    ----------
    files : Path
        The directory that the backend has filled.
    manifest : Manifest
        What to say of them; `publish` adds the members.
    place : Path
        A directory on the target's file system.
    target : Path
        The file; an old one is replaced in one step, when the new one is whole and on disk.

    Raises
    ------
    SaveError
        If it cannot be written; what was there before is untouched.
    """
    finished = place / "archive"
    try:
        _write(finished, files, manifest)
        with open_archive(finished):
            pass  # what cannot be read back must not replace what can
        os.replace(finished, target)
    except SaveError:
        raise
    except OSError as exc:
        raise save_error(target, exc) from exc
    except SavedModelError as exc:
        raise SaveError(f"cannot save to {target}: {exc}") from exc
    sync_directory(target.parent)


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """Open a saved model and check all but the bytes of its members.

    Raises
    ------
    SavedModelNotFoundError, CorruptFileError, UnsafeFileError, FormatVersionError
        If it is not there, damaged, could reach outside, or is too new.
    """
    with _regular_file(path) as file:
        try:
            size = _check_end(file, path)
            archive = zipfile.ZipFile(file)
        except _UNREADABLE as exc:
            raise _corrupt(path, exc) from exc
        with archive:
            yield archive, _checked_manifest(archive, size, path)


@contextmanager
def verified(path: Path) -> Iterator[tuple[Manifest, Path]]:
    """Unpack a saved model into a temporary directory, every byte of it checked.

    Raises
    ------
    SavedModelError
        As `open_archive`, and if a member is not what the manifest says.
    """
    with (
        tempfile.TemporaryDirectory(prefix="batchloom-") as directory,
        open_archive(path) as (archive, manifest),
    ):
        for name, member in manifest.members.items():
            _unpack(archive, name, member, Path(directory), path)
        yield manifest, Path(directory)


def read_manifest(path: Path) -> Manifest:
    """Read what a saved model says of itself."""
    with open_archive(path) as (_, manifest):
        return manifest


def _write(finished: Path, files: Path, manifest: Manifest) -> None:
    paths = {each.relative_to(files).as_posix(): each for each in _regular_files(files)}
    manifests.check_member_names(paths, "what the model wrote")
    members = {}
    with finished.open("xb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(paths):
                members[name] = _add(archive, name, paths[name])
            content = replace(manifest, members=members).to_bytes()
            archive.writestr(_zip_info(manifests.NAME), content)
        file.flush()
        os.fsync(file.fileno())


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> Member:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, archive.open(_zip_info(name), "w", force_zip64=True) as sink:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            sink.write(chunk)
    return Member(size, digest.hexdigest())


def _zip_info(name: str) -> zipfile.ZipInfo:
    # The time is left at zip's first day: the same model gives the same bytes.
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    return info


def _regular_files(directory: Path) -> Iterator[Path]:
    for each in sorted(directory.rglob("*")):
        mode = each.lstat().st_mode
        if stat.S_ISREG(mode):
            yield each
        elif not stat.S_ISDIR(mode):
            raise SaveError(f"the model wrote {each.name!r}, which is no regular file")


@contextmanager
def _regular_file(path: Path) -> Iterator[IO[bytes]]:
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except FileNotFoundError as exc:
        raise SavedModelNotFoundError(f"there is no saved model at {path}") from exc
    except OSError as exc:
        raise SavedModelError(f"cannot open {path}: {exc.strerror or exc}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFileError(f"{path} is no regular file, and a saved model is one")
    with os.fdopen(descriptor, "rb") as file:
        yield file


_BINARY = getattr(os, "O_BINARY", 0)


def _check_end(file: IO[bytes], path: Path) -> int:
    """Look at the end record, before zipfile reads as much as that asks it to."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ZIP64_END - _END))
    tail = file.read()
    end = tail[-_END:]
    if len(end) < _END or end[:4] != b"PK\x05\x06":
        raise CorruptFileError(
            f"{path} is no saved model of Batchloom, or it was cut short: it has {size} bytes and "
            "does not end as a saved model does"
        )
    count, length = struct.unpack("<HL", end[10:16])
    if tail[:4] == b"PK\x06\x06":
        count, length = struct.unpack("<QQ", tail[32:48])
    if count > manifests.MOST_MEMBERS + 1 or length > _MOST_DIRECTORY_BYTES:
        raise UnsafeFileError(f"{path} claims to hold {count} files")
    return size


def _checked_manifest(archive: zipfile.ZipFile, size: int, path: Path) -> Manifest:
    infos = archive.infolist()
    _check_infos(infos, size, path)
    sizes = {each.filename: each.file_size for each in infos}
    if sizes.get(manifests.NAME, manifests.MOST_BYTES + 1) > manifests.MOST_BYTES:
        raise CorruptFileError(f"{path} is no saved model of Batchloom: it has no proper manifest")
    try:
        data = archive.read(manifests.NAME)
    except _UNREADABLE as exc:
        raise _corrupt(path, exc) from exc
    manifest = Manifest.from_bytes(data, str(path))
    _check_members(manifest, sizes, path)
    return manifest


def _check_infos(infos: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    names = [each.filename for each in infos]
    if len(set(names)) < len(names):
        raise UnsafeFileError(f"{path} holds two files of one name")
    manifests.check_member_names((each for each in names if each != manifests.NAME), str(path))
    for each in infos:
        kind = stat.S_IFMT(each.external_attr >> 16)
        if each.orig_filename != each.filename or kind not in (0, stat.S_IFREG):
            raise UnsafeFileError(f"{path}: {each.orig_filename!r} is no regular file")
        if each.compress_type != zipfile.ZIP_STORED or each.compress_size != each.file_size:
            raise UnsafeFileError(f"{path}: {each.filename!r} is compressed; saved models are not")
        if each.flag_bits & 0x1:
            raise UnsafeFileError(f"{path}: {each.filename!r} is encrypted")
    if sum(each.file_size for each in infos) > size:
        raise UnsafeFileError(f"{path} claims to hold more bytes than it has")


def _check_members(manifest: Manifest, sizes: dict[str, int], path: Path) -> None:
    present = set(sizes) - {manifests.NAME}
    if unlisted := sorted(present - set(manifest.members)):
        raise UnsafeFileError(f"{path} holds files that its manifest does not list: {unlisted}")
    if missing := sorted(set(manifest.members) - present):
        raise CorruptFileError(f"{path} lacks files that its manifest lists: {missing}")
    for name, member in manifest.members.items():
        if sizes[name] != member.size:
            raise CorruptFileError(
                f"{path}: {name!r} has {sizes[name]} bytes, and {member.size} were written"
            )


def _unpack(
    archive: zipfile.ZipFile, name: str, member: Member, directory: Path, path: Path
) -> None:
    destination = directory / name
    digest = hashlib.sha256()
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with destination.open("xb") as sink:
            for chunk in _chunks(archive, name, path):
                digest.update(chunk)
                sink.write(chunk)
    except OSError as exc:
        raise SavedModelError(
            f"cannot read {path}: no room to unpack it in {directory.parent}, or no permission "
            f"({exc.strerror or exc}). TMPDIR chooses another folder"
        ) from exc
    if digest.hexdigest() != member.sha256:
        raise CorruptFileError(f"{path}: the bytes of {name!r} are not those that were written")


def _chunks(archive: zipfile.ZipFile, name: str, path: Path) -> Iterator[bytes]:
    try:
        with archive.open(name) as source:
            while chunk := source.read(_CHUNK):
                yield chunk
    except _UNREADABLE as exc:
        raise _corrupt(path, exc) from exc


def _corrupt(path: Path, exc: Exception) -> SavedModelError:
    if isinstance(exc, SavedModelError):
        return exc
    return CorruptFileError(f"{path} is damaged, or no saved model of Batchloom: {exc}")
