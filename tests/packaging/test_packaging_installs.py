"""The wheels work in environments of their own: the core alone, with each backend, with all."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

# `Environment` is a class of conftest.py, which cannot be imported from here.
MakeEnvironment = Callable[..., Any]

LIBRARIES = {"sklearn", "xgboost", "tensorflow", "keras", "pandas"}

# For each backend: the model library, and a model that is made without asking for data.
MODELS = {
    "batchloom-sklearn": ("sklearn", "sklearn/SGDClassifier", '{"loss": "log_loss"}'),
    "batchloom-xgboost": ("xgboost", "xgboost/XGBClassifier", '{"n_estimators": 3}'),
    "batchloom-tf": ("keras", "tf/Model", '{"model": network, "loss": "binary_crossentropy"}'),
}
BACKENDS = [
    pytest.param(name, marks=[pytest.mark.tf] if name == "batchloom-tf" else []) for name in MODELS
]

TRAIN = """
    import json, sys
    import numpy as np
    from batchloom import Dataset

    def network():
        import keras
        return keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])

    x = np.linspace(-1, 1, 60, dtype="float32").reshape(30, 2)
    data = Dataset(data={"points": x, "labels": (x[:, 0] > 0).astype(int)})
    trained = (data.p.init_model("dynamic", %r, "model", config=%s)
                     .train_model("model", x="points", y="labels")
                     .run(10, seed=1))
    answers = (data.p.import_model("model", trained)
                     .init_variable("answers", init_on_each_run=list)
                     .predict_model("model", x="points", append_to="answers")
                     .run(10).get_variable("answers"))
    assert sum(len(each) for each in answers) == 30
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

IMPORT = (
    "import json, sys, %s; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
)


def test_the_core_alone_imports_without_a_model_library(environment_with: MakeEnvironment) -> None:
    core = environment_with()
    assert not LIBRARIES & set(json.loads(core.python("-c", IMPORT % "batchloom")))


def test_the_core_alone_has_a_command_line(environment_with: MakeEnvironment) -> None:
    core = environment_with()
    assert "0.1.0" in core.command("batchloom", "--version")
    core.command("batchloom", "models")
    json.loads(core.command("batchloom", "models", "--json"))


@pytest.mark.parametrize(("name", "distribution"), [
    ("sklearn/SGDClassifier", "batchloom-sklearn"),
    ("xgboost/XGBClassifier", "batchloom-xgboost"),
    ("tf/ResNet50", "batchloom-tf"),
])  # fmt: skip
def test_the_core_alone_says_what_to_install(
    environment_with: MakeEnvironment, name: str, distribution: str
) -> None:
    ask = """
        from batchloom import Pipeline
        from batchloom.errors import NamespaceNotInstalledError
        try:
            Pipeline().init_model("static", %r)
        except NamespaceNotInstalledError as error:
            print(error)
    """
    said = environment_with().python("-c", textwrap.dedent(ask % name))
    assert f"pip install {distribution}" in said


@pytest.mark.parametrize("distribution", BACKENDS)
def test_a_backend_alone_trains_and_predicts(
    environment_with: MakeEnvironment, distribution: str
) -> None:
    _, name, config = MODELS[distribution]
    environment = environment_with(distribution)
    environment.python("-c", textwrap.dedent(TRAIN % (name, config)))


@pytest.mark.parametrize("distribution", BACKENDS)
def test_a_backend_beside_the_others_imports_none_of_their_libraries(
    environment_with: MakeEnvironment, distribution: str
) -> None:
    library, name, config = MODELS[distribution]
    everything = environment_with(*MODELS)
    loaded = set(json.loads(everything.python("-c", textwrap.dedent(TRAIN % (name, config)))))
    # xgboost and keras import scikit-learn themselves, where it is installed.
    of_itself = set(json.loads(everything.python("-c", IMPORT % library)))
    assert library in loaded
    assert (loaded - of_itself) & LIBRARIES == set()


def test_the_command_line_lists_every_backend_and_imports_none(
    environment_with: MakeEnvironment,
) -> None:
    everything = environment_with(*MODELS)
    table = everything.command("batchloom", "models")
    for distribution in MODELS:
        assert distribution in table
    look = """
        import json, sys
        from batchloom.cli import main
        try:
            main(["models"])
        except SystemExit as end:
            assert not end.code
        print()
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    """
    loaded = everything.python("-c", textwrap.dedent(look)).splitlines()[-1]
    assert set(json.loads(loaded)) & LIBRARIES == set()
