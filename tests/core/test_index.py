"""DatasetIndex and FilesIndex: which ids there are, where they are, and how they are split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchloom import BatchloomError, DatasetIndex, FilesIndex
from batchloom.errors import DataError

NAN = float("nan")


@pytest.mark.parametrize(
    "ids",
    [
        ["b", "a", "c"],
        ("x", "y"),
        [10, 7, 3],
        range(5),
        range(4, 10, 2),
        np.array([3, 1, 2], dtype=">i4"),
        np.array(["long name", "s"]),
        pd.Index(["one", "two"]),
        [1, "a"],
        [2**70, 1],
        [],
    ],
    ids=repr,
)
def test_ids_are_kept_as_they_are(ids: list[object]) -> None:
    index = DatasetIndex(ids)
    assert len(index) == len(ids)
    assert index.ids.tolist() == list(ids)
    assert index.positions(list(ids)).tolist() == list(range(len(ids)))


def test_a_number_of_items_stands_for_their_positions() -> None:
    assert DatasetIndex(4).ids.tolist() == [0, 1, 2, 3]
    assert DatasetIndex(np.int64(4)).ids.tolist() == [0, 1, 2, 3]
    assert len(DatasetIndex(10**12)) == 10**12  # takes no memory


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "b", "a"], "'a'"),
        ([5, 5], "5"),
        ([None, 1, 1], "1"),
        ([1.0, 2.0], "float"),
        ([1, NAN], "float"),
        (np.array(["a", NAN], dtype=object), "float"),
        (np.zeros((2, 2), dtype=int), r"\(2, 2\)"),
        ([[1], [2, 3]], "ints or strings"),
        ((each for each in "ab"), "generator"),
        ("abc", "one-dimensional"),
        (-1, "-1"),
        (2.5, "2.5"),
        (True, "True"),
        (None, "None"),
    ],
)
def test_what_cannot_be_ids_is_refused(ids: object, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        DatasetIndex(ids)
    assert isinstance(caught.value, BatchloomError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("index", "foreign"),
    [(DatasetIndex(3), 3), (DatasetIndex(3), -1), (DatasetIndex(["a", "b"]), "c")],
)
def test_foreign_ids_are_named(index: DatasetIndex, foreign: object) -> None:
    with pytest.raises(IndexError, match=f"1 of 2.*{foreign!r}"):
        index.positions([index.ids[0], foreign])


def test_ids_that_are_handed_out_cannot_change_the_index() -> None:
    given = np.array([3, 1, 2])
    index = DatasetIndex(given)
    given[0] = 99
    with pytest.raises(ValueError, match="read-only"):
        index.take(slice(0, 2))[0] = 99
    assert index.ids.tolist() == [3, 1, 2]
    numbers = DatasetIndex(3)
    numbers.ids[0] = 99
    assert numbers.ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        (0.8, {"train": 80, "test": 20}),
        ([0.8], {"train": 80, "test": 20}),
        ([0.8, 0.2], {"train": 80, "test": 20}),
        ([0.6, 0.25], {"train": 60, "test": 25, "validation": 15}),
        ([0.6, 0.2, 0.2], {"train": 60, "test": 20, "validation": 20}),
        (1, {"train": 100, "test": 0}),
        ([0.1, 0.2, 0.7], {"train": 10, "test": 20, "validation": 70}),
    ],
)
def test_shares_become_parts(shares: object, sizes: dict[str, int]) -> None:
    parts = DatasetIndex(100).split_positions(shares, False)
    assert {name: len(each) for name, each in parts.items()} == sizes
    assert np.concatenate(list(parts.values())).tolist() == list(range(100))


@pytest.mark.parametrize(
    "shares",
    [1.1, [0.8, 0.3], [-0.1, 0.5], [0.5, 0.2, 0.2], [], [0.1] * 4, NAN, [0.5, NAN], [-1, 2]],
)
def test_shares_that_do_not_add_up_are_refused(shares: object) -> None:
    with pytest.raises(ValueError):
        DatasetIndex(100).split_positions(shares, False)


@pytest.mark.parametrize("shares", ["0.8", ["0.8", 0.2], None])
def test_shares_are_numbers(shares: object) -> None:
    with pytest.raises(DataError, match="a share is a number"):
        DatasetIndex(100).split_positions(shares, False)


@given(
    st.integers(0, 300),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([False, True, 7]),
)
def test_the_parts_together_are_the_whole(n: int, first: float, rest: float, shuffle: int) -> None:
    parts = DatasetIndex(n).split_positions([first, (1 - first) * rest], shuffle)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(n))
    assert abs(len(parts["train"]) - first * n) <= 0.5


# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.npy", "a.npy", "c.txt", "sub/d.npy"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def test_files_are_sorted_and_called_by_their_names(folder: Path) -> None:
    index = FilesIndex(str(folder / "*.npy"))
    assert index.ids.tolist() == ["a.npy", "b.npy"]
    assert index.paths == [str(folder / "a.npy"), str(folder / "b.npy")]
    assert index.path("b.npy") == str(folder / "b.npy")
    assert FilesIndex(folder / "*.npy", no_ext=True).ids.tolist() == ["a", "b"]
    assert FilesIndex(folder / "*", dirs=True).ids.tolist() == ["sub"]
    assert FilesIndex(folder / "**" / "*.npy").ids.tolist() == ["a.npy", "b.npy", "d.npy"]


def test_several_patterns_make_one_index_without_repeats(folder: Path) -> None:
    index = FilesIndex([folder / "*.txt", folder / "sub" / "*", folder / "c*"])
    assert index.ids.tolist() == ["c.txt", "d.npy"]


def test_a_subset_knows_the_paths_of_its_own(folder: Path) -> None:
    part = FilesIndex(folder / "*.npy").subset(np.array([1]))
    assert isinstance(part, FilesIndex)
    assert part.paths == [str(folder / "b.npy")]
    with pytest.raises(IndexError, match=r"a\.npy"):
        part.path("a.npy")


def test_no_path_is_left_out_because_it_is_not_there_or_looks_like_a_pattern(folder: Path) -> None:
    (folder / "a[1].npy").write_bytes(b"")
    index = FilesIndex([folder / "a[1].npy", folder / "b.npy", folder / "*.png"])
    assert index.ids.tolist() == ["a[1].npy", "b.npy"]
    with pytest.raises(DataError, match=r"no file matches .*gone\.npy$"):
        FilesIndex([folder / "b.npy", folder / "gone.npy"])
    with pytest.raises(DataError, match=r"no file matches .*sub$"):
        FilesIndex([folder / "b.npy", folder / "sub"])


def test_a_pattern_without_files_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no file matches .*\.png"):
        FilesIndex(folder / "*.png")
    with pytest.raises(DataError, match="no folder"):
        FilesIndex(folder / "*.npy", dirs=True)


def test_two_files_of_one_name_are_refused(folder: Path) -> None:
    (folder / "sub" / "a.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"'a\.npy'.*sub"):
        FilesIndex(folder / "**" / "*.npy")
    with pytest.raises(DataError, match="'c'"):
        (folder / "c.npy").write_bytes(b"")
        FilesIndex(folder / "c.*", no_ext=True)
