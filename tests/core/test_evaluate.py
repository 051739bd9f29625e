"""evaluate_model: metrics of all targets and predictions of a run, in order, when it ends."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batchloom import B, Batch, Dataset, Pipeline, V, action
from batchloom.errors import (
    DataError,
    DefinitionError,
    UnknownComponentError,
    UnknownDestinationError,
    UnknownNameError,
)
from batchloom.models import BaseModel


class Parity(BaseModel):
    data_args = ("x",)
    predict_is_thread_safe = True

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.shown: list[int] = []

    def _train(self, x: Any) -> None:
        self.shown.append(len(x))

    def _predict(self, x: Any) -> Any:
        return np.asarray(x) % 2


class Items(Batch):
    @action
    def spoil(self) -> Items:
        self.y[...] = -1
        self.x[...] = -1
        return self

    @action
    def fail_on_second(self) -> Items:
        if self.number == 1:
            raise OSError("second")
        return self


N = 11
DATA = {"x": np.arange(N), "y": (np.arange(N) + (np.arange(N) > 7)) % 2}


def base(**data: Any) -> Pipeline:
    dataset = Dataset(batch_class=Items, data=data or DATA)
    return dataset.p.init_variable("result", init_on_each_run=None).init_model(
        "static", Parity, "m"
    )


def pairs(true: Any, predicted: Any) -> tuple[list[int], list[int]]:
    return list(true), list(predicted)


def accuracy(true: Any, predicted: Any) -> float:
    return float(np.mean(np.asarray(true) == np.asarray(predicted)))


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("size", [1, 4, N, 50])
def test_the_whole_run_in_order(prefetch: int, size: int) -> None:
    pipeline = base().evaluate_model("m", x="x", y="y", metrics={"pairs": pairs}, save_to="result")
    pipeline.run(size, prefetch=prefetch)
    expected = (DATA["y"].tolist(), (DATA["x"] % 2).tolist())
    assert pipeline.get_variable("result") == {"pairs": expected}
    pipeline.run(size, prefetch=prefetch, shuffle=3, n_epochs=2)
    order = [
        i for each in pipeline.dataset.gen_batch(size, shuffle=3, n_epochs=2) for i in each.indices
    ]
    assert pipeline.get_variable("result")["pairs"][0] == DATA["y"][order].tolist()
    assert pipeline.get_variable("result")["pairs"][1] == (DATA["x"][order] % 2).tolist()


def test_what_is_kept_is_not_spoilt_by_the_steps_that_follow() -> None:
    pipeline = base().evaluate_model("m", x="x", y="y", metrics=pairs, save_to="result").spoil()
    assert pipeline.run(4).get_variable("result")["pairs"][0] == DATA["y"].tolist()


class Several(Parity):
    """Gives its outputs in the structure that it is asked for, or of its own accord as a list."""

    literal_args = ("output",)

    def _predict(self, x: Any, output: Any = None) -> Any:
        found = {"parity": x % 2, "both": np.stack([x, -x], axis=1)}
        if isinstance(output, dict):
            return {key: found[name] for key, name in output.items()}
        return type(output)(found[name] for name in output) if output else list(found.values())


# A list that nobody asked for, and as long as the batch, is taken for its items' values.
@pytest.mark.parametrize(
    ("output", "size"),
    [
        *[(["parity", "both"], size) for size in (2, 3, 11)],
        *[(("parity", "both"), size) for size in (2, 3, 11)],
        (None, 3),
        (None, 11),
    ],
)
def test_each_of_several_outputs_is_that_of_the_whole_run(size: int, output: Any) -> None:
    seen: list[Any] = []
    pipeline = (
        Dataset(data=DATA)
        .p.init_variable("result")
        .init_model("static", Several, "m")
        .evaluate_model(
            "m",
            x="x",
            y=["y", "x"],
            output=output,
            metrics=lambda true, predicted: seen.append((true, predicted)),
            save_to="result",
        )
    )
    pipeline.run(size)
    ((true, predicted),) = seen
    assert [each.tolist() for each in true] == [DATA["y"].tolist(), DATA["x"].tolist()]
    assert predicted[0].tolist() == (DATA["x"] % 2).tolist()
    assert predicted[1].tolist() == [[each, -each] for each in range(N)]


def test_several_outputs_by_name() -> None:
    seen: list[Any] = []
    Dataset(data=DATA).p.init_variable("result").init_model("static", Several, "m").evaluate_model(
        "m",
        x="x",
        y="y",
        output={"a": "parity", "b": "both"},
        metrics=lambda true, predicted: seen.append(predicted),
        save_to="result",
    ).run(4)
    assert {key: each.shape for key, each in seen[0].items()} == {"a": (N,), "b": (N, 2)}


class Columns(BaseModel):
    """Predicts a column, as networks do, in the form that it is told."""

    literal_args = ("form",)

    def _train(self, x: Any) -> None: ...

    def _predict(self, x: Any, form: str) -> Any:
        column = x.reshape(-1, 1) % 2
        return {"one": column, "tuple": (column, x), "dict": {"a": column, "b": column[:, 0]}}[form]


@pytest.mark.parametrize(
    ("form", "y"),
    [("one", "y"), ("tuple", ("y", "column")), ("dict", {"a": "y", "b": "column"})],
)
def test_a_column_is_compared_with_values_one_by_one(form: str, y: Any) -> None:
    seen: list[Any] = []
    data = {**DATA, "column": DATA["y"].reshape(-1, 1)}
    Dataset(data=data).p.init_variable("result").init_model("static", Columns, "m").evaluate_model(
        "m", x="x", form=form, y=y, metrics=lambda *both: seen.append(both), save_to="result"
    ).run(4)
    true, predicted = (
        [each] if form == "one" else list(each.values() if form == "dict" else each)
        for each in seen[0]
    )
    assert [each.shape for each in (*true, *predicted)] == [(N,)] * 2 * len(true)
    assert float(np.mean((true[0] - predicted[0]) ** 2)) == 3 / 11


@pytest.mark.parametrize(
    "metrics",
    [
        {"accuracy": accuracy},
        accuracy,
        [accuracy],
        (accuracy, pairs),
        {"a": accuracy, "b": functools.partial(accuracy)},
    ],
)
def test_forms_of_metrics(metrics: Any) -> None:
    result = base().evaluate_model("m", x="x", y="y", metrics=metrics, save_to="result").run(4)
    values = [each for each in result.get_variable("result").values() if isinstance(each, float)]
    assert set(values) == {8 / 11}


def test_names_of_sklearn_metrics() -> None:
    pytest.importorskip("batchloom_sklearn")
    metrics = pytest.importorskip("sklearn.metrics")
    pipeline = base().evaluate_model(
        "m",
        x="x",
        y="y",
        metrics=["accuracy_score", "sklearn/confusion_matrix", "f1_score"],
        save_to="result",
    )
    result = pipeline.run(4).get_variable("result")
    true, predicted = DATA["y"], DATA["x"] % 2
    assert (
        result["accuracy_score"] == metrics.accuracy_score(true, predicted) == pytest.approx(8 / 11)
    )
    assert result["f1_score"] == metrics.f1_score(true, predicted)
    matrix = result["sklearn/confusion_matrix"]
    assert matrix.tolist() == metrics.confusion_matrix(true, predicted).tolist()
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy"):
        base().evaluate_model("m", x="x", y="y", metrics="acuracy_score", save_to="result")


def test_targets_of_every_kind() -> None:
    labels = pd.Series(DATA["y"], index=list("abcdefghijk"))
    for target in ("y", B.y):
        pipeline = base(x=DATA["x"], y=labels)
        pipeline = pipeline.evaluate_model("m", x="x", y=target, metrics=accuracy, save_to="result")
        assert pipeline.run(3).get_variable("result") == {"accuracy": 8 / 11}


def test_make_data_makes_the_arguments_of_the_prediction() -> None:
    pipeline = base().evaluate_model(
        "m", lambda batch, model: {"x": batch.x + 1}, y="y", metrics=accuracy, save_to="result"
    )
    assert pipeline.run(3).get_variable("result") == {"accuracy": pytest.approx(3 / 11)}


def test_results_of_runs_can_be_collected() -> None:
    pipeline = base().init_variable("all", init=list)
    pipeline = pipeline.evaluate_model("m", x="x", y="y", metrics=accuracy, append_to="all")
    pipeline.run(4).run(5)
    assert pipeline.get_variable("all") == [{"accuracy": 8 / 11}] * 2


def test_training_and_evaluating_in_one_pipeline() -> None:
    pipeline = base().train_model("m", x="x")
    pipeline = pipeline.evaluate_model("m", x="x", y="y", metrics=accuracy, save_to=V.result)
    assert pipeline.run(4, prefetch=4).get_variable("result") == {"accuracy": 8 / 11}
    assert pipeline.get_model_by_name("m").shown == [4, 4, 3]


def test_two_evaluations_are_apart() -> None:
    pipeline = base().init_variable("other")
    pipeline = pipeline.evaluate_model("m", x="x", y="y", metrics=accuracy, save_to="result")
    pipeline = pipeline.evaluate_model("m", x="x", y="x", metrics=accuracy, save_to="other")
    pipeline.run(4)
    assert pipeline.get_variable("result") == {"accuracy": 8 / 11}
    assert pipeline.get_variable("other") == {"accuracy": 2 / 11}


def test_a_batch_that_fails_is_left_out_of_both() -> None:
    pipeline = base().fail_on_second()
    pipeline = pipeline.evaluate_model("m", x="x", y="y", metrics=pairs, save_to="result")
    true, predicted = pipeline.run(4, on_error="skip").get_variable("result")["pairs"]
    assert len(true) == len(predicted) == 7


def test_a_run_that_is_broken_off_leaves_nothing_for_the_next() -> None:
    pipeline = base().evaluate_model("m", x="x", y="y", metrics=pairs, save_to="result")
    stream = pipeline.gen_batch(4, prefetch=2)
    next(stream)
    stream.close()
    assert pipeline.get_variable("result") is None
    assert len(pipeline.run(4).get_variable("result")["pairs"][0]) == N


def test_an_empty_run_computes_nothing() -> None:
    pipeline = base().evaluate_model("m", x="x", y="y", metrics=accuracy, save_to="result")
    assert (pipeline << Dataset(data={"x": [], "y": []})).run(4).get_variable("result") is None
    assert pipeline.run(4, n_epochs=0).get_variable("result") is None


def test_results_are_there_with_the_last_batch() -> None:
    pipeline = base().evaluate_model("m", x="x", y="y", metrics=accuracy, save_to="result")
    seen = [pipeline.get_variable("result") for _ in pipeline.gen_batch(4)]
    assert seen == [None, None, {"accuracy": 8 / 11}]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"save_to": None}, DefinitionError, "needs save_to= or append_to="),
        ({"save_to": ["result", "other"]}, DefinitionError, "one variable"),
        ({"save_to": B.result}, DefinitionError, "variable"),
        ({"save_to": "reslt"}, UnknownDestinationError, "in save_to: did you mean 'result'"),
        ({"save_to": "x"}, UnknownDestinationError, "'x'"),
        ({"metrics": []}, DefinitionError, "at least one metric"),
        ({"metrics": None}, DefinitionError, "metrics=None: give f"),
        ({"metrics": 3}, DefinitionError, "metrics=3: give f"),
        ({"metrics": {"a": 3}}, DefinitionError, "metric 'a' is 3"),
        ({"metrics": [3]}, DefinitionError, "metric '3' is 3"),
        ({"metrics": [accuracy, accuracy]}, DefinitionError, "two metrics of one name"),
        ({"y": "labels"}, UnknownComponentError, "'labels'"),
        ({"x": "z"}, UnknownComponentError, "'z'"),
        ({"y": B.z}, UnknownComponentError, "'z'"),
    ],
)
def test_what_could_only_fail_at_the_end_is_refused_at_the_beginning(
    options: dict, error: type, said: str
) -> None:
    arguments = {"x": "x", "y": "y", "metrics": accuracy, "save_to": "result", **options}
    with pytest.raises(error, match=said):
        base().evaluate_model("m", **arguments)


def test_a_metric_that_raises_keeps_its_type_and_is_named() -> None:
    def fails(true: Any, predicted: Any) -> float:
        raise ZeroDivisionError("mine")

    pipeline = base().evaluate_model("m", x="x", y="y", metrics=fails, save_to="result")
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        pipeline.run(4)
    assert any("fails" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (lambda x: x[1:], "3 rows"),
        (lambda x: {"whole": x, "less": x[1:]}, "3 rows"),
        (lambda x: 1.0, "no rows"),
        (lambda x: None, "no rows"),
    ],
)
def test_predictions_that_are_not_one_for_each_item_are_refused_at_their_batch(
    output: Any, found: str
) -> None:
    class Wrong(Parity):
        def _predict(self, x: Any) -> Any:
            return output(np.asarray(x))

    evaluation = Dataset(data={"x": np.arange(8), "y": np.arange(8)}).p.init_variable("s")
    evaluation = evaluation.init_model("dynamic", Wrong, "m")
    with pytest.raises(DataError, match=f"predicts has {found}.*4 items") as caught:
        evaluation.evaluate_model("m", x="x", y="y", metrics=len, save_to="s").run(4)
    assert any("batch 0 of epoch 0" in note for note in caught.value.__notes__)


def test_targets_are_those_of_the_batch() -> None:
    evaluation = Dataset(data={"x": np.arange(8)}).p.init_variable("s")
    evaluation = evaluation.init_model("dynamic", Parity, "m")
    with pytest.raises(DataError, match="y has 8 rows, and the batch 4 items"):
        evaluation.evaluate_model("m", x="x", y=np.arange(8), metrics=len, save_to="s").run(4)
