"""The other process: it loads saved models and does with them what a check asks for.

Run as ``python -m batchloom.testing.child request.json``. A check learns what happened from the
files that are left, also where the process was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from batchloom.testing.promises import NotApplicable, Seen, described
from batchloom.testing.subject import Subject

SECONDS = 100


def ask(subject: Subject, folder: Path, task: str, **details: Any) -> list[dict[str, Any]]:
    """Have a new process do a task and return what it reports.

    Parameters
    ----------
    subject : Subject
        Whose saved models they are.
    folder : Path
        Where the request and the answers are kept.
    task : {"predict", "save_interrupted"}
    **details
        What the task is to be done with, as JSON can hold it.

    Returns
    -------
    list of dict
        The reports, up to where the process ended; the last has ``"ended"``, its exit status.
    """
    import numpy as np

    np.save(folder / "x.npy", subject.x)
    request = folder / f"{task}.json"
    answers = folder / f"{task}.answers"
    request.write_text(json.dumps({"task": task, **_common(subject, folder), **details}))
    ended = subprocess.run(
        [sys.executable, "-m", "batchloom.testing.child", str(request), str(answers)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    lines = answers.read_text().splitlines() if answers.exists() else []
    reports = [json.loads(each) for each in lines]
    return [*reports, {"ended": ended.returncode, "said": ended.stderr[-600:]}]


def _common(subject: Subject, folder: Path) -> dict[str, Any]:
    try:
        json.dumps(dict(subject.predict_options))
    except TypeError as exc:
        raise NotApplicable(f"predict_options cannot be sent to another process: {exc}") from exc
    found = subject.spec.model_class
    named = subject.spec.registered_name is not None
    return {
        "x": str(folder / "x.npy"),
        "model_class": None if named else [found.__module__, found.__qualname__],
        "predict_options": dict(subject.predict_options),
        "load_options": dict(subject.load_options),
    }


class Worker:
    """The side of the other process."""

    def __init__(self, request: Mapping[str, Any], answers: Path) -> None:
        self.request = request
        self.answers = answers

    def work(self) -> None:
        """Do the task that was asked for."""
        tasks = {
            "predict": self.predict,
            "save_interrupted": self.save_interrupted,
        }
        tasks[self.request["task"]]()

    def predict(self) -> None:
        """Load each of the files and keep its predictions."""
        for path in self.request["paths"]:
            self._report(path=path, begun=True)
            try:
                self._keep_predictions(path)
            except Exception as exc:
                self._report(path=path, raised=described(exc))
            else:
                self._report(path=path, predicted=f"{path}.pickle")

    def save_interrupted(self) -> None:
        """Have no room for all that the model writes; then be killed when it has written its files."""
        if hasattr(os, "fork"):  # there are limits of a process to set
            self._save_with(lambda save: _with_little_room(save, self.request["room"]), "full")

        def die(save: Callable[[], Any]) -> None:
            save()
            _kill_myself()

        self._save_with(die, "killed")

    def _save_with(self, around: Callable[[Callable[[], Any]], Any], how: str) -> None:
        from batchloom.models.handle import handle_of

        model = self._loaded(self.request["path"])
        calls = handle_of(model).calls
        save = calls.save
        calls.save = lambda *args: around(lambda: save(*args))  # type: ignore[method-assign]
        target = self.request[how]
        self._report(how=how, begun=True)
        try:
            model.save(target)
        except Exception as exc:
            self._report(how=how, raised=described(exc))
        else:
            self._report(how=how, saved=target)

    def _keep_predictions(self, path: str) -> None:
        import pickle

        import numpy as np

        model = self._loaded(path)
        found = model.predict(x=np.load(self.request["x"]), **self.request["predict_options"])
        Path(f"{path}.pickle").write_bytes(pickle.dumps(found))

    def _loaded(self, path: str) -> Any:
        from batchloom.models import load_model

        return load_model(path, model_class=self._class(), **self.request["load_options"])

    def _class(self) -> type | None:
        if self.request["model_class"] is None:
            return None
        module, name = self.request["model_class"]
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found  # type: ignore[no-any-return]

    def _report(self, **content: Any) -> None:
        with self.answers.open("a") as file:
            file.write(json.dumps(content) + "\n")


def predictions(report: Mapping[str, Any]) -> Any:
    """Return the predictions of a report; the other process is this check's own, so is its pickle."""
    import pickle

    if "predicted" not in report:
        raise Seen(f"in another process: {report.get('raised') or report.get('said') or report}")
    return pickle.loads(Path(report["predicted"]).read_bytes())


def _kill_myself() -> None:
    with suppress(AttributeError):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)


def _with_little_room(save: Callable[[], Any], room: int) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


if __name__ == "__main__":
    Worker(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])).work()
