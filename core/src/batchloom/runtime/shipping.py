"""Preparing batches in other processes: what travels there, what comes back.

The dataset and the steps travel once for each worker, through a temporary folder; large arrays lie in it
as files that the workers map, and memory maps are mapped again. Each piece of work is then a few numbers.
A worker has no variables (but those whose values nobody can change) and no models: a batch whose action
asks for them is prepared in the pipeline's own process instead.
"""

from __future__ import annotations

import copyreg
import io
import mmap
import pickle
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from batchloom.batch import Batch
from batchloom.dataset import Dataset
from batchloom.definition import DeclareVariable, Definition
from batchloom.errors import WorkerError
from batchloom.portion import Portion
from batchloom.records import replace
from batchloom.rows import Rows
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


Errand = tuple[str, str, Portion, Address | None]
"""One piece of work: which batches of which shipment.

The token of the shipment, where it lies, the portion, whose rows carry positions only, and where large arrays
come back. It and what comes back are plain tuples, because those travel at a fraction of the price of others.
"""

Parcel = tuple[bytes, list[Piece], int, float]
"""What comes back of an errand.

Of each batch what became of it, pickled, but for what lies in the slot; what lies there; how many bytes the
slot should have had; and the seconds of work.
"""


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
        return self.token, self.path, portion, None if slot is None else slot.address

    def received(self, sent: Sent) -> Prepared:
        """Take what came back of one batch, resting on the values that were shipped."""
        batch, exception, names = sent
        return Prepared(
            batch if exception is None else Problem(exception),
            [VariableRead(self._variables, name, self._values[name]) for name in names]
            if names
            else (),
        )

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def run_errand(errand: Errand) -> Parcel:
    """Prepare the batches of an errand, in a worker."""
    workshop = Workshop.of(errand)
    _, _, portion, address = errand
    began = time.perf_counter()
    writer = SlotWriter(None if address is None else workshop.slots.memory(address))
    data = workshop.packed(portion, writer)
    return data, writer.pieces, writer.wanted, time.perf_counter() - began


def unpacked(data: bytes, portion: Portion, buffers: Sequence[memoryview]) -> list[Sent]:
    """Take apart what came back of the batches of an errand."""
    left, file = iter(buffers), io.BytesIO(data)
    before = _portion_here.set(portion)
    try:
        return [pickle.load(file, buffers=left) for _ in range(portion.count)]
    finally:
        _portion_here.reset(before)


_portion_here: ContextVar[Portion] = ContextVar("batchloom_portion")
"""Of what is being unpacked: it did not travel, because it is there already."""


def _get_portion_here() -> Portion:
    return _portion_here.get()


def _rows_here() -> Rows | None:
    return _portion_here.get().rows


def _packer(file: io.BytesIO, portion: Portion, writer: SlotWriter) -> pickle.Pickler:
    """Make what pickles results, but for their portion, which is there already where they go."""
    rows = portion.rows
    packer = pickle.Pickler(file, protocol=5, buffer_callback=writer)
    # Asked for nothing but these types. A persistent id would be asked for of each string and number.
    packer.dispatch_table = {
        **copyreg.dispatch_table,
        np.ndarray: _reduced_array,
        Portion: lambda obj: _here(_get_portion_here, obj, portion),
        type(rows): lambda obj: _here(_rows_here, obj, rows),
    }
    return packer


def _here(get: Callable[[], Any], found: Any, wanted: Any) -> Any:
    return (get, ()) if found is wanted else found.__reduce_ex__(5)


def _reduced_array(array: np.ndarray[Any, Any]) -> Any:
    # Only what is in one piece can go to a slot. With or without one, the layout is the same.
    if not (array.dtype.hasobject or _is_in_one_piece(array)):
        array = array.copy(order="K")
    return array.__reduce_ex__(5)


def _packed(
    sent: Sent, packer: pickle.Pickler, file: io.BytesIO, portion: Portion, writer: SlotWriter
) -> pickle.Pickler:
    """Pickle what became of a batch, or why that cannot be; gives the packer for the next one."""
    before, end = writer.mark(), file.tell()
    try:
        packer.dump(sent)
    except Exception as exc:
        writer.back_to(before)
        file.seek(end)
        file.truncate()
        packer = _packer(file, portion, writer)
        assert sent[0] is not None
        packer.dump(_unsendable(sent[0], exc))
    packer.clear_memo()  # it keeps what it has pickled
    return packer


def _is_in_one_piece(array: np.ndarray[Any, Any]) -> bool:
    if array.flags.forc:
        return True
    outermost_first = np.argsort(array.strides, kind="stable")[::-1]
    return array.transpose(outermost_first).flags.c_contiguous


def _unsendable(batch: Batch, exc: Exception) -> Sent:
    error = WorkerError(
        f"batch {batch.number} was prepared in a worker process and cannot be sent back: "
        f"{exc}. Leave nothing in it that cannot be pickled, or prefetch in threads (leave out "
        "executor=)"
    )
    return None, error, ()


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
        token, path, _, _ = errand
        found = cls._open.get(token)
        if found is None:
            found = cls(_goods(path))
            cls._open = {token: found}
        return found

    def packed(self, portion: Portion, writer: SlotWriter) -> bytes:
        """Prepare batches, and pickle what became of them; large arrays go to a slot."""
        rows = portion.rows
        assert rows is not None
        linked = rows.dataset
        file = io.BytesIO()
        packer = _packer(file, portion, writer)
        try:
            # Each is packed before the next one is made, so that its memory can be used again.
            for position in range(portion.count):
                rows.dataset = self.dataset
                sent = self._prepared(portion, position)
                rows.dataset = None  # it is there already where the batch goes
                if sent[0] is not None and sent[0]._rows is not None:
                    sent[0]._rows.dataset = None
                packer = _packed(sent, packer, file, portion, writer)
                del sent
        finally:
            # Unpickled, there was none; in the very same process, the run's own.
            rows.dataset = linked
        return file.getvalue()

    def _prepared(self, portion: Portion, position: int) -> Sent:
        turn = Turn(NEVER, 0, may_read=True)
        batch = None
        try:
            batch = portion.batch(position)
            batch.__dict__["pipeline"] = RunningPipeline(self._state, batch, turn)
            batch = perform(self._operations, batch)
            return batch, None, _names(turn)
        except NotNowError:
            return None, None, ()
        except BaseException as exc:
            return None, portable(exc), _names(turn)


def _goods(path: str) -> Goods:
    try:
        return _read(Path(path))
    except FileNotFoundError as exc:
        raise WorkerError(
            f"a worker cannot read {path}: executors whose workers are on other machines need "
            "the temporary folder (TMPDIR) to be on a file system that all of them share"
        ) from exc
    except Exception as exc:
        raise WorkerError(
            f"a worker process cannot unpack the pipeline: {type(exc).__name__}: {exc}. What the steps and "
            "the batch class are made of must be defined in modules that the workers can import"
        ) from exc


def _names(turn: Turn) -> tuple[str, ...]:
    reads = turn.reads
    return tuple(each.name for each in reads if isinstance(each, VariableRead)) if reads else ()


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
