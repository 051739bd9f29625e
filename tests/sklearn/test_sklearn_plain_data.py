"""What was gathered comes back from a checkpoint as it was, whatever it was kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from batchloom.errors import CheckpointError, CorruptFileError
from batchloom.plain import read_plain, write_plain
from batchloom_sklearn.plain_data import from_plain, to_plain


def round_trip(data: Any, folder: Path) -> Any:
    write_plain(to_plain(data, "x"), folder / "x", "x")
    return from_plain(read_plain(folder / "x"))


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr"])
def test_sparse_rows(form: str, kind: str, tmp_path: Path) -> None:
    dense = np.where(np.random.default_rng(0).random((9, 4)) > 0.7, 1.5, 0).astype(np.float32)
    data = getattr(sparse, f"{form}_{kind}")(dense)
    back = round_trip(data, tmp_path)
    assert type(back) is type(data)
    assert back.dtype == data.dtype
    assert (back.toarray() == dense).all()


def test_frames(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "text": ["a", None, "c"],
            "kind": pd.Categorical(["u", "v", None], categories=["v", "u", "w"], ordered=True),
            "count": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "day": pd.to_datetime(["2020-01-01", None, "2020-03-01"]),
            "moment": pd.to_datetime(["2020-01-01", None, "2020-03-01"]).tz_localize("UTC"),
            "mixed": np.array([1, "x", None], dtype=object),
            7: np.float32([1, np.nan, 3]),
        },
        index=pd.Index(["i", "j", "k"], name="key"),
    )
    pd.testing.assert_frame_equal(round_trip(frame, tmp_path), frame)


def test_series_and_indices_of_several_levels(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["u", "v"])
    series = pd.Series([1.5, 2.5], index=index, name="target")
    pd.testing.assert_series_equal(round_trip(series, tmp_path), series)


def test_polars_frames(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert round_trip(frame, tmp_path).equals(frame)


def test_a_column_of_objects_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"when": pd.period_range("2020-01", periods=2, freq="M")})
    with pytest.raises(CheckpointError, match=r"x\['when'\].*period"):
        to_plain(frame, "x")


@pytest.mark.parametrize(
    "change",
    [{"indices": np.array([99] * 3, np.int32)}, {"class": "__class__"}, {"kind": "eval"}],
)
def test_sparse_rows_that_point_outside_are_refused(change: dict[str, Any]) -> None:
    kept = to_plain(sparse.csr_array(np.eye(3)), "x")
    with pytest.raises(CorruptFileError):
        from_plain({**kept, **change})
