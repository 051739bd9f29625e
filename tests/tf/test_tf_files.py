"""Saving: what comes back goes on as if there had been no stop, and no file runs code."""

from __future__ import annotations

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batchloom.errors import CorruptFileError, FormatVersionError, UnsafeFileError
from batchloom.models import load_model

pytestmark = pytest.mark.tf


CONTINUE = """
import sys
import numpy as np
from batchloom.models import load_model

data = np.load(sys.argv[2])
model = load_model(sys.argv[1])
losses = [model.train(x=x, y=y, output="loss") for x, y in zip(data["x"], data["y"])]
losses.append(model.train(x=data["x"][0], y=data["y"][0], output="accuracy"))
np.save(sys.argv[3], losses)
"""


def test_training_goes_on_in_another_process_as_if_there_had_been_no_stop(
    drive, chain, batches, keras, python, tmp_path
):
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 20)
    config = {**chain, "learning_rate": schedule}
    first, rest = batches[:4], batches[4:9]
    straight = drive("tf/Sequential", config)
    straight.losses(first)
    expected = straight.losses(rest)
    expected.append(straight.train(x=rest[0][0], y=rest[0][1], output="accuracy"))

    stopped = drive("tf/Sequential", config)
    stopped.losses(first)
    stopped.handle.save(tmp_path / "m.blm")
    np.savez(tmp_path / "d.npz", x=[x for x, _ in rest], y=[y for _, y in rest])
    done = python(CONTINUE, tmp_path / "m.blm", tmp_path / "d.npz", tmp_path / "losses.npy")
    assert done.returncode == 0, done.stderr
    assert done.stderr == done.stdout == ""  # and TensorFlow has not talked
    np.testing.assert_array_equal(np.load(tmp_path / "losses.npy"), expected)


def test_a_loaded_model_has_its_optimizer_metrics_and_name(drive, chain, batches, tmp_path, keras):
    model = drive("tf/Sequential", chain, name="clf")
    model.losses(batches[:3])
    model.handle.save(tmp_path / "m.blm")
    loaded = load_model(tmp_path / "m.blm")
    assert loaded.name == "clf" and loaded.registered_name == "tf/Sequential"
    assert loaded.network.optimizer.iterations == 3
    x = batches[0][0]
    np.testing.assert_array_equal(loaded.predict(x=x), model.predict(x=x))
    manifest = json.loads(zipfile.ZipFile(tmp_path / "m.blm").read("manifest.json"))
    assert {"keras", "batchloom-tf"} <= set(manifest["packages"])


def test_loading_by_config_and_compiling_anew(drive, chain, batches, tmp_path, keras):
    model = drive("tf/Sequential", chain)
    model.losses(batches[:3])
    model.handle.save(tmp_path / "m.blm")
    kept = drive("tf/Sequential", {**chain, "load": True, "path": tmp_path / "m.blm"})
    assert kept.losses(batches[3:5]) == model.losses(batches[3:5])
    anew = load_model(tmp_path / "m.blm", config={"optimizer": "sgd"}, compile=False)
    assert isinstance(anew.network.optimizer, keras.optimizers.SGD)
    assert anew.network.optimizer.iterations == 0
    assert anew.train(x=batches[0][0], y=batches[0][1], output="accuracy") >= 0


def test_custom_layers_come_back_when_keras_knows_them(drive, batches, tmp_path, keras):
    @keras.saving.register_keras_serializable("batchloom_test")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    config = {"layers": [Twice(), keras.layers.Dense(10)]}
    model = drive("tf/Sequential", config)
    expected = model.predict(x=batches[0][0])
    model.handle.save(tmp_path / "m.blm")
    np.testing.assert_array_equal(load_model(tmp_path / "m.blm").predict(x=batches[0][0]), expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(keras.saving.get_custom_objects(), "batchloom_test>Twice")
        with pytest.raises(Exception, match="Twice") as caught:
            load_model(tmp_path / "m.blm")
    assert any("register_keras_serializable" in note for note in caught.value.__notes__)


def crafted(drive, network, tmp_path):
    """A file with a network that was put into a well-formed archive by hand, hashes and all."""
    import batchloom_tf.files as files

    model = drive("tf/Sequential", {"layers": ["Flatten"], "input_shape": (2,)}, dynamic=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "save", lambda _, directory: network(directory / files.NAME))
        model.handle.save(tmp_path / "crafted.blm")
    return tmp_path / "crafted.blm"


def test_a_file_with_code_in_it_is_refused_and_its_code_does_not_run(drive, tmp_path, keras):
    mark = tmp_path / "it-ran"

    payload = eval(f"lambda x: (open({str(mark)!r}, 'w').close(), x)[1]")
    evil = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(payload)])
    mark.unlink()
    path = crafted(drive, evil.save, tmp_path)
    with pytest.raises(UnsafeFileError, match="holds code"):
        load_model(path)

    def load_where_keras_allows_it():
        keras.config.enable_unsafe_deserialization()
        with pytest.raises(UnsafeFileError, match="holds code"):
            load_model(path)
        assert not mark.exists()
        evil.save(tmp_path / "evil.keras")
        keras.saving.load_model(tmp_path / "evil.keras", safe_mode=True)
        return mark.exists()  # the payload is a real one

    with ThreadPoolExecutor(1) as thread:  # the setting is the thread's
        assert thread.submit(load_where_keras_allows_it).result()


def test_a_file_of_a_newer_keras_says_so(drive, tmp_path, keras):
    def newer(path):
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        network.save(tmp_path / "old.keras")
        with zipfile.ZipFile(tmp_path / "old.keras") as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "metadata.json":
                    content = json.dumps({**json.loads(content), "keras_version": "9.1.0"})
                new.writestr(name, content)

    message = rf"written by Keras 9.1.0, and {keras.__version__} is installed"
    with pytest.raises(FormatVersionError, match=message):
        load_model(crafted(drive, newer, tmp_path))


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_a_foreign_file_is_no_model_file(drive, tmp_path, keras, content):
    path = crafted(drive, lambda path: path.write_bytes(content), tmp_path)
    with pytest.raises(CorruptFileError, match="no model file of Keras 3"):
        load_model(path)


def test_export_writes_what_tensorflow_serves(drive, chain, batches, tmp_path, keras):
    tf = pytest.importorskip("tensorflow")
    model = drive("tf/Sequential", chain)
    model.losses(batches[:3])
    model.model.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    for rows in (1, 32):
        x = batches[0][0][:rows]
        np.testing.assert_allclose(served.serve(x), model.predict(x=x), rtol=1e-5)
    with pytest.raises(FileExistsError, match="overwrites nothing"):
        model.model.export(tmp_path / "served")
