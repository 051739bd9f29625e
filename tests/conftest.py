"""What holds for every test: nothing of ours outlives the test that started or wrote it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Read when OpenMP starts: threads that wait for work must not spin where other tests run beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Read when TensorFlow is imported, in this process and in those that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Installed beside the others, it would record whatever any test trains; tests/mlflow switches it on.
os.environ.setdefault("BATCHLOOM_DISABLE_PLUGINS", "batchloom-mlflow")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# What the random tests draw from; chosen here, so that all workers of pytest-xdist have the same.
os.environ.setdefault("STRESS_SEED", str(secrets.randbelow(2**32)))

GRACE = 2.0  # seconds that a thread or process may take to end after the call that stopped it

THREADS = "/proc/self/task"  # Linux only: elsewhere child processes are not looked for

# Processes that the standard library and joblib keep for as long as their parent lives.
LASTING = (b"resource_tracker", b"forkserver", b"loky", b"semaphore_tracker")


def pytest_report_header() -> str:
    return f"random tests: STRESS_SEED={os.environ['STRESS_SEED']} does them again"


@pytest.fixture(scope="session")
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Temporary files of this session and of its child processes go to a folder of its own."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def nothing_is_left_behind(own_temporary_folder: Path) -> Iterator[None]:
    """After each test: no thread, child process, temporary file or shared memory of ours."""
    looks: list[Callable[[], set[str]]] = [
        our_threads,
        child_processes,
        lambda: our_temporary_files(own_temporary_folder),
        our_shared_memory,
    ]
    before = [look() for look in looks]
    yield
    deadline = time.monotonic() + GRACE
    while left := set().union(*(look() - was for look, was in zip(looks, before, strict=True))):
        if time.monotonic() > deadline:
            pytest.fail(f"left behind by this test: {', '.join(sorted(left))}")
        time.sleep(0.01)


def our_threads() -> set[str]:
    return {
        f"thread {thread.name} ({thread.ident})"
        for thread in threading.enumerate()
        if thread.name.startswith("batchloom") and thread.is_alive()
    }


def child_processes() -> set[str]:
    multiprocessing.active_children()  # reaps those that have ended
    children: set[int] = set()
    for thread in os.listdir(THREADS) if os.path.isdir(THREADS) else ():
        try:
            with open(f"{THREADS}/{thread}/children", "rb") as listing:
                children.update(map(int, listing.read().split()))
        except OSError:  # the thread has ended since
            continue
    return {f"process {pid}: {command}" for pid in children if (command := command_of(pid))}


def command_of(pid: int) -> str:
    """What the process runs; empty where it may stay or is gone."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    if any(name in command for name in LASTING):
        return ""
    return (
        command.replace(b"\0", b" ").decode(errors="replace").strip() or "ended, never waited for"
    )


def our_temporary_files(folder: Path) -> set[str]:
    return {f"file {name}" for name in os.listdir(folder) if name.startswith("batchloom")}


def our_shared_memory() -> set[str]:
    """The slots that this process has open, of which no batch may be left."""
    folder = Path("/proc/self/fd")
    found: set[str] = set()
    for each in os.listdir(folder) if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # it has been closed since
            name = os.readlink(folder / each)
            found |= {f"shared memory {each}: {name}"} if "memfd:batchloom" in name else set()
    return found
