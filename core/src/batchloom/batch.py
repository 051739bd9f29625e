"""Batch: the items that a step works on, and their components."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from batchloom.actions import action
from batchloom.columns import row_count, row_of
from batchloom.errors import ActionError, DataError, UnknownComponentError
from batchloom.index import DatasetIndex, Ids
from batchloom.ordering import Positions
from batchloom.portion import Portion
from batchloom.positions import selected
from batchloom.randomness import BATCH, fresh_seed, generator
from batchloom.rows import Rows

if TYPE_CHECKING:
    from batchloom.dataset import Dataset
    from batchloom.runtime.view import RunningPipeline


Value = TypeVar("Value")
_NAMING = "_rows", "_extent", "_ids", "number", "epoch"
_ndarray = np.ndarray  # found sooner by who looks for it at every write


class _Derived:
    """An attribute of a batch that is worked out when it is first read, and then kept.

    Unlike a property it can be overridden in a single batch.
    """

    def __init__(self, work_out: Callable[[Any], Any]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, batch: Any, owner: type | None = None) -> Any:
        if batch is None:
            return self
        value = batch.__dict__[self._name] = self._work_out(batch)
        return value


def _derived(work_out: Callable[[Any], Value]) -> Value:
    return _Derived(work_out)  # type: ignore[return-value]


class Batch:
    """Some items of a dataset.

    Components are read and written as attributes (``batch.images``) and gathered from the dataset when
    they are first read. What is gathered belongs to the batch: changing it in place never reaches the
    dataset.

    Subclass it to add actions, and to name the components if the data does not::

        class Digits(Batch):
            components = "images", "labels"

            @action
            def scale(self):
                self.images = self.images / 16
                return self

    Attributes
    ----------
    components : tuple of str
        The names of the components. A plain `Batch` takes them from the columns of the data.
    number : int
        The number of the batch, counted from 0 over the run.
    epoch : int
        The epoch, counted from 0.
    pipeline : RunningPipeline or None
        The pipeline that the batch is in, as its actions may use it. None outside of a pipeline.
    """

    components: ClassVar[Any] = ()
    _portion: Portion
    _position: int

    def __init__(self, portion: Portion, position: int, names: tuple[str, ...]) -> None:
        state = self.__dict__
        state["_portion"], state["_position"], state["components"] = portion, position, names

    @_derived
    def number(self) -> int:
        """The number of the batch, counted from 0 over the run."""
        return int(self._portion.first + self._position)

    @_derived
    def epoch(self) -> int:
        """The epoch, counted from 0."""
        return int(self._portion.epoch)

    @_derived
    def pipeline(self) -> RunningPipeline | None:
        """The pipeline that the batch is in, as its actions may use it; None outside of a pipeline."""
        views = self._portion.views
        return None if views is None else views.of(self)

    @_derived
    def random(self) -> np.random.Generator:
        """The batch's own random generator, made from the run's seed and the batch's number."""
        seed, stage = self._draws
        return generator(fresh_seed() if seed is None else seed, BATCH, stage, self.number)

    # Which rows the batch is made of; `take` and `merge` put others in their place.

    @_derived
    def _rows(self) -> Rows | None:
        return self._portion.rows

    @_derived
    def _extent(self) -> tuple[int, int]:
        return self._portion.extent(self._position)

    @_derived
    def _draws(self) -> tuple[int | None, int]:
        return self._portion.draws

    @property
    def size(self) -> int:
        """The number of items."""
        extent = self.__dict__.get("_extent")
        if extent is None:
            return self._portion.size_of(self._position)
        return int(extent[1] - extent[0])

    def __len__(self) -> int:
        return self.size

    @property
    def indices(self) -> Ids:
        """The ids of the items, an array of shape ``(size,)``."""
        ids: Ids | None = self.__dict__.get("_ids")
        return self._of_rows().ids(*self._extent) if ids is None else ids

    def first_indices(self, count: int = 3) -> Ids:
        """Give the ids of the first items, by which errors name a batch."""
        ids: Ids | None = self.__dict__.get("_ids")
        if ids is not None:
            return ids[:count]
        start, stop = self._extent
        return self._of_rows().ids(start, min(start + count, stop))

    def stand_in(self) -> Batch:
        """Make a batch of the same number, epoch and items that has no components.

        For who has to name the batch later, and must not keep what it has gathered until then.
        """
        state = self.__dict__
        portion, position = state["_portion"], state["_position"]
        rows = state.get("_rows", portion.rows)
        if type(rows) is Rows or rows is None:
            made = Batch(portion, position, ())
            made.__dict__.update([(name, state[name]) for name in _NAMING if name in state])
        else:  # they keep what they lie in
            made = Batch(portion.renamed(position), 0, ())
            start, stop = self._extent
            made.__dict__.update(
                _rows=Rows.joined([(rows, start, stop)], None), _extent=(0, stop - start)
            )
        return made

    @property
    def index(self) -> DatasetIndex:
        """The ids of the items as an index; of a `FilesIndex`, the index of these files."""
        if self.__dict__.get("_ids") is not None:
            return DatasetIndex(self.indices)
        return self._of_dataset().index.subset(self._positions())

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not there yet: a component that was not gathered, or a wrong name.
        names = self.components
        if name not in names:
            if name.startswith("__"):
                raise AttributeError(name)
            raise UnknownComponentError("component", name, names, f"of {type(self).__name__}")
        rows = self._rows
        if rows is None or not rows.has(name):
            raise UnknownComponentError(
                "component",
                name,
                self._filled(),
                f"of {type(self).__name__}: it is declared, but holds nothing yet",
                "Fill it in an action, with load(...), or with save_to",
            )
        value = self.__dict__[name] = rows.component(name, *self._extent)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if name in self.components:
            state[name] = value
            portion, position = state["_portion"], state["_position"]
            # What fits need not be looked at again.
            is_array = type(value) is _ndarray and value.ndim
            if not is_array or len(value) != portion.batch_size or position >= portion.full:
                written = portion.written
                written[position] = (*written.get(position, ()), name)
        elif name.startswith("_") or hasattr(type(self), name) or name in state:
            object.__setattr__(self, name, value)
        else:
            raise UnknownComponentError(
                "component",
                name,
                self.components,
                f"of {type(self).__name__}",
                f"To add it, call add_component({name!r}, values); an attribute that is no component "
                "begins with an underscore",
            )

    def __getitem__(self, item: Any) -> Any:
        """Give a component (a str), an item (an int: a named tuple), or a smaller batch (anything else)."""
        if isinstance(item, str):
            return getattr(self, item)
        if not isinstance(item, (int, np.integer)):
            return self.take(item)
        if not -self.size <= item < self.size:
            raise IndexError(f"item {item} of a batch of {self.size} items")
        values = [getattr(self, each) for each in self._filled()]
        at = int(item) % self.size
        return self._item_type(tuple(self._filled()))(*[row_of(each, at) for each in values])

    def __repr__(self) -> str:
        names = ", ".join(self.components)
        return f"<{type(self).__name__} {self.number} of epoch {self.epoch}: {self.size} items, {names}>"

    def __getstate__(self) -> dict[str, Any]:
        if self._rows is not None and self._rows.dataset is not None:
            # A pickled batch holds its items itself: it must not take the whole dataset along.
            state = {**self.__dict__, **{name: getattr(self, name) for name in self._filled()}}
            state |= {"_rows": None, "_ids": self.indices, "_extent": (0, self.size)}
            state |= {"_portion": self._portion.renamed(self._position), "_position": 0}
        else:
            state = dict(self.__dict__)
        state.pop("pipeline", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def has_component(self, name: str) -> bool:
        """Tell whether there is a component of that name, filled or not."""
        return name in self.components

    def add_component(self, name: str, value: Any) -> None:
        """Add a component, or write one that is there.

        Parameters
        ----------
        name : str
        value : array-like
            One row for each item.

        Raises
        ------
        DataError
            If the name is that of an attribute of the batch class, or the number of rows is not `size`.
        """
        if name not in self.components:
            check_component_name(name, type(self))
        self._check_rows(name, value)
        if name not in self.components:
            self.__dict__["components"] = (*self.components, name)
        self.__dict__[name] = value

    def check_lengths(self) -> None:
        """Hold the rows of the components that were written against the size of the batch.

        Raises
        ------
        DataError
            Names the component, the expected and the found number of rows.
        """
        state = self.__dict__
        names = state["_portion"].written.pop(state["_position"], None)
        if names is None:
            return
        size = self.size
        for name in names:
            value = state.get(name)
            if type(value) is not np.ndarray or not value.ndim or len(value) != size:
                self._check_rows(name, value)

    def take(self, which: Positions | slice | Sequence[Any]) -> Batch:
        """Make a batch of some of the items.

        Parameters
        ----------
        which : array of int, boolean mask or slice

        Returns
        -------
        Batch
            Of the same class, number, epoch and pipeline.
        """
        from batchloom.merging import merged

        return merged([self], selected(which, self.size))

    @staticmethod
    def merge(batches: Sequence[Batch]) -> Batch:
        """Put the items of several batches into one.

        Parameters
        ----------
        batches : sequence of Batch
            Of equal components. The first one gives class, number, epoch and pipeline.
        """
        from batchloom.merging import check_mergeable, merged

        check_mergeable(batches)
        return merged(batches)

    def get_model_by_name(self, name: str) -> Any:
        """Give a model of the batch's pipeline, made if this is its first use.

        Raises
        ------
        UnknownModelError
            If the pipeline has no such model.
        """
        if self.pipeline is None:
            raise ActionError(
                f"model {name!r} was asked for outside of a pipeline: this batch is in none"
            )
        return self.pipeline.get_model_by_name(name)

    @action
    def load(
        self,
        src: Mapping[str, Any] | Callable[[Any], Any] | None = None,
        components: str | Sequence[str] | None = None,
        fmt: str | None = None,
    ) -> Batch:
        """Fill components from data that is not in the dataset.

        Parameters
        ----------
        src : mapping, callable or None
            A mapping of columns that have a row for each row of the dataset's data; a function from an
            item's id (of a `FilesIndex`: its path) to its value, or to a tuple with one value for each
            component; None reads the files of a `FilesIndex`.
        components : str or sequence of str, optional
            Which components to fill. Default: the columns of a mapping, all components otherwise.
        fmt : {"npy", "npz", "text", "bytes"}, optional
            How to read files; without it the files' extensions say so.
        """
        if isinstance(src, Mapping):
            from batchloom.batch_columns import read_columns

            names = _names(components) or tuple(src)
            values = read_columns(self._of_dataset(), self._positions(), src, names)
        else:
            names = _names(components) or tuple(self.components)
            from batchloom.batch_files import read_items

            values = read_items(self.index, src, names, fmt)
        for name, value in zip(names, values, strict=True):
            self.add_component(name, value)
        return self

    @action(use_lock="dump")
    def dump(
        self,
        dst: Mapping[str, Any] | str | Callable[[Batch], Any],
        components: str | Sequence[str] | None = None,
    ) -> Batch:
        """Write components out, in the order of batches.

        Parameters
        ----------
        dst : mapping, path or callable
            A mapping of arrays (memory maps) with a row for each row of the dataset's data, which are
            written at the rows of the batch's items; a folder, which gets a file ``<id>.npz`` for each
            item; a function of the batch.
        components : str or sequence of str, optional
            Which components to write. Default: those of a mapping, all others.
        """
        if callable(dst):
            dst(self)
        elif isinstance(dst, Mapping):
            from batchloom.batch_columns import write_columns

            names = _names(components) or tuple(dst)
            write_columns(self, self._of_dataset(), self._positions(), dst, names)
        else:
            from batchloom.batch_files import write_items

            write_items(self, dst, _names(components) or tuple(self.components))
        return self

    @action
    def apply(
        self,
        fn: Callable[..., Any],
        src: str | Sequence[str] | None = None,
        dst: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Batch:
        """Put what a function makes of whole components into components.

        Parameters
        ----------
        fn : callable
            Gets the components of `src`, each with a row for each item, and `kwargs`. Returns one
            value, or a tuple with a value for each of several `dst`.
        src : str or sequence of str, optional
            Default: all components.
        dst : str or sequence of str, optional
            Default: `src`. New components are added.
        """
        sources = _names(src) or tuple(self.components)
        targets = _names(dst) or sources
        result = fn(*[getattr(self, each) for each in sources], **kwargs)
        values = (result,) if len(targets) == 1 else tuple(result)
        if len(values) != len(targets):
            raise ActionError(
                f"apply: the function returned {len(values)} values for {len(targets)} components "
                f"({', '.join(targets)})"
            )
        for name, value in zip(targets, values, strict=True):
            if value is None:
                raise ActionError(
                    f"apply: the function returned None for component {name!r}; it must return the "
                    "component's new value, also if it works in place"
                )
            self.add_component(name, value)
        return self

    def _check_rows(self, name: str, value: Any) -> None:
        rows = self.size if value is None else row_count(value)
        if rows != self.size:
            found = f"{rows} rows" if rows is not None else f"no rows ({type(value).__name__})"
            raise DataError(
                f"component {name!r} has {found}, but the batch has {self.size} items. To keep only "
                "some items return self.take(positions_or_mask)"
            )

    def _positions(self) -> Positions:
        return self._of_rows().positions_of(*self._extent)

    def _of_rows(self) -> Rows:
        rows: Rows | None = self._rows
        if rows is None:
            raise DataError(
                "this batch holds its items itself (it was merged from several datasets, or unpickled): "
                "it has no rows in a dataset"
            )
        return rows

    def _of_dataset(self) -> Dataset:
        dataset = self._of_rows().dataset
        assert dataset is not None
        return dataset

    def _filled(self) -> list[str]:
        columns = {} if self._rows is None else self._rows.linked_dataset().columns
        return [each for each in self.components if each in self.__dict__ or each in columns]

    @staticmethod
    @functools.cache
    def _item_type(names: tuple[str, ...]) -> Any:
        return collections.namedtuple("Item", names, rename=True)


def check_component_name(name: object, batch_class: type) -> None:
    """Refuse a component that could not be told from an attribute of its batch."""
    if not isinstance(name, str) or not name or name.startswith("_"):
        raise DataError(
            f"a component's name is a string without a leading underscore, not {name!r}"
        )
    if hasattr(batch_class, name):
        raise DataError(
            f"a component cannot be called {name!r}: {batch_class.__name__} has an attribute of that name. "
            "Take another name"
        )


def component_names(batch_class: type[Batch]) -> tuple[str, ...]:
    """Give the components that a batch class declares."""
    return _names(batch_class.components)


def _names(names: str | Iterable[str] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)
