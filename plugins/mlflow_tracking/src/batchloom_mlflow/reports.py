"""What a user is told when something does not get into MLflow: training goes on, but not in silence."""

from __future__ import annotations

import warnings

SWITCH_OFF = "BATCHLOOM_DISABLE_PLUGINS=batchloom-mlflow switches tracking off"


class TrackingWarning(UserWarning):
    """Something was not recorded in MLflow.

    Who would rather stop than go on without a record makes it an error::

        warnings.filterwarnings("error", category=batchloom_mlflow.TrackingWarning)
    """


def report(message: str) -> None:
    """Warn that something was not recorded."""
    warnings.warn(message, TrackingWarning, stacklevel=2)


def not_started(exc: Exception, uri: str) -> None:
    """Warn that a whole run will not be recorded, and say what to do."""
    cause = _first_line(exc)
    if uri.startswith("sqlite") and "UnsupportedModelRegistry" in type(exc).__name__:
        cause = "a database on this machine takes the whole of MLflow: pip install mlflow"
    report(
        f"no MLflow run could be started at {uri}: {cause}. This training is not recorded. "
        f"MLFLOW_TRACKING_URI says where runs are kept; {SWITCH_OFF}"
    )


def delayed(exc: Exception, count: int, run_id: str) -> None:
    """Warn that values could not be sent yet."""
    report(
        f"MLflow did not take {count} values of run {run_id}: {_first_line(exc)}. Training goes on; "
        "they are kept, and sent when the pipeline's run ends"
    )


def lost(exc: Exception, names: list[str], count: int, run_id: str) -> None:
    """Warn that values are not in MLflow and will not be."""
    report(
        f"{count} values were not recorded in the MLflow run {run_id} ({', '.join(names)}): "
        f"{_first_line(exc)}"
    )


def _first_line(exc: Exception) -> str:
    return f"{type(exc).__name__}: {str(exc).strip().partition(chr(10))[0]}".rstrip(".")
