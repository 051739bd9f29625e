"""Columns: every kind of data is read by position, exactly, and stays what it is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from batchloom import Batch, Dataset
from batchloom.columns import as_column, stack_rows, take_rows
from batchloom.errors import DataError

N = 12
GRID = np.arange(3.0 * N).reshape(N, 3)
WORDS = ["", "a", "ab", "abc"] * 3


class Lookup:
    """A user's own kind of data: a length and integer arrays as index, nothing else."""

    def __init__(self, rows: list[float]) -> None:
        self.array = np.array(rows)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        assert isinstance(positions, np.ndarray)
        return self.array[positions]


def strided() -> np.ndarray:
    return np.asfortranarray(np.repeat(GRID, 2, axis=0))[::2]


def frozen() -> np.ndarray:
    array = GRID.copy()
    array.flags.writeable = False
    return array


KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: GRID,
    "big-endian": lambda: GRID.astype(">f8"),
    "read-only": frozen,
    "not contiguous": strided,
    "backwards": lambda: GRID[::-1],
    "no columns": lambda: np.empty((N, 0)),
    "structured": lambda: np.array(
        [(i, f"s{i}") for i in range(N)], dtype=[("number", "i4"), ("name", "U4")]
    ),
    "record": lambda: np.rec.fromarrays([np.arange(N), GRID[:, 0]], names="a,b"),
    "masked": lambda: np.ma.masked_equal(GRID, 4.0),
    "dates": lambda: np.arange(N).astype("datetime64[D]"),
    "objects": lambda: np.array([{"k": i} for i in range(N)], dtype=object),
    "list": lambda: list(range(N)),
    "range": lambda: range(N),
    "words": lambda: WORDS,
    "word array": lambda: np.array(WORDS),
    "words and numbers": lambda: [1, "one", None, 2.5] * 3,
    "ragged": lambda: [list(range(i)) for i in range(N)],
    "ragged arrays": lambda: [np.zeros((2, 1 + i % 3)) for i in range(N)],
    "Series": lambda: pd.Series(GRID[:, 1], index=[f"row {i}" for i in range(N)]),
    "DataFrame": lambda: pd.DataFrame({"a": range(N), "b": WORDS}, index=list("lkjihgfedcba")),
    "categories": lambda: pd.Series(WORDS, dtype="category"),
    "Index": lambda: pd.Index(WORDS),
    "MultiIndex": lambda: pd.MultiIndex.from_arrays([range(N), WORDS]),
    "days": lambda: pd.date_range("2020-01-01", periods=N, tz="UTC"),
    "Categorical": lambda: pd.Categorical(WORDS),
    "ints and nulls": lambda: pd.array([1, None, 3] * 4, dtype="Int64"),
    "Arrow array": lambda: pa.array(WORDS),
    "Arrow chunks": lambda: pa.chunked_array([WORDS[:5], WORDS[5:]]),
    "Arrow table": lambda: pa.table({"a": range(N), "b": WORDS}),
    "csr matrix": lambda: sp.csr_matrix(GRID),
    "csc matrix": lambda: sp.csc_matrix(GRID),
    "coo matrix": lambda: sp.coo_matrix(GRID),
    "csr array": lambda: sp.csr_array(GRID),
    "csc array": lambda: sp.csc_array(GRID),
    "coo array": lambda: sp.coo_array(GRID),
    "own kind": lambda: Lookup(list(range(N))),
}


def plain(value: Any) -> Any:
    """The rows of a value as plain lists, to compare by."""
    if hasattr(value, "toarray"):
        return value.toarray().tolist()
    if hasattr(value, "to_pylist"):
        return value.to_pylist()
    if isinstance(value, pd.DataFrame):
        return value.reset_index().to_dict("records")
    if isinstance(value, pd.Series):
        return list(value.items())
    if isinstance(value, Lookup):
        value = value.array
    return [each.tolist() if isinstance(each, np.ndarray) else each for each in listed(value)]


def listed(value: Any) -> list[Any]:
    return value.tolist() if hasattr(value, "tolist") else list(value)


def joined(parts: list[Any]) -> list[Any]:
    return [row for part in parts for row in plain(part)]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_hold_the_rows_of_their_items(kind: str) -> None:
    data = KINDS[kind]()
    dataset = Dataset(data={"x": data})
    assert joined([each.x for each in dataset.gen_batch(5)]) == plain(data)
    shuffled = list(dataset.gen_batch(5, shuffle=3))
    order = np.concatenate([each.indices for each in shuffled])
    assert joined([each.x for each in shuffled]) == [plain(data)[i] for i in order]
    part = dataset.split(0.5, shuffle=1).test
    assert joined([each.x for each in part.gen_batch(4)]) == [
        plain(data)[i] for i in part.index.ids
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shuffle", [False, 5])
def test_rebatching_gives_the_same_rows(kind: str, shuffle: int) -> None:
    data = KINDS[kind]()
    pipeline = Dataset(data={"x": data}).p.apply(lambda x: x).rebatch(5)
    batches = list(pipeline.gen_batch(3, shuffle=shuffle))
    order = np.concatenate([each.indices for each in batches])
    assert [each.size for each in batches] == [5, 5, 2]
    assert joined([each.x for each in batches]) == [plain(data)[i] for i in order]


@pytest.mark.parametrize(
    "kind",
    [
        *("Series", "DataFrame", "Index", "MultiIndex", "days", "Categorical", "ints and nulls"),
        *("Arrow table", "Arrow array", "csr matrix", "csr array", "masked"),
    ],
)
def test_a_batch_and_its_parts_are_of_the_kind_that_was_given(kind: str) -> None:
    data = KINDS[kind]()
    batch = next(Dataset(data={"x": data}).gen_batch(6, shuffle=1))
    halves = batch.take([0, 2]), batch.take(np.arange(6) > 3)
    for each in (batch.x, *(half.x for half in halves)):
        assert type(each) is type(data)
    merged = stack_rows([half.x for half in halves])
    assert plain(merged) == [*plain(halves[0].x), *plain(halves[1].x)]


def test_items_of_unequal_shape_become_objects_when_batches_are_put_together() -> None:
    rows = [np.full((1 + i // 2, 2), i) for i in range(6)]  # equal within a batch of two

    def load(item: int) -> np.ndarray:
        return rows[item]

    class Loaded(Batch):
        components = "x"

    pipeline = Dataset(6, Loaded).p.load(load).rebatch(3)
    for batch in pipeline.gen_batch(2):
        assert [each.tolist() for each in batch.x] == [rows[i].tolist() for i in batch.indices]


def test_strings_keep_their_lengths_across_batches() -> None:
    words = ["a", "a much longer word", "b"]
    pipeline = Dataset(data={"x": words}).p.rebatch(3)
    assert next(pipeline.gen_batch(1)).x.tolist() == words


@pytest.mark.parametrize(
    "given", [[b"a\0", b"\0\0", b"b"], ["a\0", "b", "c"], [2**63, -1, 2**63 + 1]]
)
def test_what_numpy_would_change_to_make_it_fit_stays_as_it_is(given: list[Any]) -> None:
    """NumPy cuts zeros off the ends of strings, and makes floats of ints that no dtype holds."""
    pipeline = Dataset(data={"x": given}).p.apply(list, "x").rebatch(3)
    assert next(pipeline.gen_batch(2)).x.tolist() == given
    assert Dataset(index=given, data={"x": given}).index.ids.tolist() == given


def test_columns_of_one_name_are_refused() -> None:
    pd = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="more than one column 'a'"):
        Dataset(data=pd.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.parametrize("copy", [True, False])
def test_memory_maps_are_read_like_arrays(tmp_path: Path, copy: bool) -> None:
    np.save(tmp_path / "grid.npy", GRID)
    mapped = np.load(tmp_path / "grid.npy", mmap_mode="r")
    for shuffle in (False, 3):
        batches = list(Dataset(data={"x": mapped}, copy=copy).gen_batch(5, shuffle=shuffle))
        for each in batches:
            assert type(each.x) is np.ndarray
            assert np.array_equal(each.x, GRID[each.indices])


def test_hdf5_is_read_where_it_lies(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "grid.h5", "w") as file:
        file["x"], file["y"] = GRID, np.arange(N)
        dataset = Dataset(data=file)
        assert set(dataset.components) == {"x", "y"}
        for shuffle in (False, 3):
            for batch in dataset.gen_batch(5, shuffle=shuffle):
                assert np.array_equal(batch.x, GRID[batch.indices])
                assert np.array_equal(batch.y, batch.indices)
        twice = Dataset(data=file).p.merge(dataset.p)
        assert next(twice.gen_batch(N)).y.tolist() == [*range(N), *range(N)]


def test_polars_rows_stay_polars() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": range(N), "b": WORDS})
    dataset = Dataset(data=frame)
    assert dataset.components == ("a", "b")
    batches = list(Dataset(data={"x": frame}).p.rebatch(6).gen_batch(4, shuffle=1))
    order = np.concatenate([each.indices for each in batches])
    assert pl.concat([each.x for each in batches]).rows() == [frame.row(i) for i in order]


def changed(value: Any) -> None:
    """Changes a component in place, in the way of its kind."""
    if hasattr(value, "toarray"):
        value.data[:] = -1
    elif isinstance(value, pd.DataFrame):
        value.loc[:, "a"] = -1
    elif isinstance(value, pd.Series):
        value.iloc[:] = -1
    else:
        value[...] = -1


@pytest.mark.parametrize(
    "kind",
    [
        "array",
        "big-endian",
        "read-only",
        "not contiguous",
        "backwards",
        "masked",
        "list",
        "Series",
        "DataFrame",
        "csr matrix",
        "csc matrix",
        "coo matrix",
        "csr array",
        "own kind",
    ],
)
@pytest.mark.parametrize("batch_size", [1, 5, N])
@pytest.mark.parametrize("shuffle", [False, 3])
def test_a_batch_owns_its_data(kind: str, batch_size: int, shuffle: int) -> None:
    data = KINDS[kind]()
    before = plain(data)
    dataset = Dataset(data={"x": data})
    for each in dataset.gen_batch(batch_size, shuffle=shuffle):
        changed(each.x)
    for each in dataset.split(0.5).train.gen_batch(batch_size, shuffle=shuffle):
        changed(each.x)
    assert plain(data) == before
    assert joined([each.x for each in dataset.gen_batch(N)]) == before


def test_batches_of_one_portion_do_not_see_each_others_changes() -> None:
    batches = list(Dataset(data={"x": np.zeros(20)}).gen_batch(2, prefetch=4))
    for number, each in enumerate(batches):
        each.x += number
    assert [each.x.tolist() for each in batches] == [[float(k)] * 2 for k in range(10)]


def test_without_copying_batches_in_order_are_views_that_cannot_be_written() -> None:
    dataset = Dataset(data={"x": GRID}, copy=False)
    for size in (3, N):
        for each in dataset.gen_batch(size):
            assert np.shares_memory(each.x, GRID)
            with pytest.raises(ValueError, match="read-only"):
                each.x += 1
    for each in dataset.gen_batch(3, shuffle=2):
        each.x += 1
        assert not np.shares_memory(each.x, GRID)
    assert GRID.flags.writeable


class ItemByItem:
    """Takes any index for a single one."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, item: object) -> str:
        return "one item"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.array(3.0), "single value"),
        ((each for each in range(3)), "generator"),
        (7, "int"),
        (None, "NoneType"),
        ("text", "str"),
        ({1, 2}, "set"),
        ({"a": 1}, "dict"),
        (ItemByItem(), "ItemByItem"),
    ],
)
def test_what_has_no_rows_is_refused_when_the_dataset_is_made(data: object, said: str) -> None:
    with pytest.raises(DataError, match=f"'x'.*{said}"):
        Dataset(data={"x": data})


def test_a_component_may_be_emptied() -> None:
    class Emptied(Batch):
        pass

    batch = next(Dataset(data={"x": GRID, "y": range(N)}, batch_class=Emptied).gen_batch(4))
    batch.x = None
    batch.check_lengths()
    assert batch.take([1]).x is None
    assert Batch.merge([batch, batch]).x is None
    assert take_rows("x", None, np.array([0])) is None
    assert len(as_column("x", [])) == 0


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "in rows": lambda data: data,
    "in columns": np.asfortranarray,
    "every second column": lambda data: np.repeat(data, 2, axis=1)[:, ::2],
    "backwards": lambda data: data[::-1],
    "unaligned": lambda data: np.frombuffer(b"x" + data.tobytes(), "u1")[1:].view("<f8"),
    "in columns, masked": lambda data: np.ma.masked_less(np.asfortranarray(data), 0.5),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_few_rows_cost_the_memory_of_a_few_rows(layout: str) -> None:
    """However the data lies in memory: an array of pandas' columns is no exception."""
    data = LAYOUTS[layout](np.random.default_rng(0).random((40_000, 16)))
    made = Dataset(data={"x": data})
    rows = np.random.default_rng(1).permutation(len(data))
    tracemalloc.start()
    try:
        found = made.batch_at(rows[8:16]).x
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < data.nbytes / 10
    assert np.array_equal(found, data[rows[8:16]]) and found.flags.c_contiguous


@pytest.mark.parametrize("shuffle", [False, 1])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_large_batches_are_gathered_one_by_one(shuffle: int | bool, prefetch: int) -> None:
    """Only small ones are gathered together, or memory would hold many for each that is asked for."""
    made = Dataset(data={"x": np.zeros((4096, 1024)), "y": np.arange(4096)})
    assert made.columns["x"].row_bytes * 128 == 1 << 20
    tracemalloc.start()
    try:
        for batch in made.p.gen_batch(128, shuffle=shuffle, prefetch=prefetch):
            assert batch.x.nbytes == 1 << 20 and len(batch.y) == 128
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ((40 if prefetch else 4) << 20)
