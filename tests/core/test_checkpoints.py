"""Checkpoints: a run that was stopped goes on with the result that it would have had."""

import datetime
import itertools
import signal
import subprocess
import sys

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, V, action
from batchloom.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CorruptFileError,
    DefinitionError,
)
from batchloom.models import BaseModel

X = np.random.default_rng(0).normal(size=(100, 6))


class Stop(Exception):  # noqa: N818
    pass


class Noisy(Batch):
    components = "x", "y"
    stop_at = None

    @action
    def noise(self):
        self.x = self.x + self.random.normal(size=self.x.shape)
        return self

    @action
    def maybe_stop(self):
        if self.number == type(self).stop_at:
            raise Stop
        return self

    @action
    def train_inside(self):
        self.get_model_by_name("m").train(x=self.x)
        return self


class Running(BaseModel):
    """A mean with a memory: every batch and its place in the order matter."""

    data_args = ("x",)

    def _build(self, *args, **kwargs):
        self.mean = np.zeros(6)
        self.decay = self.config.get("decay", 0.9)

    def _train(self, x):
        self.mean = self.decay * self.mean + x.sum(axis=0)
        return float(self.mean.sum())

    def _predict(self, x):
        return x @ self.mean

    def _save(self, path, **kwargs):
        np.save(path / "mean.npy", self.mean)

    def _load(self, path, **kwargs):
        self.mean = np.load(path / "mean.npy")


@pytest.fixture(autouse=True)
def nothing_stops():
    yield
    Noisy.stop_at = None


def pipeline(rebatch=None, mode="dynamic", data=X, config=None):
    dataset = Dataset(data={"x": data, "y": np.arange(len(data)) % 3}, batch_class=Noisy)
    made = (
        dataset.p.init_variable("history", init_on_each_run=list)
        .init_variable("kept", 0)
        .init_variable("score")
        .init_model(mode, Running, "m", config=config)
        .noise()
    )
    if rebatch is not None:
        made = made.rebatch(rebatch).noise()
    return (
        made.maybe_stop()
        .train_model("m", x="x", append_to="history")
        .inc_variable("kept")
        .evaluate_model(
            "m", x="x", y="y", metrics={"sum": lambda y, p: float(p.sum())}, save_to="score"
        )
    )


def result(done):
    return (*map(done.get_variable, ("history", "kept", "score")), done.models["m"].mean.tobytes())


def stopped(made, at, folder, **options):
    Noisy.stop_at = at
    with pytest.raises(Stop):
        made.run(7, shuffle=5, n_epochs=3, checkpoint=folder, **options)
    Noisy.stop_at = None


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


class Shaped(Running):
    """Wants to know what the batch that it is made of looks like."""

    def _build(self, *args, batch=None, **kwargs):
        self.made_of = batch.number, batch.x.shape, float(batch.x.sum())
        self.mean, self.decay = np.zeros(batch.x.shape[1]), 0.9


class Counted(Noisy):
    @action
    def count(self):
        self.pipeline.inc_variable("n")
        self.pipeline.get_variable("seen").append(self.number)
        return self

    @action
    def widen(self):
        self.x = np.hstack([self.x, self.x])
        return self

    @action
    def refuse(self, numbers):
        if self.number in numbers:
            raise ValueError("not this one")
        return self

    @action
    def train_here(self):
        self.get_model_by_name("m").train(x=self.x)
        return self


MADE = {
    "prepared": lambda p: p.count().widen().train_model("m", x="x", append_to="history"),
    "acted on": lambda p: p.inc_variable("n").count().widen().train_model("m", x="x"),
    "first ones refused": lambda p: (
        p.refuse([0, 1]).inc_variable("n").refuse([2]).widen().train_model("m", x="x").count()
    ),
    "by an action": lambda p: p.count().widen().train_here().train_here().count(),
    "by chance": lambda p: p + (Pipeline().widen().inc_variable("n").train_here() @ 0.5),
}


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("case", MADE)
def test_a_model_that_looks_at_its_first_batch_gets_the_same_one_again(case, prefetch, tmp_path):
    """And what the steps before it write is written once."""

    def made():
        dataset = Dataset(data={"x": X, "y": np.arange(len(X))}, batch_class=Counted)
        base = dataset.p.init_variable("n", 0).init_variable("seen", init_on_each_run=list)
        base = base.init_variable("history", init_on_each_run=list).init_model(
            "dynamic", Shaped, "m"
        )
        return MADE[case](base.noise())

    def left(done):
        names = ("n", "seen", "history")
        return (
            *map(done.get_variable, names),
            done.models["m"].made_of,
            done.models["m"].mean.tobytes(),
        )

    run = {"shuffle": 5, "n_epochs": 2, "on_error": "skip"}
    done = made().run(7, **run)
    whole = left(done)
    assert done.models["m"].mean.any()
    assert len(done.failures) == (3 if "refused" in case else 0)
    run |= {"checkpoint": tmp_path, "checkpoint_every": 2}
    for batch in made().gen_batch(7, **run, prefetch=prefetch):
        if batch.number == 9:
            break
    assert left(made().resume(tmp_path)) == whole


def test_an_imported_model_that_only_an_action_trains_is_kept(tmp_path):
    def made():
        source = Dataset(data={"x": X}).p.init_model("static", Running, "m")
        dataset = Dataset(data={"x": X}, batch_class=Noisy)
        return dataset.p.import_model("m", source).noise().maybe_stop().train_inside()

    whole = made().run(7, shuffle=5, n_epochs=3).models["m"].mean.tobytes()
    stopped(made(), 20, tmp_path, checkpoint_every=3)
    assert made().resume(tmp_path).models["m"].mean.tobytes() == whole


def test_what_a_partner_has_come_to_is_kept(tmp_path):
    def made():
        partner = dataset().p.init_model("dynamic", Running, "m").init_variable("n", 0).count()
        more = dataset().p.merge(partner.train_inside())
        return dataset().p.init_variable("n", 0).noise().maybe_stop().join(more).add_first()

    def dataset():
        return Dataset(data={"x": X}, batch_class=Joining)

    def batches(made, **options):
        return [each.x.tobytes() for each in made.gen_batch(7, shuffle=5, n_epochs=3, **options)]

    whole = batches(made())
    for at in (4, 9, 20):
        stopped(made(), at, tmp_path, checkpoint_every=1)
    assert batches(made(), checkpoint=tmp_path) == whole[20:]


def test_a_partners_model_and_ones_own_of_that_name_are_made_of_their_own_batches(tmp_path):
    def made():
        wide = Dataset(data={"x": np.hstack([X, X, X])}, batch_class=Joining)
        partner = wide.p.init_model("dynamic", Shaped, "m").noise().train_inside()
        own = Dataset(data={"x": X}, batch_class=Joining).p.init_model("dynamic", Shaped, "m")
        own = own.noise().join(partner).widen_by().train_model("m", x="x")
        return own, partner

    def left(own, partner):
        models = own.models["m"], partner.models["m"]
        return [(each.made_of, each.mean.tobytes()) for each in models]

    own, partner = made()
    whole = left(own.run(7, shuffle=5, n_epochs=2), partner)
    assert [each[0][:2] for each in whole] == [(0, (7, 24)), (0, (7, 18))]
    own, _ = made()
    for batch in own.gen_batch(7, shuffle=5, n_epochs=2, checkpoint=tmp_path, checkpoint_every=2):
        if batch.number == 9:
            break
    own, partner = made()
    assert left(own.resume(tmp_path), partner) == whole


class Joining(Noisy):
    components = "x"

    @action
    def widen_by(self, other):
        self.x = np.hstack([self.x, other.x])
        return self

    @action
    def count(self):
        self.pipeline.inc_variable("n")
        return self

    @action
    def add_first(self, other):
        self.x = self.x + other.x[: self.size]
        return self


class Ending(Running):
    """Asks for the end in the second epoch, and remembers whether it was told of it."""

    may_stop_training = True

    def _end_epoch(self, epoch, last):
        self.mean = self.mean + last
        self.stop_training = epoch == self.config["at"]


def test_preparing_a_first_batch_again_uses_no_other_model(tmp_path):
    """Also where the batch becomes another one on the way."""

    def made():
        dataset = Dataset(data={"x": X}, batch_class=Noisy)
        made = dataset.p.init_model("dynamic", Running, "late").init_model("dynamic", Running, "m")
        made = made + Pipeline().train_model("m", x="x") @ 0.9
        return (
            made.merge(dataset.p)
            + Pipeline().train_model("late", x="x") @ 0.2
            + Pipeline().maybe_stop()
        )

    def means(done):
        return {name: each.mean.tobytes() for name, each in done.models.items()}

    whole = means(made().run(7, shuffle=5, n_epochs=3))
    for at in (1, 2, 3):
        stopped(made(), at, tmp_path, checkpoint_every=1)
    assert means(made().resume(tmp_path)) == whole


def test_models_get_their_end_of_epoch_in_the_order_in_which_they_began(tmp_path):
    def made():
        dataset = Dataset(data={"x": X}, batch_class=Noisy)
        made = dataset.p.init_model("dynamic", Ending, "second", {"at": 9})
        made = made.init_model("dynamic", Ending, "first", {"at": 1}).maybe_stop()
        return made.train_model("first", x="x").train_model("second", x="x")

    def means(done):
        return [each.mean.tobytes() for each in done.models.values()]

    whole = means(made().run(7, shuffle=5, n_epochs=3))
    stopped(made(), 20, tmp_path, checkpoint_every=3)
    assert means(made().resume(tmp_path)) == whole


def test_a_fresh_seed_is_kept(tmp_path):
    Noisy.stop_at = 20
    first = pipeline()
    with pytest.raises(Stop):
        first.run(7, shuffle=True, n_epochs=3, checkpoint=tmp_path, checkpoint_every=3)
    Noisy.stop_at = None
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
import importlib.util, os, signal, sys
name, path, folder, at, where = sys.argv[1:]
# Under the name that pytest gives it, which the checkpoint holds against that of the resumed run.
spec = importlib.util.spec_from_file_location(name, path)
t = sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(t)
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
    arguments = [__name__, __file__, str(tmp_path), str(at), where]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    whole = result(pipeline().run(7, shuffle=5, n_epochs=3))
    assert result(pipeline().resume(tmp_path)) == whole
    assert not [each for each in tmp_path.iterdir() if not each.name.startswith("checkpoint-")]
