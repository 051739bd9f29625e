"""Raw scikit-learn estimators, objects and classes, that stand where a model's name may stand."""

from __future__ import annotations

from typing import Any


def adapt(estimator: Any) -> tuple[type, dict[str, Any]]:
    """Find the model class of an estimator.

    Parameters
    ----------
    estimator : object or class
        Anything with scikit-learn's ``fit``, ``get_params`` and ``set_params``.

    Returns
    -------
    model_class : type
        ``sklearn/<Class>`` for a public class of scikit-learn, else ``sklearn/Estimator``.
    config : dict
        What the config needs in addition: ``{"estimator": estimator}``, or nothing for a class of
        scikit-learn's own.

    Raises
    ------
    TypeError
        It is no estimator.

    Notes
    -----
    An object is never changed: the model works on a clone of it, or on a deep copy if it has been
    fitted already, so that what it has learned is kept.
    """
    missing = [name for name in ("fit", "get_params", "set_params") if not hasattr(estimator, name)]
    if missing:
        raise TypeError(f"{estimator!r} is no scikit-learn estimator: it has no {missing[0]}()")
    from . import model_classes

    estimator_class = estimator if isinstance(estimator, type) else type(estimator)
    if estimator is estimator_class and _is_public(estimator_class):
        return model_classes.model_class(estimator_class), {}
    return model_classes.wrapping_class(estimator_class), {"estimator": estimator}


def _is_public(estimator_class: type) -> bool:
    from .resolver import find_estimator

    try:
        return find_estimator(estimator_class.__name__) is estimator_class
    except LookupError:
        return False
