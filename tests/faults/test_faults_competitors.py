"""What fails in comparable systems and has no test elsewhere; rows_of_competitors.txt names all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefetch_steps import Items, Walk, over

from batchloom import B, Batch, Dataset, Pipeline, action
from batchloom.models import load_model

pytestmark = pytest.mark.timeout(60)


def digits() -> tuple[np.ndarray, np.ndarray]:
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    x, y = load_digits(return_X_y=True)
    return x[:600].astype(np.float32) / 16, y[:600]


class Pictures(Batch):
    components = "x", "y"

    @action
    def shake(self) -> Pictures:
        self.x = self.x + self.random.normal(scale=0.1, size=self.x.shape).astype(np.float32)
        return self

    @action
    def keep_model(self, folder: Path, every: int) -> Pictures:
        if self.number % every == 0:
            self.pipeline.save_model("clf", folder / f"model-{self.number}")
        return self


def training(mode: str = "dynamic") -> Pipeline:
    template = Pipeline().init_variable("losses", init_on_each_run=list)
    template = template.init_model(
        mode, "sklearn/SGDClassifier", "clf", config={"loss": "log_loss"}
    )
    return template.shake().train_model("clf", x="x", y="y", output="loss", append_to="losses")


def pictures() -> Dataset:
    return Dataset(batch_class=Pictures, data=digits())


def test_one_seed_is_one_model_however_often_and_far_ahead() -> None:
    def trained(prefetch: int) -> tuple[bytes, bytes]:
        run = (training() << pictures()).run(16, shuffle=4, n_epochs=2, prefetch=prefetch)
        losses = np.array(run.get_variable("losses"))
        return run.models["clf"].estimator.coef_.tobytes(), losses.tobytes()

    alone = trained(0)
    assert [trained(4) for _ in range(3)] == [alone] * 3


def test_models_saved_on_the_way_predict_what_they_predicted_then(tmp_path: Path) -> None:
    """Every fourth batch, with its number in the path, in the midst of a run with prefetch."""
    data = pictures()
    made = (training() << data).predict_model("clf", x="x", output="proba", save_to=B.guess)
    predicted = {}
    for batch in made.keep_model(tmp_path, 4).gen_batch(50, prefetch=4, n_epochs=2):
        predicted[batch.number] = batch.x, batch.guess
    saved = sorted(int(each.name.split("-")[1]) for each in tmp_path.iterdir())
    assert saved == list(range(0, 24, 4))
    for number in saved:
        x, guess = predicted[number]
        model = load_model(tmp_path / f"model-{number}")
        np.testing.assert_array_equal(model.predict(x=x, output="proba"), guess)


def test_a_save_after_an_action_that_raised_is_not_made(tmp_path: Path) -> None:
    class Fails(Pictures):
        @action
        def check(self) -> Fails:
            if self.number == 3:
                raise ValueError("a bad picture")
            return self

    data = Dataset(batch_class=Fails, data=digits())
    for prefetch in (0, 4):
        folder = tmp_path / str(prefetch)
        folder.mkdir()
        made = (training("static") << data).check().keep_model(folder, 1)
        with pytest.raises(ValueError, match="a bad picture"):
            made.run(50, prefetch=prefetch)
        assert sorted(each.name for each in folder.iterdir()) == ["model-0", "model-1", "model-2"]


def test_a_template_of_training_and_one_of_predicting_are_added_and_linked() -> None:
    predicting = Pipeline().init_variable("guesses", init_on_each_run=list)
    predicting = predicting.predict_model("clf", x="x", append_to="guesses")
    both = (training() + predicting) << pictures()
    assert len(both.run(100, n_epochs=2, seed=1).get_variable("guesses")) == 12
    losses = both.get_variable("losses")
    assert losses[-1] < losses[1]  # before the first update there is no loss


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_component_that_was_written_reads_back_in_shuffled_batches(prefetch: int) -> None:
    values = np.linspace(0.0, 1.0, 1000)
    batches = list(
        over(1000).scale(3.0).widen().gen_batch(64, shuffle=2, n_epochs=2, prefetch=prefetch)
    )
    assert len(batches) == 32
    for batch in batches:  # all of them are alive at once, and none has the values of another
        np.testing.assert_array_equal(batch.x, values[batch.indices] * 3.0)
        batch.x[:] = -1.0
        batch.add_component("w", batch.indices * 2)
    assert all((each.x == -1).all() and (each.w == each.indices * 2).all() for each in batches)
    np.testing.assert_array_equal(values, np.linspace(0.0, 1.0, 1000))


def test_one_expression_object_serves_many_batches_at_once() -> None:
    class Seen(Items):
        @action
        def compare(self, value: Any) -> Seen:
            assert np.array_equal(value, self.x)
            return self

    shared = B.x
    data = Dataset(batch_class=Seen, data={"x": np.arange(400.0)})
    made = data.p.jitter().compare(shared).scale().compare(shared) * 2
    assert len(list(made.gen_batch(2, prefetch=8))) == 200


def test_hundreds_of_prefetched_batches_open_no_files() -> None:
    import os

    made = over(1000).init_model("dynamic", Walk, "model").noise().train_model("model", x="x")
    counts = []
    for batch in made.gen_batch(2, prefetch=4):
        if batch.number in (5, 495):
            counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[0] == counts[1]
