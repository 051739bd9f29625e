"""A model comes back from its file as it was, and the file says what it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from batchloom.errors import (
    ModelNotBuiltError,
    ModelProtocolError,
    NamespaceNotInstalledError,
    SavedModelError,
    SaveError,
)
from batchloom.models import BaseModel, load_model, register
from batchloom.models.archive import read_manifest
from batchloom.models.handle import ModelSpec, handle_of


class Mean(BaseModel):
    """A running mean: small, and yet a model."""

    library = "numpy"

    def _build(self, *args, **kwargs):
        self.total, self.count = np.zeros(self.config.get("width", 2)), 0

    def _train(self, x):
        self.total = self.total + x.sum(axis=0)
        self.count += len(x)
        return None

    def _predict(self, x):
        return np.tile(self.total / self.count, (len(x), 1))

    def _save(self, path, **kwargs):
        (path / "state").mkdir()
        np.save(path / "state" / "total.npy", self.total, allow_pickle=False)
        (path / "count.json").write_text(json.dumps(self.count))
        if kwargs:
            (path / "options.json").write_text(json.dumps(kwargs))

    def _load(self, path, **kwargs):
        self.total = np.load(path / "state" / "total.npy", allow_pickle=False)
        self.count = json.loads((path / "count.json").read_text())
        self.loaded_with = kwargs


class Median(Mean):
    """Another class, with files of the same names."""


class Plain:
    """Fulfils the protocol without deriving from anything of ours."""

    def __init__(self, config):
        self.config = config

    def build(self):
        self.seen = []

    def load(self, path):
        self.seen = json.loads((path / "seen.json").read_text())

    def train(self, x):
        self.seen.append(x)

    def predict(self, x):
        return x in self.seen

    def save(self, path):
        (path / "seen.json").write_text(json.dumps(self.seen))


def trained(model=Mean, **config) -> Mean:
    made = ModelSpec.resolve(model, "mean", config).make(pipeline=None).model
    made.train(np.arange(12.0).reshape(6, 2))
    return made


def test_predictions_are_the_same_after_loading(tmp_path: Path) -> None:
    register("archive-test/Mean", Mean, replace=True)
    model = trained(width=2)
    model.save(tmp_path / "mean")
    again = load_model(tmp_path / "mean")
    assert type(again) is Mean
    assert (again.name, again.config) == ("mean", {"width": 2})
    assert again.registered_name == "archive-test/Mean"
    np.testing.assert_array_equal(again.predict([1, 2]), model.predict([1, 2]))


def test_the_class_can_be_given_where_it_is_not_registered(tmp_path: Path) -> None:
    trained(Median).save(tmp_path / "m")
    with pytest.raises(SavedModelError, match=r"not registered, .*Median.*model_class="):
        load_model(tmp_path / "m")
    assert load_model(tmp_path / "m", model_class=Median, level=3).loaded_with == {"level": 3}


def test_a_file_of_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    trained(Median).save(tmp_path / "median")
    other = trained(Mean)
    with pytest.raises(SavedModelError, match=r"holds a model of .*Median.* this is model 'mean'"):
        other.load(tmp_path / "median")
    assert other.count == 6


def test_a_subclass_reads_the_files_of_its_base(tmp_path: Path) -> None:
    trained(Mean).save(tmp_path / "mean")
    other = trained(Median)
    other.train(np.ones((1, 2)))
    other.load(tmp_path / "mean")
    assert other.count == 6


def test_config_load_reads_the_file_after_the_build(tmp_path: Path) -> None:
    trained().save(tmp_path / "m")
    spec = ModelSpec.resolve(Mean, None, {"load": True, "path": tmp_path / "m"})
    made = spec.make(pipeline=None).model
    assert made.count == 6
    made.save(tmp_path / "again")
    assert read_manifest(tmp_path / "again").config == {}, "where it came from is no property of it"


def test_an_object_of_the_protocol_gets_directories_too(tmp_path: Path) -> None:
    handle = ModelSpec.resolve(Plain, "p", {"a": 1}).make(pipeline=None)
    handle.train((3,), {})
    handle.model.save(tmp_path / "plain")
    again = load_model(tmp_path / "plain", model_class=Plain)
    assert isinstance(again, Plain)
    assert again.predict(3)
    assert again.config == {"a": 1}


def test_the_manifest_says_what_wrote_it(tmp_path: Path) -> None:
    trained(width=np.int64(2), rate=np.float32(0.5), sizes=(1, 2), f=print, d={1: 2}).save(
        tmp_path / "m"
    )
    content = json.loads(zipfile.ZipFile(tmp_path / "m").read("manifest.json"))
    assert content["format"] == 1
    assert content["class"].endswith(":Mean")
    assert content["name"] == "mean"
    assert content["config"] == {"width": 2, "rate": 0.5, "sizes": [1, 2]}
    assert content["config_omitted"] == {"f": repr(print), "d": "{1: 2}"}
    assert content["packages"]["batchloom"] == "0.1.0"
    assert content["packages"]["numpy"] == np.__version__
    assert set(content["members"]) == {"count.json", "state/total.npy"}
    assert content["members"]["count.json"]["size"] == 1


def test_what_json_cannot_hold_is_supplied_at_load(tmp_path: Path) -> None:
    class Scaled(Mean):
        def _load(self, path, **kwargs):
            super()._load(path)
            self.total = self.config["scale"](self.total)

    model = trained(Scaled, scale=np.negative)
    model.save(tmp_path / "m")
    with pytest.raises(KeyError) as caught:
        load_model(tmp_path / "m", model_class=Scaled)
    assert "'scale'" in "".join(caught.value.__notes__)
    again = load_model(tmp_path / "m", model_class=Scaled, config={"scale": np.negative})
    np.testing.assert_array_equal(again.total, -model.total)


def test_a_load_that_fails_tells_which_versions_have_changed(tmp_path: Path) -> None:
    class Choosy(Mean):
        def _save(self, path, **kwargs):
            super()._save(path)

        def _load(self, path, **kwargs):
            raise ValueError("the library cannot read this")

    trained(Choosy).save(tmp_path / "m")
    with pytest.raises(ValueError, match="cannot read") as caught:
        load_model(tmp_path / "m", model_class=Choosy)
    assert caught.value.__notes__ == [f"model 'mean' ({Choosy.__qualname__})"]
    with zipfile.ZipFile(tmp_path / "m") as old, zipfile.ZipFile(tmp_path / "n", "w") as new:
        for info in old.infolist():
            data = old.read(info).replace(np.__version__.encode(), b"0.1.2")
            new.writestr(info, data)
    with pytest.raises(ValueError, match="cannot read") as caught:
        load_model(tmp_path / "n", model_class=Choosy)
    assert caught.value.__notes__[0] == (
        f"the model was saved with numpy 0.1.2, now {np.__version__}"
    )


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    trained().save(tmp_path / "one")
    os.utime(tmp_path / "one", (0, 0))
    trained().save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_nothing_but_the_file_is_left_beside_it(tmp_path: Path) -> None:
    trained().save(tmp_path / "m")
    trained().save(tmp_path / "m", note="again")
    assert [each.name for each in tmp_path.iterdir()] == ["m"]
    assert "options.json" in read_manifest(tmp_path / "m").members


def test_a_model_that_was_never_built_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ModelNotBuiltError, match="'Mean'"):
        Mean().save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_a_trained_model_can_be_saved(tmp_path: Path) -> None:
    import copy

    model = trained()
    other = copy.deepcopy(model)
    assert handle_of(other).model is other
    assert handle_of(other).lock is not handle_of(model).lock
    other.save(tmp_path / "m")


def test_a_model_without_save_says_so(tmp_path: Path) -> None:
    class Mute(BaseModel):
        pass

    model = Mute()
    model.build()
    with pytest.raises(ModelProtocolError, match=r"Mute cannot save: it does not define _save"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_missing_directory_or_directory_in_the_way(tmp_path: Path) -> None:
    model = trained()
    with pytest.raises(SaveError, match=r"no directory .*nowhere.*still in memory"):
        model.save(tmp_path / "nowhere" / "m")
    with pytest.raises(SaveError, match="it is a directory"):
        model.save(tmp_path)
    with pytest.raises(SaveError):
        model.save(tmp_path / ("x" * 300))
    model.save(tmp_path / ("y" * 255))


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "m")
    trained().save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "m").is_file()


def test_an_exception_of_the_model_keeps_its_type_and_the_old_file(tmp_path: Path) -> None:
    trained().save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()

    class Failing(Mean):
        def _save(self, path, **kwargs):
            super()._save(path)
            raise ZeroDivisionError("in the library")

    with pytest.raises(ZeroDivisionError) as caught:
        trained(Failing).save(tmp_path / "m")
    assert len(caught.value.__notes__) == 1
    assert "model 'mean'" in caught.value.__notes__[0]
    assert (tmp_path / "m").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["m"]


def test_a_link_that_the_model_writes_is_refused(tmp_path: Path) -> None:
    class Linking(Mean):
        def _save(self, path, **kwargs):
            (path / "secret").symlink_to("/etc/passwd")

    with pytest.raises(SaveError, match="'secret', which is no regular file"):
        trained(Linking).save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_file_from_an_absent_package_names_the_package(tmp_path: Path) -> None:
    register("gone/Mean", Mean, replace=True)
    ModelSpec.resolve("gone/Mean").make(pipeline=None).save(tmp_path / "m")
    code = f"from batchloom.models import load_model; load_model({str(tmp_path / 'm')!r})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert NamespaceNotInstalledError.__name__ in ended.stderr
    assert "pip install batchloom-gone" in ended.stderr
    assert f"asked for by the saved model {tmp_path / 'm'}" in ended.stderr


@pytest.fixture(autouse=True)
def own_names():
    from batchloom.models import registry

    before = dict(registry._own)
    yield
    registry._own.clear()
    registry._own.update(before)
