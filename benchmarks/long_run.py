"""A million small batches with prefetch: memory, threads and open files, which must stay flat.

Draws ``long_run.svg``. Linux only: the figures come from ``/proc``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from batchloom import Batch, Dataset, action
from batchloom.models import BaseModel
from benchmarks.cases import Goal
from benchmarks.results import Result, Row
from benchmarks.timing import Effort

NAME = "long"
TITLE = "A million batches of 4 with prefetch=4: what the process has more at the end than after a tenth"
ROWS, BATCH_SIZE, POINTS, MANY, QUICK = 4_000, 4, 50, 1_000_000, 5_000
GROWN = "grown"
FIGURE = Path(__file__).with_suffix(".svg")


class Noisy(Batch):
    components = ("x",)

    @action
    def noise(self) -> Noisy:
        self.x = self.x + self.random.normal(size=self.x.shape)
        return self


class Mean(BaseModel):
    """As little work as a model can do."""

    data_args = ("x",)

    def _build(self, *args: object, **kwargs: object) -> None:
        self.mean = np.zeros(3)

    def _train(self, x: np.ndarray) -> float:
        self.mean = 0.999 * self.mean + 0.001 * x.mean(axis=0)
        return float(self.mean[0])


def resident() -> int:
    """Bytes of memory that belong to this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def look() -> tuple[float, int, int]:
    """MB of memory, threads, open files."""
    return resident() / 2**20, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def measure(batches: int) -> list[tuple[int, float, int, int]]:
    """Run, and look at the process from time to time."""
    dataset = Dataset(
        data={"x": np.random.default_rng(0).normal(size=(ROWS, 3))}, batch_class=Noisy
    )
    made = (
        dataset.p.init_variable("loss")
        .init_model("dynamic", Mean, "m")
        .noise()
        .train_model("m", x="x", save_to="loss")
    )
    every, seen = max(1, batches // POINTS), []
    run = made.gen_batch(BATCH_SIZE, shuffle=1, n_epochs=None, prefetch=4)
    for number, _ in enumerate(run, start=1):
        if number % every == 0:
            seen.append((number, *look()))
        if number == batches:
            break
    run.close()  # type: ignore[attr-defined]
    return seen


def draw(seen: list[tuple[int, float, int, int]], seconds: float) -> str:
    """Draw the three lines, each against its own highest value."""
    width, height, lines = 640, 150, []
    names = ("memory, MB", "threads", "open files")
    for at, (name, colour) in enumerate(zip(names, ("#36c", "#c33", "#393"), strict=True), start=1):
        most = max(each[at] for each in seen) * 1.25
        points = " ".join(
            f"{40 + (width - 60) * each[0] / seen[-1][0]:.1f},"
            f"{(at - 1) * height + height - 20 - (height - 45) * each[at] / most:.1f}"
            for each in seen
        )
        label = f"{name}: {seen[0][at]:.0f} at first, {seen[-1][at]:.0f} at last"
        y = (at - 1) * height
        lines.append(
            f'<text x="40" y="{y + 16}" font-size="13" font-family="sans-serif">{label}</text>'
        )
        lines.append(
            f'<path d="M40 {y + 25}V{y + height - 20}H{width - 20}" fill="none" stroke="#999"/>'
        )
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
    title = f"{seen[-1][0]:,} batches of {BATCH_SIZE} with prefetch=4 in {seconds:.0f} s"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{3 * height + 20}">'
        f"<title>{title}</title>{''.join(lines)}"
        f'<text x="40" y="{3 * height + 12}" font-size="13" font-family="sans-serif">{title}</text></svg>\n'
    )


def run(effort: Effort, say: Callable[[str], None]) -> Result:
    """Run, draw, and say what had grown since the first tenth."""
    batches = QUICK if effort.rounds < 3 else MANY
    say(f"{batches:,} batches")
    began = time.perf_counter()
    seen = measure(batches)
    if batches == MANY:
        FIGURE.write_text(draw(seen, time.perf_counter() - began))
    first, last = seen[len(seen) // 10], seen[-1]
    rows = [
        Row(GROWN, "memory", last[1] - first[1], "MB"),
        Row(GROWN, "threads", last[2] - first[2]),
        Row(GROWN, "open files", last[3] - first[3]),
    ]
    goals = [Goal(GROWN, 5.0, "value", who="memory")]
    goals += [Goal(GROWN, 1.0, "value", who=each) for each in ("threads", "open files")]
    return Result(NAME, TITLE, "nothing; this is about what stays the same", rows, goals)
