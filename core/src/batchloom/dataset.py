"""Dataset: an index of items, the columns of their data, and the class of their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np

import batchloom
from batchloom.batch import Batch, check_component_name, component_names
from batchloom.columns import Column, as_column
from batchloom.errors import DataError, UnknownComponentError
from batchloom.index import DatasetIndex, as_index, parts
from batchloom.ordering import Positions, blocks_of, make_order
from batchloom.portion import Portion
from batchloom.positions import Numbers, composed, selected, spread
from batchloom.rows import Rows


class Dataset:
    """Items, their data, and the class of the batches that they are handed out in.

    Parameters
    ----------
    index : DatasetIndex, sequence of ids or int, optional
        The ids of the items. Default: ``0 .. n - 1`` for data of n rows.
    batch_class : type, default Batch
        What the batches are made of.
    data : mapping of str to column, DataFrame, Arrow table, array or tuple of arrays, optional
        The columns by name; a column is an array, memory map, pandas object, Arrow object, sparse matrix
        or anything with a length that an array of integers can index. The columns of a DataFrame or
        table are columns. An array or a tuple gets its names from ``batch_class.components``, in order.
    copy : bool, default True
        Whether a batch owns its data. False hands out read-only views where batches are in order.

    Raises
    ------
    DataError
        For columns of unequal length, duplicate ids, a component called like an attribute of the batch
        class, or data that cannot be addressed by position.

    Examples
    --------
    >>> digits = Dataset(data={"images": X, "labels": y}).split(0.8, shuffle=42)
    >>> len(digits.train), len(digits.test)
    (1438, 359)
    """

    # Set by batchloom.pipeline, which is built on this module and imported when it is first needed.
    pipeline_class: ClassVar[type[batchloom.Pipeline]]

    def __init__(
        self,
        index: DatasetIndex | Sequence[Any] | int | None = None,
        batch_class: type[Batch] = Batch,
        data: Any = None,
        *,
        copy: bool = True,
    ) -> None:
        if not (isinstance(batch_class, type) and issubclass(batch_class, Batch)):
            raise DataError(f"batch_class must be a subclass of Batch, not {batch_class!r}")
        self.batch_class = batch_class
        self.copy = copy
        self.columns: dict[str, Column] = _as_columns(data, batch_class)
        self.index = as_index(index, _common_length(self.columns))
        self.n_rows = len(self.index)  # of all the data, in parts of it too
        self.components = tuple(dict.fromkeys([*component_names(batch_class), *self.columns]))
        for name in self.components:
            check_component_name(name, batch_class)
        self._rows: Numbers | None = None
        self._parts: dict[str, Dataset] = {}

    @classmethod
    def from_parquet(
        cls,
        path: str | PathLike[str] | Sequence[str | PathLike[str]],
        columns: str | Sequence[str] | Mapping[str, str] | None = None,
        *,
        index: DatasetIndex | Sequence[Any] | int | None = None,
        batch_class: type[Batch] = Batch,
        copy: bool = True,
        nulls: str | Mapping[str, str] = "error",
    ) -> Self:
        """Make a dataset of the rows of Parquet files, which stay in their files.

        Needs pyarrow: ``pip install 'batchloom[parquet]'``. Only the files' footers are read now.
        Row groups are read as a whole: in order, or with ``shuffle="blocks"``, each once an epoch;
        single rows at the price of the row group that they are in.

        Parameters
        ----------
        path : str, path or sequence of them
            A file, several, a folder (all ``*.parquet`` files in it and in folders below it, by name,
            but for those whose name begins with ``_`` or ``.``), or a glob pattern. They have the same
            columns.
        columns : str, sequence of str or mapping of str to str, optional
            Which columns there are, or for each component the column it is. Default: all.
        index, batch_class, copy
            As of `Dataset`.
        nulls : {"error", "mask", "nan"} or mapping of str to one of them, default "error"
            What becomes of nulls among numbers and dates, for all columns or by component.
            ``"error"`` refuses them; ``"mask"`` makes masked arrays; ``"nan"`` makes floats with NaN, and
            dates with NaT. Strings and other objects have None.

        Returns
        -------
        Dataset
            Components are arrays: numbers, bools and dates of their own dtype; lists of a fixed size and
            tensors of shape ``(rows, *shape)``; binary values of a fixed size as ``uint8`` of shape
            ``(rows, size)``; anything else as objects.

        Raises
        ------
        ImportError
            Without pyarrow.
        DataError
            If there is no such file, or files, columns or nulls are not as they have to be.
        UnknownComponentError
            For a column that the files do not have; the nearest ones are named.
        """
        from batchloom.parquet import read_columns

        data = read_columns(path, columns, nulls)
        return cls(index, batch_class, data, copy=copy)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        names = ", ".join(self.components) or "no components"
        return f"<Dataset of {len(self)} items: {names}; {self.batch_class.__name__}>"

    @property
    def p(self) -> batchloom.Pipeline:
        """A new, empty pipeline over this dataset."""
        return self.pipeline()

    def pipeline(self, config: Mapping[str, Any] | None = None) -> batchloom.Pipeline:
        """Make a new, empty pipeline over this dataset."""
        import batchloom.pipeline  # noqa: F401

        return self.pipeline_class(config) << self

    def gen_batch(self, batch_size: int, **options: Any) -> Iterator[Batch]:
        """Iterate over batches; the options are those of `Pipeline.gen_batch`."""
        return self.p.gen_batch(batch_size, **options)

    def next_batch(self, batch_size: int, **options: Any) -> Batch:
        """Give the next batch, from one call to the next; the options are those of `Pipeline.next_batch`."""
        iteration = self.__dict__.get("_iteration")
        if iteration is None:
            iteration = self.__dict__.setdefault("_iteration", self.p)
        return iteration.next_batch(batch_size, **options)  # type: ignore[no-any-return]

    def reset(self) -> Dataset:
        """Have `next_batch` begin anew."""
        self.__dict__.pop("_iteration", None)
        return self

    def split(
        self, shares: float | Sequence[float] = 0.8, shuffle: batchloom.Shuffle = False
    ) -> Dataset:
        """Split the items into `train`, `test` and `validation`, datasets of their own.

        Parameters
        ----------
        shares : float or sequence of floats, default 0.8
            ``0.8``: train and test. ``[0.6, 0.25]``: the rest is validation. ``[0.6, 0.2, 0.2]``.
        shuffle : bool, int, "blocks", BlockShuffle, Generator, RandomState or callable, default False
            As in `Pipeline.run`. False takes the parts in order. ``"blocks"`` deals out whole blocks of
            rows and leaves each part in order, so that it is read from files in large pieces.

        Returns
        -------
        Dataset
            This dataset, with its parts made anew.
        """
        blocks = blocks_of(shuffle)
        made = (
            parts(len(self), shares, shuffle) if blocks is None else self._by_blocks(shares, blocks)
        )
        self._parts = {name: self.subset(positions) for name, positions in made.items()}
        return self

    @property
    def train(self) -> Dataset:
        """The training part."""
        return self._part("train")

    @property
    def test(self) -> Dataset:
        """The held-out part."""
        return self._part("test")

    @property
    def validation(self) -> Dataset:
        """The validation part."""
        return self._part("validation")

    def subset(self, positions: Positions | Sequence[int] | slice) -> Dataset:
        """Make the dataset of the items at some positions; it shares the data and copies nothing.

        Parameters
        ----------
        positions : array of int, boolean mask or slice
            Each item at most once. ``index.positions(ids)`` finds the positions of ids.

        Raises
        ------
        IndexError
            For positions that are not there.
        """
        where = positions if isinstance(positions, slice) else selected(positions, len(self))
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__, index=self.index.subset(where), _parts={})
        part.__dict__.pop("_iteration", None)
        part.__dict__.pop("_kept_windows", None)
        part._rows = composed(range(len(self)) if self._rows is None else self._rows, where)
        return part

    def column(self, name: str) -> Any:
        """Give a whole column: the rows of this dataset's own items.

        Parameters
        ----------
        name : str

        Returns
        -------
        object
            What the user gave, not copied, for an undivided dataset; the part's rows otherwise.

        Raises
        ------
        UnknownComponentError
        """
        if name not in self.columns:
            raise UnknownComponentError("column", name, self.columns, "of this dataset")
        column = self.columns[name]
        return column.whole() if self._rows is None else _rows_of(column, self._rows)

    @property
    def own_rows(self) -> Numbers | None:
        """Which rows of the columns its items are; None for all of them, in order."""
        return self._rows

    def rows_of(self, positions: Positions) -> Positions:
        """Say which rows of the columns hold the items at some positions."""
        return positions if self._rows is None else spread(composed(self._rows, positions))

    def gather(self, name: str, where: Positions | slice) -> Any:
        """Gather rows of a column, by position in this dataset."""
        column = self.columns[name]
        if self._rows is not None:
            return _rows_of(column, composed(self._rows, where), self.copy)
        if isinstance(where, slice):
            return column.rows(where.start, where.stop, self.copy)
        return column.take(where)

    def taking(
        self, name: str, positions: Positions, size: int
    ) -> Callable[[int], np.ndarray[Any, Any]] | None:
        """Give what gathers large arrays of so many rows, one behind the other, if the column can do that."""
        taking = getattr(self.columns[name], "taking", None)
        if taking is None:
            return None
        rows = positions if self._rows is None else spread(composed(self._rows, positions))
        return taking(rows, size)  # type: ignore[no-any-return]

    @property
    def is_in_memory(self) -> bool:
        """Whether all columns are arrays in memory, whose rows nobody has to wait for."""
        return all(getattr(each, "is_in_memory", False) for each in self.columns.values())

    def lies_in_file(self, name: str) -> bool:
        """Tell whether a column is read from a file that cannot be written through it.

        Gathered again, its rows are the same, and what is not gathered takes no memory. It is so of a
        memory map that was opened for reading.
        """
        column = self.columns.get(name)
        return bool(getattr(column, "lies_in_file", False))

    def batch_at(self, positions: Positions) -> Batch:
        """Make the batch of the items at some positions."""
        return Portion(Rows.at(self, positions), len(positions)).batch(0)

    def _by_blocks(
        self, shares: float | Sequence[float], blocks: batchloom.BlockShuffle
    ) -> dict[str, Positions]:
        """Deal out whole blocks; each part keeps its items in order."""
        from batchloom.windows import make_windows

        windows = make_windows(self, make_order(len(self), blocks)[0])
        dealt = np.arange(0) if windows is None else windows.epoch(0).items()
        made = self.index.split_positions(shares, lambda positions: dealt)
        return {name: np.sort(positions) for name, positions in made.items()}

    def _part(self, name: str) -> Dataset:
        if name not in self._parts:
            there = ", ".join(self._parts) or "none: call split(...) first"
            raise AttributeError(f"this dataset has no {name} part; its parts are {there}")
        return self._parts[name]

    def __getstate__(self) -> dict[str, Any]:
        own = ("_parts", "_iteration", "_kept_windows")
        return {key: each for key, each in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _parts={})


def _rows_of(column: Column, rows: Numbers, copy: bool = True) -> Any:
    if isinstance(rows, range) and rows.step == 1:
        return column.rows(rows.start, rows.start + len(rows), copy)
    return column.take(spread(rows))


def _as_columns(data: Any, batch_class: type[Batch]) -> dict[str, Column]:
    if data is None:
        return {}
    return {name: as_column(str(name), each) for name, each in _named(data, batch_class).items()}


def _named(data: Any, batch_class: type[Batch]) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    columns = getattr(data, "column_names", getattr(data, "columns", None))
    if columns is not None:  # Arrow's and pandas' (or Polars') words for it
        _refuse_same_names(list(columns))
        try:
            return {name: data[name] for name in columns}
        except TypeError as exc:  # a lazy frame, or a Dataset
            raise DataError(
                f"data is {type(data).__name__}, which does not give its columns by name: give a mapping of "
                "names to columns, a data frame or a table"
            ) from exc
    names = component_names(batch_class)
    values = data if isinstance(data, tuple) else (data,)
    if len(names) != len(values):
        raise DataError(
            f"data is {type(data).__name__}, {len(values)} column(s) without names, and "
            f"{batch_class.__name__} declares {len(names)} components: give a mapping of names to columns"
        )
    return dict(zip(names, values, strict=True))


def _refuse_same_names(names: list[Any]) -> None:
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise DataError(f"the data has more than one column {twice!r}: give each a name of its own")


def _common_length(columns: Mapping[str, Column]) -> int | None:
    lengths = {name: len(each) for name, each in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"columns of unequal length: {said}. Row i of each belongs to item i")
    return next(iter(lengths.values()), None)
