"""SIGTERM, in real processes: a run that was told to keeps a last checkpoint; no other run is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import forged
import pytest
import stopped_runs as runs
from prefetch_steps import lasting, left_by, over

from batchloom.errors import DefinitionError

pytestmark = pytest.mark.timeout(100)

IMPORTABLE = Path(__file__).parents[1] / "importable"

HEADER = """
import os, signal, sys, threading, time, warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from prefetch_steps import *

def left():
    return [each.name for each in threading.enumerate() if each.name.startswith("batchloom")]
"""


def start(body: str, folder: Path, kept: Path) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(HEADER + textwrap.dedent(body))
    environment = {**os.environ, "PYTHONPATH": str(IMPORTABLE), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-u", str(script), str(kept)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def terminated(
    body: str, folder: Path, kept: Path, times: int = 1, group: bool = False
) -> tuple[int, str, str]:
    """Send SIGTERM once the script says that it is on its way; give exit code and output."""
    process = start(body, folder, kept)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.strip() == "running", line + process.communicate()[1]
    for _ in range(times):
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM) if group else process.send_signal(signal.SIGTERM)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


def whole(**made: int) -> object:
    return left_by(lasting(**made).run(1, shuffle=3, n_epochs=2))


RUN = """
if __name__ == "__main__":
    p = lasting({made})
    with {executor} as executor:
        try:
            for batch in p.gen_batch(1, shuffle=3, n_epochs=2, checkpoint=sys.argv[1],
                                     checkpoint_every=10**6, on_sigterm="checkpoint", {options}):
                if batch.number == 3:
                    print("running", flush=True)
                {body}
        finally:
            print("done", p.get_variable("n"), left(), signal.getsignal(signal.SIGTERM), flush=True)
"""


@pytest.mark.parametrize(
    ("executor", "options", "where"),
    [
        ("open(__file__)", "prefetch=0", "framework"),
        ("open(__file__)", "prefetch=4", "body"),
        ("open(__file__)", "prefetch=4", "framework"),
        ("ThreadPoolExecutor(2)", "executor=executor", "body"),
        ("ProcessPoolExecutor(2, mp_context=get_context('spawn'))", "executor=executor", "body"),
    ],
)
def test_a_last_checkpoint_is_of_the_batch_that_was_at_hand(
    where: str, executor: str, options: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    body = "time.sleep(0.02)" if where == "body" else "pass"
    script = RUN.format(made="", executor=executor, options=options, body=body)
    code, out, err = terminated(script, tmp_path, kept)
    assert code == 143 and not err, (code, out + err)
    done = out.split("done")[1].split()
    assert done[1:] == ["[]", "0"], out  # no worker is left, and SIGTERM is as it was
    assert 4 <= int(done[0]) < 80
    assert [each.name for each in kept.iterdir()] == [f"checkpoint-{int(done[0]):012d}.batchloom"]
    assert not [each for each in os.listdir(tmp_path) if each.startswith("batchloom")]
    assert left_by(lasting().resume(kept, prefetch=2)) == whole()


@pytest.mark.parametrize(
    ("case", "where", "at", "done"),
    [
        pytest.param("sgd", "batch", 5, 5, marks=pytest.mark.slow),
        pytest.param("forest", "batch", 6, 6, marks=pytest.mark.slow),
        ("forest", "batch", 18, 18),
        ("sgd", "checkpoint", 2, 4),
    ],
)
def test_wherever_it_comes_the_run_goes_on_to_the_bit(
    case: str, where: str, at: int, done: int, tmp_path: Path
) -> None:
    """In a training, in the last one of an epoch and of the run, in the midst of a checkpoint."""
    pytest.importorskip("sklearn")
    from stopped_sklearn import CASES, result

    kept = tmp_path / "kept"
    assert runs.terminate("stopped_sklearn", case, at, where, kept) == 143
    assert forged.newest(kept).name == f"checkpoint-{done:012d}.batchloom"
    assert result(CASES[case]().resume(kept)) == result(CASES[case]().run(**runs.RUN))


@pytest.mark.parametrize(
    ("executor", "options"),
    [
        ("ProcessPoolExecutor(2, mp_context=get_context('spawn'))", "executor=executor"),
        ("open(__file__)", "executor=2"),
    ],
)
def test_workers_that_are_ended_too_cost_nothing(
    executor: str, options: str, tmp_path: Path
) -> None:
    """A service manager sends SIGTERM to all processes of a group: the batches of the workers are lost."""
    kept = tmp_path / "kept"
    script = RUN.format(made="", executor=executor, options=options, body="pass")
    code, out, err = terminated(script, tmp_path, kept, group=True)
    assert code == 143 and "WorkerError" not in err, (code, out + err)
    done = int(out.split("done")[1].split()[0])
    assert forged.newest(kept).name == f"checkpoint-{done:012d}.batchloom"
    assert left_by(lasting().resume(kept)) == whole()


def test_a_pipeline_that_rebatches_says_that_it_goes_back_to_the_end_of_an_epoch(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    script = RUN.format(made="3", executor="open(__file__)", options="prefetch=2", body="pass")
    script = script.replace("batch.number == 3", "batch.number == 16")
    script = script.replace("10**6", "'epoch'")
    code, out, err = terminated(script, tmp_path, kept)
    assert code == 143 and "RuntimeWarning: SIGTERM: a pipeline that rebatches" in err, out + err
    assert "the one after batch 40" in err
    assert left_by(lasting(3).resume(kept)) == whole(rebatch=3)


def test_a_second_sigterm_does_not_wait_for_the_batch(tmp_path: Path) -> None:
    body = """
    try:
        made = over(40).init_model("dynamic", Walk, "model").train_model("model", x="x")
        made = made.init_variable("n", 0).count().block_at(3, threading.Event())
        for batch in made.gen_batch(1, checkpoint=sys.argv[1], checkpoint_every=1, on_sigterm="checkpoint"):
            if batch.number == 2:
                print("running", flush=True)
    finally:
        print("done", made.get_variable("n"), flush=True)
    """
    kept = tmp_path / "kept"
    code, out, err = terminated(body, tmp_path, kept, times=2)
    assert (code, out.split(), err) == (143, ["done", "4"], "")
    assert forged.newest(kept).name == "checkpoint-000000000003.batchloom"


def test_without_the_option_sigterm_is_left_alone(tmp_path: Path) -> None:
    body = """
    signal.signal(signal.SIGTERM, lambda *_: (print("mine", flush=True), sys.exit(3)))
    for batch in lasting().gen_batch(1, n_epochs=None, prefetch=2, checkpoint=sys.argv[1]):
        if batch.number == 3:
            print("running", flush=True)
    """
    kept = tmp_path / "kept"
    code, out, err = terminated(body, tmp_path, kept)
    assert (code, out.strip(), err) == (3, "mine", "")
    assert not kept.exists()
    body = body.replace("signal.signal(signal.SIGTERM", "(lambda *_: None)(0")
    assert terminated(body, tmp_path, kept)[:2] == (-signal.SIGTERM, "")


ENDS = {
    "raise": 'raise ValueError("mine")',
    "interrupt": "os.kill(os.getpid(), signal.SIGINT); time.sleep(1)",
    "break": "break",
    "thread": "thread = threading.Thread(target=batches.close); thread.start(); thread.join(); break",
    "end": "pass",
}


@pytest.mark.parametrize("how", ENDS)
def test_the_handler_is_put_back_and_told_of_what_was_not_heeded(how: str, tmp_path: Path) -> None:
    """However a run ends: what it did not come to do is for the handler that was there before."""
    body = f"""
    told = []
    mine = lambda *_: told.append(1)
    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    made = over(40).init_variable("n", 0).init_model("dynamic", Walk, "model").train_model("model", x="x")
    made = made.count()

    def go(sends):
        kept = f"{{sys.argv[1]}}-{{sends}}"
        batches = made.gen_batch(1, prefetch=2, checkpoint=kept, on_sigterm="checkpoint")
        for batch in batches:
            assert signal.getsignal(signal.SIGTERM) != mine
            if batch.number == 5:
                if sends:
                    os.kill(os.getpid(), signal.SIGTERM)
                assert not told
                {ENDS[how]}
        batches.close()

    for sends in (False, True):
        try:
            go(sends)
        except BaseException as exc:
            print(type(exc).__name__, exc, flush=True)
        is_mine = signal.getsignal(signal.SIGTERM) == mine
        print(is_mine, len(told), left(), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print(len(told))
    """
    process = start(body, tmp_path, tmp_path / "kept")
    out, err = process.communicate(timeout=60)
    expected = {
        "raise": ["ValueError mine", "True 0 []", "ValueError mine", "True 1 []", "2"],
        "interrupt": ["KeyboardInterrupt ", "True 0 []", "KeyboardInterrupt ", "True 1 []", "2"],
        "break": ["True 0 []", "True 1 []", "2"],
        # Only the main thread can put a handler back: the one that stays passes on what comes.
        "thread": ["False 0 []", "False 1 []", "2"],
        "end": ["True 0 []", "SystemExit 143", "True 0 []", "1"],
    }
    assert (out.splitlines(), err) == (expected[how], "")


def test_only_the_main_thread_can_be_asked_for_it(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def run() -> None:
        try:
            over().init_variable("n", 0).count().run(
                4, checkpoint=tmp_path / "kept", on_sigterm="checkpoint"
            )
        except BaseException as exc:
            caught.append(exc)

    thread = threading.Thread(target=run, name="somewhere")
    thread.start()
    thread.join()
    [exc] = caught
    assert (
        isinstance(exc, DefinitionError) and "main thread" in str(exc) and "somewhere" in str(exc)
    )
    assert not (tmp_path / "kept").exists()


def test_it_needs_a_folder_for_checkpoints() -> None:
    with pytest.raises(DefinitionError, match="give checkpoint="):
        over().run(4, on_sigterm="checkpoint")
