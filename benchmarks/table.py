"""Tables in Markdown, made from the results."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cases import BY_HAND, IDEAL, OURS, Goal
from benchmarks.results import DISTURBED, NOT_INSTALLED, Result, Row

ABSENT = "–"
FAILED = "failed"


# The figures that stand for the whole: workload and case, what it is, and how it is counted.
MAIN = {
    ("w1", "shuffled, no action"): ("Small batches, shuffled", "times the loop by hand"),
    ("w1", "as people use it, shuffled"): (
        "The same with an action and a model",
        "times the loop by hand",
    ),
    ("w2", "no prefetch"): ("Big batches, shuffled", "share of np.take"),
    ("w2-storage", "memory map"): ("Larger than memory, shuffled", "share of reading in order"),
    ("w3", "training on a device"): ("Prefetch behind training", "share of the ideal"),
    ("w3b", "5 ms of Python"): ("Python in two processes", "share of the ideal"),
    ("w4a", "a step"): ("SGDClassifier.partial_fit", "times the loop by hand"),
    ("w5", "process start to first batch"): ("Start to first batch", "times a script of NumPy"),
}


def of_main(results: Sequence[Result]) -> str:
    """The main figures: Batchloom, the best peer, and the others from there to the last."""
    lines = _header(["", "counted in", OURS, "best peer", "others"])
    disturbed: list[str] = []
    for (name, case), (what, measure) in MAIN.items():
        rows = measured(results, name, case)
        ours = [row for row in rows if row.who.startswith(OURS)]
        peers = [row for row in rows if not row.who.startswith((OURS, "by hand"))]
        if ours:
            figures = [f"**{_figure('relative', _sorted(ours)[0].relative or 0.0, ours[0])}**"]
            figures += _peers_in_short(_sorted(peers))
            lines.append(f"| {what} | {measure} | {' | '.join(figures)} |")
            disturbed += [what] * (_sorted(ours)[0].note == DISTURBED)
    if disturbed:
        lines += ["", f"Taken while other processes were at work: {', '.join(disturbed).lower()}."]
    return "\n".join(lines) + "\n"


def measured(results: Sequence[Result], name: str, case: str) -> list[Row]:
    """The rows of a case that were measured, but for the limit itself."""
    rows = [row for each in results if each.name == name for row in each.rows if row.case == case]
    return [row for row in rows if row.relative is not None and row.who not in (BY_HAND, IDEAL)]


def _sorted(rows: Sequence[Row]) -> list[Row]:
    """Best first."""
    return sorted(rows, key=lambda row: row.relative or 0.0, reverse=bool(rows) and rows[0].share)


def _peers_in_short(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return [ABSENT, ABSENT]
    best, *rest = rows
    shown = [_figure("relative", each.relative or 0.0, each) for each in rest[:1] + rest[1:][-1:]]
    return [
        f"{_figure('relative', best.relative or 0.0, best)} ({best.who})",
        " to ".join(shown) or ABSENT,
    ]


def of_workload(result: Result) -> str:
    """All figures of a workload: a row for each subject, a column for each case."""
    cases = list(dict.fromkeys(row.case for row in result.rows))
    whos = list(dict.fromkeys(row.who for row in result.rows))
    lines = _header(["", *cases])
    for who in whos:
        cells = [_cell(result.row(case, who)) for case in cases]
        lines.append(f"| {who} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", result.remarks, *_notes(result)]).rstrip() + "\n"


def _notes(result: Result) -> list[str]:
    """What went wrong, and what was disturbed by other processes."""
    notes = [
        f"{row.who}, {row.case}: {row.note}.\n"
        for row in result.rows
        if row.note not in ("", NOT_INSTALLED, DISTURBED)
    ]
    disturbed = [row for row in result.rows if row.note == DISTURBED]
    if disturbed:
        cases = ", ".join(dict.fromkeys(row.case for row in disturbed))
        most = max(row.others for row in disturbed)
        notes.append(f"Disturbed: other processes used up to {most:.1f} cores during {cases}.")
    return list(dict.fromkeys(notes))


def of_goals(results: Sequence[Result]) -> str:
    """Each goal, what Batchloom reaches, and the peer that comes nearest to it."""
    lines = _header(["workload", "measure", "goal", OURS, "best peer"])
    for result in results:
        for goal in result.goals:
            lines.append(_goal_line(result, goal))
    return "\n".join(lines) + "\n"


def _goal_line(result: Result, goal: Goal) -> str:
    row = result.row(goal.case, goal.who)
    measure = (
        goal.case if goal.who == OURS else f"{goal.case}: {goal.who.removeprefix(OURS + ', ')}"
    )
    sign = "≥" if goal.least else "≤"
    wanted = f"{sign} {_figure(goal.what, goal.bound, row)}"
    got = getattr(row, goal.what, None) if row else None
    if row is None or got is None:
        reached = FAILED if row and row.note else "not measured"
    else:
        reached = _figure(goal.what, got, row)
        reached = f"**{reached}**" if goal.holds(got) else f"{reached} (missed)"
    return f"| {result.name.upper()} | {measure} | {wanted} | {reached} | {_best(result, goal)} |"


def _best(result: Result, goal: Goal) -> str:
    if goal.who == OURS or goal.who.startswith(f"{OURS}, "):
        peers = _peers(result, goal)
    else:
        peers = []
    if not peers:
        return ABSENT
    choose = max if goal.least else min
    best = choose(peers, key=lambda row: getattr(row, goal.what))
    return f"{_figure(goal.what, getattr(best, goal.what), best)} ({best.who})"


def _peers(result: Result, goal: Goal) -> list[Row]:
    return [
        row
        for row in result.rows
        if row.case == goal.case
        and not row.who.startswith((OURS, "by hand", IDEAL))
        and getattr(row, goal.what) is not None
    ]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.value is None:
        return row.note if row.note == NOT_INSTALLED else FAILED if row.note else ABSENT
    if row.relative is None:
        return _figure("value", row.value, row)
    return f"{_figure('relative', row.relative, row)} ({_figure('value', row.value, row)})"


def _figure(what: str, value: float, row: Row | None) -> str:
    if what == "value":
        unit = row.unit.removesuffix(" a batch") if row else ""
        return f"{digits(value)} {unit}".rstrip()
    if row is not None and row.share:
        return digits(value)
    return f"{digits(value)} ×"


def digits(value: float) -> str:
    """Three digits, or four where the fourth one counts."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if 0.99 < value < 1:
        return f"{value:.4g}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.{1 if abs(value) >= 10 else 2}f}"


def _header(names: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(names)} |", f"| --- {'| --: ' * (len(names) - 1)}|"]
