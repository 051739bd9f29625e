"""A misspelt key of a config is found where it is written, for every backend, before there is a batch."""

import pytest

from batchloom import Pipeline, V
from batchloom.errors import ModelConfigError

CASES = [
    ("sklearn/SGDClassifier", {"los": "hinge"}, "loss"),
    ("sklearn/SGDClassifier", {"strategy": "colect"}, "collect"),
    ("xgboost/XGBClassifier", {"n_estimatrs": 5}, "n_estimators"),
    ("xgboost/XGBClassifier", {"strategy": "colect"}, "collect"),
    pytest.param("tf/Sequential", {"layerz": []}, "layers", marks=pytest.mark.tf),
]


@pytest.mark.parametrize(("name", "config", "nearest"), CASES)
def test_a_misspelt_config_is_refused_by_init_model(name, config, nearest):
    with pytest.raises(ModelConfigError, match=nearest):
        Pipeline().init_model("dynamic", name, config=config)


def test_an_expression_in_a_config_is_left_for_later():
    made = Pipeline().init_variable("loss", "hinge")
    assert made.init_model("dynamic", "sklearn/SGDClassifier", config={"loss": V("loss")})
