"""A checkpoint that came from somebody else runs no code, whatever is in it; each payload works elsewhere."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import forged
import pytest
import stopped_runs as runs

from batchloom import Pipeline
from batchloom.errors import BatchloomError, CorruptFileError, UnsafeFileError

ARRAY = json.dumps({"~": "array", "number": 0}).encode()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def stopped(made: Pipeline, folder: Path) -> Path:
    runs.stop(made, 9, folder)
    return forged.newest(folder)


def refused(
    made: Pipeline, folder: Path, mark: Path, error: type[Exception] = BatchloomError
) -> None:
    with pytest.raises(error):
        made.resume(folder)
    assert not mark.exists(), "a checkpoint ran the code in it"


def sklearn_case(name: str) -> Pipeline:
    pytest.importorskip("sklearn")
    from stopped_sklearn import CASES

    return CASES[name]()


def test_the_forger_can_make_a_checkpoint_that_is_taken(tmp_path: Path) -> None:
    path = stopped(sklearn_case("sgd"), tmp_path / "run")
    forged.forge(path, {})
    sklearn_case("sgd").resume(tmp_path / "run")


@pytest.mark.parametrize("at", ["variable-0", "run", "model-0/state", "evaluations"])
def test_pickled_arrays_are_not_unpickled(at: str, mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case("sgd"), tmp_path / "run")
    forged.forge(path, {f"{at}/tree.json": ARRAY, f"{at}/0.npy": forged.object_array(mark)})
    refused(sklearn_case("sgd"), tmp_path / "run", mark)


@pytest.mark.parametrize("number", ["../../mark", "/etc/passwd", -1, 1.0, [0], None])
def test_an_array_lies_where_its_number_says(number: Any, mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case("sgd"), tmp_path / "run")
    tree = json.dumps({"~": "array", "number": number}).encode()
    forged.forge(path, {"variable-0/tree.json": tree})
    refused(sklearn_case("sgd"), tmp_path / "run", mark, CorruptFileError)


@pytest.mark.parametrize(
    "tree",
    [
        b"{}",
        b"[" * 100_000,
        b'{"~": "eval", "items": []}',
        b'{"~": "bytes", "text": 3}',
        b"\xff",
        b"",
    ],
)
def test_what_is_no_plain_data_is_damage(tree: bytes, mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case("sgd"), tmp_path / "run")
    forged.forge(path, {"variable-0/tree.json": tree})
    refused(sklearn_case("sgd"), tmp_path / "run", mark, CorruptFileError)


@pytest.mark.parametrize("name", ["../mark", "/tmp/mark", "a/../../mark", "..\\mark", "C:\\mark"])
def test_members_stay_inside(name: str, mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case("sgd"), tmp_path / "run")
    forged.forge(path, {name: b"left outside"})
    refused(sklearn_case("sgd"), tmp_path / "run", mark, UnsafeFileError)
    assert not (tmp_path / "run" / "mark").exists()


@pytest.mark.parametrize("name", ["estimator.skops", "estimator.joblib"])
@pytest.mark.parametrize("case", ["sgd", "forest"])
def test_an_estimator_is_not_unpickled(case: str, name: str, mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case(case), tmp_path / "run")
    bad = {"model-0/estimator/estimator.skops": None}
    forged.forge(path, {**bad, f"model-0/estimator/{name}": forged.pickled(mark)})
    refused(sklearn_case(case), tmp_path / "run", mark)


def test_types_that_the_definition_does_not_bring_are_refused(mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case("scaled"), tmp_path / "run")
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    crafted = make_pipeline(FunctionTransformer(os.system))
    data = skops.io.dumps(crafted)
    skops.io.loads(data, trusted=["posix.system"]).transform(f"touch {mark}")
    mark.unlink()
    forged.forge(path, {"model-0/estimator/estimator.skops": data})
    refused(sklearn_case("scaled"), tmp_path / "run", mark, UnsafeFileError)


def test_another_estimator_than_the_definitions_is_refused(mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case("sgd"), tmp_path / "run")
    import skops.io
    from sklearn.linear_model import Perceptron

    forged.forge(path, {"model-0/estimator/estimator.skops": skops.io.dumps(Perceptron())})
    refused(sklearn_case("sgd"), tmp_path / "run", mark)


def test_gathered_rows_that_point_outside_are_refused(mark: Path, tmp_path: Path) -> None:
    path = stopped(sklearn_case("sparse"), tmp_path / "run")
    import numpy as np

    changes: dict[str, bytes | None] = {}
    for name, data in forged.members(path).items():
        if name.startswith("model-0/state/") and name.endswith(".npy"):
            array = np.load(io.BytesIO(data))
            if array.dtype.kind == "i" and array.ndim == 1 and array.size:
                sink = io.BytesIO()
                np.save(sink, array + 10**6)
                changes[name] = sink.getvalue()
    assert changes
    forged.forge(path, changes)
    refused(sklearn_case("sparse"), tmp_path / "run", mark, CorruptFileError)


def xgboost_case(name: str) -> Pipeline:
    pytest.importorskip("xgboost")
    from stopped_xgboost import CASES

    return CASES[name]()


def test_trees_that_point_outside_are_refused(mark: Path, tmp_path: Path) -> None:
    path = stopped(xgboost_case("continue"), tmp_path / "run")
    model = json.loads(forged.members(path)["model-0/model.json"])
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    trees[0]["left_children"][0] = 10**8
    forged.forge(path, {"model-0/model.json": json.dumps(model).encode()})
    refused(xgboost_case("continue"), tmp_path / "run", mark)


@pytest.mark.parametrize("data", [b"{", b"{L\x00\x00", b"not a model", b"[" * 10_000])
def test_a_booster_that_is_none_is_refused(data: bytes, mark: Path, tmp_path: Path) -> None:
    path = stopped(xgboost_case("continue"), tmp_path / "run")
    forged.forge(path, {"model-0/model.json": data})
    refused(xgboost_case("continue"), tmp_path / "run", mark)


def test_ubjson_is_not_taken_for_json(mark: Path, tmp_path: Path) -> None:
    path = stopped(xgboost_case("continue"), tmp_path / "run")
    forged.forge(path, {"model-0/model.json": None, "model-0/model.ubj": b"{L" + b"\xff" * 64})
    refused(xgboost_case("continue"), tmp_path / "run", mark, UnsafeFileError)


def test_gathered_pages_are_not_unpickled(mark: Path, tmp_path: Path) -> None:
    path = stopped(xgboost_case("collect"), tmp_path / "run")
    page = next(n for n in forged.members(path) if "gathered/training" in n and n.endswith(".npy"))
    forged.forge(path, {page: forged.object_array(mark)})
    refused(xgboost_case("collect"), tmp_path / "run", mark)


@pytest.mark.tf
def test_a_checkpoint_brings_no_layers_with_code(mark: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    import keras
    from stopped_tf import CASES

    path = stopped(CASES["dynamic"](), tmp_path / "run")
    command = f"touch {mark}"
    crafted = keras.Sequential(
        [keras.Input((6,)), keras.layers.Lambda(lambda x: (__import__("os").system(command), x)[1])]
    )
    crafted.save(tmp_path / "crafted.keras")
    mark.unlink()  # making it has left the mark: the payload works
    state = json.loads(forged.members(path)["model-0/state/tree.json"])
    for item in state["items"]:
        item[1] = True if item[0] == "is_loaded" else item[1]
    changes = {
        "model-0/state/tree.json": json.dumps(state).encode(),
        "model-0/network.keras": (tmp_path / "crafted.keras").read_bytes(),
        "model-0/random_state.npy": forged.object_array(mark),
    }
    forged.forge(path, changes)
    refused(CASES["dynamic"](), tmp_path / "run", mark, UnsafeFileError)


@pytest.mark.tf
def test_weights_of_another_network_are_refused(mark: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    from stopped_tf import CASES

    path = stopped(CASES["dynamic"](), tmp_path / "run")
    text = forged.members(path)["model-0/state/tree.json"].replace(b'"float32"', b'"float64"')
    forged.forge(path, {"model-0/state/tree.json": text})
    refused(CASES["dynamic"](), tmp_path / "run", mark)
