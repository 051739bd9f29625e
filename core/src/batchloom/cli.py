"""The command ``batchloom``: which models and plug-ins there are, in what state, and new ones."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import batchloom
from batchloom.errors import BatchloomError


@dataclass(frozen=True)
class Report:
    """What a command has found out: as data for programs, as text for people."""

    data: Any
    text: str
    status: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Its arguments; those of the process by default.

    Returns
    -------
    int
        0; 1 after an error of Batchloom's own, which is told on stderr, and for a model that broke a
        promise.
    """
    arguments = _parser().parse_args(argv)
    try:
        with _plain_warnings(), contextlib.redirect_stdout(sys.stderr):
            # What an imported package prints must not mix with a table or with JSON.
            report: Report = arguments.report(arguments)
    except BatchloomError as exc:
        print("batchloom:", "; ".join([str(exc), *getattr(exc, "__notes__", ())]), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = json.dumps(report.data, indent=2, default=repr) if arguments.json else report.text
    return _write(text) or report.status


def models(arguments: argparse.Namespace) -> Report:
    """List namespaces, or the names in one."""
    from batchloom.models.registry import list_models

    if arguments.namespace is not None:
        names = list_models(arguments.namespace)
        return Report(names, "\n".join(names))
    rows = list(_namespaces())
    if not rows:
        return Report([], "No package with models is installed. Try: pip install batchloom-sklearn")
    return Report(rows, _table(rows, ("namespace", "package", "version", "names", "state")))


def info(arguments: argparse.Namespace) -> Report:
    """Show what is known of one model."""
    from batchloom.models.base import BaseModel
    from batchloom.models.registry import entry_of, get_model_class

    found = get_model_class(arguments.name)
    entry = entry_of(found, arguments.name)
    data = {
        "name": arguments.name,
        "class": f"{found.__module__}:{found.__qualname__}",
        "package": entry.package if entry else None,
        "version": entry.version if entry else None,
        "summary": (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " "),
        "library": getattr(found, "library", None),
        "data_args": list(getattr(found, "data_args", ())),
        "literal_args": list(getattr(found, "literal_args", ())),
        "predict_is_thread_safe": bool(getattr(found, "predict_is_thread_safe", False)),
        "load_needs_build": bool(getattr(found, "load_needs_build", BaseModel.load_needs_build)),
    }
    config = _config_of(found)
    lines = [f"{key.replace('_', ' '):<23}{_shown(value)}" for key, value in data.items()]
    if config:
        width = max(map(len, config)) + 2
        lines += ["", "config"] + [f"  {key:<{width}}{value!r}" for key, value in config.items()]
    return Report({**data, "config": config}, "\n".join(lines))


def plugins(arguments: argparse.Namespace) -> Report:
    """List every entry point of every group, and who acts on which hook."""
    from batchloom.models import states
    from batchloom.models.entries import GROUPS, entries

    state_of = states.by_metadata if arguments.no_load else states.by_loading
    rows = []
    for entry in sorted((e for g in GROUPS for e in entries(g)), key=_by_group_and_package):
        state = state_of(entry)
        rows.append(
            {
                "group": entry.group,
                "key": entry.key,
                "package": entry.package,
                "version": entry.version,
                "state": state.word,
                "advice": state.advice,
            }
        )
    order = {} if arguments.no_load else states.acting_order()
    return Report({"entry_points": rows, "hooks": order}, _plugins_text(rows, order))


def check(arguments: argparse.Namespace) -> Report:
    """Run the conformance kit against an installed model."""
    from batchloom.testing import command
    from batchloom.testing.samples import task_named
    from batchloom.testing.subject import Subject

    subject = Subject(
        arguments.name,
        command.read_config(arguments.config),
        task_named(arguments.task).name,
        n_epochs=arguments.epochs,
    )
    outcomes = command.check_model(subject)
    broken = any(each.state == "broken" for each in outcomes)
    data = command.as_data(outcomes, subject)
    return Report(data, command.report(outcomes, subject), int(broken))


def new_plugin(arguments: argparse.Namespace) -> Report:
    """Write a complete package for a model or a lifecycle plug-in."""
    from batchloom.new_plugin import next_steps, write_plugin

    written = write_plugin(arguments.name, arguments.kind, arguments.dir)
    data = {"directory": str(written.directory), "files": list(written.files)}
    return Report(data, next_steps(written))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="batchloom", description="Show which models and plug-ins there are."
    )
    parser.add_argument("--version", action="version", version=batchloom.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = _command(commands, "models", models, "list namespaces, or the names in one")
    one.add_argument("namespace", nargs="?", help="such as sklearn")
    one = _command(commands, "info", info, "show what is known of one model")
    one.add_argument("name", help="such as sklearn/SGDClassifier")
    one = _command(commands, "plugins", plugins, "list every plug-in, its state and what to do")
    one.add_argument("--no-load", action="store_true", help="go by metadata, import nothing")
    one = _command(commands, "check", check, "test the whole model contract on an installed model")
    one.add_argument("name", help="such as acme/Ridge")
    one.add_argument("--config", help="JSON, or @ and the path of a file with it")
    one.add_argument(
        "--task",
        default="classification",
        help="classification (the default), regression, clustering, transform or image",
    )
    one.add_argument("--epochs", type=int, default=3, help="how long to train (default: 3)")
    one = _command(commands, "new-plugin", new_plugin, "write a complete package of your own")
    one.add_argument("name", help="of the namespace, such as acme: the package is batchloom-acme")
    one.add_argument("--kind", choices=("model", "lifecycle"), default="model")
    one.add_argument("--dir", default=".", help="where to put it (default: here)")
    return parser


def _command(commands: Any, name: str, report: Any, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    parser.set_defaults(report=report)
    return parser


def _namespaces() -> Iterator[dict[str, Any]]:
    from batchloom.models.entries import entries
    from batchloom.models.registry import GROUP
    from batchloom.models.states import by_metadata

    found: dict[tuple[str, str, str], list[Any]] = {}
    for entry in entries(GROUP):
        found.setdefault((entry.namespace, entry.package, entry.version), []).append(entry)
    for (namespace, package, version), mine in sorted(found.items()):
        is_open = any(each.key.endswith("/*") for each in mine)
        count = sum(not each.key.endswith("/*") for each in mine)
        states = dict.fromkeys(by_metadata(each) for each in mine)
        yield {
            "namespace": namespace,
            "package": package,
            "version": version,
            "names": "open" if is_open else count,
            "state": "; ".join(
                f"{each.word}: {each.advice}" if each.advice else each.word for each in states
            ),
        }


def _by_group_and_package(entry: Any) -> tuple[int, str, str]:
    from batchloom.models.entries import GROUPS

    return GROUPS.index(entry.group), entry.package, entry.key


def _plugins_text(rows: list[dict[str, Any]], order: Mapping[str, list[str]]) -> str:
    if not rows:
        return "No plug-in is installed. Try: pip install batchloom-sklearn"
    parts = [_table(rows, ("group", "key", "package", "version", "state"))]
    if faults := [f"{each['key']}: {each['advice']}" for each in rows if each["advice"]]:
        parts.append("What to do\n" + "\n".join(f"  {each}" for each in dict.fromkeys(faults)))
    if order:
        lines = [f"  {hook:<15}{', '.join(acting)}" for hook, acting in order.items()]
        parts.append("Who acts on a hook, in order\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    cells = [[each.upper() for each in columns]]
    cells += [[_shown(row[each]) for each in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None or value == "" else str(value)


def _config_of(model_class: type) -> dict[str, Any]:
    describe = getattr(model_class, "describe_config", None)
    found = dict(describe()) if describe else {}
    return {key: "required" if value is ... else value for key, value in found.items()}


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    def show(message: Warning | str, *rest: Any) -> None:
        print(f"batchloom: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        # A plug-in that is left out is in the table, with what to do.
        warnings.filterwarnings("ignore", "left out the entry point")
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _write(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


if __name__ == "__main__":
    sys.exit(main())
