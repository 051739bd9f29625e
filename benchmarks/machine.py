"""The machine, what is installed on it, and how busy it is with other things."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

QUIET = 0.2

DISTRIBUTIONS = (
    "batchloom", "numpy", "batchflow", "torch", "grain", "tensorflow-cpu", "tensorflow", "keras", "datasets",
    "ray", "pyarrow", "scikit-learn", "xgboost-cpu", "xgboost",
)  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of what is compared, as far as it is installed."""
    found = {"Python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """Processor, cores, memory and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def bearable(cores: int) -> float:
    """How many cores others may use beside what needs so many: what is left, and a fifth at least."""
    return max(QUIET, (os.cpu_count() or 1) - cores - QUIET)


class OthersAtWork:
    """How many cores other processes keep busy between two looks; zero where /proc does not tell."""

    def __init__(self) -> None:
        self._began = _look()

    def cores(self) -> float:
        """Since this object was made."""
        then, now = self._began, _look()
        passed = max(now[0] - then[0], 1e-9)
        return max(0.0, (now[1] - then[1]) - (now[2] - then[2])) / passed


def _look() -> tuple[float, float, float]:
    """Seconds: by the clock, busy of all cores, busy of this process and its descendants."""
    try:
        return perf_counter(), _busy(), _own()
    except OSError:
        return perf_counter(), 0.0, 0.0


def _busy() -> float:
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    processes = dict(_processes())
    mine, known = set(), {os.getpid()}
    while known - mine:
        mine |= known
        known = {pid for pid, (parent, _) in processes.items() if parent in mine}
    return sum(processes[pid][1] for pid in mine if pid in processes)


def _processes() -> list[tuple[int, tuple[int, float]]]:
    """Each process with its parent and the seconds that it and its ended children were busy."""
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        seconds = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        found.append((int(each.parent.name), (int(fields[1]), seconds)))
    return found
