"""What ``batchloom check`` does: all checks on one model, without pytest, and a report of them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batchloom.errors import ModelConfigError
from batchloom.testing.checks import CHECKS
from batchloom.testing.promises import BrokenPromise, Check, NotApplicable
from batchloom.testing.subject import Subject

SIGNS = {"kept": "ok    ", "broken": "BROKEN", "left out": "-     "}


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes
    ----------
    check, promise, written : str
        Its name, what it tests, and where that is written.
    state : {"kept", "broken", "left out"}
    seen : str
        What the model did instead; or why the check was left out.
    seconds : float
        How long it took.
    """

    check: str
    promise: str
    written: str
    state: str
    seen: str
    seconds: float


def check_model(subject: Subject) -> list[Outcome]:
    """Run every check on a model.

    Raises
    ------
    PluginError
        If there is no such model, or its package is broken.
    """
    subject.spec  # noqa: B018  (a name that leads nowhere is no broken promise)
    with tempfile.TemporaryDirectory(prefix="batchloom-check-") as directory:
        return [_outcome(each, subject, Path(directory) / each.name) for each in CHECKS.values()]


def report(outcomes: list[Outcome], subject: Subject) -> str:
    """Write the outcomes for people."""
    lines = [f"{subject.label}, task {subject.task}, config {dict(subject.config)}", ""]
    for each in outcomes:
        reason = f"  ({each.seen})" if each.state == "left out" else ""
        lines.append(f"{SIGNS[each.state]}  {each.check:<28}{each.seconds:6.1f} s{reason}")
    broken = [each for each in outcomes if each.state == "broken"]
    for each in broken:
        lines += ["", f"{each.check}: {each.promise}"]
        lines += [f"  seen:    {each.seen}", f"  written: {each.written}"]
    kept = sum(each.state == "kept" for each in outcomes)
    left_out = len(outcomes) - kept - len(broken)
    lines += ["", f"{kept} kept, {len(broken)} broken, {left_out} left out"]
    return "\n".join(lines)


def as_data(outcomes: list[Outcome], subject: Subject) -> dict[str, Any]:
    """Give the outcomes for programs."""
    return {
        "model": subject.label,
        "task": subject.task,
        "config": dict(subject.config),
        "kept": all(each.state != "broken" for each in outcomes),
        "checks": [asdict(each) for each in outcomes],
    }


def read_config(text: str | None) -> Mapping[str, Any]:
    """Read ``--config``: JSON, or ``@`` and the path of a file of it.

    Raises
    ------
    ModelConfigError
        If it is no JSON object.
    """
    if text is None:
        return {}
    try:
        given = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        found = json.loads(given)
    except (OSError, ValueError) as exc:
        raise ModelConfigError(f"--config {text!r} is no JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise ModelConfigError(f"--config {text!r} is no JSON object, such as '{{\"alpha\": 1}}'")
    return found


def _outcome(check: Check, subject: Subject, folder: Path) -> Outcome:
    folder.mkdir()
    begun = time.perf_counter()
    try:
        check(subject, folder)
    except BrokenPromise as exc:
        state, seen = "broken", exc.seen
    except NotApplicable as exc:
        state, seen = "left out", str(exc)
    else:
        state, seen = "kept", ""
    seconds = round(time.perf_counter() - begun, 3)
    return Outcome(check.name, check.promise, check.written, state, seen, seconds)
