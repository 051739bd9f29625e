"""Checkpoints: a run that was stopped goes on with the result that it would have had."""

from __future__ import annotations

import datetime
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import stopped_means
from stopped_means import Noisy, X, pipeline, result, stopped

from batchloom import Dataset, V
from batchloom.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CorruptFileError,
    DefinitionError,
)


@pytest.mark.parametrize("prefetch", [(0, 0), (0, 4), (4, 0), (4, 1)])
@pytest.mark.parametrize("at", [1, 14, 15, 16, 29, 44])
def test_a_stopped_run_goes_on_to_the_bit(at, prefetch, tmp_path):
    whole = result(pipeline().run(7, shuffle=5, n_epochs=3))
    stopped(pipeline(), at, tmp_path, checkpoint_every=1, prefetch=prefetch[0])
    assert result(pipeline().resume(tmp_path, prefetch=prefetch[1])) == whole


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("every", [4, "epoch", datetime.timedelta(seconds=0)])
def test_the_same_run_again_goes_on(every, mode, tmp_path):
    whole = result(pipeline(mode=mode).run(7, shuffle=5, n_epochs=3))
    stopped(pipeline(mode=mode), 31, tmp_path, checkpoint_every=every)
    again = pipeline(mode=mode).run(7, shuffle=5, n_epochs=3, checkpoint=tmp_path)
    assert result(again) == whole


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_pipeline_that_rebatches_goes_on_from_an_epochs_end(prefetch, tmp_path):
    whole = result(pipeline(rebatch=13).run(7, shuffle=5, n_epochs=3))
    stopped(pipeline(rebatch=13), 20, tmp_path, checkpoint_every=1, prefetch=prefetch)
    assert result(pipeline(rebatch=13).resume(tmp_path)) == whole


def test_a_run_goes_on_from_every_batch(tmp_path):
    whole = result(pipeline().run(7, shuffle=5, n_epochs=3))
    for at in range(1, 45):
        stopped(pipeline(), at, tmp_path / str(at), checkpoint_every=at)
        assert result(pipeline().resume(tmp_path / str(at), checkpoint_every=99)) == whole, at


def test_stopped_twice_it_goes_on_twice(tmp_path):
    whole = result(pipeline().run(7, shuffle=5, n_epochs=3))
    stopped(pipeline(), 9, tmp_path, checkpoint_every=2)
    stopped(pipeline(), 33, tmp_path, checkpoint_every=2)
    assert result(pipeline().resume(tmp_path)) == whole


@pytest.mark.parametrize(
    ("stops", "every"), [((1, 2, 3), 1), ((2, 5, 9), 2), ((3, 14, 15), 2), ((31, 37, 44), 3)]
)
def test_stopped_again_in_the_epoch_it_went_on_in(stops, every, tmp_path):
    """A checkpoint of a resumed run is of the place it has come to, not of how many batches it has done."""
    whole = result(pipeline().run(7, shuffle=5, n_epochs=3))
    for at in stops:
        stopped(pipeline(), at, tmp_path, checkpoint_every=every, prefetch=at % 3)
        newest = max(each.name for each in tmp_path.iterdir())
        assert 0 <= at - int(newest[11:23]) <= every
    assert result(pipeline().resume(tmp_path)) == whole


def test_a_fresh_seed_is_kept(tmp_path):
    first = pipeline()
    stopped(first, 20, tmp_path, shuffle=True, checkpoint_every=3)
    gone_on = pipeline().run(7, shuffle=True, n_epochs=3, checkpoint=tmp_path)
    assert gone_on.seed == first.seed
    assert result(gone_on) == result(pipeline().run(7, shuffle=True, n_epochs=3, seed=first.seed))


def test_a_finished_run_is_not_done_again(tmp_path):
    done = pipeline().run(7, shuffle=5, n_epochs=3, checkpoint=tmp_path)
    again = pipeline().run(7, shuffle=5, n_epochs=3, checkpoint=tmp_path)
    assert result(again) == result(done)
    assert again.get_variable("kept") == 45


def test_iterating_goes_on_too(tmp_path):
    numbers = [each.number for each in pipeline().gen_batch(7, n_epochs=2)]
    seen = []
    for each in pipeline().gen_batch(
        7, n_epochs=2, seed=1, checkpoint=tmp_path, checkpoint_every=1
    ):
        if each.number == 19:
            break
        seen.append(each.number)
    later = [each.number for each in pipeline().gen_batch(7, n_epochs=2, checkpoint=tmp_path)]
    assert seen + later == numbers


def test_failures_are_remembered(tmp_path):
    dataset = Dataset(data={"x": X, "y": X[:, 0]}, batch_class=Noisy)

    class Bad(Exception):  # noqa: N818
        pass

    calls = itertools.count()

    def check(x):
        call = next(calls)
        if call in (5, 7):
            raise KeyboardInterrupt
        if call == 1:
            raise Bad("no good")
        return x

    def run():
        return dataset.p.apply(check, "x").run(
            10, on_error="skip", checkpoint=tmp_path, checkpoint_every=1
        )

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run()
    (failure,) = run().failures
    assert (failure.epoch, failure.number) == (0, 1)
    assert str(failure.exception) == failure.reason == "Bad: no good"
    assert repr(failure).endswith(": Bad: no good>")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": X + 1}, "column 'x'"),
        ({"data": X[:99]}, "99 items"),
        ({"config": {"decay": 0.5}}, "decay"),
        ({"rebatch": 10}, "RebatchStep"),
    ],
)
def test_another_definition_or_other_data_is_refused(change, said, tmp_path):
    stopped(pipeline(), 20, tmp_path)
    with pytest.raises(CheckpointMismatchError, match=said):
        pipeline(**change).resume(tmp_path)


@pytest.mark.parametrize(
    "options", [{"n_epochs": 4}, {"batch_size": 8}, {"shuffle": 6}, {"shuffle": False}]
)
def test_other_options_are_refused(options, tmp_path):
    stopped(pipeline(), 20, tmp_path)
    given = {"batch_size": 7, "shuffle": 5, "n_epochs": 3, **options}
    with pytest.raises(CheckpointMismatchError, match="then"):
        pipeline().run(**given, checkpoint=tmp_path)


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        pipeline().resume(tmp_path)


@pytest.mark.parametrize("every", [0, -1, 2.5, True, "hour", None])
def test_a_wrong_interval_is_refused(every, tmp_path):
    with pytest.raises(DefinitionError, match="checkpoint_every"):
        pipeline().run(7, checkpoint=tmp_path, checkpoint_every=every)
    assert not list(tmp_path.iterdir())


def test_a_variable_that_cannot_be_kept_is_named(tmp_path):
    made = pipeline().init_variable("thing").set_variable("thing", object())
    with pytest.raises(CheckpointError, match="variable 'thing' holds builtins.object"):
        made.run(7, checkpoint=tmp_path)


def test_a_config_of_expressions_is_kept(tmp_path):
    def make():
        return pipeline(config={"decay": V("kept")})

    whole = result(make().run(7, shuffle=5, n_epochs=3))
    stopped(make(), 20, tmp_path, checkpoint_every=3)
    assert result(make().resume(tmp_path)) == whole


def test_a_damaged_checkpoint_is_found_out(tmp_path):
    stopped(pipeline(), 20, tmp_path)
    newest = max(tmp_path.iterdir())
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    newest.write_bytes(data)
    with pytest.raises(CorruptFileError):
        pipeline().resume(tmp_path)


KILLED = """
import os, signal, sys
import stopped_means as t
folder, at, where = sys.argv[1:]
calls = 0

def deadly(method, here):
    def call(self, *args, **kwargs):
        global calls
        result = method(self, *args, **kwargs)
        calls += method is train
        if calls == int(at) and where == here:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

train, save = t.Running._train, t.Running._save
t.Running._train, t.Running._save = deadly(train, "batch"), deadly(save, "checkpoint")
t.pipeline().run(7, shuffle=5, n_epochs=3, checkpoint=folder, checkpoint_every=2, prefetch=2)
"""


@pytest.mark.parametrize("where", ["batch", "checkpoint"])
@pytest.mark.parametrize("at", [4, 22])
def test_a_killed_process_leaves_a_checkpoint_to_go_on_from(at, where, tmp_path):
    arguments = [str(tmp_path), str(at), where]
    importable = {"PYTHONPATH": str(Path(stopped_means.__file__).parent)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], env={**os.environ, **importable}, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    whole = result(pipeline().run(7, shuffle=5, n_epochs=3))
    assert result(pipeline().resume(tmp_path)) == whole
    assert not [each for each in tmp_path.iterdir() if not each.name.startswith("checkpoint-")]
