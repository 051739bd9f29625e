"""What a pipeline, its variables and its models look like when they are printed."""

from __future__ import annotations

import logging
import sys
import threading
from types import ModuleType

import numpy as np
import pytest

from batchloom import Dataset, Pipeline
from batchloom.models import BaseModel


class Gatherer(BaseModel):
    """Says when it is fitted, before and after it is made."""

    data_args = ("x",)

    def _train(self, x):
        pass

    def _describe(self):
        return f"fits at the end of the {self.config['fit_at']}"

    @classmethod
    def describe_unbuilt(cls, config):
        return f"will fit at the end of the {config['fit_at']}"


def pipeline() -> Pipeline:
    return (
        Dataset(data={"images": np.arange(6.0)})
        .p.init_variable("losses", init_on_each_run=list)
        .init_model("dynamic", Gatherer, "model", config={"fit_at": "run"})
        .train_model("model", x="images")
    )


def test_describe_says_when_a_model_is_fitted_before_and_after_it_is_made() -> None:
    there = pipeline()
    assert "model  Gatherer, dynamic, not made yet: will fit at the end of the run" in str(there)
    there.run(2)
    assert "model  Gatherer, dynamic, made: fits at the end of the run" in there.describe()


def test_describe_names_dataset_and_steps_in_order() -> None:
    lines = pipeline().describe().splitlines()
    assert lines[0] == "Pipeline over <Dataset of 6 items: images; Batch>"
    assert lines[1] == "  1. init_variable('losses', init_on_each_run=list)"
    assert lines[3] == "  3. train_model('model', x='images')"


def test_describe_of_a_template_and_of_an_imported_model() -> None:
    source = pipeline()
    template = Pipeline().import_model("model", source).predict_model("model", x="images")
    assert template.describe().startswith("Pipeline over no dataset (a template)")
    assert "model  of another pipeline, imported, not made yet" in str(template)
    source.run(2)
    assert "model  Gatherer, imported, made: fits at the end of the run" in str(template)


def test_the_notebook_form_escapes_and_stays_small() -> None:
    nasty = Pipeline().init_variable("<script>", "</code>")
    html = nasty._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert len(pipeline()._repr_html_()) < 5000


def test_a_model_prints_its_name_and_kind() -> None:
    there = pipeline().run(2)
    assert repr(there.get_model_by_name("model")) == "<model 'model' (Gatherer)>"


def test_long_variables_are_cut_short() -> None:
    there = pipeline().run(2)
    there.variables["losses"].extend(range(10_000))
    assert len(repr(there.variables)) < 100


def test_without_a_terminal_each_epoch_is_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="batchloom"):
        pipeline().run(2, n_epochs=3, bar=True)
    assert [each.getMessage() for each in caplog.records] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert capsys.readouterr().err == ""


def test_a_process_without_stderr_logs_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with caplog.at_level(logging.INFO, logger="batchloom"):
        pipeline().run(2, bar=True)
    assert [each.getMessage() for each in caplog.records] == ["epoch 1/1"]


def test_a_notebook_draws_the_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    pipeline().run(2, n_epochs=3, bar=True)
    assert "epoch 3/3: 100%" in capsys.readouterr().err


def test_no_bar_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline().run(2)
    assert capsys.readouterr() == ("", "")


def test_a_bar_leaves_no_thread_behind():
    before = set(threading.enumerate())
    Dataset(data={"x": np.arange(6)}).p.apply(np.sqrt, "x").run(2, bar=True)
    assert set(threading.enumerate()) == before
