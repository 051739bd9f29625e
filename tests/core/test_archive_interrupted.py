"""A save that is killed, or finds no room, leaves the file that was there; the next one clears up."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from blob_model import Blob, load, saved_in

from batchloom.errors import SaveError
from batchloom.models.archive import read_manifest


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return saved_in(tmp_path)


KILLED = """
    import os, signal
    from batchloom.models import BaseModel
    from batchloom.models import archive

    class Blob(BaseModel):
        def _save(self, path, **kwargs):
            (path / "state.bin").write_bytes(b"new" * 100_000)
            if {point!r} == "in the model":
                os.kill(os.getpid(), signal.SIGKILL)

    def dying(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    if {point!r} == "before the manifest":
        archive.Manifest.to_bytes = dying
    if {point!r} == "before the replacement":
        os.replace = dying
    if {point!r} == "after the replacement":
        archive.sync_directory = dying
    model = Blob()
    model.build()
    model.save({target!r})
"""


@pytest.mark.parametrize(
    "point",
    ["in the model", "before the manifest", "before the replacement", "after the replacement"],
)
def test_killed_in_the_middle_of_a_save(saved: Path, point: str) -> None:
    before = saved.read_bytes()
    code = textwrap.dedent(KILLED).format(point=point, target=str(saved))
    ended = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert ended.returncode == -9
    if point == "after the replacement":
        assert read_manifest(saved).members["state.bin"].size == 300_000
    else:
        assert saved.read_bytes() == before
    litter = [each for each in saved.parent.iterdir() if each != saved]
    assert len(litter) == 1, "the test killed too early or too late"
    model = Blob()
    model.build()
    model.save(saved)
    assert list(saved.parent.iterdir()) == [saved], "the next save clears up"
    load(saved)


def test_a_save_in_progress_is_not_cleared_up(tmp_path: Path) -> None:
    class Nested(Blob):
        def _save(self, path, **kwargs):
            super()._save(path)
            other = Blob()
            other.build()
            other.save(tmp_path / "model")

    model = Nested()
    model.build()
    model.save(tmp_path / "model")
    assert "Nested" in read_manifest(tmp_path / "model").model_class


def test_a_full_disk_leaves_the_old_file_whole(saved: Path) -> None:
    before = saved.read_bytes()

    class Large(Blob):
        def _save(self, path, **kwargs):
            for part in range(8):  # each fits, all of them do not
                (path / f"{part}.bin").write_bytes(b"\1" * 30_000)

    model = Large()
    model.build()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(SaveError, match=r"File too large.*bytes are free.*untouched") as caught:
            model.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(saved) in str(caught.value)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    model.save(saved)  # still in memory


def test_a_full_disk_inside_the_model(saved: Path) -> None:
    before = saved.read_bytes()

    class Large(Blob):
        def _save(self, path, **kwargs):
            (path / "big").write_bytes(b"\1" * 200_000)

    model = Large()
    model.build()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(SaveError, match="File too large"):
            model.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_config_too_long_for_the_manifest(tmp_path: Path) -> None:
    model = Blob({"short": 1, "words": ["word"] * 1_000_000})
    model.build()
    with pytest.raises(SaveError, match="'words'"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_save_to_one_path(tmp_path: Path) -> None:
    code = """
        import sys
        from batchloom.models import BaseModel
        class Blob(BaseModel):
            def _save(self, path, **kwargs):
                for part in range(20):
                    (path / f"{part}.bin").write_bytes(sys.argv[1].encode() * 20_000)
        model = Blob(name=sys.argv[1])
        model.build()
        for _ in range(10):
            model.save(sys.argv[2])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    target = tmp_path / "model"
    writers = [subprocess.Popen([*command, name, str(target)]) for name in "ab"]
    try:
        while any(each.poll() is None for each in writers):
            if target.exists():
                manifest = read_manifest(target)
                assert len({each.sha256 for each in manifest.members.values()}) == 1
    finally:
        for each in writers:
            assert each.wait(60) == 0
    assert list(tmp_path.iterdir()) == [target]
