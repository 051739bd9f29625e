"""Columns beside the dataset's own: what a batch loads from a mapping, and dumps into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchloom.columns import as_column, row_count
from batchloom.errors import DataError, UnknownComponentError
from batchloom.ordering import Positions

if TYPE_CHECKING:
    from batchloom.batch import Batch
    from batchloom.dataset import Dataset


def read_columns(
    dataset: Dataset, positions: Positions, src: Mapping[str, Any], names: tuple[str, ...]
) -> list[Any]:
    """Take the rows of items from columns."""
    for each in names:
        if each not in src:
            raise UnknownComponentError("column", each, src, "in what is to be loaded")
    columns = [as_column(each, src[each]) for each in names]
    for each, column in zip(names, columns, strict=True):
        _check_rows(dataset, each, len(column), "load")
    rows = dataset.rows_of(positions)
    return [each.take(rows) for each in columns]


def write_columns(
    batch: Batch,
    dataset: Dataset,
    positions: Positions,
    dst: Mapping[str, Any],
    names: tuple[str, ...],
) -> None:
    """Write components of a batch at the rows of its items."""
    for each in names:
        _check_rows(dataset, each, row_count(dst[each]), "dump")
    rows = dataset.rows_of(positions)
    for each in names:
        dst[each][rows] = getattr(batch, each)


def _check_rows(dataset: Dataset, name: str, rows: int | None, verb: str) -> None:
    """Hold data that is not in the dataset against the data that is."""
    if rows != dataset.n_rows:
        raise DataError(
            f"{verb}: {name!r} has {'no' if rows is None else rows} rows, but the data of the dataset "
            f"has {dataset.n_rows}: row i of each belongs to item i, also where the dataset is a part of one"
        )
