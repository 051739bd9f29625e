"""What lies in a file of the dataset is read again, not gathered: the same trees to the bit, less memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from batchloom import Batch, Dataset, Pipeline, action

CONFIG = {"num_boost_round": 4, "objective": "binary:logistic", "max_depth": 3, "nthread": 1}
ROWS = 5000


class Scaling(Batch):
    @action
    def scale(self):
        self.x = self.x * 2
        return self

    @action
    def touch(self):
        self.x = self.x.copy()
        return self


@pytest.fixture
def arrays():
    x = np.random.default_rng(0).normal(size=(ROWS, 6)).astype(np.float32)
    x[::7, 2] = np.nan
    return {"x": x, "y": (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(np.int64)}


@pytest.fixture
def mapped(arrays, tmp_path):
    """Make the arrays memory maps."""

    def make(mode="r", dtype=np.float32):
        for name, array in arrays.items():
            np.save(tmp_path / name, array.astype(dtype) if name == "x" else array)
        return {name: np.load(tmp_path / f"{name}.npy", mmap_mode=mode) for name in arrays}

    return make


def training(data, config=None, actions=(), model="xgboost/Booster", part=None):
    pipeline = Pipeline().init_model("dynamic", model, "trees", config={**CONFIG, **(config or {})})
    for name in actions:
        pipeline = getattr(pipeline, name)()
    dataset = Dataset(batch_class=Scaling, data=data)
    dataset = dataset if part is None else dataset.split(0.7, shuffle=part).train
    return pipeline.train_model("trees", x="x", y="y") << dataset


def trees(pipeline):
    return bytes(pipeline.get_model_by_name("trees").booster.save_raw("json"))


def held(pipeline, **run):
    """Bytes that are gathered once half of the batches have come."""
    batches = pipeline.gen_batch(500, **run)
    next(itertools.islice(batches, 4, 5))
    gathered = pipeline.get_model_by_name("trees")._learner._training._bytes
    batches.close()
    return gathered


@pytest.mark.parametrize("config", [{}, {"memory": "external"}, {"spool": True}], ids=str)
@pytest.mark.parametrize("part", [None, False, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_trees_are_those_of_arrays_in_memory(arrays, mapped, shuffle, part, config):
    run = {"shuffle": shuffle, "seed": 5}
    theirs = training(arrays, config, part=part).run(500, **run)
    ours = training(mapped(), config, part=part).run(500, **run)
    assert trees(ours) == trees(theirs)


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_copy_is_kept_of_what_lies_in_the_file(arrays, mapped, shuffle):
    run = {"shuffle": shuffle, "seed": 5}
    of_y, of_places = 2500 * 4, 2500 * 4 * shuffle
    assert held(training(mapped()), **run) == of_y + of_places
    assert held(training(mapped(), part=3), **run) == of_y + of_places
    assert held(training(arrays), **run) == of_y + arrays["x"].nbytes // 2


def test_numbers_of_eight_bytes_are_read_again_as_they_were_taken(arrays, mapped):
    ours = training(mapped(dtype=np.float64))
    assert held(ours) == 2500 * 4
    assert trees(ours.run(500)) == trees(training(arrays).run(500))


def test_what_an_action_changed_is_kept(arrays, mapped):
    doubled = {**arrays, "x": arrays["x"] * 2}
    ours = training(mapped(), actions=["scale"])
    assert held(ours) == 2500 * 4 + arrays["x"].nbytes // 2
    assert trees(ours.run(500)) == trees(training(doubled).run(500))
    # What was put in place of itself is the same still.
    assert held(training(mapped(), actions=["touch"])) == 2500 * 4


def test_a_file_that_can_be_written_through_the_map_is_copied(arrays, mapped):
    data = mapped("r+")
    pipeline = training(data)
    for _ in pipeline.gen_batch(500):
        data["x"][:] = 0
        break
    for number, _ in enumerate(pipeline.gen_batch(500)):
        if number == 0:
            data["x"][:500] = arrays["x"][:500]
    zeros = {**arrays, "x": np.zeros_like(arrays["x"])}
    assert trees(pipeline) == trees(training(zeros).run(500))


def test_bounds_count_what_is_held(mapped):
    training(mapped(), {"max_bytes": ROWS * 4}).run(500)


def test_a_classifier_and_small_batches(arrays, mapped):
    config = {"n_estimators": 3, "max_depth": 3, "n_jobs": 1}
    made = []
    for data in (arrays, mapped()):
        pipeline = Pipeline().init_model("static", "xgboost/XGBClassifier", "trees", config=config)
        pipeline = pipeline.train_model("trees", x="x", y="y") << Dataset(data=data)
        made.append(trees(pipeline.run(7, shuffle=True, seed=1, prefetch=3)))
    assert made[0] == made[1]


def test_a_stopped_run_goes_on_to_the_same_trees(arrays, mapped, tmp_path):
    folder = tmp_path / "run"
    run = {"shuffle": True, "seed": 2, "checkpoint": folder, "checkpoint_every": 3}
    for number, _ in enumerate(training(mapped()).gen_batch(500, **run)):
        if number == 6:
            break
    resumed = training(mapped()).resume(folder)
    assert trees(resumed) == trees(training(arrays).run(500, shuffle=True, seed=2))
