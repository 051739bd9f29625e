"""Preparing batches in other processes: what travels there, what comes back.

The dataset and the steps travel once for each worker, through a temporary folder; large arrays lie in it
as files that the workers map, and memory maps are mapped again. Each piece of work is then a few numbers.
A worker has no variables (but those whose values nobody can change) and no models: a batch whose action
asks for them is prepared in the pipeline's own process instead.
"""

from __future__ import annotations

import io
import mmap
import pickle
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from batchloom.dataset import Dataset
from batchloom.definition import DeclareVariable, Definition
from batchloom.errors import WorkerError
from batchloom.portion import Portion
from batchloom.records import replace
from batchloom.runtime.operations import Operation, gathering, origin_of, perform
from batchloom.runtime.outcomes import Prepared, Problem, Sent
from batchloom.runtime.plan import NOTHING, Surrounding, compile_step
from batchloom.runtime.slots import Address, OpenSlots, Piece, Slot, SlotWriter
from batchloom.runtime.state import State
from batchloom.runtime.turns import NotNowError, Turn, Turns, VariableRead
from batchloom.runtime.view import RunningPipeline
from batchloom.steps import Step
from batchloom.variables import is_immutable

MAPPED_BYTES = 1 << 20
"""An array of this size or more lies in a file that all workers map."""


class Errand(NamedTuple):
    """One piece of work: which batches of which shipment.

    Attributes
    ----------
    token : str
        Of the shipment.
    path : str
        Where the shipment lies.
    portion : Portion
        Its rows carry positions only.
    slot : Address, optional
        Where large arrays come back.
    """

    token: str
    path: str
    portion: Portion
    slot: Address | None = None


class Parcel(NamedTuple):
    """What comes back of an errand.

    Attributes
    ----------
    data : list of bytes
        A pickled `Sent` of each batch, but for what lies in the slot.
    pieces : list of Piece
        What lies there.
    wanted : int
        How many bytes the slot should have had.
    seconds : float
        Of work.
    """

    data: list[bytes]
    pieces: list[Piece]
    wanted: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Goods:
    """What a worker needs once for a run."""

    definition: Definition
    steps: tuple[Step, ...]
    gathered: tuple[str, ...]
    values: dict[str, Any]
    seed: int
    batch_size: int
    shuffled: bool


class Shipment:
    """The goods of one run, in a folder that goes away with the run.

    Parameters
    ----------
    definition : Definition
    operations : sequence of Operation
        What the workers do.
    state : State
    """

    def __init__(
        self, definition: Definition, operations: Sequence[Operation], state: State
    ) -> None:
        self.token = uuid.uuid4().hex
        self._folder = tempfile.TemporaryDirectory(prefix="batchloom-run-")
        self.folder = self._folder.name
        self.path = str(Path(self.folder) / "goods.pickle")
        self._variables = state.variables
        self._values = {name: each for name, each in state.variables.items() if is_immutable(each)}
        gathered = [name for each in operations if each.step is NOTHING for name in each.reads]
        declared = (s for s in definition.steps if isinstance(s, DeclareVariable))
        goods = Goods(
            replace(
                definition,
                steps=tuple(replace_variable(each) for each in declared),
                run_options=None,
            ),
            tuple(each.step for each in operations if each.step is not NOTHING),
            tuple(gathered),
            self._values,
            state.seed or 0,
            state.batch_size,
            state.shuffled,
        )
        try:
            _write(goods, Path(self.path))
        except Exception as exc:
            self.close()
            raise _unshippable(goods, exc) from exc

    def errand(self, portion: Portion, slot: Slot | None) -> Errand:
        """Make the errand for a portion."""
        return Errand(self.token, self.path, portion, None if slot is None else slot.address)

    def received(self, sent: Sent) -> Prepared:
        """Take what came back of one batch, resting on the values that were shipped."""
        values, variables = self._values, self._variables
        return Prepared(
            sent.batch if sent.exception is None else Problem(sent.exception),
            [VariableRead(variables, name, values[name]) for name in sent.reads],
        )

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def run_errand(errand: Errand) -> Parcel:
    """Prepare the batches of an errand, in a worker."""
    workshop = Workshop.of(errand)
    began = time.perf_counter()
    writer = SlotWriter(None if errand.slot is None else workshop.slots.memory(errand.slot))
    # Each is packed before the next one is made, so that its memory can be used again.
    data = [workshop.packed(errand.portion, at, writer) for at in range(errand.portion.count)]
    return Parcel(data, writer.pieces, writer.wanted, time.perf_counter() - began)


def unpacked(parcel: Parcel, portion: Portion, buffers: Sequence[memoryview]) -> list[Sent]:
    """Take apart what came back of an errand."""
    left = iter(buffers)
    return [_ResultUnpacker(each, portion, left).load() for each in parcel.data]


class _ResultPacker(pickle.Pickler):
    """Pickles what became of a batch, but for the portion, which is there already where that goes."""

    def __init__(self, file: io.BytesIO, portion: Portion, writer: SlotWriter) -> None:
        super().__init__(file, protocol=5, buffer_callback=writer)
        self._portion = portion
        self._rows = portion.rows

    def persistent_id(self, obj: Any) -> str | None:
        if obj is self._portion:
            return "portion"
        return "rows" if obj is self._rows and obj is not None else None

    def reducer_override(self, obj: Any) -> Any:
        # Only what is in one piece can go to a slot. With or without one, the layout is the same.
        if type(obj) is np.ndarray and not (obj.dtype.hasobject or _is_in_one_piece(obj)):
            return obj.copy(order="K").__reduce_ex__(5)
        return NotImplemented


class _ResultUnpacker(pickle.Unpickler):
    def __init__(self, data: bytes, portion: Portion, buffers: Iterator[memoryview]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._portion = portion

    def persistent_load(self, pid: str) -> Any:
        return self._portion if pid == "portion" else self._portion.rows


def _pickled(sent: Sent, portion: Portion, writer: SlotWriter) -> bytes:
    file = io.BytesIO()
    _ResultPacker(file, portion, writer).dump(sent)
    return file.getvalue()


def _is_in_one_piece(array: np.ndarray[Any, Any]) -> bool:
    if array.flags.forc:
        return True
    outermost_first = np.argsort(array.strides, kind="stable")[::-1]
    return array.transpose(outermost_first).flags.c_contiguous


def _unsendable(sent: Sent, exc: Exception) -> Sent:
    assert sent.batch is not None
    return Sent(
        exception=WorkerError(
            f"batch {sent.batch.number} was prepared in a worker process and cannot be sent back: "
            f"{exc}. Leave nothing in it that cannot be pickled, or prefetch in threads (leave out "
            "executor=)"
        )
    )


class Workshop:
    """What a worker process has unpacked of one shipment."""

    _open: dict[str, Workshop] = {}  # noqa: RUF012  (one for the process)

    def __init__(self, goods: Goods) -> None:
        assert goods.definition.dataset is not None
        self.dataset: Dataset = goods.definition.dataset
        self.slots = OpenSlots()
        self._state: Any = WorkerState(goods)
        around = Surrounding.of(goods.definition)
        self._operations = [compile_step(each, around) for each in goods.steps]
        if goods.gathered:
            self._operations.append(gathering(goods.gathered, NOTHING))

    @classmethod
    def of(cls, errand: Errand) -> Workshop:
        """Unpack a shipment, unless it has been; only the latest one is kept."""
        found = cls._open.get(errand.token)
        if found is None:
            found = cls(_goods(errand))
            cls._open = {errand.token: found}
        return found

    def packed(self, portion: Portion, position: int, writer: SlotWriter) -> bytes:
        """Prepare one batch, and pickle what became of it; large arrays go to a slot."""
        rows = portion.rows
        assert rows is not None
        linked, rows.dataset = rows.dataset, self.dataset
        sent = self._prepared(portion, position)
        rows.dataset = None  # it is there already where the batch goes
        if sent.batch is not None and sent.batch._rows is not None:
            sent.batch._rows.dataset = None
        before = writer.mark()
        try:
            return _pickled(sent, portion, writer)
        except Exception as exc:
            writer.back_to(before)
            return _pickled(_unsendable(sent, exc), portion, writer)
        finally:
            rows.dataset = (
                linked  # unpickled, there was none; in the very same process, the run's own
            )

    def _prepared(self, portion: Portion, position: int) -> Sent:
        turn = Turn(NEVER, 0, may_read=True)
        batch = None
        try:
            batch = portion.batch(position)
            batch.__dict__["pipeline"] = RunningPipeline(self._state, batch, turn)
            batch = perform(self._operations, batch)
            return Sent(batch, None, _names(turn))
        except NotNowError:
            return Sent()
        except BaseException as exc:
            return Sent(None, portable(exc), _names(turn))


def _goods(errand: Errand) -> Goods:
    try:
        return _read(Path(errand.path))
    except FileNotFoundError as exc:
        raise WorkerError(
            f"a worker cannot read {errand.path}: executors whose workers are on other machines need "
            "the temporary folder (TMPDIR) to be on a file system that all of them share"
        ) from exc
    except Exception as exc:
        raise WorkerError(
            f"a worker process cannot unpack the pipeline: {type(exc).__name__}: {exc}. What the steps and "
            "the batch class are made of must be defined in modules that the workers can import"
        ) from exc


def _names(turn: Turn) -> tuple[str, ...]:
    return tuple(each.name for each in turn.reads if isinstance(each, VariableRead))


class WorkerState:
    """The state of a pipeline as far as a worker has one."""

    def __init__(self, goods: Goods) -> None:
        self.definition = goods.definition
        self.seed = goods.seed
        self.batch_size = goods.batch_size
        self.shuffled = goods.shuffled
        self.variables = ShippedVariables(goods.values)

    def existing(self, name: str) -> None:
        """Models are in the pipeline's own process."""


class ShippedVariables(dict[str, Any]):
    """The variables whose values nobody can change; any other is one that somebody can."""

    def __missing__(self, name: str) -> list[object]:
        return UNKNOWN


NEVER = Turns()
"""In a worker, the turn of a batch never comes."""

UNKNOWN: list[object] = []
"""Stands for a value that can be changed in place, so that a batch that wants it waits for its turn."""


def portable(exc: BaseException) -> BaseException:
    """Make an exception that can travel: itself with its traceback as a note, or one with its text."""
    exc.add_note("in a worker process:\n" + "".join(traceback.format_exception(exc)).rstrip())
    try:
        again = pickle.loads(pickle.dumps(exc))
        if type(again) is type(exc):
            return exc
    except Exception:
        pass
    stand_in = WorkerError(f"{type(exc).__module__}.{type(exc).__qualname__}: {exc}")
    for note in getattr(exc, "__notes__", ()):
        stand_in.add_note(note)
    stand_in.add_note("its own type cannot be pickled, so it could not be sent from the worker")
    stand_in.__dict__["_batchloom_origin"] = origin_of(exc)
    return stand_in


def replace_variable(declared: DeclareVariable) -> DeclareVariable:
    """Leave a variable's makers behind: a worker only needs to know that there is one."""
    return replace(
        declared,
        variable=replace(declared.variable, default=None, init=None, init_on_each_run=None),
    )


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BufferedIOBase, folder: Path) -> None:
        super().__init__(file, protocol=5)
        self._folder = folder
        self._count = 0

    def persistent_id(self, obj: Any) -> Any:
        if _is_file(obj):
            return "map", str(obj.filename), obj.dtype, obj.shape, obj.offset, _layout(obj)
        is_array = type(obj) is np.ndarray or type(obj) is np.memmap
        if is_array and obj.nbytes >= MAPPED_BYTES and not obj.dtype.hasobject:
            path = self._folder / f"array-{self._count}.npy"
            self._count += 1
            np.save(path, obj)
            return "array", str(path)
        return None


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        kind, path, *rest = pid
        if kind == "array":
            return np.load(path, mmap_mode="r")
        dtype, shape, offset, order = rest
        return np.memmap(path, dtype, "r", offset, shape, order)


def _is_file(obj: Any) -> bool:
    """Tell whether this is all of a memory map, and its file holds what it holds."""
    whole = type(obj) is np.memmap and isinstance(obj.base, mmap.mmap)
    return whole and bool(obj.filename) and obj.mode != "c"


def _layout(array: np.ndarray[Any, Any]) -> str:
    return "C" if array.flags.c_contiguous else "F"


def _write(goods: Goods, path: Path) -> None:
    with path.open("wb") as file:
        _Packer(file, path.parent).dump(goods)


def _read(path: Path) -> Goods:
    with path.open("rb") as file:
        goods = _Unpacker(file).load()
    assert isinstance(goods, Goods)
    return goods


def _unshippable(goods: Goods, exc: Exception) -> WorkerError:
    """Find out what cannot be pickled."""
    parts: list[tuple[str, Any]] = [(f"step {each.describe()}", each) for each in goods.steps]
    dataset = goods.definition.dataset
    assert dataset is not None
    parts += [(f"the batch class {dataset.batch_class.__qualname__}", dataset.batch_class)]
    parts += [(f"column {name!r}", each) for name, each in dataset.columns.items()]
    parts += [("the pipeline's config", goods.definition.config)]
    culprit = next((label for label, each in parts if not _picklable(each)), "the pipeline")
    return WorkerError(
        f"{culprit} cannot be sent to other processes: {exc}. Use functions and classes that are defined "
        "in a module (no lambdas), or prefetch in threads (leave out executor=)"
    )


def _picklable(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:
        return False
    return True
