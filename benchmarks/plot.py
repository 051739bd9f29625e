"""The plot: the main figures of Batchloom and of each peer, against the loop by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import OURS
from benchmarks.results import Result, Row
from benchmarks.table import MAIN, measured

OWN, OTHERS = "#2b6cb0", "#b8b8b8"


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw a panel for each main figure that was measured; nothing if there is none."""
    panels = {
        f"{what}\n{measure}": rows
        for at, (what, measure) in MAIN.items()
        if (rows := _rows(results, *at)) is not None
    }
    if not panels:
        return
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "batchloom", "font.size": 8, "svg.fonttype": "none"})
    from matplotlib import pyplot as plt

    rows = -(-len(panels) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(10, 2.1 * rows), squeeze=False)
    for panel, (title, bars) in zip(axes.flat, panels.items(), strict=False):
        _panel(panel, title, bars)
    for panel in list(axes.flat)[len(panels) :]:
        panel.remove()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _rows(results: Sequence[Result], name: str, case: str) -> list[Row] | None:
    """Best first at the bottom, as a bar chart counts."""
    rows = measured(results, name, case)
    if not rows:
        return None
    return sorted(rows, key=lambda row: row.relative or 0.0, reverse=not rows[0].share)


def _panel(panel: Any, title: str, rows: Sequence[Row]) -> None:
    colours = [OWN if row.who.startswith(OURS) else OTHERS for row in rows]
    values = [row.relative for row in rows]
    bars = panel.barh([row.who for row in rows], values, color=colours, height=0.75)
    panel.bar_label(bars, [f"{value:.3g}" for value in values], padding=2, fontsize=7)
    panel.axvline(1, color="#444", linewidth=0.8)
    panel.set_title(title, fontsize=8, loc="left")
    if not rows[0].share:
        panel.set_xscale("log")
    panel.margins(x=0.12)
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
