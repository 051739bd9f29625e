"""The names of the backend: listed without TensorFlow, resolved with it, and what info says."""

from __future__ import annotations

import inspect

import pytest

from batchloom.models import get_model_class, list_models

pytestmark = pytest.mark.tf

LISTING = """
import sys
from batchloom.models import list_models
from batchloom_tf.resolver import resolver
assert set("tf/" + each for each in resolver.names()) <= set(list_models())
try:
    resolver("ResNet5")
except LookupError as exc:
    assert "did you mean 'ResNet50'" in str(exc), exc
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


def test_names_are_listed_and_refused_without_importing_tensorflow(python):
    done = python(LISTING)
    assert done.returncode == 0, done.stderr


def test_there_is_a_name_for_every_architecture_of_keras():
    keras = pytest.importorskip("keras")
    functions = {n for n, each in vars(keras.applications).items() if inspect.isfunction(each)}
    names = {each.removeprefix("tf/") for each in list_models() if each.startswith("tf/")}
    assert names == functions | {"Model", "Sequential"}


def test_every_name_resolves_to_a_class_that_knows_it():
    pytest.importorskip("keras")
    from batchloom_tf import model

    for name in [each for each in list_models() if each.startswith("tf/")]:
        found = get_model_class(name)
        assert found.registered_name == name and found.__doc__
        assert get_model_class(name) is found is getattr(model, name.removeprefix("tf/"))
        assert {"loss", "optimizer", "seed"} <= set(found.describe_config())
    assert "weights" in get_model_class("tf/ResNet50").describe_config()
    with pytest.raises(AttributeError, match="ResNet50"):
        model.ResNet5


def test_another_backend_of_keras_is_refused_with_what_to_do(python):
    script = "import batchloom_tf.model"
    for other in ("jax", "torch"):
        done = python(script, KERAS_BACKEND=other)
        assert done.returncode == 1
        assert f"Keras is set to '{other}'. Set KERAS_BACKEND=tensorflow" in done.stderr


def test_what_is_no_model_is_not_adapted():
    keras = pytest.importorskip("keras")
    from batchloom_tf.adapter import adapt

    with pytest.raises(TypeError, match=r"layers.*tf/Sequential"):
        adapt(keras.layers.Dense(3))
    with pytest.raises(TypeError, match=r"no keras\.Model"):
        adapt(keras.layers.Dense)
    assert adapt(keras.Sequential)[1] == {"model": keras.Sequential}
