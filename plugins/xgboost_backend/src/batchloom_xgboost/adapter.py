"""Models from XGBoost's own objects: an estimator, its class or a Booster in a name's place."""

from __future__ import annotations

from typing import Any

from batchloom_xgboost.resolver import NAMES, resolver


def adapt(obj: object) -> tuple[type, dict[str, Any]]:
    """Return the model class for an object or class of XGBoost, and the config that it stands for.

    A fitted estimator, or a Booster with trees, brings what it has learned.

    Parameters
    ----------
    obj : object
        ``XGBClassifier(max_depth=3)``, ``XGBClassifier`` or a ``Booster``.

    Raises
    ------
    TypeError
        If it is none of these. A subclass is refused too: what it overrides would never be called.
    """
    cls = obj if isinstance(obj, type) else type(obj)
    if cls.__name__ not in NAMES or cls.__module__.partition(".")[0] != "xgboost":
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} is none of XGBoost's own {', '.join(NAMES)}"
        )
    return resolver(cls.__name__), {} if isinstance(obj, type) else _config_of(obj)


def _config_of(obj: Any) -> dict[str, Any]:
    if type(obj).__name__ == "Booster":
        return {"fitted": obj}
    plain = type(obj)().get_params(deep=False)
    given = obj.get_params(deep=False)
    config = {key: value for key, value in given.items() if not _same(value, plain.get(key))}
    if obj.__sklearn_is_fitted__():
        config["fitted"] = obj.get_booster()
    return config


def _same(value: Any, default: Any) -> bool:
    # `missing` is NaN by default, which equals nothing.
    both_nan = isinstance(value, float) and isinstance(default, float) and value != value
    return value is default or (both_nan and default != default)
