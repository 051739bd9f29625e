"""The guard of conftest.py sees what a test leaves behind, and costs next to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GUARD = Path(__file__).with_name("conftest.py")

CASES = """
import subprocess, sys, tempfile, threading, time

def test_thread():
    threading.Thread(target=time.sleep, args=(30,), name="batchloom-worker", daemon=True).start()

def test_process():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])

def test_file():
    tempfile.mkstemp(prefix="batchloom-")

def test_tidy():
    thread = threading.Thread(target=time.sleep, args=(0.05,), name="batchloom-worker")
    thread.start()
    subprocess.run([sys.executable, "-c", ""], check=True)
    threading.Thread(target=time.sleep, args=(30,), name="of-somebody-else", daemon=True).start()
    with tempfile.NamedTemporaryFile(prefix="batchloom-"):
        pass

def teardown_module():
    import multiprocessing, os, signal
    for listing in os.listdir("/proc/self/task"):
        for pid in open(f"/proc/self/task/{listing}/children").read().split():
            os.kill(int(pid), signal.SIGKILL)
"""


def test_leaks_are_found_and_a_tidy_test_passes(tmp_path: Path) -> None:
    guard = GUARD.read_text(encoding="utf-8").replace("GRACE = 2.0", "GRACE = 0.5")
    assert "GRACE = 0.5" in guard
    (tmp_path / "conftest.py").write_text(guard, encoding="utf-8")
    (tmp_path / "test_cases.py").write_text(CASES, encoding="utf-8")
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "ignore",
            str(tmp_path),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "4 passed, 3 errors" in run.stdout, run.stdout
    for left in ("thread batchloom-worker", "process ", "file batchloom-"):
        assert f"left behind by this test: {left}" in run.stdout, run.stdout
