"""A run's own worker processes: what they compute, what kills them, and what they leave."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from large_steps import large
from own_children import own_children
from prefetch_steps import Items, SharedWalk, Unmade, Walk, dataset, outcome, over

from batchloom import B, Dataset, Pipeline, V
from batchloom.errors import WorkerError

pytestmark = pytest.mark.timeout(60)
RUN: dict[str, Any] = {"n_epochs": 2, "shuffle": 3, "seed": 11, "on_error": "skip"}


def trained() -> Pipeline:
    made = over().init_variable("loss", init_on_each_run=list).init_model("dynamic", Walk, "model")
    made = made.noise().slow_even().train_model("model", x="x", append_to="loss")
    return made.predict_model("model", x="x", save_to=B.guess).widen()


def with_everything() -> Pipeline:
    made = over(200).init_variable("n", 0).init_model("static", SharedWalk, "model")
    made = made.skip_some().noise().fail_some().shift(V.n).jitter().count().shift(V.n)
    return made.rebatch(5).locked_sum().train_model("model", x="x")


@pytest.mark.parametrize("make", [trained, with_everything])
def test_they_change_nothing(make: Callable[[], Pipeline]) -> None:
    assert outcome(make(), 4, executor=2, **RUN) == outcome(make(), 4, **RUN)


def test_they_work_and_stay_from_epoch_to_epoch() -> None:
    batches = over(40).where().slow_even().gen_batch(1, executor=2, n_epochs=3)
    pids = {each._pid for each in batches}
    assert len(pids) == 2 and os.getpid() not in pids


@pytest.mark.parametrize("how", ["through", "break", "raise", "drop"])
def test_they_go_with_their_run(how: str) -> None:
    batches = large(4000).p.make().where().gen_batch(40, executor=2, n_epochs=2)
    first = next(batches)
    pids = {each.pid for each in own_children()}
    assert first._pid in pids
    if how == "through":
        for _ in batches:
            pass
    elif how == "raise":
        with pytest.raises(ZeroDivisionError):
            batches.throw(ZeroDivisionError())  # type: ignore[attr-defined]
    elif how == "break":
        batches.close()  # type: ignore[attr-defined]
    else:
        del batches
    assert not pids & {each.pid for each in own_children()}


def test_they_go_on_while_their_run_waits_for_nothing(tmp_path: Path) -> None:
    """All that is to be prepared ahead is, however few errands a worker has at a time."""
    batches = large(4000).p.leave_a_file(tmp_path).gen_batch(40, executor=2, prefetch=12)
    next(batches)
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 13:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    batches.close()  # type: ignore[attr-defined]


def test_they_go_on_though_their_answers_fill_the_connection(tmp_path: Path) -> None:
    """Each answer is larger than what a connection holds, and nobody asks for a batch."""
    made = large(4000).p.leave_a_file(tmp_path).make("objects")
    batches = made.gen_batch(40, executor=1, prefetch=2)
    for given in range(3):
        next(batches)
        deadline = time.monotonic() + 20
        while len(list(tmp_path.iterdir())) < given + 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    batches.close()  # type: ignore[attr-defined]


def test_what_was_on_its_way_goes_without_the_garbage_collector() -> None:
    gc.collect()
    before = alive()
    gc.disable()
    try:
        batches = large(4000).p.make().slowly(0.4, first=2).gen_batch(40, executor=2, prefetch=6)
        next(batches)
        batches.close()  # type: ignore[attr-defined]
        del batches
        assert alive() == before
    finally:
        gc.enable()


def alive() -> Counter[str]:
    """Count what may be large, or a worker's; what failed before may be kept by who reports it."""
    names = [type(each).__name__ for each in gc.get_objects()]
    return Counter(each for each in names if each in ("Large", "Portion", "WorkerProcesses"))


def test_a_run_of_one_batch_needs_one_worker() -> None:
    batches = over(4).where().gen_batch(4, executor=8)
    next(batches)
    assert len(own_children()) == 1
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize(
    ("how", "said"), [("exit", "exit code 3"), ("kill", "killed by SIGKILL, for want of memory")]
)
def test_one_that_dies_is_an_error_that_names_its_batches(
    how: str, said: str, on_error: str
) -> None:
    seen = []
    with pytest.raises(WorkerError, match=said) as caught:
        for batch in over(200).die_at(20, how).gen_batch(2, executor=2, on_error=on_error):
            seen.append(batch.number)
    assert re.search(r"Batch(es)? \d+( to \d+)? of this run got lost with it", str(caught.value))
    assert seen == list(range(len(seen))) and len(seen) <= 20


def test_one_that_is_killed_from_outside_is_an_error() -> None:
    batches = over(400).slow_even(0.005).gen_batch(1, executor=2, n_epochs=None)
    next(batches)
    for each in own_children():
        assert each.pid is not None
        os.kill(each.pid, signal.SIGKILL)
        break
    with pytest.raises(WorkerError, match="killed by SIGKILL"):
        for _ in batches:
            pass


def test_one_whose_child_outlives_it_is_found_dead() -> None:
    """The child has the worker's connection open too, so that it does not close."""
    with pytest.raises(WorkerError, match="killed by SIGKILL"):
        for _ in large(800).p.die_leaving_a_child_at(5).gen_batch(40, executor=2):
            pass


def test_one_that_is_stopped_does_not_hold_up_the_end() -> None:
    batches = over(400).slow_even(0.005).gen_batch(1, executor=2, n_epochs=None)
    next(batches)
    for each in own_children():
        assert each.pid is not None
        os.kill(each.pid, signal.SIGSTOP)
    began = time.monotonic()
    batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 20


def test_an_action_that_takes_long_does_not_hold_up_the_end() -> None:
    batches = large(4000).p.slowly(30, first=2).gen_batch(40, executor=2)
    next(batches)
    began = time.monotonic()
    batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 10


def test_what_an_action_raises_is_raised_with_its_place() -> None:
    with pytest.raises(ValueError, match="wrong") as caught:
        over(100).fail_at([5], "ValueError").run(1, executor=2)
    notes = "\n".join(caught.value.__notes__)
    assert "batch 5 of epoch 0" in notes and "in a worker process" in notes


def test_a_batch_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be made"):
        dataset(40, Unmade).p.plain().run(4, executor=2)


def test_an_action_that_cannot_travel_is_named() -> None:
    with pytest.raises(WorkerError, match=r"step apply\(.*lambda.*cannot be sent"):
        over().apply(lambda x: x + 1, src="x").run(4, executor=2)


def test_a_module_that_they_cannot_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "from batchloom import Batch, action\nclass Unseen(Batch):\n    pass\n"
    (tmp_path / "unseen_there.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    import unseen_there  # type: ignore[import-not-found]

    (tmp_path / "unseen_there.py").unlink()
    with pytest.raises(WorkerError, match=r"cannot unpack the pipeline.*unseen_there"):
        dataset(20, unseen_there.Unseen).p.run(4, executor=1)


def test_large_batches_of_positions_travel() -> None:
    """An errand of a megabyte is more than a connection holds."""
    data = Dataset(batch_class=Items, data={"x": np.arange(600_000.0)})
    found = [each.x for each in data.p.scale().gen_batch(130_000, shuffle=5, executor=2)]
    alone = [each.x for each in data.p.scale().gen_batch(130_000, shuffle=5)]
    assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))


def test_runs_may_be_interleaved() -> None:
    made = over(40).init_variable("n", 0).scale().count()
    both = zip(made.gen_batch(2, executor=1), made.gen_batch(2, executor=2), strict=True)
    assert all((a.x == b.x).all() for a, b in both)
    assert made.get_variable("n") == 40


def test_next_batch_keeps_its_workers() -> None:
    made = over(40).where()
    pids = {made.next_batch(2, executor=1)._pid for _ in range(10)}
    made.reset()
    assert len(pids) == 1


def script(body: str, folder: Path) -> subprocess.Popen[str]:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(body))
    importable = str(Path(__file__).parents[1] / "importable")
    return subprocess.Popen(
        [sys.executable, "-u", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": importable, "TMPDIR": str(folder)},
        start_new_session=True,
    )


@pytest.fixture
def shared_memory() -> Iterator[Callable[[], set[str]]]:
    """What there is of shared memory with a name of ours, or of the standard library's."""
    folder = Path("/dev/shm")

    def names() -> set[str]:
        found = folder.iterdir() if folder.is_dir() else ()
        return {each.name for each in found if each.name.startswith(("batchloom", "psm_"))}

    before = names()
    yield lambda: names() - before


@pytest.mark.parametrize("where", ["made", "slowly"])
def test_a_killed_run_leaves_no_process_no_memory_and_no_file(
    where: str, tmp_path: Path, shared_memory: Callable[[], set[str]]
) -> None:
    body = f"""
    import multiprocessing
    from large_steps import large
    if __name__ == "__main__":
        made = large(40000).p.make(){".slowly(1000)" if where == "slowly" else ""}
        batches = made.gen_batch(40, executor=2, n_epochs=None)
        if "{where}" == "made":
            next(batches)
        else:
            import threading
            threading.Thread(target=next, args=(batches,), daemon=True).start()
            while len(multiprocessing.active_children()) < 2:
                pass
        print(*[each.pid for each in multiprocessing.active_children()], flush=True)
        for _ in batches if "{where}" == "made" else iter(int, 1):
            pass
    """
    process = script(body, tmp_path)
    assert process.stdout is not None
    pids = [int(each) for each in process.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.5)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
    assert not shared_memory()
    assert not [each for each in os.listdir(tmp_path) if each.startswith("batchloom")]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_script_that_is_not_guarded_is_told_so(tmp_path: Path) -> None:
    process = script(
        "from large_steps import large\nlarge().p.make().run(40, executor=2)", tmp_path
    )
    _, err = process.communicate(timeout=50)
    assert process.returncode == 1
    assert "WorkerError" in err and 'below `if __name__ == "__main__":`' in err


def test_actions_defined_in_the_script_itself_are_found(tmp_path: Path) -> None:
    body = """
    from batchloom import Batch, Dataset, action
    class Mine(Batch):
        components = "x"
        @action
        def double(self):
            self.x = self.x * 2
            return self
    if __name__ == "__main__":
        import numpy as np
        made = Dataset(batch_class=Mine, data={"x": np.arange(6.0)}).p.double()
        print([float(each.x.sum()) for each in made.gen_batch(2, executor=2)])
    """
    out, err = script(body, tmp_path).communicate(timeout=50)
    assert (out, err) == ("[2.0, 10.0, 18.0]\n", "")


def test_a_fork_of_the_process_does_not_end_them(tmp_path: Path) -> None:
    """A child that the user forks has all that its parent has in memory, and takes it down when it ends."""
    body = """
    import os, sys
    from prefetch_steps import over
    if __name__ == "__main__":
        batches = over(400).slow_even().gen_batch(2, executor=1)
        next(batches)
        if os.fork() == 0:
            sys.exit()
        os.wait()
        print(sum(1 for _ in batches))
    """
    out, _ = script(body, tmp_path).communicate(timeout=50)
    assert out == "199\n"
