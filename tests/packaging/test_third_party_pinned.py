"""A plug-in of the first published API, built once: it and what it saved keep working.

The wheel and the saved model in ``data/`` are never made anew. If a test here fails, the core has broken
its promise to packages that are out in the world: mend the core, or raise `batchloom.models.API_VERSION`,
put a wheel of the new API beside the old one, and say in the changelog what authors have to do.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).with_name("data")
WHEEL = DATA / "batchloom_pinned-1.0-py3-none-any.whl"
SAVED = DATA / "pinned-mean.saved"

USE = """
    import json, sys
    import numpy as np
    from batchloom import Dataset
    from batchloom.models import get_model_class, list_models, load_model
    from batchloom_pinned.hooks import journal
    from batchloom_pinned.models import EVENTS
    from batchloom_pinned.names import Level

    found = {}
    data = Dataset(data={"x": np.arange(10.0), "y": np.arange(10.0)})

    def train(model, name, **options):
        return (data.p.init_variable("values", init_on_each_run=list)
                .init_model("dynamic", model, name, config=options.pop("config", {}))
                .train_model(name, x="x", append_to="values", **options)
                .run(4, n_epochs=5, seed=3))

    trained = train("pinned/Mean", "mean", config={"shift": 1.0}, output="mean")
    found["means"] = trained.get_variable("values")
    found["events"] = list(EVENTS)
    EVENTS.clear()
    found["plain"] = train("pinned/Plain", "plain").get_variable("values")
    found["plain events"] = list(EVENTS)
    found["resolved"] = train("pinned/Shifted2", "two").get_model_by_name("two").predict(np.zeros(1))
    found["adapted"] = train(Level(7.0), "level").get_model_by_name("level").predict(np.zeros(1))
    found["names"] = list_models("pinned")
    found["score"] = (data.p.import_model("mean", trained).init_variable("score")
        .evaluate_model("mean", x="x", y="y", metrics="pinned/gap", save_to="score")
        .run(4).get_variable("score"))
    trained.save_model("mean", path=sys.argv[1])
    found["loaded"] = load_model(sys.argv[1]).predict(np.zeros(2))
    found["old file"] = load_model(sys.argv[2]).predict(np.zeros(2))
    batches = data.p.init_model("dynamic", "pinned/Mean", "m").train_model("m", x="x").gen_batch(4)
    next(batches), batches.close()
    found["abandoned"] = EVENTS[-1]
    found["journal"] = sorted({each[0] for each in journal.lines})
    found["trained"] = [each for each in journal.lines if each[:2] == ["train", "mean"]][0]
    found["described"] = trained.describe()
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def environment(own_environment: Callable[..., Any]) -> Any:
    made = own_environment(WHEEL)
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def found(environment: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("pinned") / "saved"
    said: dict[str, Any] = json.loads(
        environment.python("-W", "error", "-c", textwrap.dedent(USE), target, SAVED)
    )
    return said


@pytest.mark.parametrize(("path", "digest"), [
    (WHEEL, "d1f702a8a34bb01798c6ffd1e59e865e135765c2bb8d00dd537ac2a4e333baaa"),
    (SAVED, "f91be0a48e8c36854c9054786145bb5ef9b61bc77bc4d3d308078df5ce4eaf78"),
], ids=["wheel", "saved model"])  # fmt: skip
def test_it_was_never_touched_again(path: Path, digest: str) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_everything_of_it_is_ready(environment: Any) -> None:
    rows = json.loads(environment.command("batchloom", "plugins", "--json"))["entry_points"]
    assert [each["advice"] for each in rows if each["state"] != "ready"] == []
    assert len(rows) == 6


def test_its_model_is_told_what_it_was_told(found: dict[str, Any]) -> None:
    assert found["means"] == [0.0, 1.5, 3.5, 4.5, *found["means"][4:]]
    assert len(found["means"]) == 6, "stop_training ended the run after the second epoch"
    *before_last, last = found["events"]
    assert before_last == [
        ["init", {"shift": 1.0}, "mean"],
        ["build", True, 4, "int"],
        ["begin_run", {"x": "x"}, 10, 5, True],
        ["end_epoch", 0, False],
    ]
    assert last[:2] == ["end_epoch", 1]
    assert found["abandoned"] == ["abandon_run"]


def test_its_class_that_derives_from_nothing_works(found: dict[str, Any]) -> None:
    assert found["plain"][:4] == [4, 8, 10, 14]
    assert found["plain events"][:2] == [["plain begin_run", 5], ["plain end_epoch", 0, False]]
    assert found["plain events"][-1] == ["plain end_epoch", 4, True]


def test_its_names_adapter_and_metric_are_found(found: dict[str, Any]) -> None:
    assert found["names"] == ["pinned/Mean", "pinned/Plain", "pinned/Shifted1", "pinned/Shifted2"]
    assert found["resolved"] == [6.5]
    assert found["adapted"] == [11.5]
    assert found["score"] == {"pinned/gap": 10.0}


def test_its_files_are_read_old_and_new(found: dict[str, Any]) -> None:
    assert found["loaded"] == found["old file"] == [5.5, 5.5]


def test_its_hooks_are_called(found: dict[str, Any]) -> None:
    assert found["journal"] == ["build", "end_epoch", "load", "predict", "save", "train"]
    assert found["trained"] == ["train", "mean", ["output", "x"], True, "Box", 1]
