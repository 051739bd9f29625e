"""What lifecycle plug-ins are told of runs: the beginning, the end, and which operation belongs to which."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.models import BaseModel, PipelineRun, hookimpl
from batchloom.models.lifecycle import register_plugin, unregister_plugin


class Points(Batch):
    components = ("x",)

    @action
    def train_in_action(self, name):
        self.get_model_by_name(name).train(self.x)
        return self


class Mean(BaseModel):
    """Counts what it is shown; fails at a negative number."""

    def _train(self, x):
        if np.min(x) < 0:
            raise ValueError("a negative number")
        return float(np.mean(x))

    def _end_epoch(self, epoch, last):
        return None


class Log:
    """Writes down what it is told, with the run that it belongs to."""

    def __init__(self) -> None:
        self.runs: list[PipelineRun] = []
        self.events: list[tuple] = []

    def _note(self, event, run, *details):
        place = self.runs.index(run) if run is not None else None
        self.events.append((event, place, *details))

    @hookimpl
    def begin_run(self, run):
        self.runs.append(run)
        self._note("begin", run)

    @hookimpl
    def end_run(self, run, exception):
        self._note("end", run, type(exception).__name__)

    @hookimpl(wrapper=True)
    def train_model(self, name, run, batch):
        result = yield
        self._note("train", run, name, None if batch is None else batch.number)
        return result

    @hookimpl(wrapper=True)
    def end_epoch(self, name, epoch, run):
        result = yield
        self._note("epoch", run, name, epoch)
        return result


@pytest.fixture
def log() -> Iterator[Log]:
    plugin = Log()
    name = register_plugin(plugin)
    yield plugin
    unregister_plugin(name)


def points(*values: float) -> Dataset:
    return Dataset(batch_class=Points, data={"x": np.array(values)})


def training(config=None) -> Pipeline:
    return Pipeline(config).init_model("dynamic", Mean, "mean").train_model("mean", x="x")


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_run_begins_trains_and_ends(log: Log, prefetch: int) -> None:
    data = points(1, 2, 3)
    (training({"depth": 2}) << data).run(2, n_epochs=2, prefetch=prefetch, seed=5)
    assert log.events == [
        ("begin", 0),
        ("train", 0, "mean", 0),
        ("train", 0, "mean", 1),
        ("epoch", 0, "mean", 0),
        ("train", 0, "mean", 2),
        ("train", 0, "mean", 3),
        ("epoch", 0, "mean", 1),
        ("end", 0, "NoneType"),
    ]
    (run,) = log.runs
    assert run.dataset is data
    assert dict(run.config) == {"depth": 2}
    assert (run.seed, run.models) == (5, ("mean",))
    assert run.options["batch_size"] == 2
    assert run.options["n_epochs"] == 2
    assert run.options["drop_last"] is False


@pytest.mark.parametrize("prefetch", [0, 3])
def test_training_inside_an_action_belongs_to_the_run_in_whatever_thread(log, prefetch) -> None:
    pipeline = Pipeline().init_model("dynamic", Mean, "mean").train_in_action("mean")
    (pipeline << points(1, 2, 3)).run(1, prefetch=prefetch)
    trainings = [("train", 0, "mean", None)] * 3
    assert log.events == [
        ("begin", 0),
        *trainings,
        ("epoch", 0, "mean", 0),
        ("end", 0, "NoneType"),
    ]


def test_training_by_hand_belongs_to_no_run(log: Log) -> None:
    done = (training() << points(1)).run(1)
    done.get_model_by_name("mean").train(np.ones(1))
    assert log.events[-1] == ("train", None, "mean", None)


def test_runs_that_take_turns_are_told_apart(log: Log) -> None:
    first = (training() << points(1, 2)).gen_batch(1)
    second = (training() << points(3, 4)).gen_batch(1)
    for _ in zip(first, second, strict=True):
        pass
    assert [each[:2] for each in log.events if each[0] == "train"] == [
        ("train", 0),
        ("train", 1),
        ("train", 0),
        ("train", 1),
    ]
    assert {each[1] for each in log.events if each[0] == "end"} == {0, 1}


@pytest.mark.parametrize("prefetch", [0, 3])
def test_the_end_of_a_run_says_what_ended_it(log: Log, prefetch: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        (training() << points(1, -2, 3)).run(1, prefetch=prefetch)
    assert log.events[-1] == ("end", 0, "ValueError")
    batches = (training() << points(1, 2, 3)).gen_batch(1, prefetch=prefetch)
    next(batches)
    batches.close()
    assert log.events[-1] == ("end", 1, "GeneratorExit")
    (training() << points(1, -2, 3)).run(1, prefetch=prefetch, on_error="skip")
    assert log.events[-1] == ("end", 2, "NoneType")


def test_who_stops_after_the_last_batch_has_had_the_whole_run(log: Log) -> None:
    batches = (training() << points(1, 2)).gen_batch(1)
    next(batches), next(batches)
    batches.close()
    assert log.events[-1] == ("end", 0, "NoneType")


def test_a_plugin_that_fails_at_the_beginning_ends_the_run(log: Log) -> None:
    class Refusing:
        @hookimpl(trylast=True)
        def begin_run(self):
            raise RuntimeError("not today")

    name = register_plugin(Refusing())
    try:
        with pytest.raises(RuntimeError, match="not today"):
            (training() << points(1)).run(1)
    finally:
        unregister_plugin(name)
    assert log.events == [("begin", 0), ("end", 0, "RuntimeError")]


def test_a_pipeline_without_models_tells_nobody_and_scans_nothing(log: Log) -> None:
    points(1, 2).p.run(1)
    assert log.events == []
    code = """
        import sys, numpy as np
        from batchloom import Dataset
        Dataset(data={"x": np.ones(3)}).p.run(1)
        assert "importlib_metadata" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=True)
