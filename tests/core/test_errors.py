"""Errors: subclasses of what Python users expect, with the nearest name, a note of where, and picklable."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, BatchloomError, Dataset, Pipeline, SkipBatch, action, errors
from batchloom.errors import UnknownActionError, UnknownNameError, nearest


class Fails(Batch):
    @action
    def fail(self, exception: Any) -> Fails:
        if self.number == 1:
            raise exception
        return self

    @action
    def transform(self) -> Fails:
        return self


def pipeline() -> Pipeline:
    return Dataset(index=list("abcdefghij"), batch_class=Fails, data={"x": np.arange(10)}).p


KINDS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, BatchloomError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_and_copying_with_its_notes(kind: type) -> None:
    arguments = ("variable", "x", ["xx"]) if issubclass(kind, UnknownNameError) else ("text",)
    error = kind(*arguments)
    error.add_note("where")
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(same) is kind
        assert str(same) == str(error)
        assert same.args == error.args
        assert same.__notes__ == ["where"]
    if issubclass(kind, UnknownNameError):
        assert same.known == ["xx"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_messages_are_printed_as_they_are(kind: type) -> None:
    if issubclass(kind, UnknownNameError):
        said = str(kind("thing", "imges", ["images", "labels"], "of a batch", "Do this"))
        assert said == (
            "unknown thing 'imges' of a batch: did you mean 'images'? There is: images, labels. Do this"
        )
    else:
        assert str(kind('it\'s "this"')) == 'it\'s "this"'


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("lables", ["images", "labels"], "'labels'"),
        ("Images", ["images"], "'images'"),
        ("SGDclassifer", ["SGDClassifier", "SGDRegressor"], "'SGDClassifier'"),
        ("x", ["images"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_names(name: str, known: list[str], said: str) -> None:
    assert said in nearest(name, known)
    assert bool(nearest(name, known)) is bool(said)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("trian_model", "train_model"),
        ("init_modle", "init_model"),
        ("predictmodel", "predict_model"),
        ("re_batch", "rebatch"),
        ("gen_batches", "gen_batch"),
        ("transfrom", "transform"),
        ("aply", "apply"),
    ],
)
def test_a_misspelt_method_or_action_is_answered_with_the_right_one(name: str, near: str) -> None:
    with pytest.raises(UnknownActionError, match=f"did you mean .*'{near}'") as caught:
        getattr(pipeline(), name)
    assert isinstance(caught.value, AttributeError)
    assert not hasattr(pipeline(), name)
    with pytest.raises(UnknownActionError, match=f"did you mean .*'{near}'"):
        getattr(Pipeline(), name)() << pipeline().dataset


def test_private_names_are_no_actions() -> None:
    for name in ("_private", "__array__", "_ipython_display_"):
        assert not hasattr(Pipeline(), name)
        assert not hasattr(pipeline(), name)


class NeedsArgumentsError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize(
    "exception",
    [ValueError("mine"), NeedsArgumentsError(1, 2), KeyError("k"), MemoryError()],
    ids=repr,
)
def test_an_exception_of_an_action_keeps_its_type_and_says_where(
    prefetch: int, exception: Exception
) -> None:
    base = pipeline().transform().fail(exception)
    with pytest.raises(type(exception)) as caught:
        base.run(3, prefetch=prefetch)
    assert caught.value is exception
    [note] = [each for each in exception.__notes__ if "in step" in each][-1:]
    assert "fail(" in note
    assert "batch 1 of epoch 0" in note
    assert "[d, e, f]" in note or "['d', 'e', 'f']" in note
    exception.__notes__.clear()


@pytest.mark.parametrize("prefetch", [0, 4])
def test_a_stop_iteration_does_not_end_the_run_in_silence(prefetch: int) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        pipeline().fail(StopIteration()).run(3, prefetch=prefetch)


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_skipped_batches_are_recorded(prefetch: int, number: int) -> None:
    class Skips(Batch):
        @action
        def skip(self) -> Skips:
            if self.number == number:
                raise SkipBatch("not this one")
            return self

    base = Dataset(batch_class=Skips, data={"x": np.arange(10)}).p.skip()
    given = [each.number for each in base.gen_batch(3, prefetch=prefetch)]
    assert given == [each for each in range(4) if each != number]
    [failure] = base.failures
    assert (failure.epoch, failure.number, failure.step) == (0, number, "skip()")
    assert failure.indices.tolist() == list(range(10))[3 * number : 3 * number + 3]
    assert "not this one" in repr(failure)
    base.run(20, prefetch=prefetch)
    assert len(base.failures) == (number == 0)


@pytest.mark.parametrize("prefetch", [0, 4])
def test_failing_batches_can_be_left_out(prefetch: int) -> None:
    base = pipeline().init_variable("n", init_on_each_run=0).fail(OSError("disk")).inc_variable("n")
    base.run(3, prefetch=prefetch, on_error="skip")
    assert base.get_variable("n") == 3
    assert [each.number for each in base.failures] == [1]
    assert isinstance(base.failures[0].exception, OSError)
    with pytest.raises(OSError, match="disk"):
        base.run(3, prefetch=prefetch)
