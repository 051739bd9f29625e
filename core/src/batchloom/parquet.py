"""Columns in Parquet files, read row group by row group."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from batchloom.arrow_arrays import ADVICE, NULLS, ArrayKind, kind_of
from batchloom.errors import DataError, UnknownComponentError
from batchloom.ordering import Positions
from batchloom.parquet_paths import find_files
from batchloom.stored import Buffers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchloom.parquet_paths import Paths

KEPT_BYTES = 64 << 20
"""Row groups that single rows were taken from are kept up to this size, for the next rows."""

IDLE_FILES = 4
"""So many files stay open for the next row group."""

AT_ONCE_BYTES = 256 << 20
"""No more than this is read in one go, because nothing can interrupt that."""

STREAM_BYTES = 64 << 10
"""A column is decoded page by page as it is read: all of it would not stay in the processor's cache."""

WIDTHS = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}
"""How large the numbers are that a file holds, in bytes."""

SAMPLES, SAMPLE_BYTES = 16, 4096
"""How much of each file's content goes into its fingerprint, besides its footer."""


def read_columns(
    path: Paths,
    columns: str | Sequence[str] | Mapping[str, str] | None,
    nulls: str | Mapping[str, str],
) -> dict[str, ParquetColumn]:
    """Find the columns of Parquet files; nothing but their footers is read.

    The parameters are those of `Dataset.from_parquet`.
    """
    _pyarrow()
    files = ParquetFiles(find_files(path))
    chosen = _chosen(columns, files.schema)
    policies = _policies(nulls, chosen)
    kinds = {name: files.kind(column, policies[name]) for name, column in chosen.items()}
    return {name: ParquetColumn(files, column, kinds[name]) for name, column in chosen.items()}


class ParquetFiles:
    """Parquet files with the same columns, one behind the other.

    Only paths and counts are pickled; what reads a copy in another process finds the files there.

    Attributes
    ----------
    bounds : array of int, shape (n_row_groups + 1,)
        The row that each row group begins with, and the number of rows.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = list(paths)
        self._stamps = [_stamp(each) for each in self._paths]
        self._begin()
        groups = [
            (file, group, self._footer(file).row_group(group).num_rows)
            for file in range(len(self._paths))
            for group in range(self._footer(file).num_row_groups)
        ]
        self._groups = [(file, group) for file, group, rows in groups if rows]
        counts = [rows for *_, rows in groups if rows]
        self.bounds: Positions = np.append(0, np.cumsum(np.array(counts, dtype=np.intp)))
        self._check_alike()

    def _begin(self) -> None:
        self._metadata: dict[int, Any] = {}
        self._leaves_of: dict[int, Mapping[str, list[int]]] = {}
        self._guard = threading.Lock()
        self._idle: list[tuple[int, Any]] = []

    @cached_property
    def schema(self) -> Any:
        """The Arrow schema of the first file."""
        return self._footer(0).schema.to_arrow_schema()

    def kind(self, column: str, nulls: str) -> ArrayKind:
        """Say which array a column becomes, and refuse nulls that nobody has said what to do with."""
        field = self.schema.field(column)
        kind = kind_of(column, field.type, "error")
        count = self._count_nulls(column) if field.nullable and not kind.dtype.hasobject else 0
        if count and nulls == "error":
            raise DataError(f"column {column!r} has {count} nulls: {ADVICE}")
        return kind if count == 0 else kind_of(column, field.type, nulls)

    def row_bytes(self, column: str) -> int:
        """Say how large a row of a column is, on average."""
        sizes = [chunk.total_uncompressed_size for chunk in self._chunks(column)]
        return int(sum(sizes)) // max(1, int(self.bounds[-1]))

    def holds_as_array(self, column: str, row_bytes: int) -> bool:
        """Tell whether the values of a column lie in the files as in an array of rows of that size."""
        leaf = self._footer(0).schema.column(self._leaves(0)[column][0])
        width = WIDTHS.get(leaf.physical_type, leaf.length)
        return bool(leaf.max_repetition_level == 0 and width == row_bytes)

    def are_together(self, groups: Positions) -> bool:
        """Tell whether row groups are in one file."""
        return len({self._groups[each][0] for each in groups.tolist()}) == 1

    def read(self, groups: Sequence[int], column: str) -> Any:
        """Read one column of row groups that are in one file, a chunked array."""
        file, at = self._groups[groups[0]][0], [self._groups[each][1] for each in groups]
        with self._opened(file) as opened:
            try:
                table = opened.read_row_groups(at, columns=[column], use_threads=False)
            except Exception as exc:
                exc.add_note(f"in row group {', '.join(map(str, at))} of {self._paths[file]}")
                raise
        return table.column(column)

    @cached_property
    def digest(self) -> str:
        """What stands for the content: the footers, with counts and extremes, and samples of the rest."""
        digest = hashlib.sha256()
        for path in self._paths:
            with open(path, "rb") as file:
                size = file.seek(-8, os.SEEK_END) + 8
                footer = int.from_bytes(file.read(4), "little") + 8
                spread = np.linspace(0, max(0, size - footer - SAMPLE_BYTES), SAMPLES)
                for at, length in [
                    (size - footer, footer),
                    *((int(x), SAMPLE_BYTES) for x in spread),
                ]:
                    file.seek(at)
                    digest.update(file.read(length))
        return digest.hexdigest()[:12]

    def _check_alike(self) -> None:
        """Refuse files whose columns are of other types than the first one's."""
        first = {field.name: field.type for field in self.schema}
        for file in range(1, len(self._paths)):
            there = {f.name: f.type for f in self._footer(file).schema.to_arrow_schema()}
            unlike = [n for n in {**first, **there} if first.get(n) != there.get(n)]
            if unlike:
                said = "; ".join(
                    f"{n!r} is {first.get(n, 'not there')} in {self._paths[0]} and "
                    f"{there.get(n, 'not there')} in {self._paths[file]}"
                    for n in unlike[:5]
                )
                raise DataError(f"the files of a dataset have the same columns, but {said}")

    def _chunks(self, column: str) -> Iterator[Any]:
        """Go through what the files say of a column, row group by row group."""
        for file, group in self._groups:
            found = self._footer(file).row_group(group)
            for at in self._leaves(file)[column]:
                yield found.column(at)

    def _leaves(self, file: int) -> Mapping[str, list[int]]:
        """Say in which of a file's columns the values of each column are: several, of nested ones."""
        if file not in self._leaves_of:
            schema = self._footer(file).schema
            found: dict[str, list[int]] = {name: [] for name in self.schema.names}
            for at in range(len(schema.names)):
                path = schema.column(at).path
                while path not in found:
                    path = path.rpartition(".")[0]
                found[path].append(at)
            self._leaves_of[file] = found
        return self._leaves_of[file]

    def _count_nulls(self, column: str) -> int | None:
        """Count the nulls of a column; None if the files do not say."""
        count = 0
        for chunk in self._chunks(column):
            statistics = chunk.statistics
            if statistics is None or not statistics.has_null_count:
                return None
            count += statistics.null_count
        return count

    def _footer(self, file: int) -> Any:
        if file not in self._metadata:
            path = self._paths[file]
            try:
                self._metadata[file] = _parquet().read_metadata(path)
            except Exception as exc:
                raise DataError(f"{path} cannot be read as a Parquet file: {exc}") from exc
        return self._metadata[file]

    @contextmanager
    def _opened(self, file: int) -> Iterator[Any]:
        """Give an open file to one thread at a time."""
        found = None
        with self._guard:
            for at, (number, _) in enumerate(self._idle):
                if number == file:
                    found = self._idle.pop(at)[1]
                    break
        if found is None:
            found = self._open(file)
        yield found
        with self._guard:
            self._idle = [*self._idle, (file, found)][-IDLE_FILES:]

    def _open(self, file: int) -> Any:
        path = self._paths[file]
        if _stamp(path) != self._stamps[file]:
            raise DataError(f"{path} has changed since the dataset was made: make it anew")
        return _parquet().ParquetFile(
            path, metadata=self._footer(file), pre_buffer=False, buffer_size=STREAM_BYTES
        )

    def __getstate__(self) -> dict[str, Any]:
        left = ("schema", "_metadata", "_leaves_of", "_guard", "_idle")
        return {name: each for name, each in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


class ParquetColumn:
    """One column of Parquet files, as arrays.

    Parameters
    ----------
    files : ParquetFiles
    column : str
        Its name in the files.
    kind : ArrayKind
    """

    is_decoded = True

    def __init__(self, files: ParquetFiles, column: str, kind: ArrayKind) -> None:
        self._files = files
        self._column = column
        self._kind = kind
        self._row_bytes = files.row_bytes(column) if kind.dtype.hasobject else kind.row_bytes
        is_view = kind.is_plain and kind.nulls == "error"
        self._is_as_held = is_view and files.holds_as_array(column, kind.row_bytes)
        self._start()

    def _start(self) -> None:
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return int(self._files.bounds[-1])

    @property
    def bounds(self) -> Positions:
        """The row that each row group begins with, and the number of rows."""
        return self._files.bounds

    @property
    def row_bytes(self) -> int:
        """How large a row is, about."""
        return max(1, self._row_bytes)

    @property
    def fingerprint(self) -> str:
        """What tells this data from other data."""
        return f"Parquet, {self._kind.dtype}, {self._kind.shape}, {self._files.digest}"

    def take(self, positions: Positions) -> Any:
        """Gather rows; each row group that has some of them is read as a whole."""
        groups = np.searchsorted(self.bounds, positions, side="right") - 1
        needed = np.unique(groups)
        if len(needed) == 1:
            return self._group(int(needed[0])).take(positions - self.bounds[needed[0]], axis=0)
        rows = self._kind.empty(len(positions))
        for group in needed.tolist():
            where = np.flatnonzero(groups == group)
            rows[where] = self._group(group).take(positions[where] - self.bounds[group], axis=0)
        return rows

    def rows(self, start: int, stop: int, copy: bool = True) -> Any:
        """Give consecutive rows."""
        return self.take(np.arange(start, stop))

    def whole(self) -> Any:
        """Read the whole column into memory."""
        ends = np.array([0]), np.array([len(self)])
        if not len(self):
            return self._kind.empty(0)
        reading = self.reading(*ends, None)
        for piece in range(reading.pieces):
            reading.read(piece)
        return reading.result()

    def reading(
        self, starts: Positions, stops: Positions, buffers: Buffers | None, readers: int = 1
    ) -> GroupsReading:
        """Prepare the reading of some ranges of rows."""
        return GroupsReading(self, self._kind, starts, stops, buffers, readers)

    def rows_in(self, groups: Positions) -> int:
        """Count the rows of some row groups."""
        return int((self.bounds[groups + 1] - self.bounds[groups]).sum())

    def can_read_at_once(self, groups: Positions) -> bool:
        """Tell whether row groups can be read in one go, with nothing in memory besides their rows."""
        size = self.row_bytes * self.rows_in(groups)
        return self._is_as_held and size <= AT_ONCE_BYTES and self._files.are_together(groups)

    def read_groups(self, groups: Sequence[int]) -> Any:
        """Read row groups of one file, an array that may not be written to."""
        chunks = self._files.read(groups, self._column).chunks
        arrays = [self._kind.array(each) for each in chunks]
        return arrays[0] if len(arrays) == 1 else _stacked(arrays)

    def _group(self, group: int) -> Any:
        with self._guard:
            if group in self._kept:
                self._kept.move_to_end(group)
                return self._kept[group]
        found = self.read_groups([group])
        with self._guard:
            self._kept[group] = found
            most = max(1, KEPT_BYTES // max(1, self.row_bytes * len(found)))
            while len(self._kept) > most:
                self._kept.popitem(last=False)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_kept", "_guard")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()


class GroupsReading:
    """The reading of ranges of rows.

    Several threads share the row groups, whose rows are copied to where they belong. One thread reads all of
    them in one go, where what Arrow makes of them can stay as it is: no row is copied then.

    Parameters
    ----------
    column : ParquetColumn
    kind : ArrayKind
    starts, stops : array of int
    buffers : Buffers or None
        What is read without them may be written to, where it is copied.
    readers : int
    """

    def __init__(
        self,
        column: ParquetColumn,
        kind: ArrayKind,
        starts: Positions,
        stops: Positions,
        buffers: Buffers | None,
        readers: int,
    ) -> None:
        self._column = column
        self._starts, self._stops = starts, stops
        self._offsets = np.cumsum(stops - starts) - (stops - starts)
        first = np.searchsorted(column.bounds, starts, side="right") - 1
        last = np.searchsorted(column.bounds, stops, side="left")
        spans = [np.arange(a, b) for a, b in zip(first, last, strict=True)]
        groups: Positions = np.unique(np.concatenate(spans))
        self._length = int((stops - starts).sum())
        are_whole = self._length == column.rows_in(groups)
        at_once = buffers is not None and readers == 1 and are_whole
        at_once = at_once and column.can_read_at_once(groups)
        self._groups = [groups] if at_once else np.split(groups, len(groups))
        self.pieces = len(self._groups)
        self._lent = buffers if kind.is_plain else None
        self._rows: Any = None
        if self.pieces > 1 or not (are_whole or len(starts) == 1):
            self._rows = (
                kind.empty(self._length)
                if self._lent is None
                else self._lent.take((self._length, *kind.shape), kind.dtype)
            )

    def read(self, piece: int) -> None:
        """Read row groups, and put their rows where they belong."""
        groups = self._groups[piece].tolist()
        begin, end = self._column.bounds[groups[0]], self._column.bounds[groups[-1] + 1]
        found = self._column.read_groups(groups)
        if self._rows is None:
            first = self._starts[0] - begin
            self._rows = found[first : first + self._length]
            self._lent = None
            return
        first = int(np.searchsorted(self._stops, begin, side="right"))
        for at in range(first, int(np.searchsorted(self._starts, end, side="left"))):
            start, stop = max(begin, self._starts[at]), min(end, self._stops[at])
            to = self._offsets[at] + start - self._starts[at]
            self._rows[to : to + stop - start] = found[start - begin : stop - begin]

    def result(self) -> Any:
        """Give the rows."""
        return self._rows

    def close(self) -> None:
        """Let the rows be overwritten."""
        if self._lent is not None and self._rows is not None:
            self._lent.give(self._rows)


def _chosen(columns: str | Sequence[str] | Mapping[str, str] | None, schema: Any) -> dict[str, str]:
    """Say which column of the files is which component."""
    if columns is None:
        return {name: name for name in _unique(schema.names)}
    if isinstance(columns, str):
        columns = [columns]
    chosen = dict(columns) if isinstance(columns, Mapping) else {each: each for each in columns}
    for column in chosen.values():
        if column not in schema.names:
            raise UnknownComponentError("column", column, schema.names, "of the Parquet files")
    if not chosen:
        raise DataError("columns names no column: leave it out for all of them")
    return chosen


def _unique(names: Sequence[str]) -> Sequence[str]:
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise DataError(f"the files have several columns of the name {twice[0]!r}: name others")
    return names


def _policies(nulls: str | Mapping[str, str], chosen: Iterable[str]) -> dict[str, str]:
    names = list(chosen)
    given = dict(nulls) if isinstance(nulls, Mapping) else dict.fromkeys(names, nulls)
    for name, policy in given.items():
        if name not in names:
            raise UnknownComponentError("column", name, names, "in nulls")
        if policy not in NULLS:
            raise DataError(f"nulls={policy!r}: give one of {', '.join(map(repr, NULLS))}")
    return {name: given.get(name, "error") for name in names}


def _stacked(arrays: list[Any]) -> Any:
    masked: Any = np.ma
    if any(isinstance(each, np.ma.MaskedArray) for each in arrays):
        return masked.concatenate(arrays)
    return np.concatenate(arrays)


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _pyarrow() -> None:
    try:
        _parquet()
    except ImportError as exc:
        raise ImportError(
            "Dataset.from_parquet needs pyarrow, which is not installed: "
            "pip install 'batchloom[parquet]'"
        ) from exc


def _parquet() -> Any:
    from pyarrow import parquet

    return parquet
