"""A model may end the run at the end of an epoch; the others are told truly that this is the end."""

import numpy as np
import pytest

from batchloom import Dataset
from batchloom.models import BaseModel


class Gatherer(BaseModel):
    data_args = ("x",)

    def _build(self, *args, **kwargs):
        self.gathered, self.fitted = 0, 0

    def _train(self, x):
        self.gathered += len(x)

    def _end_epoch(self, epoch, last):
        if last:
            self.fitted = self.gathered
        self.gathered = 0


class Stopper(BaseModel):
    data_args = ("x",)
    may_stop_training = True

    def _train(self, x):
        pass

    def _end_epoch(self, epoch, last):
        self.stop_training = epoch == 1


class Undeclared(Stopper):
    may_stop_training = False


def pipeline(stopper):
    made = Dataset(data={"x": np.arange(20)}).p.init_variable("batches", 0)
    return (
        made.init_model("dynamic", Gatherer, "gatherer")
        .init_model("dynamic", stopper, "stopper")
        .train_model("gatherer", x="x")
        .train_model("stopper", x="x")
        .inc_variable("batches")
    )


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_gathering_model_learns_when_another_one_ends_the_run(prefetch):
    done = pipeline(Stopper).run(5, n_epochs=9, prefetch=prefetch)
    assert done.get_variable("batches") == 8
    assert done.get_model_by_name("gatherer").fitted == 20


def test_an_undeclared_stop_says_what_it_left_unlearned():
    with pytest.warns(RuntimeWarning, match=r"'stopper'.*'gatherer'.*may_stop_training"):
        done = pipeline(Undeclared).run(5, n_epochs=9)
    assert done.get_variable("batches") == 8
    assert done.get_model_by_name("gatherer").fitted == 0


def test_a_second_run_is_not_stopped_before_it_begins():
    made = pipeline(Stopper).run(5, n_epochs=9)
    made.run(5, n_epochs=9)
    assert made.get_variable("batches") == 16
