"""The library itself, or an error that says how to install it.

Every module that uses XGBoost takes it from here, so that there is one place that imports it.
"""

from __future__ import annotations

try:
    import xgboost
except ModuleNotFoundError as exc:
    if exc.name != "xgboost":
        raise
    raise ImportError(
        "the models below xgboost/ need the library XGBoost, which is not installed. "
        "pip install xgboost (all systems, with GPU support), or pip install xgboost-cpu "
        "(Linux and Windows, small). Install one of the two, never both: they share their files",
        name="xgboost",
    ) from exc

__all__ = ["xgboost"]
