"""What a file keeps, and what is refused before XGBoost follows an index of it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from batchloom.errors import (
    CorruptFileError,
    FormatVersionError,
    ModelConfigError,
    UnsafeFileError,
)
from batchloom.models import load_model
from batchloom.models.spec import ModelSpec

CONFIG = {"n_estimators": 4, "learning_rate": 0.1, "eval_metric": "auc", "n_jobs": 1}


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    x = pd.DataFrame(
        {
            "letter": pd.Categorical(random.choice(list("dbca"), 500), list("dbca")),
            "size": pd.Categorical(random.choice([3, 9, 4], 500)),
            "number": random.normal(size=500),
        }
    )
    y = np.where((x["letter"].isin(["a", "d"])) ^ (x["number"] > 0.5), "on", "off")
    return x, y


@pytest.fixture(scope="module")
def saved(frame, driving, tmp_path_factory):
    x, y = frame
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(64, x=x, y=y), CONFIG)
    path = tmp_path_factory.mktemp("saved") / "model"
    handle.save(path)
    return handle, path


def both(model, x):
    return model.predict(x=x, output="proba")


def test_what_the_library_forgets_survives(saved, frame):
    handle, path = saved
    x, _ = frame
    model = load_model(path)
    assert np.array_equal(both(model, x), both(handle.model, x))
    assert model.predict(x=x[:5]).dtype == handle.model.predict(x=x[:5]).dtype
    assert model.classes_.tolist() == ["off", "on"]
    assert model.categories == {"letter": list("dbca"), "size": [3, 4, 9]}
    assert model.history == handle.model.history
    assert (model.booster.feature_names, model.booster.feature_types) == (
        ["letter", "size", "number"],
        ["c", "c", "float"],
    )
    config = json.loads(model.booster.save_config())["learner"]
    assert float(config["gradient_booster"]["tree_train_param"]["eta"]) == pytest.approx(0.1)
    assert config["metrics"] == [{"name": "auc"}]
    assert config["generic_param"]["nthread"] == "1"
    turned = x.assign(letter=pd.Categorical(x["letter"], list("abcd")))
    assert np.array_equal(both(model, turned), both(handle.model, x))


def test_in_another_process(saved, frame, tmp_path):
    handle, path = saved
    x, _ = frame
    x.to_pickle(tmp_path / "x")
    ended = run(
        f"""
        import pandas as pd, numpy as np
        from batchloom.models import load_model
        model = load_model({str(path)!r})
        x = pd.read_pickle({str(tmp_path / "x")!r})
        np.save({str(tmp_path / "proba.npy")!r}, model.predict(x=x, output="proba"))
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert np.array_equal(np.load(tmp_path / "proba.npy"), both(handle.model, x))


def test_the_best_round_survives(binary, driving, tmp_path):
    x, y = binary
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.3, 1 - y, y)
    config = {"n_estimators": 100, "early_stopping_rounds": 3, "eval_set": (x[2000:], y[2000:])}
    handle, _ = driving.drive(
        "xgboost/XGBClassifier", driving.batches(500, x=x[:2000], y=y[:2000]), config
    )
    handle.save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.best_iteration == handle.model.best_iteration
    assert np.array_equal(both(model, x), both(handle.model, x))
    # Predictions need no validation data; training does, and a file cannot hold it.
    with pytest.raises(ModelConfigError, match="eval_fraction or eval_set"):
        driving.train(model._handle, [{"x": x, "y": y}])


@pytest.mark.parametrize("name", ["XGBRegressor", "XGBRFRegressor", "Booster", "XGBRFClassifier"])
@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_every_model_and_booster(binary, driving, tmp_path, name, booster):
    if booster == "gblinear" and "RF" in name:
        pytest.skip("no linear forests")
    x, y = binary
    rounds = "num_boost_round" if name == "Booster" else "n_estimators"
    config = {"booster": booster, "missing": -5.0, rounds: 5}
    handle, _ = driving.drive(
        f"xgboost/{name}", driving.batches(500, x=np.nan_to_num(x, nan=-5), y=y), config
    )
    handle.save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.registered_name == f"xgboost/{name}"
    assert np.array_equal(model.predict(x=x), handle.predict((), {"x": x}))


def test_init_model_loads_and_overrides(saved, frame):
    handle, path = saved
    x, _ = frame
    config = {"load": True, "path": path, "learning_rate": 0.3}
    loaded = ModelSpec.resolve("xgboost/XGBClassifier", None, config).make(pipeline=None)
    assert np.array_equal(both(loaded.model, x), both(handle.model, x))
    tree = json.loads(loaded.model.booster.save_config())["learner"]["gradient_booster"]
    assert float(tree["tree_train_param"]["eta"]) == pytest.approx(0.3)
    with pytest.raises(ModelConfigError, match="not both"):
        ModelSpec.resolve("xgboost/XGBClassifier", None, {**config, "build": True}).make(
            pipeline=None
        )


def test_ubjson_by_name_for_trusted_files(saved, frame, tmp_path):
    handle, _ = saved
    x, _ = frame
    handle.save(tmp_path / "model", format="ubj")
    with pytest.raises(UnsafeFileError, match="trusted=True"):
        load_model(tmp_path / "model")
    model = load_model(tmp_path / "model", trusted=True)
    assert np.array_equal(both(model, x), both(handle.model, x))
    with pytest.raises(ModelConfigError, match="'json', 'ubj'"):
        handle.save(tmp_path / "other", format="bin")


def test_a_file_cannot_say_of_itself_that_it_is_trusted(saved, tmp_path):
    handle, _ = saved
    handle.model.config["trusted"] = True
    try:
        handle.save(tmp_path / "model", format="ubj")
    finally:
        del handle.model.config["trusted"]
    with pytest.raises((UnsafeFileError, ModelConfigError)):
        load_model(tmp_path / "model")


def test_functions_must_be_given_again_to_train_on(binary, driving, tmp_path):
    x, y = binary

    def squared(y_true, y_pred):
        return y_pred - y_true, np.ones_like(y_true)

    config = {"n_estimators": 2, "objective": squared}
    handle, _ = driving.drive("xgboost/XGBRegressor", driving.batches(500, x=x, y=y), config)
    handle.save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert np.array_equal(model.predict(x=x), handle.predict((), {"x": x}))
    with pytest.raises(ModelConfigError, match="the model needs objective"):
        driving.train(model._handle, [{"x": x, "y": y}])
    again = load_model(tmp_path / "model", config={"objective": squared})
    driving.train(again._handle, [{"x": x, "y": y}])
    assert np.array_equal(again.predict(x=x), handle.predict((), {"x": x}))


def parts_of(directory):
    return json.loads((directory / "model.json").read_bytes())


@pytest.fixture(scope="module")
def written(frame, saved, tmp_path_factory):
    """The backend's own files, as its `_load` is handed them, and the parsed model."""
    handle, _ = saved
    directory = tmp_path_factory.mktemp("written")
    handle.model._save(directory)
    return directory, parts_of(directory)


CRAFTED = {
    "child": lambda tree: tree["left_children"].__setitem__(0, 10**6),
    "column": lambda tree: tree["split_indices"].__setitem__(0, 10**6),
    "cycle": lambda tree: tree["right_children"].__setitem__(1, 0),
    "category": lambda tree: tree["categories_segments"].__setitem__(0, 10**6),
}


def trees_of(model):
    return model["learner"]["gradient_booster"]["model"]["trees"]


def crafted(written, tmp_path, change):
    directory, model = written
    model = copy.deepcopy(model)
    change(model)
    (tmp_path / "model.json").write_text(json.dumps(model))
    (tmp_path / "state.json").write_bytes((directory / "state.json").read_bytes())
    return tmp_path


def test_crafted_trees_are_refused_before_they_crash(written, tmp_path):
    """Each of the files ends, hangs or misleads XGBoost itself; the check must come first."""
    for fault, change in CRAFTED.items():
        (tmp_path / fault).mkdir()
        crafted(written, tmp_path / fault, lambda model, change=change: change(trees_of(model)[0]))
    ended = run(
        f"""
        from pathlib import Path
        from batchloom.errors import CorruptFileError
        from batchloom.models import get_model_class
        for directory in sorted(Path({str(tmp_path)!r}).iterdir()):
            model = get_model_class("xgboost/XGBClassifier")({{}})
            try:
                model._load(directory)
            except CorruptFileError as exc:
                print(directory.name, "refused:", exc)
        """
    )
    assert ended.returncode == 0, ended.stderr
    refused = [line.partition(" refused: ") for line in ended.stdout.splitlines()]
    assert [fault for fault, _, _ in refused] == sorted(CRAFTED)
    assert all("no sound XGBoost model" in said for _, _, said in refused)


def gbtree(model):
    return model["learner"]["gradient_booster"]["model"]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: gbtree(m)["tree_info"].__setitem__(0, 7),
        lambda m: gbtree(m)["tree_info"].append(0),
        lambda m: gbtree(m)["iteration_indptr"].__setitem__(1, 99),
        lambda m: gbtree(m)["gbtree_model_param"].__setitem__("num_trees", "9"),
        lambda m: trees_of(m)[0]["left_children"].pop(),
        lambda m: trees_of(m)[0]["base_weights"].pop(),
        lambda m: trees_of(m)[0]["split_type"].__setitem__(0, 5),
        lambda m: trees_of(m)[0]["split_type"].__setitem__(-1, 1),
        lambda m: trees_of(m)[1]["parents"].__setitem__(1, 2),
        lambda m: trees_of(m)[0]["split_indices"].__setitem__(0, 0.5),
        lambda m: trees_of(m)[0]["categories"].__setitem__(0, 2**30),
        lambda m: trees_of(m)[0].pop("sum_hessian"),
        lambda m: m["learner"]["learner_model_param"].__setitem__("num_class", "9"),
        lambda m: m["learner"]["learner_model_param"].__setitem__("base_score", "[1,2,3]"),
        lambda m: m["learner"]["feature_names"].pop(),
        lambda m: m["learner"]["gradient_booster"].__setitem__("name", "gbforest"),
        lambda m: m.pop("learner"),
    ],
)
def test_other_damage_is_found(written, tmp_path, change):
    directory = crafted(written, tmp_path, change)
    with pytest.raises(CorruptFileError):
        ModelSpec.resolve("xgboost/XGBClassifier").live({}).model._load(directory)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"[" * 10**5, b"\xff\xfe", b'{"a":1,"a":2}'])
def test_what_is_no_model_at_all(written, tmp_path, text):
    directory = crafted(written, tmp_path, lambda model: None)
    (directory / "model.json").write_bytes(text)
    with pytest.raises(CorruptFileError):
        ModelSpec.resolve("xgboost/XGBClassifier").live({}).model._load(directory)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda state: state.update(format=99), FormatVersionError),
        (lambda state: state.pop("columns"), CorruptFileError),
        (lambda state: state["classes"].update(dtype="what"), CorruptFileError),
        (lambda state: state.pop("format"), CorruptFileError),
    ],
)
def test_damage_beside_the_trees(written, tmp_path, change, error):
    directory = crafted(written, tmp_path, lambda model: None)
    state = json.loads((directory / "state.json").read_bytes())
    change(state)
    (directory / "state.json").write_text(json.dumps(state))
    with pytest.raises(error):
        ModelSpec.resolve("xgboost/XGBClassifier").live({}).model._load(directory)


@pytest.mark.parametrize(
    "params",
    [
        {"tree_method": "exact", "gamma": 2},
        {"tree_method": "approx", "gamma": 2},
        {"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0},
        {"booster": "dart", "rate_drop": 0.3},
        {"booster": "gblinear"},
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "multi:softprob", "num_class": 3, "multi_strategy": "multi_output_tree"},
        {"num_parallel_tree": 3},
        {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
        {"min_child_weight": 1e9},
    ],
)
@pytest.mark.filterwarnings("ignore:.*Parameters:UserWarning")
def test_sound_models_pass(params):
    from batchloom_xgboost.tree_check import parse_model

    random = np.random.default_rng(0)
    x, y = random.normal(size=(500, 4)), random.integers(0, 3 if "num_class" in params else 2, 500)
    booster = xgb.train(params, xgb.DMatrix(x, y), 3)
    parse_model(bytes(booster.save_raw("json")))


def run(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )


def test_parameters_that_are_arrays(binary, driving, tmp_path):
    x, y = binary
    config = {
        "n_estimators": 2,
        "objective": "reg:quantileerror",
        "quantile_alpha": np.array([0.1, 0.9]),
        "monotone_constraints": np.array([1, -1, 0, 0, 0]),
    }
    handle, _ = driving.drive("xgboost/XGBRegressor", driving.batches(500, x=x, y=y), config)
    handle.save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert np.array_equal(model.predict(x=x), handle.predict((), {"x": x}))
    driving.train(model._handle, [{"x": x, "y": y}])
    assert np.array_equal(model.predict(x=x), handle.predict((), {"x": x}))
