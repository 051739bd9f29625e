"""Ctrl-C, and the end of the interpreter, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)

HEADER = """
import signal, sys, threading, time
# A shell that starts the tests in the background has its children ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from prefetch_steps import *

def left():
    return [each.name for each in threading.enumerate() if each.name.startswith("batchloom")]
"""

IMPORTABLE = Path(__file__).parents[1] / "importable"


def start(body: str, folder: Path) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(HEADER + textwrap.dedent(body))
    environment = {**os.environ, "PYTHONPATH": str(IMPORTABLE), "TMPDIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-u", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def interrupted(body: str, folder: Path, times: int = 1, pause: float = 0.15) -> tuple[str, str]:
    """Send SIGINT once the script says that it is on its way; actions that block do so for a minute."""
    process = start(body, folder)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.strip() == "running", line + process.communicate()[1]
    for _ in range(times):
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=30)
    finally:
        process.kill()


RUN = """
if __name__ == "__main__":
    p = over(40).init_variable("n", 0).init_model("dynamic", Walk, "model").slow_even({slow})
    p = {steps}
    with {executor} as executor:
        try:
            for batch in p.gen_batch(1, n_epochs=None, {options}):
                if batch.number == 1:
                    print("running", flush=True)
                {body}
        except KeyboardInterrupt:
            print("interrupted", left(), flush=True)
    model = p.models["model"]
    print("abandoned", model.abandoned, p.get_variable("n"), len(p.failures), flush=True)
    before = p.get_variable("n")
    p.run(1, prefetch=3)
    print("again", p.get_variable("n") - before, flush=True)
"""


@pytest.mark.parametrize("where", ["body", "act", "prepared", "framework"])
@pytest.mark.parametrize(
    ("executor", "options"),
    [
        ("open(__file__)", "prefetch=0"),
        ("open(__file__)", "prefetch=4"),
        ("ThreadPoolExecutor(2)", "executor=executor"),
        ("ProcessPoolExecutor(2, mp_context=get_context('spawn'))", "executor=executor"),
        ("open(__file__)", "executor=2"),
    ],
)
def test_ctrl_c_ends_the_run(where: str, executor: str, options: str, tmp_path: Path) -> None:
    steps = "p.count().train_model('model', x='x')"
    if where == "act":
        steps += ".slow_even(0.02)"
    body = RUN.format(
        slow=0.02 if where == "prepared" else 0,
        steps=steps,
        executor=executor,
        options=options + ", on_error='skip'",
        body="time.sleep(0.02)" if where == "body" else "pass",
    )
    out, err = interrupted(body, tmp_path)
    assert "interrupted []" in out, out + err
    assert "abandoned 1" in out and "again 40" in out, out + err
    assert "Traceback" not in err, err
    assert not [each for each in os.listdir(tmp_path) if each.startswith("batchloom")]


def test_ctrl_c_does_not_wait_for_an_action_that_blocks(tmp_path: Path) -> None:
    body = """
    released = threading.Event()
    p = over(40).block_at(5, released)
    print("running", flush=True)
    p.run(1, prefetch=8)
    """
    _, err = interrupted(body, tmp_path)
    assert err.rstrip().endswith("KeyboardInterrupt"), err


def test_a_second_ctrl_c_is_not_swallowed(tmp_path: Path) -> None:
    """The first one ends the run, which waits a moment for the action; the second one ends that."""
    body = """
    released = threading.Event()
    p = over(40).block_at(5, released)
    print("running", flush=True)
    try:
        p.run(1, prefetch=8)
    except KeyboardInterrupt:
        print("caught", len(left()), flush=True)
    """
    out, err = interrupted(body, tmp_path, times=2)
    assert "caught 1" in out, out + err
    assert "RuntimeWarning" not in err, err  # which comes when the moment is over


@pytest.mark.parametrize(
    ("make", "options"),
    [
        ("None", "prefetch=4"),
        ("None", "executor=2"),
        ("ThreadPoolExecutor(2)", "executor=executor"),
        ("ProcessPoolExecutor(2, mp_context=get_context('spawn'))", "executor=executor"),
    ],
)
@pytest.mark.parametrize(
    "steps", ["p.count()", "p.slow_even(0.05).remember('seen').rebatch(3).count()"]
)
def test_the_interpreter_ends_with_a_run_open(
    make: str, options: str, steps: str, tmp_path: Path
) -> None:
    body = f"""
    if __name__ == "__main__":
        p = over(400).init_variable("n", 0).init_variable("seen", []).jitter()
        p = {steps}.init_model("dynamic", Walk, "model").train_model("model", x="x")
        executor = {make}
        batches = p.gen_batch(1, n_epochs=None, {options})
        next(batches)
        next(batches)
        print("running", flush=True)
    """
    process = start(body, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    _, err = process.communicate(timeout=20)  # the run itself has no end
    assert process.returncode == 0 and not err, err
    assert not [each for each in os.listdir(tmp_path) if each.startswith("batchloom")]


def test_the_interpreter_ends_with_an_action_that_blocks(tmp_path: Path) -> None:
    body = """
    released = threading.Event()
    batches = over(40).block_at(3, released).gen_batch(1, prefetch=8)
    next(batches)
    print("running", flush=True)
    """
    process = start(body, tmp_path)
    _, err = process.communicate(timeout=30)  # the action would block for a minute
    assert process.returncode == 0
    assert "Traceback" not in err and "RuntimeWarning" in err, err


def test_ctrl_c_at_any_moment(tmp_path: Path) -> None:
    """Wherever it lands, also between two lines of the framework, the run ends and another one works."""
    body = """
    import _thread, itertools, random
    draw = random.Random(5)
    p = over(40).init_variable("n", 0).init_variable("seen", []).jitter().count()
    p = p.rebatch(3).remember("seen").locked_sum()
    print("running", flush=True)
    hit = 0
    for _ in range(150):
        timer = threading.Timer(draw.random() * 0.02, _thread.interrupt_main)
        try:
            timer.start()
            try:
                for batch in p.gen_batch(1, n_epochs=None, prefetch=3):
                    pass
            except KeyboardInterrupt:
                hit += 1
            timer.join()
        except KeyboardInterrupt:
            pass
    deadline = time.monotonic() + 2
    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    before = p.get_variable("n")
    p.run(1, prefetch=3)
    print("hit", hit, left(), p.get_variable("n") - before)
    """
    process = start(body, tmp_path)
    out, err = process.communicate(timeout=50)
    assert "hit" in out and out.split("hit")[1].split()[1:] == ["[]", "54"], out + err
    assert int(out.split("hit")[1].split()[0]) > 100
