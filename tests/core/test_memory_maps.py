"""Columns in memory maps: read in large pieces, always what the map holds, in bounded memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchloom import Batch, BlockShuffle, Dataset, action
from batchloom.cached_files import CachedFile, _is_gone
from batchloom.errors import DataError

N = 3000
ORDERS = [False, BlockShuffle(1), BlockShuffle(1, window=500, block_rows=33), 1]


def saved(folder: Path, array: np.ndarray[Any, Any], mode: Any = "r") -> Any:
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode=mode)


def rows(n: int = N) -> np.ndarray[Any, Any]:
    return np.arange(n * 5, dtype=np.int32).reshape(n, 5)


KINDS = {
    "whole": lambda folder: saved(folder, rows()),
    "part of it": lambda folder: saved(folder, rows(N + 900))[500 : N + 500],
    "single values": lambda folder: saved(folder, np.arange(N) * 0.5),
    "records": lambda folder: saved(folder, rows().view("i4,f4,S4,i4,i4")[:, 0]),
    "columns of it": lambda folder: saved(folder, rows())[:, 1:3],
    "every third": lambda folder: saved(folder, rows(3 * N))[::3],
    "by columns": lambda folder: saved(folder, np.asfortranarray(rows())),
    "three axes": lambda folder: saved(folder, rows(N * 4).reshape(N, 4, 5)),
    "raw": lambda folder: raw(folder),
}


def raw(folder: Path) -> Any:
    rows().tofile(folder / "x.dat")
    return np.memmap(folder / "x.dat", np.int32, "r+", offset=400, shape=(N - 20, 5))


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_batches_hold_their_rows(tmp_path: Path, kind: str, shuffle: Any, prefetch: int) -> None:
    mapped = KINDS[kind](tmp_path)
    expected = np.array(mapped)
    dataset = Dataset(data={"x": mapped, "y": np.arange(len(mapped))})
    count = 0
    for batch in dataset.gen_batch(70, shuffle=shuffle, prefetch=prefetch, n_epochs=2):
        assert np.array_equal(batch.x, expected[batch.indices])
        assert np.array_equal(batch.y, batch.indices)
        assert batch.x.dtype == expected.dtype
        batch.x[:] = batch.x[::-1].copy()  # it belongs to the batch
        count += batch.size
    assert count == 2 * len(mapped)
    assert np.array_equal(mapped, expected)


@pytest.mark.parametrize("mode", ["c", "r+"], ids=["private", "shared"])
def test_what_is_written_to_a_map_is_read(tmp_path: Path, mode: str) -> None:
    mapped = saved(tmp_path, rows(), mode)
    mapped[:] += 7
    for shuffle in ORDERS:
        for batch in Dataset(data={"x": mapped}).gen_batch(100, shuffle=shuffle, prefetch=2):
            assert np.array_equal(batch.x, rows()[batch.indices] + 7)


@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
def test_a_file_that_was_replaced_or_removed_is_not_read(tmp_path: Path, shuffle: Any) -> None:
    mapped = saved(tmp_path, rows())
    np.save(tmp_path / "other.npy", -rows())
    os.replace(tmp_path / "other.npy", tmp_path / "x.npy")
    for batch in Dataset(data={"x": mapped}).gen_batch(100, shuffle=shuffle):
        assert np.array_equal(batch.x, rows()[batch.indices])
    os.remove(tmp_path / "x.npy")
    for batch in Dataset(data={"x": mapped}).gen_batch(100, shuffle=shuffle):
        assert np.array_equal(batch.x, rows()[batch.indices])


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the map itself is read here")
def test_a_file_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    mapped = saved(tmp_path, np.zeros((200, 4096), np.uint8))
    os.truncate(tmp_path / "x.npy", 300_000)
    with pytest.raises(DataError, match=r"column 'x' could not be read: .*cut short"):
        for batch in Dataset(data={"x": mapped}).gen_batch(10, shuffle="blocks"):
            assert batch.x is not None
    failing = Dataset(data={"x": mapped}).p.apply(np.negative, src="x", dst="x")
    failing.run(10, shuffle=BlockShuffle(1, window=10, block_rows=10), on_error="skip", prefetch=2)
    assert len(failing.failures) == 13  # seven blocks are still there
    assert len({id(each.exception) for each in failing.failures}) == 13


SHORT_OF_MEMORY = """
import resource, sys
import numpy as np
from batchloom import BlockShuffle, Dataset
from batchloom.errors import DataError
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
mapped = np.memmap(sys.argv[1], np.uint8, "r", shape=(1 << 12, 1 << 20))
dataset = Dataset(data={"x": mapped})
try:
    for batch in dataset.gen_batch(1, shuffle=BlockShuffle(1, window=0.5, block_rows=256)):
        batch.x
except DataError as exc:
    print(exc)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="limits mean other things")
def test_a_window_that_does_not_fit_into_memory_says_what_to_do(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        os.truncate(file.fileno(), 1 << 32)  # none of which is on the disk
    found = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "no memory for a window of 2048 rows of column 'x'" in found.stdout
    assert "take about 2048 MB" in found.stdout and "window=" in found.stdout


def dropped(path: Path) -> None:
    """Have the system's cache drop what it holds of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="cannot be asked of this system")
@pytest.mark.parametrize("shuffle", ORDERS[:3], ids=str)
def test_a_file_that_the_cache_does_not_hold_is_read_around_it(
    tmp_path: Path, shuffle: Any
) -> None:
    data = np.random.default_rng(0).integers(0, 256, (N, 1001), dtype=np.uint8)  # no whole pages
    dataset = Dataset(data={"x": saved(tmp_path, data)})
    for batch in dataset.gen_batch(70, shuffle=shuffle, prefetch=2, n_epochs=3):
        assert np.array_equal(batch.x, data[batch.indices])
        dropped(tmp_path / "x.npy")
    if shuffle and os.path.exists("/proc/self/maps"):
        column: Any = dataset.columns["x"]
        assert column._file._cache.is_too_small or not_dropped(tmp_path)


def not_dropped(folder: Path) -> bool:
    """File systems in memory hold everything."""
    (folder / "y").write_bytes(bytes(5000))
    dropped(folder / "y")
    with (folder / "y").open("rb") as file:
        return not _is_gone(file, 0)


@pytest.mark.parametrize("around", [False, True])
def test_any_part_of_a_file_can_be_read_around_the_cache(tmp_path: Path, around: bool) -> None:
    content = np.random.default_rng(0).integers(0, 256, 50_001, dtype=np.uint8)
    path = tmp_path / "file"
    path.write_bytes(content.tobytes())
    file = CachedFile(str(path), FileIO(path), around)
    try:
        for start, stop in [(0, 50_001), (1, 2), (4095, 4097), (4096, 8192), (49_000, 50_001)]:
            part = np.zeros(stop - start, np.uint8)
            file.fill(part, start)
            assert np.array_equal(part, content[start:stop])
        with pytest.raises(DataError, match="ends 2 bytes too early"):
            file.fill(np.zeros(10, np.uint8), 49_993)
    finally:
        file.close()


def test_views_are_of_the_map_where_copies_are_not_wanted(tmp_path: Path) -> None:
    mapped = saved(tmp_path, np.zeros((N, 2000), np.uint8))
    batches = list(Dataset(data={"x": mapped}, copy=False).gen_batch(100, prefetch=2))
    for batch in batches:
        assert batch.x.flags.writeable is False
        assert batch.number == 41 or np.shares_memory(batch.x, mapped)  # 41 is in two windows


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
def test_batches_that_are_kept_can_be_read_afterwards(
    tmp_path: Path, shuffle: Any, prefetch: int
) -> None:
    dataset = Dataset(data={"x": saved(tmp_path, rows())})
    for batch in list(dataset.gen_batch(100, shuffle=shuffle, prefetch=prefetch)):
        assert np.array_equal(batch.x, rows()[batch.indices])


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("shuffle", [False, BlockShuffle(1, window=0.5)], ids=str)
def test_batches_that_are_kept_keep_no_windows(tmp_path: Path, shuffle: Any, prefetch: int) -> None:
    dataset = Dataset(data={"x": saved(tmp_path, np.zeros((N, 4000), np.uint8))})
    kept = []
    tracemalloc.start()
    try:
        for batch in dataset.gen_batch(100, shuffle=shuffle, prefetch=prefetch, n_epochs=2):
            if batch.number % 15 == 0:
                kept.append((batch, batch.x.sum()))
        deadline = time.monotonic() + 5.0  # for a thread that is still reading
        # With two windows, twice as much.
        while gc.collect() >= 0 and tracemalloc.get_traced_memory()[0] >= 7_000_000:
            assert time.monotonic() < deadline
    finally:
        tracemalloc.stop()
    assert len(kept) == 4


class Odd(Batch):
    @action
    def odd(self) -> Batch:
        return self.take(self.indices % 2 == 1)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("shuffle", ORDERS, ids=str)
def test_items_that_are_chosen_and_put_together_hold_their_rows(
    tmp_path: Path, shuffle: Any, prefetch: int
) -> None:
    dataset = Dataset(data={"x": saved(tmp_path, rows())}, batch_class=Odd)
    seen = []
    for batch in dataset.p.odd().rebatch(170).gen_batch(64, shuffle=shuffle, prefetch=prefetch):
        assert np.array_equal(batch.x, rows()[batch.indices])
        assert np.array_equal(batch.take([0, 2, 1]).x, batch.x[[0, 2, 1]])
        seen.append(batch.indices)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(1, N, 2))


@pytest.mark.parametrize("stop", ["break", "raise"])
def test_leaving_a_run_early_leaves_no_thread(tmp_path: Path, stop: str) -> None:
    """The threads are looked for after each test (tests/conftest.py)."""
    dataset = Dataset(data={"x": saved(tmp_path, np.zeros((N, 3000), np.uint8))})
    for prefetch in (0, 3):
        batches = dataset.gen_batch(10, shuffle="blocks", prefetch=prefetch, n_epochs=None)
        try:
            for batch in batches:
                assert batch.x.shape[1] == 3000
                if batch.number == 25:
                    if stop == "raise":
                        raise KeyboardInterrupt
                    break
        except KeyboardInterrupt:
            pass
        del batches


CHILD = """
import resource, sys
import numpy as np
from batchloom import Dataset
path, shuffle, kind = sys.argv[1:]
if kind == "parquet":
    dataset = Dataset.from_parquet(path)
else:
    dataset = Dataset(data={"x": np.load(path, mmap_mode="r")})
def run(n_epochs):
    for batch in dataset.gen_batch(64, shuffle=shuffle or False, n_epochs=n_epochs, prefetch=2):
        assert batch.x.shape == (batch.size, 4096)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
batch = next(dataset.gen_batch(64))
batch.x
before = peak()
run(2)
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="other systems count otherwise")
@pytest.mark.parametrize("kind", ["map", "parquet"])
@pytest.mark.parametrize("shuffle", ["", "blocks"])
def test_memory_stays_within_the_windows(tmp_path: Path, shuffle: str, kind: str) -> None:
    n = 40_000  # 164 MB: a window is 8 MB
    if kind == "map":
        path = tmp_path / "x.npy"
        mapped = np.lib.format.open_memmap(path, "w+", np.uint8, (n, 4096))
        mapped[:] = np.arange(n, dtype=np.uint8)[:, None]
        del mapped
    else:
        pa = pytest.importorskip("pyarrow")
        path = tmp_path / "x.parquet"
        schema = pa.schema({"x": pa.binary(4096)})
        with pytest.importorskip("pyarrow.parquet").ParquetWriter(path, schema) as writer:
            for first in range(0, n, 1000):
                values = [bytes([at % 256]) * 4096 for at in range(first, first + 1000)]
                writer.write_table(pa.table({"x": pa.array(values, pa.binary(4096))}))
    found = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), shuffle, kind],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(found.stdout) < 80 << 20, found.stdout
