"""Disks that are full, paths that cannot be written, files that go away: the old state stays whole."""

from __future__ import annotations

import os
import re
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import forged
import pytest
import stopped_runs as runs

from batchloom import Dataset, Pipeline
from batchloom.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CorruptFileError,
    ModelNotBuiltError,
    SavedModelError,
    SavedModelNotFoundError,
    SaveError,
)
from batchloom.models import load_model

CONFIG = {"hidden_layer_sizes": [60]}


def made(mode: str = "dynamic") -> Pipeline:
    pytest.importorskip("sklearn")
    return runs.pipeline("sklearn/MLPClassifier", CONFIG, runs.rows(), mode)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk does, to this process alone."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_can_go_on(tmp_path: Path) -> None:
    whole = made().run(**runs.RUN).models["m"].estimator.coefs_[0].tobytes()
    runs.stop(made(), 5, tmp_path)
    before = contents(tmp_path)
    one_file = forged.newest(tmp_path).stat().st_size - 100  # its parts fit
    with files_of_at_most(one_file), pytest.raises(SaveError, match="checkpoint"):
        made().resume(tmp_path, checkpoint_every=1)
    assert contents(tmp_path) == before
    with files_of_at_most(2_000), pytest.raises(SavedModelError, match="no room to unpack"):
        made().resume(tmp_path)
    assert contents(tmp_path) == before
    assert made().resume(tmp_path).models["m"].estimator.coefs_[0].tobytes() == whole


def test_a_full_disk_leaves_the_saved_model_and_names_its_path(tmp_path: Path) -> None:
    done, path = made().run(**runs.RUN), tmp_path / "model"
    done.save_model("m", path)
    before = contents(tmp_path)
    said = re.escape(str(path)) + r".*\d bytes are free"
    with files_of_at_most(2_000), pytest.raises(SaveError, match=said):
        done.save_model("m", path)
    assert contents(tmp_path) == before
    done.save_model("m", tmp_path / "elsewhere")  # it is still in memory


@pytest.mark.parametrize("name", ["missing/model", "n" * 300, "."])
def test_a_path_that_cannot_be_written_is_named_and_nothing_is_lost(
    name: str, tmp_path: Path
) -> None:
    done = made().run(**runs.RUN)
    with pytest.raises(SaveError, match="cannot save to"):
        done.save_model("m", tmp_path / name)
    assert not contents(tmp_path)
    done.save_model("m", tmp_path / "model")


def test_a_file_where_the_folder_of_checkpoints_should_be(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(SaveError, match="kept"):
        made().run(**runs.RUN, checkpoint=tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_folder_where_a_checkpoint_should_be(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-000000000006.batchloom").mkdir()
    with pytest.raises(SavedModelError, match="checkpoint-000000000006"):
        made().run(**runs.RUN, checkpoint=tmp_path)


def test_a_saved_model_that_is_removed_while_it_is_loaded(tmp_path: Path, monkeypatch) -> None:
    from batchloom.models import archive

    path = tmp_path / "model"
    made().run(**runs.RUN).save_model("m", path)
    unpack = archive._unpack

    def removed_first(*args):
        path.unlink(missing_ok=True)
        unpack(*args)

    monkeypatch.setattr(archive, "_unpack", removed_first)
    assert load_model(path).estimator.coefs_  # the file is open: it is whole
    with pytest.raises(SavedModelNotFoundError, match=str(path)):
        load_model(path)


@contextmanager
def somebody_without_rights(folder: Path) -> Iterator[None]:
    """Root may read and write everything: for the time being this process is of nobody."""
    folder.chmod(0o500)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_no_permission_is_said_with_the_path(tmp_path: Path) -> None:
    done = made().run(**runs.RUN)
    path = tmp_path / "model"
    with somebody_without_rights(tmp_path):
        with pytest.raises(SaveError, match=f"{re.escape(str(path))}.*Permission"):
            done.save_model("m", path)
        with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path))}.*Permission"):
            made().run(**runs.RUN, checkpoint=tmp_path / "kept")
    done.save_model("m", path)


def test_a_model_is_saved_to_another_device(tmp_path: Path) -> None:
    """The temporary folder is beside the target, not on another file system."""
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to save to")
    with tempfile.TemporaryDirectory(dir=elsewhere) as folder:
        done = made().run(**runs.RUN)
        done.save_model("m", Path(folder) / "model")
        assert [each.name for each in Path(folder).iterdir()] == ["model"]
        assert load_model(Path(folder) / "model").estimator.coefs_


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "member"])
def test_damage_to_a_checkpoint_is_found_before_a_model_sees_it(
    damage: str, tmp_path: Path
) -> None:
    runs.stop(made(), 5, tmp_path)
    path = forged.newest(tmp_path)
    data = path.read_bytes()
    changed = {
        "cut": data[: len(data) // 2],
        "flip": data[:200] + bytes([data[200] ^ 1]) + data[201:],
        "empty": b"",
        "member": data.replace(b"model-0/state", b"model-1/state"),
    }[damage]
    path.write_bytes(changed)
    with pytest.raises(CorruptFileError, match=path.name):
        made().resume(tmp_path)
    path.unlink()  # the one before it is asked for by removing the damaged one
    made().resume(tmp_path)


def test_what_differs_from_the_checkpoint_is_all_listed(tmp_path: Path) -> None:
    runs.stop(made(), 5, tmp_path)
    data = runs.rows()
    data["y"] = data["y"][::-1].copy()
    other = runs.pipeline("sklearn/MLPClassifier", {"hidden_layer_sizes": [5]}, data)
    with pytest.raises(CheckpointMismatchError) as caught:
        other.run(**{**runs.RUN, "n_epochs": 4}, checkpoint=tmp_path)
    assert all(
        each in str(caught.value) for each in ("[60]", "[5]", "column 'y'", "n_epochs: 3 then, 4")
    )


def test_checkpoints_are_of_committed_batches_only(tmp_path: Path) -> None:
    runs.stop(made(), 5, tmp_path, prefetch=4)
    assert forged.newest(tmp_path).name == "checkpoint-000000000005.batchloom"


def test_a_model_of_an_empty_run_is_not_there_to_be_saved(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    empty = Dataset(0).p.init_model("dynamic", "sklearn/SGDClassifier", "m").run(8)
    with pytest.raises(ModelNotBuiltError):
        empty.save_model("m", tmp_path / "model")
    assert not contents(tmp_path)
