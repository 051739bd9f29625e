"""The page about speed and the README: their tables and the plot, made from the results that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import table
from benchmarks.results import KEPT, Result, kept

ROOT = Path(__file__).parents[1]
PAGE, README, PLOT = ROOT / "docs" / "speed.md", ROOT / "README.md", ROOT / "docs" / "speed.svg"
BEGIN, END = "<!-- made by make bench: {} -->", "<!-- end -->"


def write(names: Sequence[str], folder: Path = KEPT) -> list[Path]:
    """Bring what is between the marks of the documents up to date, and draw the plot."""
    from benchmarks import plot

    results = kept(names, folder)
    plot.draw(results, PLOT)
    for path in (PAGE, README):
        path.write_text(filled(path.read_text(), results))
    return [PAGE, README, PLOT]


def filled(text: str, results: Sequence[Result]) -> str:
    """Put the tables between their marks."""
    parts = {
        "goals": goals,
        "main": main,
        "plot": picture,
        "workloads": workloads,
        "machine": where,
    }
    for name, make in parts.items():
        begin = BEGIN.format(name)
        if begin in text:
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(END)
            text = f"{before}{begin}\n\n{make(results).strip()}\n\n{END}{after}"
    return text


def goals(results: Sequence[Result]) -> str:
    return table.of_goals(results) if results else "Not measured yet.\n"


def main(results: Sequence[Result]) -> str:
    return table.of_main(results) if results else "Not measured yet.\n"


def picture(results: Sequence[Result]) -> str:
    """The plot, which there is where something was measured."""
    if not results:
        return ""
    return f"![The main figures: Batchloom and its peers against the loop by hand]({PLOT.name})\n"


def workloads(results: Sequence[Result]) -> str:
    """A section for each workload."""
    return "\n".join(map(_section, results))


def _section(result: Result) -> str:
    heading = f"### {result.name.upper()}. {result.title}"
    return f"{heading}\n\nCompared with: {result.limit}.\n\n{table.of_workload(result)}"


def where(results: Sequence[Result]) -> str:
    """The machine, the versions and the days."""
    if not results:
        return ""
    last = max(results, key=lambda each: each.date)
    days = sorted({each.date for each in results})
    machine = last.machine
    used = ", ".join(f"{name} {version}" for name, version in last.versions.items())
    return (
        f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))} on {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory']} of memory, {machine['system']}, with {used}.\n"
    )
