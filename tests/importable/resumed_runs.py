"""What a backend's cases come to: in one go, stopped and resumed, killed and resumed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import stopped_runs as runs

from batchloom import Pipeline
from batchloom.models import load_model


class ResumedRuns:
    """The cases of one of the modules beside this one, and their results, to the bit.

    Parameters
    ----------
    module : str
        Has ``CASES``, functions that make a pipeline, and ``result``, which reads what it has come to.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        found = import_module(module)
        self.cases: dict[str, Callable[[], Pipeline]] = found.CASES
        self._result: Callable[[Pipeline], Any] = found.result
        self._in_one_go: dict[str, Any] = {}

    def in_one_go(self, case: str) -> Any:
        """Give what the others must come to; a case runs once for all tests."""
        if case not in self._in_one_go:
            self._in_one_go[case] = self._result(self.cases[case]().run(**runs.RUN))
        return self._in_one_go[case]

    def stopped(
        self, case: str, at: int, folder: Path, every: int = 1, ahead: tuple[int, int] = (0, 4)
    ) -> Any:
        """Stop before batch `at`, and go on in another pipeline; `ahead` is the prefetch of each."""
        runs.stop(self.cases[case](), at, folder, every=every, prefetch=ahead[0])
        return self._result(self.cases[case]().resume(folder, prefetch=ahead[1]))

    def stopped_itself(self, case: str, folder: Path) -> Any:
        """Stop, and go on with the pipeline that was stopped."""
        made = self.cases[case]()
        runs.stop(made, 9, folder, every=4)
        return self._result(made.resume(folder))

    def killed(self, case: str, where: str, at: int, folder: Path) -> Any:
        """Have a process killed as `stopped_runs.kill` says, and go on in this one."""
        runs.kill(self.module, case, at, where, folder)
        made = self.cases[case]()
        if where == "save":
            saved = folder.with_suffix(".model")
            load_model(saved)  # the one before: whole
            made = made.save(str(saved))
        return self._result(made.resume(folder))


def nothing_but_checkpoints(folder: Path) -> bool:
    """Tell whether a run has left nothing half-written behind."""
    return {each.name[:10] for each in folder.iterdir()} == {"checkpoint"}
