"""Checkpoints of models: made of the same first batch again, imported, of partners, of an order."""

from __future__ import annotations

import numpy as np
import pytest
from stopped_means import Noisy, Running, X, stopped

from batchloom import Dataset, Pipeline, action


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
