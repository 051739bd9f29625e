"""Validation data, early stopping, the history and the progress of the rounds."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from batchloom.errors import ModelConfigError, ModelInputError
from batchloom.models import RunInfo, load_model


def noisy(binary):
    """Labels that are mostly noise, so that a few rounds are best."""
    x, y = binary
    flips = np.random.default_rng(5).random(len(y)) < 0.35
    return x, np.where(flips, 1 - y, y)


def test_early_stopping_as_in_the_library(binary, driving):
    x, y = noisy(binary)
    config = {"n_estimators": 200, "early_stopping_rounds": 5, "eval_metric": ["error", "logloss"]}
    eval_set = (x[2000:], y[2000:])
    given = driving.batches(64, x=x[:2000], y=y[:2000])
    handle, (history,) = driving.drive(
        "xgboost/XGBClassifier", given, {**config, "eval_set": eval_set}
    )
    expected = xgb.XGBClassifier(**config).fit(
        x[:2000], y[:2000], eval_set=[eval_set], verbose=False
    )
    assert handle.model.best_iteration == expected.best_iteration < len(history) - 1
    known = expected.evals_result()["validation_0"]["logloss"]
    assert [row["validation-logloss"] for row in history] == known
    # Native predict uses all rounds; the best one is what was asked for by early stopping.
    proba = handle.predict((), {"x": x, "output": "proba"})
    assert np.array_equal(proba, expected.predict_proba(x))
    every = handle.predict((), {"x": x, "output": "margin", "iteration_range": (0, len(history))})
    booster = expected.get_booster()
    assert np.array_equal(every, booster.predict(xgb.DMatrix(x), output_margin=True))
    assert not np.array_equal(every, handle.predict((), {"x": x, "output": "margin"}))
    leaves = handle.predict((), {"x": x, "output": "leaf"})
    assert leaves.shape == (len(x), handle.model.best_iteration + 1)


@pytest.mark.parametrize("storage", [{}, {"memory": "external", "max_bytes": 10_000}])
def test_the_rows_held_out_do_not_depend_on_the_batches(binary, driving, storage):
    x, y = binary
    config = {"n_estimators": 5, "eval_fraction": 0.25, "seed": 3, **storage}
    runs = [
        driving.drive("xgboost/XGBClassifier", driving.batches(size, x=x, y=y), config)[1]
        for size in (50, 1111)
    ]
    assert [row["round"] for row in runs[0][0]] == list(range(5))
    for first, second in zip(runs[0][0], runs[1][0], strict=True):
        assert first == pytest.approx(second, abs=1e-5 if storage else 0)
    other, _ = driving.drive(
        "xgboost/XGBClassifier", driving.batches(50, x=x, y=y), {**config, "seed": 4}
    )
    assert other.model.history != runs[0][0]


def test_several_validation_sets_with_weights(binary, driving):
    x, y = binary
    weight = np.linspace(0.5, 2, 500)
    sets = [(x[:500], y[:500]), {"x": x[500:1000], "y": y[500:1000], "sample_weight": weight}]
    config = {"n_estimators": 3, "eval_set": sets}
    _, (history,) = driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config)
    expected = xgb.XGBClassifier(n_estimators=3).fit(
        x,
        y,
        eval_set=[(x[:500], y[:500]), (x[500:1000], y[500:1000])],
        sample_weight_eval_set=[None, weight],
        verbose=False,
    )
    for name, metrics in expected.evals_result().items():
        i = name.removeprefix("validation_")
        assert [row[f"validation_{i}-logloss"] for row in history] == metrics["logloss"]


def test_a_validation_set_with_other_columns(binary, driving):
    x, y = binary
    config = {"n_estimators": 3, "eval_set": (x[:, :3], y)}
    with pytest.raises(ModelInputError, match="3 columns, and the first batch had 5"):
        driving.drive("xgboost/XGBClassifier", driving.batches(100, x=x, y=y), config)


@pytest.mark.parametrize(
    ("output", "config", "names"),
    [
        ("loss", {}, "train-logloss"),
        ("auc", {"eval_metric": ["error", "auc"]}, "train-auc"),
        (["error", "auc"], {"eval_metric": ["error", "auc"]}, ["train-error", "train-auc"]),
    ],
)
def test_what_train_gives_at_the_end(binary, driving, output, config, names):
    x, y = binary
    config = {"n_estimators": 4, **config}
    handle, (value,) = driving.drive(
        "xgboost/XGBClassifier", driving.batches(500, x=x, y=y), config, output=output
    )
    history = handle.model.history
    if isinstance(names, str):
        assert value == [row[names] for row in history]
    else:
        assert value == [[row[name] for row in history] for name in names]


def test_metrics_on_the_training_data_can_be_left_out(binary, driving):
    x, y = binary
    given = list(driving.batches(500, x=x, y=y))
    config = {"n_estimators": 4, "train_metrics": False}
    name = "xgboost/XGBClassifier"
    without, (history,) = driving.drive(name, given, config)
    assert history == without.model.history == []
    with_them, _ = driving.drive(name, given, {"n_estimators": 4})
    proba = [each.predict((), {"x": x, "output": "proba"}) for each in (without, with_them)]
    assert np.array_equal(*proba)
    _, (history,) = driving.drive(name, given, {**config, "eval_set": (x[:500], y[:500])})
    assert [set(row) for row in history] == [{"round", "validation-logloss"}] * 4
    with pytest.raises(ModelConfigError, match=r"output='loss'.*train_metrics=False"):
        driving.drive(name, given, config, output="loss")


def test_progress_of_the_rounds(binary, driving):
    x, y = binary
    seen = []
    run = RunInfo(progress=lambda what, done, total: seen.append((what, done, total)))
    driving.drive(
        "xgboost/XGBClassifier", driving.batches(500, x=x, y=y), {"n_estimators": 4}, run=run
    )
    assert seen == [("boosting rounds", done, 4) for done in (1, 2, 3, 4)]


def test_own_callbacks(binary, driving):
    x, y = binary

    class StopAtThree(xgb.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            return epoch == 2

    config = {"n_estimators": 50, "callbacks": [StopAtThree()]}
    handle, _ = driving.drive("xgboost/XGBClassifier", driving.batches(500, x=x, y=y), config)
    assert handle.model.booster.num_boosted_rounds() == 3


@pytest.mark.parametrize("fit_at", ["run", "epoch"])
def test_when_it_fits(binary, driving, fit_at):
    x, y = binary
    config = {"n_estimators": 3, "fit_at": fit_at}
    given = driving.batches(500, x=x, y=y)
    handle, histories = driving.drive("xgboost/XGBClassifier", given, config, n_epochs=3)
    assert len(histories) == (1 if fit_at == "run" else 3)
    once, _ = driving.drive(
        "xgboost/XGBClassifier", driving.batches(500, x=x, y=y), {"n_estimators": 3}
    )
    assert np.array_equal(
        handle.predict((), {"x": x, "output": "proba"}),
        once.predict((), {"x": x, "output": "proba"}),
    )
    assert ("every epoch" in handle.describe()) == (fit_at == "epoch")


def test_warm_start_adds_rounds(binary, driving):
    x, y = binary
    config = {"n_estimators": 3, "fit_at": "epoch", "warm_start": True}
    given = driving.batches(500, x=x, y=y)
    handle, _ = driving.drive("xgboost/XGBClassifier", given, config, n_epochs=3)
    assert handle.model.booster.num_boosted_rounds() == 9
    expected = xgb.XGBClassifier(n_estimators=9).fit(x, y)
    given = handle.predict((), {"x": x, "output": "proba"})
    assert np.allclose(given, expected.predict_proba(x), atol=1e-5)


def test_a_run_without_end_fits_at_every_epoch(binary, driving):
    x, y = binary
    handle, _ = driving.drive(
        "xgboost/XGBClassifier", [], {"n_estimators": 3}, run=RunInfo(n_epochs=None), n_epochs=0
    )
    handle.train((), {"x": x, "y": y})
    assert handle.end_epoch(0, False)[0]["round"] == 0


def test_the_seed_of_the_run_is_used_where_none_is_given(binary, driving):
    x, y = binary

    def margin(run_seed, **config):
        handle, _ = driving.drive(
            "xgboost/XGBClassifier",
            driving.batches(500, x=x, y=y),
            {"n_estimators": 3, "subsample": 0.5, **config},
            run=RunInfo(seed=run_seed),
        )
        return handle.predict((), {"x": x, "output": "margin"})

    assert np.array_equal(margin(1), margin(1))
    assert not np.array_equal(margin(1), margin(2))
    assert np.array_equal(margin(1, random_state=7), margin(2, random_state=7))
    assert np.array_equal(margin(7), margin(2, seed=7))


def test_rounds_that_are_added_do_not_depend_on_what_others_drew(binary, driving, tmp_path):
    x, y = binary
    config = {"n_estimators": 3, "warm_start": True, "subsample": 0.5}

    def added_to(model, first=None, config=config):
        handle = first or driving.drive(model, driving.batches(500, x=x, y=y), config)[0]
        driving.train(handle, driving.batches(500, x=x, y=y))
        assert handle.model.booster.num_boosted_rounds() == 6
        return handle.predict((), {"x": x, "output": "margin"})

    name = "xgboost/XGBClassifier"
    undisturbed = added_to(name)
    first, _ = driving.drive(name, driving.batches(500, x=x, y=y), config)
    first.save(tmp_path / "model")
    xgb.XGBClassifier(n_estimators=1, subsample=0.5).fit(x, y)  # draws in the same thread
    assert np.array_equal(added_to(name, first), undisturbed)
    loaded = load_model(tmp_path / "model")
    assert np.array_equal(added_to(name, loaded._handle), undisturbed)


def test_a_callback_of_the_library_begins_each_training_anew(binary, driving):
    x, y = noisy(binary)
    config = {
        "n_estimators": 50,
        "eval_set": (x[2000:], y[2000:]),
        "callbacks": [xgb.callback.EarlyStopping(rounds=3)],
    }
    best = []
    for seed in (0, 0, 1):  # two models of one config, as pipelines of one template have them
        config["random_state"] = seed
        batches = driving.batches(500, x=x[:2000], y=y[:2000])
        handle, _ = driving.drive("xgboost/XGBClassifier", batches, config)
        best.append(handle.model.best_iteration)
        driving.train(handle, driving.batches(500, x=x[:2000], y=y[:2000]))
        assert handle.model.best_iteration == best[-1]
    assert best[0] is not None
    assert best[1] == best[0]


def test_a_metric_that_is_a_function_is_asked_for_by_its_name(binary, driving):
    x, y = binary

    def bias(y_true, y_pred):
        return float(np.mean(y_pred - y_true))

    config = {"n_estimators": 3, "eval_metric": ["auc", bias]}
    given = driving.batches(500, x=x, y=y)
    _, (values,) = driving.drive("xgboost/XGBClassifier", given, config, output=["auc", "bias"])
    given = driving.batches(500, x=x, y=y)
    _, (history,) = driving.drive("xgboost/XGBClassifier", given, config)
    assert values == [[row[f"train-{name}"] for row in history] for name in ("auc", "bias")]
