"""Trees added batch by batch: the metrics before each, the draws, the quality that is documented."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from batchloom.errors import ModelInputError
from batchloom.models import RunInfo, load_model

CONTINUE = {"strategy": "continue", "max_depth": 3, "classes": [0, 1]}


class Labels:
    """A dataset of one column, as far as a model looks at it."""

    def __init__(self, y):
        self.y = y

    def column(self, name):
        assert name == "income"
        return self.y


def test_equals_updates_by_hand(binary, driving):
    x, y = binary
    config = {**CONTINUE, "rounds_per_batch": 2}
    handle, values = driving.drive(
        "xgboost/XGBClassifier", driving.batches(500, x=x, y=y), config, output="loss"
    )
    params = {"objective": "binary:logistic", "max_depth": 3}
    booster, losses = None, []
    for batch in driving.batches(500, x=x, y=y):
        matrix = xgb.DMatrix(batch["x"], batch["y"])
        booster = booster or xgb.Booster(params, [matrix])
        losses.append(float(booster.eval_set([(matrix, "b")]).rpartition(":")[2]))
        for _ in range(2):
            booster.update(matrix, booster.num_boosted_rounds())
    assert values == losses  # before the update: the batch was not trained on yet
    given = handle.predict((), {"x": x, "output": "margin"})
    assert np.array_equal(given, booster.predict(xgb.DMatrix(x), output_margin=True))


def test_quality_lies_between_one_batch_and_all_of_them(adult, driving):
    data = adult.without_unknowns()
    x, y = data.x[:10_000], data.y[:10_000]
    given = list(driving.batches(2000, x=x, y=y))
    config = {**CONTINUE, "classes": None, "rounds_per_batch": 10}
    run = RunInfo(dataset=Labels(y), columns={"y": "income"})
    continued, _ = driving.drive("xgboost/XGBClassifier", given, config, run=run)
    collected, _ = driving.drive(
        "xgboost/XGBClassifier", given, {"n_estimators": 50, "max_depth": 3}
    )

    def loss(handle):
        proba = handle.predict((), {"x": data.x_test, "output": "proba"})
        right = proba[np.arange(len(proba)), np.searchsorted(["<=50K", ">50K"], data.y_test)]
        return -np.log(right).mean()

    assert loss(collected) < loss(continued) < loss(collected) + 0.03


def test_labels_must_be_known_beforehand(binary, driving):
    x, y = binary
    with pytest.raises(ModelInputError, match=r'give config=\{"classes"'):
        driving.drive(
            "xgboost/XGBClassifier",
            driving.batches(500, x=x, y=y),
            {"strategy": "continue"},
        )


def test_metrics_on_validation_data_after_each_batch(binary, driving):
    x, y = binary
    config = {**CONTINUE, "eval_set": (x[2000:], y[2000:]), "eval_metric": ["error", "logloss"]}
    handle, histories = driving.drive(
        "xgboost/XGBClassifier", driving.batches(500, x=x[:2000], y=y[:2000]), config, n_epochs=2
    )
    assert [row["round"] for history in histories for row in history] == list(range(8))
    wrong = handle.predict((), {"x": x[2000:]}) != y[2000:]
    assert histories[-1][-1]["validation-error"] == pytest.approx(wrong.mean())


@pytest.mark.parametrize("draws", [{}, {"subsample": 0.5}, {"colsample_bynode": 0.5}])
def test_other_boosters_and_a_stop_in_between_change_nothing(binary, driving, tmp_path, draws):
    x, y = binary
    config = {**CONTINUE, "seed": 7, "learning_rate": 0.1, **draws}
    given = list(driving.batches(500, x=x, y=y))
    straight, _ = driving.drive("xgboost/XGBClassifier", given, config)

    stopped, _ = driving.drive("xgboost/XGBClassifier", given[:3], config)
    stopped.save(tmp_path / "model")
    resumed = load_model(tmp_path / "model")._handle
    disturbing = {**config, "seed": 1}
    for i in range(3, 6):
        driving.drive("xgboost/XGBClassifier", given[:1], disturbing)
        driving.train(resumed, given[i : i + 1])
    expected = straight.predict((), {"x": x, "output": "margin"})
    assert np.array_equal(resumed.predict((), {"x": x, "output": "margin"}), expected)


def test_a_second_run_goes_on(binary, driving):
    x, y = binary
    given = list(driving.batches(500, x=x, y=y))
    handle, _ = driving.drive("xgboost/XGBClassifier", given[:3], CONTINUE)
    driving.train(handle, given[3:])
    straight, _ = driving.drive("xgboost/XGBClassifier", given, CONTINUE)
    assert np.array_equal(
        handle.predict((), {"x": x, "output": "margin"}),
        straight.predict((), {"x": x, "output": "margin"}),
    )


def test_a_class_that_the_first_batch_lacks(driving):
    random = np.random.default_rng(0)
    places = np.concatenate([random.integers(0, 2, 100), random.integers(0, 3, 500)])
    y = np.array(["a", "b", "c"])[places]
    x = random.normal(size=(600, 3))
    x[:, 0] += 3 * places
    config = {"strategy": "continue", "classes": ["a", "b", "c"]}
    handle, _ = driving.drive(
        "xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config, n_epochs=3
    )
    assert np.mean(handle.predict((), {"x": x}) == y) > 0.8


@pytest.mark.parametrize("own_objective", [False, True])
def test_a_metric_of_ones_own_gets_what_it_gets_in_the_library(binary, driving, own_objective):
    x, y = binary

    def logistic(y_true, y_pred):
        share = 1 / (1 + np.exp(-y_pred))
        return share - y_true, share * (1 - share)

    def highest(y_true, y_pred):
        return float(y_pred.max())

    config = {**CONTINUE, "eval_metric": highest, "eval_set": (x, y)}
    if own_objective:
        config["objective"] = logistic
    given = driving.batches(500, x=x[:1000], y=y[:1000])
    handle, (history,) = driving.drive("xgboost/XGBClassifier", given, config)
    proba = handle.predict((), {"x": x, "output": "proba"})[:, 1].max()
    margin = handle.predict((), {"x": x, "output": "margin"}).max()
    expected = margin if own_objective else proba
    assert history[-1]["validation-highest"] == pytest.approx(expected, rel=1e-4)
