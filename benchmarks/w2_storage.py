"""W2, larger than memory: 200,000 rows of 3 KB in a memory map and in a Parquet file, batches of 256.

The cache of the system is made to look small: in the cases with the memory map, all that it holds of the
file is dropped after every twenty batches, of the sequential limit as of everybody else. The Parquet file
stays in the cache: there it is decoding and shuffling that are measured.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count as numbers
from pathlib import Path
from queue import Queue
from threading import Semaphore, Thread
from typing import Any

import numpy as np

from batchloom import Dataset
from benchmarks.cases import OURS, Case, Goal, Subject, Timed, consuming, gigabytes, whole
from benchmarks.peers import column
from benchmarks.peers.subjects import over_batches, over_parquet
from benchmarks.results import Result
from benchmarks.timing import Effort, compare

NAME = "w2-storage"
TITLE = "Larger than memory: 200,000 rows of 3 KB in a file, batches of 256, shuffled"
LIMIT = (
    "for the memory map, reading the file from beginning to end under the same rule; for Parquet, reading "
    "whole row groups in order with pyarrow. Rows below show the fastest ways by hand: past the system's "
    "cache, from a mapped file, and shuffled by two threads into one buffer for all batches"
)
ROWS, WIDTH, SIZE, GROUP, EVERY = 200_000, 3072, 256, 2048, 20
WINDOW = ROWS // 20
BATCHES = -(-ROWS // SIZE)
BATCH_BYTES = SIZE * WIDTH
AT_ONCE = 10 * BATCH_BYTES

REMARKS = "The peers shuffle a stream through a buffer of 10,000 rows, 5 % of them, as Batchloom's window.\n"

GOALS = [
    Goal("memory map", 0.75, least=True, who=f"{OURS}, blocks"),
    Goal("Parquet", 0.7, least=True, who=f"{OURS}, blocks"),
]


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    with tempfile.TemporaryDirectory(prefix="batchloom-") as name:
        folder = Path(name)
        say("writing the files")
        write(folder)
        rows = compare(
            [memory_map(folder / "rows.npy"), parquet(folder / "rows.parquet")], effort, say
        )
    return Result(NAME, TITLE, LIMIT, rows, GOALS, REMARKS)


def write(folder: Path) -> None:
    """The same rows as an array and as a table with row groups of 2048, not compressed."""
    import pyarrow as pa
    from pyarrow import parquet

    data = np.random.default_rng(0).bytes(ROWS * WIDTH)
    np.save(folder / "rows.npy", np.frombuffer(data, np.uint8).reshape(ROWS, WIDTH))
    cells = pa.FixedSizeBinaryArray.from_buffers(pa.binary(WIDTH), ROWS, [None, pa.py_buffer(data)])
    parquet.write_table(
        pa.table({"x": cells}), folder / "rows.parquet", row_group_size=GROUP, compression="none",
        use_dictionary=False, write_statistics=False,
    )  # fmt: skip
    os.sync()


# The memory map


def memory_map(path: Path) -> Case:
    X = np.load(path, mmap_mode="r")
    drop = Dropping(path, X)
    # The peers that map files; the others read all of it into memory.
    mapping = over_batches(
        {"x": X}, SIZE, shuffle=True, timed=drop.touched,
        leave_out=("tf.data, slices", "tf.data, gather", "Ray Data", "Grain, records"),
    )  # fmt: skip
    return Case(
        "memory map",
        Subject("by hand, in order", partial(in_order, path, X.offset, drop)),
        (
            Subject("by hand, past the cache", partial(past_the_cache, path, X.offset, drop)),
            Subject(f"{OURS}, blocks", partial(ours_in_blocks, X, drop)),
            Subject("by hand, random rows", partial(random_rows, X, drop)),
            Subject(f"{OURS}, random rows", partial(ours_in_random_order, X, drop)),
            *mapping,
        ),
        most=BATCHES - 1,
        unit=gigabytes(SIZE * WIDTH),
        share=True,
        cores=2,
        least=2 * EVERY,
    )


class Dropping:
    """Drops what the system's cache holds of a file, now and after every so many batches."""

    def __init__(self, path: Path, mapped: np.ndarray) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._map: Any = mapped.base

    def __call__(self) -> None:
        self._map.madvise(mmap.MADV_DONTNEED)  # what is mapped stays in the cache
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def touched(self, make: Callable[[], Any]) -> Timed:
        """Time batches, whose rows are looked at, and drop the cache between them."""
        return self._dropped_first(consuming(make, self._consumer()))

    def whole(self, make: Callable[[], Any]) -> Timed:
        """The same, for a whole epoch."""
        return self._dropped_first(whole(make, self._consumer(), BATCHES))

    def _consumer(self) -> Callable[[Any], None]:
        counted = numbers(1)

        def consume(batch: Any) -> None:
            column(batch, 0, "x")
            if next(counted) % EVERY == 0:
                self()

        return consume

    def _dropped_first(self, timed: Timed) -> Timed:
        def dropped_first(count: int) -> float:
            self()
            return timed(count)

        return dropped_first


def in_order(path: Path, begin: int, drop: Dropping) -> Timed:
    file = os.open(path, os.O_RDONLY)
    buffer = np.empty((SIZE, WIDTH), np.uint8)

    def batches() -> Any:
        for start in range(begin, begin + ROWS * WIDTH, BATCH_BYTES):
            os.preadv(file, [buffer], start)
            yield (buffer,)

    return drop.whole(batches)


def past_the_cache(path: Path, begin: int, drop: Dropping) -> Timed:
    """Large pieces, straight into memory that begins with a page, where the system can do that."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECT", 0))
    except OSError:
        file = os.open(path, os.O_RDONLY)
    # A page more: the rows begin after the header, which is smaller, and pieces are read from page to page.
    memory = mmap.mmap(-1, AT_ONCE + mmap.PAGESIZE)
    rows = np.frombuffer(memory, np.uint8)

    def batches() -> Any:
        for start in range(0, ROWS * WIDTH, AT_ONCE):
            os.preadv(file, [memory], start)
            for at in range(0, min(AT_ONCE, ROWS * WIDTH - start), BATCH_BYTES):
                yield (rows[begin + at : begin + at + BATCH_BYTES],)

    return drop.whole(batches)


def random_rows(X: np.ndarray, drop: Dropping) -> Timed:
    order = np.random.default_rng(1).permutation(ROWS)
    starts = range(0, ROWS, SIZE)
    return drop.touched(lambda: ((X[order[start : start + SIZE]],) for start in starts))


def ours_in_blocks(X: np.ndarray, drop: Dropping) -> Timed:
    pipeline = Dataset(data={"x": X}).p
    return drop.whole(lambda: pipeline.gen_batch(SIZE, shuffle="blocks", seed=1))


def ours_in_random_order(X: np.ndarray, drop: Dropping) -> Timed:
    pipeline = Dataset(data={"x": X}).p
    return drop.touched(lambda: pipeline.gen_batch(SIZE, shuffle=1))


# Parquet


def parquet(path: Path) -> Case:
    return Case(
        "Parquet",
        Subject("by hand, in order", partial(row_groups, path)),
        (
            Subject(
                "by hand, mapped", partial(row_groups, path, memory_map=True, pre_buffer=False)
            ),
            Subject(f"{OURS}, blocks", partial(ours_from_parquet, path)),
            Subject("by hand, shuffled by windows", partial(windows_by_hand, path)),
            Subject("by hand, pyarrow's iter_batches", partial(small_batches, path)),
            *over_parquet(path, "x", WIDTH, SIZE, epoch),
        ),
        most=BATCHES,
        unit=gigabytes(SIZE * WIDTH),
        share=True,
        cores=2,
    )


def epoch(make: Callable[[], Any]) -> Timed:
    """Peers hand out the rows themselves."""
    return whole(make, len, BATCHES)


def row_groups(path: Path, **options: bool) -> Timed:
    from pyarrow.parquet import ParquetFile

    def groups() -> Any:
        file = ParquetFile(path, **options)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=["x"], use_threads=False)

    return whole(groups, as_arrays, BATCHES)


def windows_by_hand(path: Path) -> Timed:
    """The block shuffle in two threads: one reads the next window, the other one gathers."""
    from pyarrow.parquet import ParquetFile

    def read(windows: list[list[int]], ready: Queue[Any], room: Semaphore) -> None:
        file = ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
        for window in windows:
            room.acquire()
            ready.put(file.read_row_groups(window, columns=["x"], use_threads=False))

    def batches() -> Any:
        random, ready, room = np.random.default_rng(0), Queue[Any](), Semaphore(2)
        groups, step = random.permutation(-(-ROWS // GROUP)), WINDOW // GROUP
        windows = [sorted(groups[at : at + step].tolist()) for at in range(0, len(groups), step)]
        Thread(target=read, args=(windows, ready, room), daemon=True).start()
        for _ in windows:
            (rows,) = as_arrays(ready.get())
            order = random.permutation(len(rows))
            for at in range(0, len(rows), SIZE):
                taken = into[: len(order[at : at + SIZE])]
                yield rows.take(order[at : at + SIZE], 0, taken, "clip")
            del rows
            room.release()

    # Begins with a page, and is used for every batch.
    into = np.frombuffer(mmap.mmap(-1, BATCH_BYTES), np.uint8).reshape(SIZE, WIDTH)
    return whole(batches, len, BATCHES)


def as_arrays(table: Any) -> list[np.ndarray]:
    """Views of a column of bytes."""
    return [
        np.frombuffer(chunk.buffers()[1], np.uint8).reshape(-1, WIDTH)
        for chunk in table.column("x").chunks
    ]


def small_batches(path: Path) -> Timed:
    from pyarrow.parquet import ParquetFile

    return whole(
        lambda: ParquetFile(path).iter_batches(SIZE, use_threads=False),
        lambda batch: batch.column("x").buffers(),
        BATCHES,
    )


def ours_from_parquet(path: Path) -> Timed:
    pipeline = Dataset.from_parquet(path, columns=["x"]).p
    batches = partial(pipeline.gen_batch, SIZE, shuffle="blocks", seed=1)
    return whole(batches, lambda batch: batch.x, BATCHES)
