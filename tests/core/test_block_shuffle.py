"""Block shuffle: which order it is, that it is the same every time, and that nothing is left out."""

from __future__ import annotations

import os
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefetch_steps import Items

from batchloom import Batch, BlockShuffle, Dataset, DatasetIndex, V, action
from batchloom.errors import CheckpointMismatchError, DefinitionError
from batchloom.models import BaseModel

N = 1000


def memory_map(folder: Path, n: int = N) -> np.ndarray[Any, Any]:
    np.save(folder / "x.npy", np.arange(3 * n, dtype=np.float32).reshape(n, 3))
    return np.load(folder / "x.npy", mmap_mode="r")


def order_of(dataset: Any, batch_size: int = 64, **options: Any) -> np.ndarray[Any, Any]:
    return np.concatenate([b.indices for b in dataset.gen_batch(batch_size, **options)])


SHUFFLES = ["blocks", BlockShuffle(), BlockShuffle(window=1), BlockShuffle(window=300)]
SHUFFLES += [BlockShuffle(window=0.1, block_rows=7), BlockShuffle(block_rows=2000)]
SHUFFLES += [BlockShuffle(window=1.0), BlockShuffle(window=64, block_rows=64)]


@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 999])
def test_every_item_comes_once_an_epoch_and_in_another_order_in_the_next(
    shuffle: Any, n: int
) -> None:
    dataset = Dataset(data={"x": np.arange(n) * 2})
    epochs = np.zeros((2, n), int)
    for epoch in range(2):
        batches = [b for b in dataset.gen_batch(64, shuffle=shuffle, seed=1, n_epochs=2)]
        mine = [b for b in batches if b.epoch == epoch]
        assert all(np.array_equal(b.x, b.indices * 2) for b in mine)
        epochs[epoch] = np.concatenate([b.indices for b in mine])
        assert np.array_equal(np.sort(epochs[epoch]), np.arange(n))
    assert n < 3 or not np.array_equal(epochs[0], epochs[1])
    assert n < 3 or not np.array_equal(epochs[0], np.arange(n))


def test_a_window_has_whole_blocks_in_random_order_and_its_items_are_permuted() -> None:
    order = order_of(Dataset(N), shuffle=BlockShuffle(seed=3, window=50, block_rows=10))
    windows = order.reshape(-1, 50)
    for window in windows:
        blocks, counts = np.unique(window // 10, return_counts=True)
        assert len(blocks) == 5 and (counts == 10).all()
        assert (np.diff(window) != 1).mean() > 0.8
    first_blocks = np.unique(windows[0] // 10)
    assert (np.diff(first_blocks) > 1).any()


def test_small_data_is_mixed_from_many_blocks() -> None:
    order = order_of(Dataset(data={"x": np.zeros((960, 8))}), shuffle=BlockShuffle(1, window=96))
    for window in order.reshape(10, 96):
        assert len(np.unique(window // 6)) == 16


@pytest.mark.parametrize("shuffle", ["blocks", BlockShuffle(window=90, block_rows=16)], ids=str)
def test_the_order_depends_on_the_seed_alone(tmp_path: Path, shuffle: Any) -> None:
    dataset = Dataset(data={"x": memory_map(tmp_path), "y": np.arange(N)})
    options: dict[str, Any] = {"shuffle": shuffle, "seed": 5, "n_epochs": 2}
    expected = order_of(dataset, **options)
    for more in ({"prefetch": 1}, {"prefetch": 5}, {"batch_size": 1}, {"batch_size": 777}):
        assert np.array_equal(order_of(dataset, **options, **more), expected)
    with ThreadPoolExecutor(2) as executor:
        assert np.array_equal(order_of(dataset, **options, executor=executor), expected)
    in_memory = Dataset(data={"x": np.array(dataset.column("x")), "y": np.arange(N)})
    assert np.array_equal(order_of(in_memory, **options), expected)
    assert not np.array_equal(order_of(dataset, **{**options, "seed": 6}), expected)


def test_a_seed_of_its_own_wins_over_the_runs() -> None:
    dataset = Dataset(N)
    one = order_of(dataset, shuffle=BlockShuffle(seed=1), seed=8)
    assert np.array_equal(one, order_of(dataset, shuffle=BlockShuffle(seed=1), seed=9))
    run = dataset.p
    assert np.array_equal(one, order_of(run, shuffle=BlockShuffle(seed=1)))
    assert run.seed == 1


@pytest.mark.parametrize("split", [False, 7, "blocks"], ids=str)
@pytest.mark.parametrize("shares", [0.8, [0.05, 0.9]], ids=str)
def test_parts_are_read_in_full_and_with_their_own_rows(
    tmp_path: Path, split: Any, shares: Any
) -> None:
    dataset = Dataset(data={"x": memory_map(tmp_path), "y": np.arange(N)}).split(shares, split)
    for part in (dataset.train, dataset.test):
        for shuffle in ("blocks", BlockShuffle(window=200, block_rows=9), False):
            seen = []
            for batch in part.gen_batch(48, shuffle=shuffle, seed=2, prefetch=2):
                assert np.array_equal(batch.x[:, 0], 3 * batch.indices)
                assert np.array_equal(batch.y, batch.indices)
                seen.append(batch.indices)
            assert np.array_equal(np.sort(np.concatenate(seen)), np.sort(part.index.ids))


def test_a_split_by_blocks_deals_out_blocks_and_leaves_each_part_in_order() -> None:
    dataset = Dataset(N).split([0.5, 0.3], BlockShuffle(seed=4, block_rows=50))
    parts = [dataset.train.index.ids, dataset.test.index.ids, dataset.validation.index.ids]
    assert [len(each) for each in parts] == [500, 300, 200]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(N))
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert len(part) == 50 * len(np.unique(part // 50))
    assert not np.array_equal(parts[0], np.arange(500))
    with pytest.raises(DefinitionError, match=r"an index knows no blocks.*Dataset\.split"):
        DatasetIndex(10).split_positions(0.5, "blocks")


def test_an_order_is_worked_out_window_by_window() -> None:
    dataset = Dataset(10**8)
    tracemalloc.start()
    try:
        for batch in dataset.gen_batch(100, shuffle=BlockShuffle(1, window=10_000)):
            assert len(batch.indices) == 100
            if batch.number == 300:
                break
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10**7 * 8  # the positions of all items would be ten times as much


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"window": 0}, "window=0"),
        ({"window": 0.0}, "window=0.0"),
        ({"window": 1.5}, "window=1.5"),
        ({"window": True}, "window=True"),
        ({"window": "all"}, "window='all'"),
        ({"block_rows": 0}, "block_rows=0"),
        ({"block_rows": 1.0}, r"block_rows=1\.0"),
        ({"seed": -1}, "seed=-1"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        BlockShuffle(**arguments)


def test_another_word_than_blocks_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"shuffle='block': .*\"blocks\" or a BlockShuffle"):
        Dataset(10).p.run(2, shuffle="block")


def test_equal_shuffles_are_the_same_option() -> None:
    run = Dataset(N).p
    first = run.next_batch(10, shuffle=BlockShuffle(1))
    second = run.next_batch(10, shuffle=BlockShuffle(1))
    assert (first.number, second.number) == (0, 1)
    with pytest.raises(DefinitionError, match=r"BlockShuffle\(seed=2"):
        run.next_batch(10, shuffle=BlockShuffle(2))


class Stop(Exception):  # noqa: N818
    pass


class Stopping(Batch):
    stop_at: int | None = None

    @action
    def maybe_stop(self) -> Stopping:
        if self.number == type(self).stop_at:
            raise Stop
        return self


class Walk(BaseModel):
    """Weights that remember the order of everything that they were shown."""

    data_args = ("x",)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.weights = np.zeros(3)

    def _train(self, x: Any) -> Any:
        self.weights = np.sin(1.3 * self.weights + x[0] / N + x.sum(axis=0) / N**2)
        return float(self.weights.sum())

    def _save(self, path: Path, **kwargs: Any) -> None:
        np.save(path / "weights.npy", self.weights)

    def _load(self, path: Path, **kwargs: Any) -> None:
        self.weights = np.load(path / "weights.npy")


@pytest.fixture(autouse=True)
def nothing_stops() -> Any:
    yield
    Stopping.stop_at = None


def training(x: Any, part: bool) -> Any:
    dataset = Dataset(data={"x": x}, batch_class=Stopping)
    dataset = dataset.split(0.8, shuffle=3).train if part else dataset
    return (
        dataset.p.init_variable("losses", init_on_each_run=list)
        .init_model("dynamic", Walk, "walk")
        .maybe_stop()
        .train_model("walk", x="x", append_to=V("losses"))
    )


@pytest.mark.parametrize("stop_at", [1, 5, 12, 16, 31])
@pytest.mark.parametrize("part", [False, True])
def test_a_stopped_run_goes_on_in_the_middle_of_a_window(
    tmp_path: Path, stop_at: int, part: bool
) -> None:
    x = memory_map(tmp_path)
    options: dict[str, Any] = {"shuffle": BlockShuffle(window=150, block_rows=12), "n_epochs": 2}
    whole = training(x, part).run(60, **options, seed=1)
    Stopping.stop_at = stop_at
    kept: dict[str, Any] = {"checkpoint": tmp_path / "kept", "checkpoint_every": 1}
    if stop_at < 2 * -(-(800 if part else 1000) // 60):
        with pytest.raises(Stop):
            training(x, part).run(60, **options, **kept, seed=1)
        Stopping.stop_at = None
        resumed = training(x, part).resume(tmp_path / "kept", prefetch=2)
    else:
        resumed = training(x, part).run(60, **options, **kept, seed=1)
    assert resumed.get_variable("losses") == whole.get_variable("losses")
    assert np.array_equal(
        resumed.get_model_by_name("walk").weights, whole.get_model_by_name("walk").weights
    )


def test_a_checkpoint_of_another_block_shuffle_is_refused(tmp_path: Path) -> None:
    x = memory_map(tmp_path)
    kept = tmp_path / "kept"
    training(x, False).run(60, shuffle=BlockShuffle(1, window=100), checkpoint=kept)
    for other, said in (
        (BlockShuffle(1, window=200), r"blocks: \[100, None\] then, \[200, None\] now"),
        (BlockShuffle(2, window=100), "order_seed: 1 then, 2 now"),
        (True, r"blocks: \[100, None\] then, None now"),
    ):
        with pytest.raises(CheckpointMismatchError, match=said):
            training(x, False).run(60, shuffle=other, checkpoint=kept)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_is_gathered_after_a_worker_process_leaves_no_file_open(tmp_path: Path) -> None:
    """A batch whose component no step has asked for reads the window when its user does."""
    made = Dataset(batch_class=Items, data={"x": memory_map(tmp_path, 120)}).p.where()
    shuffle = BlockShuffle(seed=1, block_rows=3, window=7)
    counts = []
    for batch in made.gen_batch(4, shuffle=shuffle, executor=1):
        batch.x.sum()
        counts.append(len(os.listdir("/proc/self/fd")))
    assert len(counts) == 30
    assert max(counts) - min(counts) < 5


def stored(folder: Path, kind: str) -> Dataset:
    """Rows of 16 KB, of which a window is worth reading ahead."""
    rows = np.random.default_rng(0).random((640, 2048))
    if kind == "memory map":
        np.save(folder / "rows.npy", rows)
        return Dataset(data={"x": np.load(folder / "rows.npy", mmap_mode="r")})
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = pa.FixedSizeListArray.from_arrays(rows.ravel(), 2048)
    parquet.write_table(pa.table({"x": cells}), folder / "rows.parquet", row_group_size=32)
    return Dataset.from_parquet(folder / "rows.parquet")


@pytest.mark.parametrize(
    ("kind", "processors", "readers"),
    [("memory map", 1, 2), ("memory map", 2, 2), ("Parquet", 2, 1), ("Parquet", 3, 2)],
)
def test_threads_that_decode_leave_the_consumer_its_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, processors: int, readers: int
) -> None:
    """Two of them keep a disk busy, but three threads at work are in each other's way on two processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(processors), raising=False)
    dataset, seen = stored(tmp_path, kind), set[str]()
    for batch in dataset.p.gen_batch(32, shuffle=BlockShuffle(seed=1, window=128)):
        assert batch.x.shape == (32, 2048)
        seen |= {each.name for each in threading.enumerate() if "batchloom-read" in each.name}
    assert len(seen) == readers
