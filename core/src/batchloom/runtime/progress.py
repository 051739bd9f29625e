"""The progress bar of a run, and a line of the log for each epoch where no bar can be drawn."""

from __future__ import annotations

import sys
from typing import Any

from batchloom.errors import DefinitionError


class Bar:
    """Batches done and epoch, and what a model reports besides; shows nothing when it is off.

    Where stderr is no terminal, each epoch that begins is logged instead, at the level INFO.

    Parameters
    ----------
    shown : bool
    total : int or None
        The batches of the whole run, as far as they can be counted.
    """

    def __init__(self, shown: bool, total: int | None) -> None:
        self._bar: Any = None
        self._logged = -1
        if shown:
            # A notebook draws bars, although what it writes to is no terminal.
            in_notebook, nowhere = "ipykernel" in sys.modules, sys.stderr is None
            disable = False if in_notebook else nowhere or None  # None: where it is no terminal
            self._bar = _tqdm()(total=total, unit="batch", disable=disable)

    def batch(self, epoch: int, epochs: int | None) -> None:
        """Count one batch."""
        if self._bar is None:
            return
        text = f"epoch {epoch + 1}" + (f"/{epochs}" if epochs is not None else "")
        if self._bar.disable and epoch != self._logged:
            self._logged = epoch
            _log(text)
        self._bar.set_description(text, refresh=False)
        self._bar.update()

    def report(self, what: str, done: int, total: int | None) -> None:
        """Show the progress of something that a model does at the end of an epoch."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{what} {done}" + (f"/{total}" if total is not None else ""))

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _log(text: str) -> None:
    import logging

    logging.getLogger(__name__).info(text)


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as exc:
        raise DefinitionError(
            "bar=True needs tqdm, which is not installed: pip install 'batchloom[bar]'"
        ) from exc
    # Without tqdm's monitor, which is a thread that outlives the run.
    return type("Bar", (tqdm,), {"monitor_interval": 0})
