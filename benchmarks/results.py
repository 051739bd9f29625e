"""Results: what a workload measured, kept as JSON beside the programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cases import Goal
from benchmarks.machine import machine, versions

NOT_INSTALLED = "not installed"
DISTURBED = "disturbed"
KEPT = Path(__file__).with_name("results")


@dataclass
class Row:
    """One subject in one case; without a value, ``note`` says why."""

    case: str
    who: str
    value: float | None = None
    unit: str = ""
    relative: float | None = None
    share: bool = False
    pairs: int = 0
    others: float = 0.0
    note: str = ""


@dataclass
class Result:
    """All that a workload measured, on which machine and when."""

    name: str
    title: str
    limit: str
    rows: list[Row]
    goals: list[Goal] = field(default_factory=list)
    remarks: str = ""
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    machine: dict[str, str] = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=versions)

    def row(self, case: str, who: str) -> Row | None:
        return next((each for each in self.rows if (each.case, each.who) == (case, who)), None)

    def save(self, folder: Path = KEPT) -> Path:
        """Write ``NAME.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        record = asdict(self) | {
            "rows": [_short(asdict(each)) for each in self.rows],
            "goals": [each._asdict() for each in self.goals],
        }
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        record = json.loads(path.read_text())
        rows = [Row(**each) for each in record.pop("rows")]
        goals = [Goal(**each) for each in record.pop("goals")]
        return cls(**record, rows=rows, goals=goals)


def kept(names: Iterable[str], folder: Path = KEPT) -> list[Result]:
    """The results that there are, in the order of the names."""
    paths = (folder / f"{name}.json" for name in names)
    return [Result.load(path) for path in paths if path.exists()]


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Four digits are more than a clock is good for."""
    return {
        key: float(f"{each:.4g}") if isinstance(each, float) else each for key, each in row.items()
    }
