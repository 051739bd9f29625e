"""Batch: components as attributes, items, parts, merging, loading, dumping, pickling."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from batchloom import B, Batch, Dataset, FilesIndex, action
from batchloom.errors import ActionError, DataError, UnknownComponentError
from batchloom.runtime.window_rows import WindowRows

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)


class Pairs(Batch):
    components = "x", "y"

    @action
    def keep_even(self) -> Batch:
        return self.take(self.y % 2 == 0)

    @action
    def break_lengths(self) -> Pairs:
        self.x = self.x[:1]
        return self


def batch_of(size: int = 4, **options: object) -> Batch:
    return next(Dataset(batch_class=Pairs, data=(X, Y)).gen_batch(size, **options))


def test_components_are_attributes() -> None:
    batch = batch_of()
    assert batch.size == len(batch) == 4
    assert batch.components == ("x", "y")
    assert (batch.number, batch.epoch) == (0, 0)
    batch.x = batch.x + 1
    batch.y += 5
    assert batch.x.tolist() == (X[:4] + 1).tolist()
    assert batch.y.tolist() == [5, 6, 7, 8]
    assert repr(batch) == "<Pairs 0 of epoch 0: 4 items, x, y>"


def test_unknown_components_are_errors_with_the_nearest_name() -> None:
    batch = next(Dataset(data={"images": X, "labels": Y}).gen_batch(4))
    with pytest.raises(UnknownComponentError, match=r"'image'.*did you mean 'images'.*labels"):
        batch.image
    with pytest.raises(UnknownComponentError, match=r"add_component\('label', values\)"):
        batch.label = Y
    assert not hasattr(batch, "image")
    batch._note = "what begins with an underscore is free"
    with pytest.raises(AttributeError):
        batch.size = 3


def test_components_are_added_with_a_row_for_each_item() -> None:
    batch = batch_of()
    batch.add_component("z", [1, 2, 3, 4])
    assert batch.components == ("x", "y", "z")
    assert batch.has_component("z")
    with pytest.raises(DataError, match="'w' has 3 rows, but the batch has 4"):
        batch.add_component("w", [1, 2, 3])
    with pytest.raises(DataError, match="no rows"):
        batch.add_component("v", 3)
    for name in ("indices", "take", "_x", "pipeline"):
        with pytest.raises(DataError, match=repr(name)):
            batch.add_component(name, [1, 2, 3, 4])


def test_an_item_is_a_named_tuple() -> None:
    batch = batch_of()
    assert batch[1].y == 1
    assert batch[-1].y == 3
    assert batch[np.int64(2)].x.tolist() == [4.0, 5.0]
    assert [item.y for item in batch] == [0, 1, 2, 3]
    for outside in (4, -5):
        with pytest.raises(IndexError):
            batch[outside]


def test_items_of_every_kind_of_column() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=["p", "q"])
    batch = next(Dataset(data={"frame": frame, "sparse": sp.csr_array(np.eye(2))}).gen_batch(2))
    assert batch[1].frame.a == 2
    assert batch[1].sparse.toarray().ravel().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ([2, 0], [2, 0]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        (np.array([True, False, False, True]), [0, 3]),
        ([], []),
        (np.array([-1]), [3]),
    ],
    ids=str,
)
def test_some_items_make_a_batch(which: object, expected: list[int]) -> None:
    batch = batch_of()
    batch.x  # one component is gathered already, the other is not
    batch._note = "kept"
    for part in (batch.take(which), batch[which]):
        assert type(part) is Pairs
        assert part.indices.tolist() == expected
        assert part.x.tolist() == X[expected].tolist()
        assert part.y.tolist() == expected
        assert part._note == "kept"
        part.x = part.x * 0
    assert batch.x.tolist() == X[:4].tolist()


def test_what_was_written_is_what_parts_and_merged_batches_hold() -> None:
    batch = batch_of()
    batch.y = batch.y * 100
    batch.add_component("z", list("abcd"))
    part = batch.take([3, 1])
    assert part.y.tolist() == [300, 100]
    assert part.z.tolist() == ["d", "b"]
    merged = Batch.merge([part, batch])
    assert merged.y.tolist() == [300, 100, 0, 100, 200, 300]
    assert merged.z.tolist() == list("dbabcd")
    assert merged.indices.tolist() == [3, 1, 0, 1, 2, 3]


def test_batches_of_several_datasets_can_be_merged() -> None:
    other = Dataset(index=list("pq"), batch_class=Pairs, data=(X[:2], Y[:2] - 9))
    merged = Batch.merge([batch_of(2), next(other.gen_batch(2))])
    assert merged.y.tolist() == [0, 1, -9, -8]
    assert merged.indices.tolist() == [0, 1, "p", "q"]
    assert merged.take([3]).y.tolist() == [-8]


def reached_from(each: object) -> list[object]:
    found, left = {}, [each]
    while left:
        each = left.pop()
        if id(each) not in found and not isinstance(
            each, (type, ModuleType, FunctionType, Dataset)
        ):
            found[id(each)] = each
            left += gc.get_referents(each)
    return list(found.values())


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("shuffle", [False, 3, "blocks"])
def test_a_stand_in_names_a_batch_and_holds_nothing_of_it(
    tmp_path: Path, stored: bool, shuffle: Any
) -> None:
    data = np.arange(24_000.0).reshape(3000, 8)
    if stored:
        np.save(tmp_path / "x.npy", data)
        data = np.load(tmp_path / "x.npy", mmap_mode="r")
    dataset = Dataset(data={"x": data})
    seen = 0
    for batch in dataset.gen_batch(500, shuffle=shuffle, seed=1, n_epochs=2):
        batch.x
        pickled = pickle.loads(pickle.dumps(batch))
        for each in (batch, batch.take([7, 2]), Batch.merge([batch, batch]), pickled):
            twin = each.stand_in()
            assert (twin.number, twin.epoch, twin.size) == (each.number, each.epoch, each.size)
            assert twin.first_indices().tolist() == each.first_indices().tolist()
            assert twin.indices.tolist() == each.indices.tolist()
            assert twin.components == ()
            reached = reached_from(twin)
            assert not any(each is other for other in reached for each in (batch, batch.x))
            assert not any(isinstance(other, WindowRows) for other in reached)
            seen += 1
    assert seen == 48


def test_merging_refuses_what_does_not_fit() -> None:
    other = next(Dataset(data={"x": X}).gen_batch(2))
    with pytest.raises(DataError, match="different components"):
        Batch.merge([batch_of(2), other])
    with pytest.raises(DataError, match="one or more"):
        Batch.merge([])


def test_an_action_may_return_fewer_items() -> None:
    pipeline = Dataset(batch_class=Pairs, data=(X, Y)).p.keep_even()
    assert [each.y.tolist() for each in pipeline.gen_batch(3)] == [[0, 2], [4], [6, 8], []]
    assert [each.y.tolist() for each in pipeline.rebatch(3).gen_batch(3)] == [[0, 2, 4], [6, 8]]


def test_lengths_are_checked_after_each_action() -> None:
    pipeline = Dataset(batch_class=Pairs, data=(X, Y)).p.break_lengths()
    with pytest.raises(DataError, match=r"'x' has 1 rows.*4 items.*take") as caught:
        pipeline.run(4)
    assert any("break_lengths()" in note for note in caught.value.__notes__)


# Random numbers


def test_each_batch_draws_from_the_seed_and_its_number() -> None:
    dataset = Dataset(data={"y": Y})

    def draws(**options: object) -> list[float]:
        return [each.random.random() for each in dataset.gen_batch(3, n_epochs=2, **options)]

    first = draws(seed=1)
    assert first == draws(seed=1) == draws(seed=1, prefetch=4)
    assert len(set(first)) == len(first) == 8
    assert not set(first) & set(draws(seed=2))
    assert draws() != draws()


def test_a_batch_in_place_of_another_draws_from_the_same_generator() -> None:
    class Replaced(Batch):
        @action
        def replace(self) -> Batch:
            return next(Dataset(batch_class=Replaced, data={"y": Y}).gen_batch(2))

    pipeline = Dataset(batch_class=Replaced, data={"y": Y}).p.replace()
    draws = [[each.random.random() for each in pipeline.gen_batch(5, seed=3)] for _ in range(2)]
    assert draws[0] == draws[1]


# Loading and dumping


def test_load_takes_rows_of_other_data() -> None:
    dataset = Dataset(data={"y": Y}).split(0.5, shuffle=1).test
    for batch in dataset.p.load({"z": Y * 10, "w": [f"w{i}" for i in Y]}).gen_batch(2):
        assert batch.z.tolist() == (batch.y * 10).tolist()
        assert batch.w.tolist() == [f"w{i}" for i in batch.y]
    assert next(dataset.p.load({"z": Y, "w": Y}, "w").gen_batch(2)).components == ("y", "w")
    with pytest.raises(UnknownComponentError, match="did you mean 'zed'"):
        dataset.p.load({"zed": Y}, components="zen").run(2)


def test_load_calls_a_function_with_each_id() -> None:
    dataset = Dataset(index=["a", "bb"], batch_class=Pairs)
    batch = next(dataset.p.load(lambda item: (item * 2, len(item))).gen_batch(2))
    assert batch.x.tolist() == ["aa", "bbbb"]
    assert batch.y.tolist() == [1, 2]
    with pytest.raises(DataError, match="gave 1 values for 2 components"):
        dataset.p.load(len).run(2)
    with pytest.raises(DataError, match="FilesIndex"):
        dataset.p.load().run(2)


def test_load_reads_files_by_their_extensions(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name * 3)
        np.savez(tmp_path / f"{name}.npz", x=np.full(2, ord(name)), y=ord(name))

    texts = Dataset(FilesIndex(tmp_path / "*.txt")).p
    assert next(texts.load(components="t").gen_batch(2)).t.tolist() == ["aaa", "bbb"]
    assert next(texts.load(components="t", fmt="bytes").gen_batch(2)).t.tolist() == [b"aaa", b"bbb"]
    with pytest.raises(DataError, match=r"no reader for 'jpg'.*npy.*src="):
        texts.load(components="t", fmt="jpg").run(2)
    arrays = Dataset(FilesIndex(tmp_path / "*.npz"), Pairs).p.load()
    batch = next(arrays.gen_batch(2))
    assert batch.x.tolist() == [[97, 97], [98, 98]]
    assert batch.y.tolist() == [97, 98]


def test_bytes_of_files_are_all_there(tmp_path: Path) -> None:
    whole = {"a.bin": bytes(3), "b.bin": b"one\0", "c.bin": b""}
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    loaded = Dataset(FilesIndex(tmp_path / "*.bin")).p.load(components="t", fmt="bytes").rebatch(3)
    assert next(loaded.gen_batch(2)).t.tolist() == [*whole.values()]


def test_the_file_or_item_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", Y)
    (tmp_path / "b.npy").write_bytes(b"no array")
    with pytest.raises(ValueError) as caught:
        Dataset(FilesIndex(tmp_path / "*.npy")).p.load(components="x").run(2)
    assert any(str(tmp_path / "b.npy") in note for note in caught.value.__notes__)
    with pytest.raises(KeyError) as missing:
        Dataset(["a", "b"]).p.load({"a": 1}.__getitem__, "x").run(2)
    assert "load: while reading 'b'" in missing.value.__notes__


@pytest.mark.parametrize("n", [8, 12])
def test_what_is_loaded_or_written_beside_the_data_has_its_rows(n: int) -> None:
    part = Dataset(data={"y": Y}).split(0.8, shuffle=1).train
    target = np.zeros(n)
    with pytest.raises(DataError, match=f"'z' has {n} rows, but the data .* 10: .*part"):
        part.p.load({"z": target}).run(4)
    with pytest.raises(DataError, match=f"dump: 'y' has {n} rows"):
        part.p.dump({"y": target}).run(4)
    assert not target.any()


@pytest.mark.parametrize(
    ("ids", "said"),
    [(["a/b", "c"], "'a/b' cannot be the name of a file"), ([1, "1"], "the id 1, and one file")],
)
def test_items_that_cannot_have_a_file_each_are_refused(
    tmp_path: Path, ids: list[object], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        Dataset(index=ids, data={"y": Y[:2]}).p.dump(tmp_path / "items").run(2)
    assert not (tmp_path / "items").exists()


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("shuffle", [False, 2])
def test_dump_writes_each_row_to_its_place(tmp_path: Path, prefetch: int, shuffle: int) -> None:
    target = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", Y.dtype, Y.shape)
    dataset = Dataset(batch_class=Pairs, data=(X, Y))
    dataset.p.dump({"y": target}).run(3, prefetch=prefetch, shuffle=shuffle)
    assert target.tolist() == Y.tolist()
    dataset.p.dump(tmp_path / "items").run(3, prefetch=prefetch, shuffle=shuffle)
    with np.load(tmp_path / "items" / "7.npz") as item:
        assert item["x"].tolist() == X[7].tolist()
        assert item["y"] == 7
    assert len(list((tmp_path / "items").iterdir())) == 10
    numbers: list[int] = []
    dataset.p.dump(lambda batch: numbers.append(batch.number)).run(3, prefetch=prefetch)
    assert numbers == [0, 1, 2, 3]


def test_apply_puts_results_into_components() -> None:
    pipeline = (
        Dataset(batch_class=Pairs, data=(X, Y))
        .p.apply(np.negative, "y")
        .apply(lambda x, y: x.sum(1) + y, ["x", "y"], "sums")
        .apply(lambda x, times: (x, x * times), "x", ["x", "more"], times=3)
    )
    batch = next(pipeline.gen_batch(4))
    assert batch.y.tolist() == [0, -1, -2, -3]
    assert batch.sums.tolist() == [1.0, 4.0, 7.0, 10.0]
    assert batch.more.tolist() == (X[:4] * 3).tolist()
    with pytest.raises(ActionError, match="returned 1 values for 2 components"):
        Dataset(data={"y": Y}).p.apply(lambda y: (y,), "y", ["a", "b"]).run(4)


def test_a_component_whose_rows_cannot_be_taken_is_named() -> None:
    kept = Dataset(data={"y": Y}).p.apply(lambda y: {*y.tolist()}, "y", "seen")
    with pytest.raises(DataError, match="'seen' is set, whose rows cannot be read"):
        kept.rebatch(3).run(4)
    with pytest.raises(ValueError) as caught:
        kept.rebatch(8).run(4)
    assert "while putting together the rows of component 'seen'" in caught.value.__notes__


def test_apply_takes_no_function_that_returns_nothing() -> None:
    with pytest.raises(ActionError, match="returned None for component 'y'.*in place"):
        Dataset(data={"y": Y}).p.apply(lambda y: y.sort(), "y").run(4)


def test_outside_of_a_pipeline_there_are_no_models() -> None:
    batch = next(Dataset(data={"y": Y}).gen_batch(2))
    batch = pickle.loads(pickle.dumps(batch))
    assert batch.pipeline is None
    with pytest.raises(ActionError, match="outside of a pipeline"):
        batch.get_model_by_name("m")


@pytest.mark.parametrize("shuffle", [False, 3])
def test_a_pickled_batch_holds_its_own_items_and_not_the_dataset(shuffle: int) -> None:
    large = np.arange(100_000.0)
    batch = next(Dataset(data={"x": large, "y": large}).gen_batch(4, shuffle=shuffle))
    batch.x = batch.x + 1
    data = pickle.dumps(batch)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert copy.indices.tolist() == batch.indices.tolist()
    assert copy.x.tolist() == batch.x.tolist()
    assert copy.y.tolist() == batch.y.tolist()
    assert (copy.size, copy.number, copy.epoch) == (4, 0, 0)
    assert copy.take([1]).y.tolist() == [batch.y[1]]
    assert Batch.merge([copy, copy]).size == 8
    assert copy.random.random() == batch.random.random()
    with pytest.raises(DataError, match="unpickled"):
        copy.load({"z": large})


def test_rows_are_expressions_of_the_batch_they_are_evaluated_for() -> None:
    dataset = Dataset(batch_class=Pairs, data=(X, Y))
    pipeline = dataset.p.init_variable("seen", init_on_each_run=list)
    pipeline = pipeline.update_variable("seen", B.y, mode="extend")
    assert pipeline.run(3, prefetch=2).get_variable("seen") == Y.tolist()


def test_a_component_can_be_read_by_a_name_that_is_no_identifier():
    batch = Dataset(data={"petal length (cm)": np.arange(6)}).next_batch(4)
    assert batch["petal length (cm)"].tolist() == [0, 1, 2, 3]
    with pytest.raises(UnknownComponentError, match="petal length"):
        batch["petal length"]
