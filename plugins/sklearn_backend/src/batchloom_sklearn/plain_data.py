"""What was gathered, as plain data and arrays: sparse matrices and data frames taken apart.

A checkpoint keeps these, and puts them together again without running any code of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from batchloom.errors import CheckpointError, CorruptFileError

from .gather import library

_COMPRESSED = ("csr", "csc")


def to_plain(data: Any, what: str) -> Any:
    """Take a gathered argument apart.

    Parameters
    ----------
    data : array, sparse matrix, data frame, series, list or None
    what : str
        Its name, for errors.

    Returns
    -------
    object
        Of the kinds that `batchloom.plain` writes; a table is a dict that names its ``kind``.

    Raises
    ------
    CheckpointError
        If a column holds what is no plain data.
    """
    if sparse.issparse(data):
        return _sparse_to_plain(data)
    if library(data) == "pandas":
        return _pandas_to_plain(data, what)
    if library(data) == "polars":
        return _polars_to_plain(data)
    return {"kind": "plain", "value": data}


def from_plain(kept: Any) -> Any:
    """Put together what `to_plain` took apart.

    Raises
    ------
    CorruptFileError
        If it is nothing that `to_plain` makes.
    """
    try:
        return _READERS[kept["kind"]](kept)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise CorruptFileError(f"the gathered data of a checkpoint is damaged: {exc}") from exc


def _sparse_to_plain(data: Any) -> dict[str, Any]:
    suffix = "array" if isinstance(data, sparse.sparray) else "matrix"
    stored = data if data.format in _COMPRESSED else data.tocoo()
    parts = ("data", "indices", "indptr") if data.format in _COMPRESSED else ("data", "row", "col")
    kept = {"kind": "sparse", "format": data.format, "class": suffix, "shape": tuple(data.shape)}
    return kept | {each: np.asarray(getattr(stored, each)) for each in parts}


def _sparse_from_plain(kept: dict[str, Any]) -> Any:
    if kept["class"] not in ("array", "matrix"):
        raise ValueError(f"no class of sparse data: {kept['class']!r}")
    if kept["format"] in _COMPRESSED:
        make = getattr(sparse, f"{kept['format']}_{kept['class']}")
        made = make((kept["data"], kept["indices"], kept["indptr"]), shape=kept["shape"])
        made.check_format(full_check=True)  # an index that leads out of it would crash later
        return made
    make = getattr(sparse, f"coo_{kept['class']}")
    entries = kept["data"], (kept["row"], kept["col"])
    return make(entries, shape=kept["shape"]).asformat(kept["format"])


def _pandas_to_plain(data: Any, what: str) -> dict[str, Any]:
    index = _series_to_plain(data.index.to_series(), f"the index of {what}")
    index["names"] = list(data.index.names)
    if data.ndim == 1:
        return {"kind": "series", "name": data.name, "index": index} | {
            "values": _series_to_plain(data, what)
        }
    values = [
        _series_to_plain(data.iloc[:, at], f"{what}[{name!r}]")
        for at, name in enumerate(data.columns)
    ]
    columns = _series_to_plain(data.columns.to_series(), f"the columns of {what}")
    return {"kind": "frame", "index": index, "columns": columns, "values": values}


def _frame_from_plain(kept: dict[str, Any]) -> Any:
    import pandas as pd

    index = _index_from_plain(kept["index"])
    values = [_values_from_plain(each) for each in kept["values"]]
    frame = pd.DataFrame(dict(enumerate(values)), index=index)
    frame.columns = pd.Index(_values_from_plain(kept["columns"]))
    return frame


def _one_series_from_plain(kept: dict[str, Any]) -> Any:
    import pandas as pd

    index = _index_from_plain(kept["index"])
    return pd.Series(_values_from_plain(kept["values"]), index=index, name=kept["name"])


def _index_from_plain(kept: dict[str, Any]) -> Any:
    import pandas as pd

    values = _values_from_plain(kept)
    if len(kept["names"]) > 1:
        return pd.MultiIndex.from_tuples(list(values), names=kept["names"])
    return pd.Index(values, name=kept["names"][0])


def _series_to_plain(series: Any, what: str) -> dict[str, Any]:
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = _series_to_plain(dtype.categories.to_series(), f"the categories of {what}")
        codes = series.cat.codes.to_numpy()
        return {"kind": "category", "codes": codes, "of": categories, "ordered": dtype.ordered}
    if isinstance(dtype, pd.DatetimeTZDtype):
        moments = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return {"kind": "moments", "values": moments, "dtype": str(dtype)}
    if isinstance(dtype, np.dtype):
        return {"kind": "values", "values": series.to_numpy()}
    there = series.notna().to_numpy()
    values = [_python(each) if here else None for each, here in zip(series, there, strict=True)]
    if strange := {type(each) for each in values} - {str, int, float, bool, type(None)}:
        names = ", ".join(sorted(each.__name__ for each in strange))
        raise CheckpointError(f"{what} is of dtype {dtype}, with values of {names}: no plain data")
    return {"kind": "extension", "values": values, "dtype": str(dtype)}


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _values_from_plain(kept: dict[str, Any]) -> Any:
    import pandas as pd

    if kept["kind"] == "category":
        categories = pd.Index(_values_from_plain(kept["of"]))
        return pd.Categorical.from_codes(kept["codes"], categories, ordered=kept["ordered"])
    if kept["kind"] == "moments":
        return pd.DatetimeIndex(kept["values"]).tz_localize("UTC").astype(kept["dtype"])
    if kept["kind"] == "extension":
        return pd.array(kept["values"], dtype=kept["dtype"])
    return kept["values"]


def _polars_to_plain(data: Any) -> dict[str, Any]:
    import io

    # Arrow's own format: of columns and bytes, without code.
    sink, is_series = io.BytesIO(), not hasattr(data, "columns")
    (data.to_frame() if is_series else data).write_ipc(sink)
    stream = np.frombuffer(sink.getvalue(), dtype=np.uint8)
    return {"kind": "polars", "stream": stream, "is_series": is_series}


def _polars_from_plain(kept: dict[str, Any]) -> Any:
    import io

    import polars as pl

    frame = pl.read_ipc(io.BytesIO(kept["stream"].tobytes()))
    return frame.to_series() if kept["is_series"] else frame


_READERS = {
    "plain": lambda kept: kept["value"],
    "sparse": _sparse_from_plain,
    "frame": _frame_from_plain,
    "series": _one_series_from_plain,
    "polars": _polars_from_plain,
}
