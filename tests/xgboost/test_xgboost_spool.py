"""Gathered rows keep to their bounds, and what is on disk goes away on every path."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest

from batchloom.errors import ModelInputError
from batchloom.models import RunInfo
from batchloom.models.spec import ModelSpec

SPOOL = {"n_estimators": 2, "spool": True, "max_bytes": 4000}


def begun(**config):
    handle = ModelSpec.resolve("xgboost/XGBRegressor", None, {**SPOOL, **config}).make(
        pipeline=None
    )
    handle.begin_run(RunInfo())
    return handle


def folders(where=None):
    return list(Path(where or tempfile.gettempdir()).glob("batchloom-xgboost-*"))


@pytest.fixture
def batch():
    x = np.random.default_rng(0).normal(size=(200, 5))
    return {"x": x, "y": x[:, 0]}


def test_pages_go_to_disk_and_away(batch):
    handle = begun()
    handle.train((), batch)
    (folder,) = folders()
    assert sum(each.stat().st_size for each in folder.iterdir()) > 4000
    handle.end_epoch(0, True)
    assert not folders()
    assert handle.predict((), {"x": batch["x"]}).shape == (200,)


def test_between_epochs(batch):
    handle = begun()
    for epoch in range(3):
        handle.train((), batch)
        assert len(folders()) == 1
        handle.end_epoch(epoch, epoch == 2)
    assert not folders()


def test_abandoned(batch):
    handle = begun()
    handle.train((), batch)
    handle.abandon_run()
    assert not folders()
    handle.begin_run(RunInfo())
    handle.train((), batch)
    handle.end_epoch(0, True)
    assert not folders()


@pytest.mark.parametrize("memory", ["internal", "external"])
def test_after_an_error_in_training(batch, memory):
    def stops(y_true, y_pred):
        raise KeyboardInterrupt

    for objective, expected in (
        (stops, KeyboardInterrupt),
        (lambda t, p: 1 / 0, ZeroDivisionError),
    ):
        handle = begun(objective=objective, memory=memory)
        handle.train((), batch)
        with pytest.raises(expected):
            handle.end_epoch(0, True)
        handle.abandon_run()
        assert not folders()


def test_interrupted_while_the_matrix_is_built(batch, monkeypatch):
    from batchloom_xgboost.spool import Spool

    def stops(self, page):
        raise KeyboardInterrupt

    handle = begun()
    handle.train((), batch)
    monkeypatch.setattr(Spool, "__getitem__", stops)
    with pytest.raises(KeyboardInterrupt):
        handle.end_epoch(0, True)
    assert not folders()


def test_when_the_model_is_forgotten(batch):
    handle = begun()
    handle.train((), batch)
    assert folders()
    del handle
    import gc

    gc.collect()
    assert not folders()


def test_at_the_exit_of_the_interpreter(tmp_path):
    code = """
        import numpy as np
        from batchloom.models import RunInfo
        from batchloom.models.spec import ModelSpec
        handle = ModelSpec.resolve("xgboost/XGBRegressor", None, {"spool": True, "max_bytes": 400})
        handle = handle.make(pipeline=None)
        handle.begin_run(RunInfo())
        handle.train((), {"x": np.zeros((100, 5)), "y": np.zeros(100)})
        import glob, tempfile
        print(len(glob.glob(tempfile.gettempdir() + "/batchloom-xgboost-*")))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout.strip() == "1"
    assert not folders(tmp_path)


def test_in_a_folder_of_choice(batch, tmp_path):
    handle = begun(spool=tmp_path)
    assert len(folders(tmp_path)) == 1
    handle.train((), batch)
    handle.end_epoch(0, True)
    assert not folders(tmp_path)


def test_bounds(batch):
    handle = begun(spool=False)
    with pytest.raises(ModelInputError, match="max_bytes is 4000"):
        handle.train((), batch)
    handle = begun(max_rows=300)
    handle.train((), batch)
    with pytest.raises(ModelInputError, match="400 rows, and max_rows is 300"):
        handle.train((), batch)
    handle.abandon_run()


@pytest.mark.slow
def test_external_memory_trains_within_its_bound(tmp_path):
    """160 MB of rows, a bound of 32 MB: the process grows by less than half of the rows."""
    code = """
        import resource, numpy as np
        from batchloom.models import RunInfo
        from batchloom.models.spec import ModelSpec
        config = {"n_estimators": 3, "memory": "external", "max_bytes": 32 << 20, "n_jobs": 2}
        handle = ModelSpec.resolve("xgboost/XGBRegressor", None, config).make(pipeline=None)
        random = np.random.default_rng(0)
        handle.begin_run(RunInfo())
        first = random.normal(size=(2000, 40)).astype(np.float32)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for i in range(500):
            x = first + np.float32(i % 7)
            handle.train((), {"x": x, "y": x[:, 0]})
        handle.end_epoch(0, True)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    assert float(ended.stdout) < 80
