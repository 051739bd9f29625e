"""Datasets in Parquet files: what columns become, and that every way of reading gives the same rows."""

from __future__ import annotations

import datetime
import decimal
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, BlockShuffle, Dataset, Pipeline
from batchloom.errors import CheckpointMismatchError, DataError, UnknownComponentError
from batchloom.stored import Buffers

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

N = 1000
ORDERS = [False, 1, "blocks", BlockShuffle(1, window=100, block_rows=9)]


def images(n: int = N, first: int = 0) -> np.ndarray[Any, Any]:
    return (np.arange(first * 12, (first + n) * 12) % 251).astype(np.uint8).reshape(n, 12)


def table(n: int = N, first: int = 0) -> Any:
    values = [row.tobytes() for row in images(n, first)]
    numbers = np.arange(first, first + n)
    return pa.table({"images": pa.array(values, pa.binary(12)), "labels": numbers})


def write(path: Path, content: Any = None, rows: int = 64, **options: Any) -> Path:
    pq.write_table(table() if content is None else content, path, row_group_size=rows, **options)
    return path


def dates(n: int) -> list[datetime.date]:
    return [datetime.date(2020, 1, 1) + datetime.timedelta(each) for each in range(n)]


NUMBERS = np.arange(N)
HOLES = [None if at % 7 == 0 else at for at in range(N)]
COLUMNS: dict[str, tuple[Any, Any]] = {
    "ints": (pa.array(NUMBERS), NUMBERS),
    "floats": (pa.array(NUMBERS, pa.float32()), NUMBERS.astype(np.float32)),
    "halves": (pa.array(NUMBERS.astype(np.float16)), NUMBERS.astype(np.float16)),
    "bools": (pa.array(NUMBERS % 3 == 0), NUMBERS % 3 == 0),
    "dates": (pa.array(dates(N)), np.array(dates(N), "M8[D]")),
    "times": (pa.array(NUMBERS.astype("M8[us]")), NUMBERS.astype("M8[us]")),
    "spans": (pa.array(NUMBERS.astype("m8[ms]")), NUMBERS.astype("m8[ms]")),
    "vectors": (
        pa.FixedSizeListArray.from_arrays(pa.array(np.arange(3.0 * N)), 3),
        np.arange(3.0 * N).reshape(N, 3),
    ),
    "matrices": (
        pa.FixedSizeListArray.from_arrays(
            pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6 * N)), 3), 2
        ),
        np.arange(6 * N).reshape(N, 2, 3),
    ),
    "tensors": (
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(6 * N).reshape(N, 3, 2)),
        np.arange(6 * N).reshape(N, 3, 2),
    ),
    "bytes": (table()["images"], images()),
    "codes": (pa.array(NUMBERS % 5).dictionary_encode(), NUMBERS % 5),
}
OBJECTS: dict[str, tuple[Any, list[Any]]] = {
    "words": (pa.array([f"w{at}" for at in range(N)]), [f"w{at}" for at in range(N)]),
    "words or none": (pa.array(["a", None] * 500), ["a", None] * 500),
    "classes": (pa.array(["a", "b"] * 500).dictionary_encode(), ["a", "b"] * 500),
    "sums": (pa.array([decimal.Decimal(1)] * N), [decimal.Decimal(1)] * N),
    "groups": (pa.array([{"a": at} for at in range(N)]), [{"a": at} for at in range(N)]),
    "clocks": (pa.array([datetime.time(1, 2)] * N), [datetime.time(1, 2)] * N),
    "empty": (pa.array([None] * N), [None] * N),
}


@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
@pytest.mark.parametrize("kind", COLUMNS)
def test_numbers_of_any_shape_are_arrays(tmp_path: Path, kind: str, shuffle: Any) -> None:
    arrow, expected = COLUMNS[kind]
    path = write(tmp_path / "x.parquet", pa.table({"x": arrow, "at": NUMBERS}))
    dataset = Dataset.from_parquet(path)
    for batch in dataset.gen_batch(90, shuffle=shuffle, prefetch=2):
        assert type(batch.x) is np.ndarray and batch.x.dtype == expected.dtype
        assert np.array_equal(batch.x, expected[batch.at])
        batch.x[:] = batch.x[::-1].copy()  # it belongs to the batch
    assert np.array_equal(dataset.column("x"), expected)


@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
@pytest.mark.parametrize("kind", OBJECTS)
def test_anything_else_is_objects(tmp_path: Path, kind: str, shuffle: Any) -> None:
    arrow, expected = OBJECTS[kind]
    path = write(tmp_path / "x.parquet", pa.table({"x": arrow, "at": NUMBERS}))
    for batch in Dataset.from_parquet(path).gen_batch(90, shuffle=shuffle):
        assert batch.x.dtype == object
        assert batch.x.tolist() == [expected[at] for at in batch.at]


def test_lists_of_any_length_are_arrays_each(tmp_path: Path) -> None:
    lists = pa.array([list(range(at % 4)) for at in range(N)])
    batch = Dataset.from_parquet(write(tmp_path / "x.parquet", pa.table({"x": lists}))).next_batch(
        9
    )
    assert [each.tolist() for each in batch.x] == [list(range(at % 4)) for at in range(9)]


def test_a_tensor_whose_axes_are_stored_in_another_order(tmp_path: Path) -> None:
    kind = pa.fixed_shape_tensor(pa.int64(), [2, 3], permutation=[1, 0])
    stored = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12)), 6)
    arrow = pa.ExtensionArray.from_storage(kind, stored)
    batch = Dataset.from_parquet(write(tmp_path / "x.parquet", pa.table({"x": arrow}))).next_batch(
        2
    )
    assert np.array_equal(batch.x, arrow.to_numpy_ndarray())
    assert batch.x.shape == (2, 3, 2)


WITH_NULLS: dict[str, tuple[Any, Any]] = {
    "ints": (pa.array(HOLES), np.float64),
    "floats": (pa.array(HOLES, pa.float32()), np.float32),
    "bools": (pa.array([None if at is None else at % 2 == 0 for at in HOLES]), np.float64),
    "dates": (pa.array([None if at is None else dates(1)[0] for at in HOLES]), "M8[D]"),
    "vectors": (
        pa.array([None if at is None else [at, None] for at in HOLES], pa.list_(pa.int32(), 2)),
        np.float64,
    ),
}


@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
@pytest.mark.parametrize("kind", WITH_NULLS)
def test_nulls_among_numbers_become_what_was_asked_for(
    tmp_path: Path, kind: str, shuffle: Any
) -> None:
    arrow, dtype = WITH_NULLS[kind]
    path = write(tmp_path / "x.parquet", pa.table({"x": arrow, "at": NUMBERS}), rows=5)
    expected = arrow.to_pylist()
    for batch in Dataset.from_parquet(path, nulls="mask").gen_batch(90, shuffle=shuffle):
        assert isinstance(batch.x, np.ma.MaskedArray)
        assert type(batch.at) is np.ndarray  # which has none
        rows = [expected[at] for at in batch.at]
        if kind == "vectors":
            rows = [[None, None] if each is None else each for each in rows]
        assert batch.x.tolist() == rows
    for batch in Dataset.from_parquet(path, nulls={"x": "nan"}).gen_batch(90, shuffle=shuffle):
        assert type(batch.x) is np.ndarray and batch.x.dtype == np.dtype(dtype)
        first = batch.x[:, 0] if kind == "vectors" else batch.x
        absent = np.isnat(first) if kind == "dates" else np.isnan(first)
        assert np.array_equal(absent, batch.at % 7 == 0)


def test_nulls_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", pa.table({"age": pa.array(HOLES), "b": NUMBERS}))
    with pytest.raises(DataError, match=r"column 'age' has 143 nulls: give nulls='mask'.*'nan'"):
        Dataset.from_parquet(path)
    assert Dataset.from_parquet(path, ["b"]).components == ("b",)
    with pytest.raises(DataError, match="nulls='zero': give one of 'error', 'mask', 'nan'"):
        Dataset.from_parquet(path, nulls="zero")
    with pytest.raises(UnknownComponentError, match=r"'aeg' in nulls: did you mean 'age'"):
        Dataset.from_parquet(path, nulls={"aeg": "nan"})
    binary = pa.array([None, b"ab"], pa.binary(2))
    path = write(tmp_path / "y.parquet", pa.table({"x": binary}))
    with pytest.raises(DataError, match=r"column 'x' holds bytes.*nulls=\{'x': 'mask'\}"):
        Dataset.from_parquet(path, nulls="nan")
    masked = Dataset.from_parquet(path, nulls="mask").next_batch(2).x
    assert masked.tolist() == [[None, None], [97, 98]]


def test_nulls_that_the_file_does_not_tell_of_are_refused_when_they_are_read(
    tmp_path: Path,
) -> None:
    content = pa.table({"x": pa.array(HOLES)})
    path = write(tmp_path / "x.parquet", content, write_statistics=False)
    dataset = Dataset.from_parquet(path)
    with pytest.raises(DataError, match="column 'x' has nulls"):
        dataset.next_batch(10).x
    assert np.isnan(Dataset.from_parquet(path, nulls="nan").next_batch(10).x[0])


def test_components_can_be_called_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", pa.table({"size": NUMBERS, "a.b": NUMBERS, "c": NUMBERS}))
    with pytest.raises(DataError, match="a component cannot be called 'size'"):
        Dataset.from_parquet(path)
    dataset = Dataset.from_parquet(path, {"sizes": "size", "ab": "a.b"})
    assert dataset.components == ("sizes", "ab")
    assert np.array_equal(dataset.next_batch(5).ab, np.arange(5))
    assert Dataset.from_parquet(path, "c").components == ("c",)


def test_a_column_that_is_not_there_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet")
    with pytest.raises(UnknownComponentError, match=r"'lables' of the Parquet files.*'labels'"):
        Dataset.from_parquet(path, ["images", "lables"])
    with pytest.raises(DataError, match="names no column"):
        Dataset.from_parquet(path, [])


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files, one in a folder of its own, one without rows, and what is not meant."""
    made = tmp_path / "data"
    (made / "more").mkdir(parents=True)
    write(made / "a.parquet", table(400), rows=150)
    write(made / "b.parquet", table(0))
    write(made / "more" / "c.parquet", table(600, 400), rows=64)
    write(made / "_temporary.parquet", table(5))
    (made / "notes.txt").write_text("no data")
    return made


@pytest.mark.parametrize("how", ["folder", "pattern", "list"])
@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
def test_several_files_are_one_dataset(folder: Path, how: str, shuffle: Any) -> None:
    names = [folder / "a.parquet", str(folder / "b.parquet"), folder / "more" / "c.parquet"]
    path: Any = {"folder": folder, "pattern": str(folder / "**" / "[abc].parquet"), "list": names}[
        how
    ]
    dataset = Dataset.from_parquet(path)
    assert len(dataset) == N
    seen = []
    for batch in dataset.gen_batch(77, shuffle=shuffle):
        assert np.array_equal(batch.labels, batch.indices)
        assert np.array_equal(batch.images, images()[batch.indices])
        seen.append(batch.indices)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(N))


def test_files_that_are_no_dataset_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="there is no Parquet file at .*nothing"):
        Dataset.from_parquet(folder / "nothing")
    with pytest.raises(DataError, match="there is no Parquet file at .*[*]"):
        Dataset.from_parquet(folder / "*.pq")
    with pytest.raises(DataError, match="given no path"):
        Dataset.from_parquet([])
    with pytest.raises(DataError, match="given twice"):
        Dataset.from_parquet([folder / "a.parquet", folder / "a.parquet"])
    with pytest.raises(DataError, match=r"notes\.txt cannot be read as a Parquet file"):
        Dataset.from_parquet(folder / "notes.txt")
    write(folder / "d.parquet", pa.table({"images": NUMBERS, "label": NUMBERS}))
    with pytest.raises(DataError, match=r"'images' is fixed_size_binary\[12\] in .* and int64 in"):
        Dataset.from_parquet(folder)
    (folder / "year=2020").mkdir()
    write(folder / "year=2020" / "e.parquet")
    with pytest.raises(DataError, match=r"names of folders, year=2020.*give a pattern"):
        Dataset.from_parquet(folder)


def test_a_file_without_rows_is_an_empty_dataset(tmp_path: Path) -> None:
    dataset = Dataset.from_parquet(write(tmp_path / "x.parquet", table(0)))
    assert len(dataset) == 0 and list(dataset.gen_batch(5, shuffle="blocks")) == []
    assert dataset.column("images").shape == (0, 12)


def test_a_file_that_changes_is_an_error_and_no_other_data(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet")
    dataset = Dataset.from_parquet(path)
    write(path, table(N, 5), rows=50)
    os.utime(path, ns=(1, 1))
    for shuffle in ORDERS:
        with pytest.raises(DataError, match=r"x\.parquet has changed since the dataset was made"):
            for batch in dataset.gen_batch(50, shuffle=shuffle):
                assert batch.labels is not None


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path) -> None:
    child = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from batchloom import Dataset\n"
        "try: Dataset.from_parquet('x.parquet')\n"
        "except ImportError as exc: print(exc)"
    )
    found = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pip install 'batchloom[parquet]'" in found.stdout


# Runs


@pytest.mark.parametrize("part", ["all", "in order", "shuffled", "blocks"])
@pytest.mark.parametrize("copy", [True, False])
def test_parts_and_views_hold_their_rows(tmp_path: Path, part: str, copy: bool) -> None:
    dataset = Dataset.from_parquet(write(tmp_path / "x.parquet"), copy=copy)
    if part != "all":
        how: Any = {"in order": False, "shuffled": 5, "blocks": "blocks"}[part]
        dataset = dataset.split([0.3, 0.5], how).test
    for shuffle in ORDERS:
        for prefetch in (0, 3):
            kept = list(dataset.gen_batch(60, shuffle=shuffle, prefetch=prefetch, n_epochs=2))
            for batch in kept:
                assert np.array_equal(batch.images, images()[batch.labels])
            epoch = np.concatenate([b.labels for b in kept if b.epoch == 1])
            assert np.array_equal(np.sort(epoch), np.sort(dataset.index.ids))


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as made:
        list(made.map(abs, range(4)))
        yield made


@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
def test_processes_read_for_themselves(
    tmp_path: Path, executor: ProcessPoolExecutor, shuffle: Any
) -> None:
    dataset = Dataset.from_parquet(write(tmp_path / "x.parquet"))
    assert len(pickle.dumps(dataset)) < 5000
    made = dataset.p.apply(np.negative, src="labels", dst="negative")
    here = list(made.gen_batch(60, shuffle=shuffle, seed=1, n_epochs=2))
    there = list(made.gen_batch(60, shuffle=shuffle, seed=1, n_epochs=2, executor=executor))
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one.indices, other.indices)
        assert np.array_equal(one.negative, other.negative)
        assert np.array_equal(other.images, images()[other.indices])


def totals(dataset: Dataset) -> Pipeline:
    add = [lambda b: int(b.labels[0]) * 3 + int(b.images[:, 0].astype(int).sum())]
    from batchloom import F

    return dataset.p.init_variable("totals", init_on_each_run=list).update_variable(
        "totals", F(add[0]), mode="append"
    )


class Stop(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("shuffle", ["blocks", False])
def test_a_run_goes_on_with_the_same_files_and_no_others(tmp_path: Path, shuffle: Any) -> None:
    path = write(tmp_path / "x.parquet")
    whole = totals(Dataset.from_parquet(path)).run(60, shuffle=shuffle, seed=1, n_epochs=2)
    kept = tmp_path / "kept"
    options: dict[str, Any] = {"checkpoint": kept, "checkpoint_every": 1, "n_epochs": 2}
    with pytest.raises(Stop):
        for batch in totals(Dataset.from_parquet(path)).gen_batch(
            60, shuffle=shuffle, seed=1, **options
        ):
            if batch.number == 20:
                raise Stop
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / "y.parquet"
    os.rename(path, moved)
    resumed = totals(Dataset.from_parquet(moved)).resume(kept)
    assert resumed.get_variable("totals") == whole.get_variable("totals")
    other = table().set_column(1, "labels", pa.array(np.arange(N)[::-1].copy()))
    with pytest.raises(CheckpointMismatchError, match="column 'labels': Parquet, int64"):
        totals(Dataset.from_parquet(write(path, other))).resume(kept)


def test_single_rows_and_other_pipelines_rows_are_found(tmp_path: Path) -> None:
    dataset = Dataset.from_parquet(write(tmp_path / "x.parquet"))
    batch = dataset.batch_at(np.array([999, 0, 64, 63, 500]))
    assert batch.labels.tolist() == [999, 0, 64, 63, 500]
    assert np.array_equal(batch.take([1, 0]).images, images()[[0, 999]])

    class Joined(Batch):
        from batchloom import action

        @action
        def same(self, other: Batch) -> Batch:
            assert np.array_equal(self.images, other.images)
            assert np.array_equal(self.labels, other.labels)
            return self

    in_memory = {"images": images(), "labels": np.arange(N)}
    left = Dataset(data=in_memory, batch_class=Joined)
    left.p.join(dataset.p).same().run(50, shuffle="blocks", prefetch=2)


def calls_of(dataset: Dataset, name: str) -> list[list[int]]:
    """Which row groups are read in one go, from now on."""
    column: Any = dataset.columns[name]
    calls: list[list[int]] = []
    plain = column.read_groups
    column.read_groups = lambda groups: (calls.append(groups), plain(groups))[1]
    return calls


def test_each_row_group_is_read_once_an_epoch(tmp_path: Path) -> None:
    dataset = Dataset.from_parquet(write(tmp_path / "x.parquet"), "images")
    calls = calls_of(dataset, "images")
    for shuffle in (False, "blocks", BlockShuffle(3, window=300)):
        for prefetch in (0, 3):
            calls.clear()
            for batch in dataset.gen_batch(30, shuffle=shuffle, prefetch=prefetch, n_epochs=2):
                assert np.array_equal(batch.images, images()[batch.indices])
            assert sorted(chain(*calls)) == sorted([*range(16)] * 2)


WINDOW = BlockShuffle(3, window=320)


@pytest.mark.parametrize("name", ["images", "labels"])
@pytest.mark.parametrize(
    ("processors", "shuffle", "sizes"),
    [
        (1, WINDOW, [1, 5, 5, 5]),
        (2, WINDOW, [1, 5, 5, 5]),
        (2, False, [16]),
        (3, WINDOW, [1] * 16),
    ],
    ids=str,
)
def test_who_reads_alone_reads_a_window_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int, name: str, shuffle: Any,
    sizes: list[int],
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(processors), raising=False)
    dataset = Dataset.from_parquet(write(tmp_path / "x.parquet"))
    calls, expected = calls_of(dataset, name), {"images": images(), "labels": NUMBERS}[name]
    for batch in dataset.gen_batch(50, shuffle=shuffle):
        assert np.array_equal(batch[name], expected[batch.indices])
        batch[name][:] = 0  # nobody else's
    assert sorted(map(len, calls)) == sizes
    assert sorted(chain(*calls)) == [*range(16)]


COPIED = {
    "nested": pa.FixedSizeListArray.from_arrays(pa.array(NUMBERS), 1),
    "narrow": pa.array(NUMBERS, pa.int16()),
    "masked": pa.array(HOLES),
    "large": pa.array(NUMBERS),
}


@pytest.mark.parametrize("kind", COPIED)
def test_what_takes_more_memory_in_one_go_is_read_row_group_by_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2), raising=False)
    if kind == "large":
        monkeypatch.setattr("batchloom.parquet.AT_ONCE_BYTES", 100 * 8)
    path = write(tmp_path / "x.parquet", pa.table({"x": COPIED[kind]}))
    dataset = Dataset.from_parquet(path, nulls="mask" if kind == "masked" else "error")
    calls = calls_of(dataset, "x")
    for batch in dataset.gen_batch(50, shuffle=WINDOW):
        there = ~np.ma.getmaskarray(batch.x).ravel()
        assert there.any() and np.array_equal(np.ravel(batch.x)[there], batch.indices[there])
    assert sorted(calls) == [[group] for group in range(16)]


@pytest.mark.parametrize("shuffle", [BlockShuffle(3, window=N), BlockShuffle(3, block_rows=9)])
def test_a_window_of_several_files_or_of_parts_is_copied_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch, shuffle: BlockShuffle
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2), raising=False)
    dataset = Dataset.from_parquet(folder, "labels")
    calls, labels = calls_of(dataset, "labels"), dataset.column("labels")
    calls.clear()
    seen: list[int] = []
    for batch in dataset.gen_batch(50, shuffle=shuffle):
        assert np.array_equal(batch.labels, labels[batch.indices])
        seen.extend(batch.indices)
    assert sorted(seen) == [*range(len(dataset))]
    assert {len(each) for each in calls} == {1}


def test_a_buffer_is_used_again_and_begins_with_a_page() -> None:
    buffers = Buffers()
    first = buffers.take((10, 7), np.dtype(np.int32))
    assert first.shape == (10, 7) and first.__array_interface__["data"][0] % 4096 == 0
    second = buffers.take((10, 7), np.dtype(np.int32))
    assert not np.shares_memory(first, second)
    buffers.give(first)
    again = buffers.take((20,), np.dtype(np.int16))
    assert np.shares_memory(first, again)
