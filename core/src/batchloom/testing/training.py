"""Checks of training and predicting: on real data, honest about its input, and repeatable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from batchloom.testing import samples
from batchloom.testing.promises import NotApplicable, Seen, promise
from batchloom.testing.subject import MODEL, SEED, Subject
from batchloom.testing.values import finite, labels, must_be_same, rows


@promise(
    "A model trains on batches of any size, down to one item, and predicts a row for each item."
)
def trains_and_predicts(subject: Subject, folder: Path) -> None:
    """Train with a short last batch, and predict in a pipeline and outside of one."""
    model = subject.trained(shuffle=False)
    inside = _predictions_in_a_pipeline(subject, model)
    for x, found in [(subject.x, subject.predictions(model)), *inside]:
        if rows(found) != len(x):
            raise Seen(f"{len(x)} items, and predictions of {_shapes(found)}")
        if not finite(found):
            raise Seen("predictions that are NaN or infinite")


@promise("A model learns: after a few epochs it does better than a guess that ignores x.")
def learns(subject: Subject, folder: Path) -> None:
    """Compare accuracy with the most frequent class, squared error with the mean."""
    subject.need(can_train="the model cannot be trained", learns="nobody expects it to")
    if subject.task in ("clustering", "transform"):
        raise NotApplicable(f"there is no right answer for task = {subject.task!r}")
    y = subject.columns["y"]
    found = subject.predictions(subject.trained())
    if subject.task == "regression":
        error = float(np.mean((np.asarray(found, float).reshape(-1) - y) ** 2))
        if not error < float(np.var(y)):
            raise Seen(f"a squared error of {error:.3g}; that of the mean is {np.var(y):.3g}")
        return
    accuracy = float(np.mean(labels(found) == y))
    guess = float(np.bincount(y).max() / len(y))
    if not accuracy > guess:
        raise Seen(f"an accuracy of {accuracy:.2f}; the most frequent class has {guess:.2f}")


@promise("Predicting changes nothing: asked again, a model gives the same predictions, to the bit.")
def predicting_changes_nothing(subject: Subject, folder: Path) -> None:
    """Ask three times, with other data in between."""
    subject.need(is_deterministic="its predictions are random")
    model = subject.trained()
    first = subject.predictions(model)
    must_be_same(first, subject.predictions(model), "asked a second time")
    subject.predictions(model, subject.x[3:8])
    must_be_same(first, subject.predictions(model), "asked again after other data")


@promise("A model leaves the data that it is given as it is, and keeps no reference to it.")
def leaves_its_data_alone(subject: Subject, folder: Path) -> None:
    """Look at the arrays after each call, then overwrite them, as a batch that is reused would."""
    subject.need(can_train="the model cannot be trained")
    expected = subject.predictions(subject.trained(shuffle=False))
    model = _train_and_overwrite(subject)
    if subject.is_deterministic:
        must_be_same(
            expected,
            subject.predictions(model),
            "trained on batches that are overwritten after the step",
        )
    x = subject.x
    subject.predictions(model, x)
    if x.tobytes() != subject.x.tobytes():
        raise Seen("predict changed x")


@promise(
    "The same data, config and seed give the same model, to the bit, in any state of the process."
)
def same_with_the_same_seed(subject: Subject, folder: Path) -> None:
    """Train twice, with NumPy's and Python's global random numbers elsewhere."""
    import random

    subject.need(is_deterministic="two trainings differ")
    expected = subject.predictions(subject.trained())
    state, numpys = random.getstate(), np.random.get_state()
    try:
        random.seed(3)
        np.random.seed(3)
        again = subject.predictions(subject.trained())
    finally:
        random.setstate(state)
        np.random.set_state(numpys)
    must_be_same(expected, again, f"trained again with seed={SEED}")


@promise("A run that is broken off does no harm: a model trained afterwards is as if it never was.")
def abandoned_runs(subject: Subject, folder: Path) -> None:
    """Break out of a run in the middle of an epoch, then train anew and use the broken one."""
    subject.need(can_train="the model cannot be trained")
    expected = subject.predictions(subject.trained())
    broken = subject.begun(batches=2)
    if subject.is_deterministic:
        again = subject.predictions(subject.trained())
        must_be_same(expected, again, "another model, after a run was broken off")
    found = subject.predictions(subject.run(broken))
    if rows(found) != len(subject.x):
        raise Seen(f"trained after the break, it predicts {_shapes(found)}")


def _train_and_overwrite(subject: Subject) -> Any:
    """Train a model, and spoil each batch behind its back."""
    pipeline, columns = subject.pipeline(), subject.columns
    options: dict[str, Any] = {"n_epochs": subject.n_epochs, "shuffle": False, "seed": SEED}
    for batch in pipeline.gen_batch(subject.batch_size, **options):
        for name in set(subject.arguments.values()):
            array = getattr(batch, name)
            if array.tobytes() != columns[name][batch.indices].tobytes():
                raise Seen(f"train changed {name}")
            array[...] = 0
    return pipeline.get_model_by_name(MODEL)


def _predictions_in_a_pipeline(subject: Subject, model: Any) -> list[tuple[Any, Any]]:
    """Return the x and the predictions of each batch."""
    pipeline = (
        samples.dataset(subject.columns)
        .p.init_variable("found", init_on_each_run=list)
        .init_model("static", model, MODEL)
        .predict_model(MODEL, x="x", **subject.predict_options, append_to="found")
        .run(subject.batch_size)
    )
    found = pipeline.get_variable("found")
    x = [
        subject.x[at : at + subject.batch_size]
        for at in range(0, len(subject.x), subject.batch_size)
    ]
    return list(zip(x, found, strict=True))


def _shapes(output: Any) -> str:
    if isinstance(output, dict):
        return str({key: np.shape(each) for key, each in output.items()})
    return f"shape {np.shape(output)}"


CHECKS = (
    trains_and_predicts,
    learns,
    predicting_changes_nothing,
    leaves_its_data_alone,
    same_with_the_same_seed,
    abandoned_runs,
)
