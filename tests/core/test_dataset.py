"""Dataset: what it takes, what it refuses, and that each component is gathered once, by position."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batchloom import B, Batch, Dataset, DatasetIndex, FilesIndex, action
from batchloom.errors import DataError, DefinitionError, UnknownArgumentError, UnknownComponentError
from batchloom.models import BaseModel


class Digits(Batch):
    components = "images", "labels"

    @action
    def scale(self, by: float = 2.0) -> Digits:
        self.images = self.images / by
        return self


class Sum(BaseModel):
    data_args = ("x",)

    def _build(self, *args: object, **kwargs: object) -> None:
        self.total = 0.0

    def _train(self, x: np.ndarray) -> float:
        self.total += float(np.sum(x))
        return self.total

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x)


class Counted:
    """A column that counts what is asked of it; no clock is needed to see what work is done."""

    def __init__(self, n: int, width: int = 1) -> None:
        self.array = np.arange(float(n * width)).reshape(n, width)
        self.gathers: list[int] = []

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        self.gathers.append(len(positions))
        return self.array[positions]


IMAGES, LABELS = np.arange(20.0).reshape(10, 2), np.arange(10)


@pytest.mark.parametrize(
    "data",
    [
        {"images": IMAGES, "labels": LABELS},
        (IMAGES, LABELS),
        pd.DataFrame({"images": LABELS, "labels": LABELS}),
        pd.DataFrame({"images": LABELS, "labels": LABELS}, index=list("abcdefghij")),
        pa.table({"images": LABELS, "labels": LABELS}),
    ],
    ids=["dict", "tuple", "DataFrame", "string index", "Arrow table"],
)
def test_data_comes_in_many_forms(data: object) -> None:
    dataset = Dataset(batch_class=Digits, data=data)
    assert len(dataset) == 10
    assert dataset.components == ("images", "labels")
    batch = next(dataset.gen_batch(4))
    assert np.asarray(batch.labels).tolist() == [0, 1, 2, 3]
    assert batch.indices.tolist() == [0, 1, 2, 3]


def test_one_array_is_the_one_component_of_its_batch_class() -> None:
    class Images(Batch):
        components = "images"

    assert next(Dataset(batch_class=Images, data=IMAGES).gen_batch(3)).images.shape == (3, 2)
    with pytest.raises(DataError, match="declares 0 components: give a mapping"):
        Dataset(data=IMAGES)
    with pytest.raises(DataError, match=r"3 column.*declares 2"):
        Dataset(batch_class=Digits, data=(IMAGES, LABELS, LABELS))


def test_the_components_are_those_of_the_class_and_of_the_data() -> None:
    dataset = Dataset(batch_class=Digits, data={"labels": LABELS, "extra": LABELS})
    assert dataset.components == ("images", "labels", "extra")
    batch = next(dataset.gen_batch(2))
    with pytest.raises(UnknownComponentError, match=r"declared, but holds nothing yet.*labels"):
        batch.images


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"data": {"x": [1, 2], "y": [1]}}, "x 2, y 1"),
        ({"index": 3, "data": {"x": [1, 2]}}, "3 items.*2 rows"),
        ({"index": ["a", "a"], "data": {"x": [1, 2]}}, "'a'"),
        ({}, "index, data, or both"),
        ({"index": {"x": [1, 2]}}, "the data as data="),
        ({"index": np.ones((3, 2))}, "the data as data="),
        ({"index": 2, "batch_class": dict}, "subclass of Batch"),
        (
            {"index": 2, "batch_class": Dataset(2, Digits).batch_at(np.arange(2))},
            "subclass of Batch",
        ),
    ],
    ids=["unequal", "index", "duplicates", "nothing", "dict", "array", "class", "instance"],
)
def test_what_makes_no_dataset_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Dataset(**arguments)


@pytest.mark.parametrize(
    "name",
    [
        "size",
        "indices",
        "index",
        "random",
        "pipeline",
        "number",
        "epoch",
        "components",
        "load",
        "take",
        "merge",
        "scale",
        "_hidden",
        "",
        3,
    ],
)
def test_a_component_cannot_take_the_name_of_an_attribute(name: object) -> None:
    with pytest.raises(DataError, match=repr(name)):
        Dataset(batch_class=Digits, data={"images": IMAGES, "labels": LABELS, name: LABELS})


def test_a_declared_component_cannot_either() -> None:
    class Wrong(Batch):
        components = "images", "indices"

    with pytest.raises(DataError, match="'indices'"):
        Dataset(5, Wrong)


# Parts


def test_a_part_sees_only_its_own_items() -> None:
    dataset = Dataset(index=list("abcdefghij"), data={"x": LABELS, "s": pd.Series(LABELS)})
    parts = dataset.split([0.6, 0.25], shuffle=3)
    whole = []
    for part in (parts.train, parts.test, parts.validation):
        own = part.index.positions(part.index.ids)
        assert own.tolist() == list(range(len(part)))
        seen = np.concatenate([each.x for each in part.gen_batch(2)])
        assert part.column("x").tolist() == seen.tolist() == part.column("s").tolist()
        assert [list("abcdefghij")[i] for i in seen] == part.index.ids.tolist()
        whole += seen.tolist()
    assert sorted(whole) == LABELS.tolist()
    assert whole != LABELS.tolist()
    assert dataset.column("x") is LABELS


def test_a_part_of_a_part_is_a_part_of_the_whole() -> None:
    dataset = Dataset(data={"x": LABELS * 10}).split(0.8, shuffle=1)
    inner = dataset.train.split(0.5, shuffle=2).test
    rows = inner.column("x")
    assert len(rows) == 4
    assert rows.tolist() == (inner.index.ids * 10).tolist()
    assert set(rows) <= set(dataset.train.column("x"))


def test_a_new_split_leaves_nothing_stale() -> None:
    dataset = Dataset(data={"x": LABELS}).split([0.5, 0.2, 0.3])
    first = dataset.train
    dataset.split([0.8, 0.2], shuffle=5)
    assert len(dataset.train) == 8
    with pytest.raises(AttributeError, match="no validation part; its parts are train, test"):
        dataset.validation
    assert len(first) == 5  # who holds an older part keeps it
    assert not set(dataset.train.index.ids) & set(dataset.test.index.ids)


def test_without_a_split_there_is_no_part() -> None:
    with pytest.raises(AttributeError, match="split"):
        Dataset(3).train
    with pytest.raises(AttributeError, match="split"):
        Dataset(data={"x": LABELS}).split(0.5).train.test


def test_the_same_shuffle_makes_the_same_split() -> None:
    parts = [Dataset(data={"x": LABELS}).split(0.5, shuffle=42).train.index.ids for _ in range(2)]
    assert parts[0].tolist() == parts[1].tolist()


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (np.array([3, 1]), [3, 1]),
        ([3, 1], [3, 1]),
        ([-1], [9]),
        (slice(2, 5), [2, 3, 4]),
        (LABELS > 7, [8, 9]),
        ([], []),
    ],
    ids=str,
)
def test_a_subset_is_selected_like_rows_of_an_array(positions: object, expected: list) -> None:
    subset = Dataset(data={"x": LABELS}).subset(positions)
    assert subset.column("x").tolist() == expected
    assert [item for each in subset.gen_batch(2) for item in each.x] == expected


def test_positions_that_are_not_there_make_no_subset() -> None:
    with pytest.raises(IndexError):
        Dataset(data={"x": LABELS}).subset([10])
    with pytest.raises(DataError, match="more than once"):
        Dataset(data={"x": LABELS}).subset([1, 1])


def test_an_unknown_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownComponentError, match="did you mean 'labels'"):
        Dataset(data={"labels": LABELS}).column("label")


# Gathering


def test_only_what_is_used_is_gathered_and_only_once() -> None:
    used, unused = Counted(10), Counted(10)
    pipeline = (
        Dataset(data={"used": used, "unused": unused})
        .p.init_model("static", Sum, "m")
        .train_model("m", x="used")
        .train_model("m", x=B.used)
        .predict_model("m", x="used", save_to=B.out)
    )
    used.gathers, unused.gathers = [], []  # making the dataset looked at one row
    for prefetch in (0, 3):
        used.gathers = []
        pipeline.run(4, shuffle=1, prefetch=prefetch)
        assert sorted(used.gathers) == [2, 4, 4]
        assert unused.gathers == []


def test_batches_that_use_no_data_gather_none() -> None:
    column = Counted(10)
    column.gathers = []
    Dataset(data={"x": column}).p.init_variable("n", 0).inc_variable("n").run(3, prefetch=2)
    assert column.gathers == [1]  # when the dataset was made


def test_work_on_a_batch_does_not_grow_with_the_dataset() -> None:
    def calls_per_batch(n: int) -> list[int]:
        column = Counted(n)
        stream = Dataset(data={"x": column}).p.gen_batch(5, shuffle=1)
        column.gathers = []
        for _ in range(3):
            next(stream).x
        return column.gathers

    assert calls_per_batch(100) == calls_per_batch(100_000) == [5, 5, 5]


def test_a_large_index_takes_no_memory() -> None:
    huge = Dataset(10**12, Digits)
    third = [batch for batch, _ in zip(huge.gen_batch(10), range(3), strict=False)][2]
    assert third.indices.tolist() == list(range(20, 30))


# Iterating and copying


def test_a_dataset_gives_batches_itself() -> None:
    dataset = Dataset(data={"x": LABELS})
    assert [each.size for each in dataset.gen_batch(4)] == [4, 4, 2]
    assert [dataset.next_batch(4).size for _ in range(3)] == [4, 4, 2]
    with pytest.raises(StopIteration):
        dataset.next_batch(4)
    assert dataset.next_batch(4).indices.tolist() == [0, 1, 2, 3]
    with pytest.raises(DefinitionError, match="reset"):
        dataset.next_batch(5)
    assert dataset.reset().next_batch(5).indices.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UnknownArgumentError, match="did you mean 'shuffle'"):
        dataset.gen_batch(4, shufle=True)


def test_a_dataset_can_be_pickled() -> None:
    dataset = Dataset(index=list("abcdefghij"), data={"x": LABELS}).split(0.5)
    dataset.next_batch(2)
    copy = pickle.loads(pickle.dumps(dataset.test))
    assert copy.column("x").tolist() == [5, 6, 7, 8, 9]
    assert next(copy.gen_batch(2)).indices.tolist() == ["f", "g"]


def test_what_is_made_of_a_dataset_leaves_it_alone() -> None:
    dataset = Dataset(batch_class=Digits, data=(IMAGES, LABELS))
    before = IMAGES.copy()
    dataset.p.scale(4).run(3, shuffle=1)
    (dataset.p.scale(4) << dataset.split(0.5).train).run(3)
    assert np.array_equal(IMAGES, before)
    assert repr(dataset) == "<Dataset of 10 items: images, labels; Digits>"


# Empty and odd sizes


@pytest.mark.parametrize("data", [{"x": []}, {"x": np.empty((0, 3))}, {"x": pa.array([])}])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_empty_dataset_has_no_batches(data: dict, prefetch: int) -> None:
    dataset = Dataset(data=data)
    pipeline = (
        dataset.p.init_variable("v", init_on_each_run=list)
        .init_model("dynamic", Sum, "m")
        .train_model("m", x="x", append_to="v")
    )
    assert list(pipeline.gen_batch(3, n_epochs=3, prefetch=prefetch)) == []
    assert list(pipeline.gen_batch(3, n_epochs=None, prefetch=prefetch)) == []
    assert pipeline.get_variable("v") == []
    assert dict(pipeline.models) == {}
    with pytest.raises(StopIteration):
        pipeline.next_batch(3)


def test_an_index_alone_is_a_dataset(tmp_path: Path) -> None:
    for name in ("b", "a"):
        np.save(tmp_path / f"{name}.npy", np.full(3, ord(name)))

    class Files(Batch):
        components = "x"

    dataset = Dataset(FilesIndex(tmp_path / "*.npy"), Files)
    batch = next(dataset.p.load().gen_batch(2))
    assert batch.x.tolist() == [[97] * 3, [98] * 3]
    assert batch.index.paths == [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    assert isinstance(Dataset(DatasetIndex(["q"])).index, DatasetIndex)


def test_data_that_only_looks_like_a_frame_is_refused() -> None:
    with pytest.raises(DataError, match="data is Dataset, which does not give its columns by name"):
        Dataset(data=Dataset(data={"x": np.arange(3)}))
