"""Going on from a checkpoint that is damaged, or was made a little differently: only when asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import forged
import numpy as np
import pytest
from prefetch_steps import Items, Walk, frozen, over

from batchloom import Dataset, Pipeline
from batchloom.errors import CheckpointMismatchError, CorruptFileError, DefinitionError

pytestmark = pytest.mark.timeout(60)

RUN: dict[str, Any] = {"batch_size": 4, "shuffle": 3, "n_epochs": 3}  # ten batches an epoch


def made(batch_class: type[Items] = Items, bad: tuple[int, ...] = (), n: int = 40) -> Pipeline:
    base = Dataset(batch_class=batch_class, data={"x": np.linspace(0.0, 1.0, n)}).p
    base = base.init_variable("seen", init_on_each_run=list).init_model("dynamic", Walk, "model")
    base = base.noise().fail_at(bad) if bad else base.noise()
    return base.train_model("model", x="x", append_to="seen")


def left(done: Pipeline) -> Any:
    model = done.models["model"]
    return frozen(dict(done.variables)), frozen(model.weights), [f.number for f in done.failures]


def stop(pipeline: Pipeline, at: int, folder: Path, every: int = 3, **options: Any) -> None:
    """Leave a run after its batch `at`."""
    options = {**RUN, "checkpoint": folder, "checkpoint_every": every, **options}
    batches = pipeline.gen_batch(**options)
    for batch in batches:
        if batch.number == at:
            break
    batches.close()


# A damaged checkpoint


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_the_one_before_is_named_and_not_taken_unasked(tmp_path: Path) -> None:
    stop(made(), 14, tmp_path)
    newest = forged.newest(tmp_path)
    damage(newest)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    for go_on in (made().resume, lambda folder: made().run(**RUN, checkpoint=folder)):
        with pytest.raises(CorruptFileError, match=newest.name) as caught:
            go_on(tmp_path)
        assert "checkpoint-000000000009.batchloom: on_damage='previous'" in str(caught.value)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("every", [2, 3, 30])
def test_asked_for_the_run_goes_on_from_the_one_before(
    every: int, prefetch: int, tmp_path: Path
) -> None:
    whole = left(made().run(**RUN))
    stop(made(), 14, tmp_path)
    newest = forged.newest(tmp_path)
    damage(newest)
    options = {"on_damage": "previous", "checkpoint_every": every}
    with pytest.warns(RuntimeWarning, match=r"goes on from checkpoint-000000000009") as said:
        stop(made(), 17, tmp_path, prefetch=prefetch, **options)
    assert len(said) == 1 and f"{newest.name}.damaged" in str(said[0].message)
    assert f"{newest.name}.damaged" in names(tmp_path)  # for its owner to look at
    assert left(made().resume(tmp_path, prefetch=prefetch)) == whole  # it is in nobody's way


def test_when_all_are_damaged_all_are_named(tmp_path: Path) -> None:
    stop(made(), 14, tmp_path)
    for each in tmp_path.iterdir():
        damage(each)
    before = names(tmp_path)
    with pytest.raises(CorruptFileError, match="no other checkpoint") as caught:
        made().resume(tmp_path, on_damage="previous")
    assert all(each in str(caught.value) for each in before)
    assert names(tmp_path) == before


def test_what_is_no_damage_is_not_passed_over(tmp_path: Path) -> None:
    stop(made(), 14, tmp_path)
    with pytest.raises(CheckpointMismatchError):
        made(n=44).resume(tmp_path, on_damage="previous")
    with pytest.raises(DefinitionError, match="on_damage='next'"):
        made().resume(tmp_path, on_damage="next")


# Harmless differences


def test_more_epochs_than_were_asked_for(tmp_path: Path) -> None:
    """The longer run is the one that would have been, to the bit; unless it had come to its end."""
    for at in (3, 14, 27):
        stop(made(), at, tmp_path / str(at), n_epochs=3)
        with pytest.raises(CheckpointMismatchError, match="n_epochs: 3 then, 5 now.*force=True"):
            made().run(**{**RUN, "n_epochs": 5}, checkpoint=tmp_path / str(at))
        longer = made().resume(tmp_path / str(at), n_epochs=5, force=True)
        assert left(longer) == left(made().run(**{**RUN, "n_epochs": 5}))
        again = made().resume(tmp_path / str(at))  # it is another run from now on
        assert left(again) == left(longer)


def test_fewer_epochs_if_they_are_yet_to_come(tmp_path: Path) -> None:
    stop(made(), 14, tmp_path)
    for too_few in (0, 1):
        with pytest.raises(CheckpointMismatchError, match="these are not"):
            made().resume(tmp_path, n_epochs=too_few, force=True)
    shorter = made().resume(tmp_path, n_epochs=2, force=True)
    assert left(shorter) == left(made().run(**{**RUN, "n_epochs": 2}))


def test_a_run_that_has_ended_has_told_its_models_so(tmp_path: Path) -> None:
    made().run(**RUN, checkpoint=tmp_path)
    with pytest.raises(CheckpointMismatchError, match="n_epochs: 3 then, 4 now.*these are not"):
        made().resume(tmp_path, n_epochs=4, force=True)


def test_a_run_that_a_batch_has_ended_goes_on_without_it(tmp_path: Path) -> None:
    def failing() -> Pipeline:
        return made(bad=(13,))

    with pytest.raises(ValueError, match="wrong"):
        failing().run(**RUN, checkpoint=tmp_path, checkpoint_every=3)
    with pytest.raises(CheckpointMismatchError, match="on_error.*force=True"):
        failing().resume(tmp_path, on_error="skip")
    gone_on = failing().resume(tmp_path, on_error="skip", force=True)
    assert left(gone_on) == left(failing().run(**RUN, on_error="skip"))


def test_what_was_left_out_cannot_be_made_to_raise(tmp_path: Path) -> None:
    stop(made(bad=(2,)), 14, tmp_path / "with", on_error="skip")
    with pytest.raises(CheckpointMismatchError, match="on_error.*these are not"):
        made(bad=(2,)).resume(tmp_path / "with", on_error="raise", force=True)
    stop(made(), 14, tmp_path / "without", on_error="skip")
    gone_on = made().resume(tmp_path / "without", on_error="raise", force=True)
    assert left(gone_on) == left(made().run(**RUN))


def test_max_skipped_is_remembered_and_may_be_raised(tmp_path: Path) -> None:
    bad = (2, 13, 15)
    with pytest.raises(ValueError, match="wrong"):
        made(bad=bad).run(**RUN, on_error="skip", max_skipped=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="wrong") as caught:
        made(bad=bad).resume(tmp_path)
    assert any("max_skipped=1" in note for note in caught.value.__notes__)
    gone_on = made(bad=bad).resume(tmp_path, max_skipped=3)
    assert left(gone_on) == left(made(bad=bad).run(**RUN, on_error="skip"))


def test_a_batch_class_that_has_moved(tmp_path: Path) -> None:
    there = type("Moved", (Items,), {"__module__": "__main__", "__qualname__": "Moved"})
    here = type("Moved", (Items,), {"__module__": "train", "__qualname__": "Moved"})
    other = type("Other", (Items,), {"__module__": "train", "__qualname__": "Other"})
    whole = left(made(there).run(**RUN))
    stop(made(there), 14, tmp_path)
    with pytest.raises(CheckpointMismatchError, match="batch class: __main__.Moved then"):
        made(here).resume(tmp_path)
    with pytest.raises(CheckpointMismatchError, match="these are not"):
        made(other).resume(tmp_path, force=True)
    assert left(made(here).resume(tmp_path, force=True)) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 5},
        {"shuffle": 4},
        {"shuffle": False},
        {"drop_last": True},
        {"seed": 8},
    ],
    ids=str,
)
def test_force_is_for_harmless_differences_only(change: dict[str, Any], tmp_path: Path) -> None:
    stop(made(), 14, tmp_path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(CheckpointMismatchError, match="these are not"):
        made().run(**{**RUN, "n_epochs": 4, **change}, checkpoint=tmp_path, force=True)
    for other in (made(n=44), made(bad=(99,))):
        with pytest.raises(CheckpointMismatchError, match="these are not"):
            other.resume(tmp_path, force=True)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_force_without_a_checkpoint_means_nothing() -> None:
    for option in ({"force": True}, {"on_damage": "previous"}):
        with pytest.raises(DefinitionError, match="give checkpoint="):
            over().run(4, **option)
