"""The progress bar of a run."""

from __future__ import annotations

from typing import Any

from batchloom.errors import DefinitionError


class Bar:
    """Batches done and epoch, and what a model reports besides; shows nothing when it is off.

    Parameters
    ----------
    shown : bool
    total : int or None
        The batches of the whole run, as far as they can be counted.
    """

    def __init__(self, shown: bool, total: int | None) -> None:
        self._bar: Any = _tqdm()(total=total, unit="batch", disable=None) if shown else None

    def batch(self, epoch: int, epochs: int | None) -> None:
        """Count one batch."""
        if self._bar is not None:
            of = f"/{epochs}" if epochs is not None else ""
            self._bar.set_description(f"epoch {epoch + 1}{of}", refresh=False)
            self._bar.update()

    def report(self, what: str, done: int, total: int | None) -> None:
        """Show the progress of something that a model does at the end of an epoch."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{what} {done}" + (f"/{total}" if total is not None else ""))

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as exc:
        raise DefinitionError(
            "bar=True needs tqdm, which is not installed: pip install 'batchloom[bar]'"
        ) from exc
    return tqdm
