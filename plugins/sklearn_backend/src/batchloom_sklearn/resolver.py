"""Names below ``sklearn/``: every public estimator by its class name, as a model class.

Listing the names imports nothing; asking for one imports the module of scikit-learn that has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from batchloom.errors import UnknownNameError

from .catalogue import ESTIMATORS, EXPERIMENTAL, MODULES


class Resolver:
    """Turn the part of a name after ``sklearn/`` into a model class.

    Three kinds of names are known: ``SGDClassifier`` (the class name of a public estimator),
    ``linear_model.SGDClassifier`` (with its public module, for estimators that are not in the
    catalogue) and ``Estimator`` (whatever object ``config["estimator"]`` holds).
    """

    def __call__(self, rest: str) -> type:
        """Give the model class of a name.

        Parameters
        ----------
        rest : str
            The name without its namespace: ``"SGDClassifier"``.

        Returns
        -------
        type
            The same class every time.

        Raises
        ------
        UnknownNameError
            A ``LookupError`` with the nearest names.
        """
        from . import model_classes

        if rest == "Estimator":
            return model_classes.EstimatorModel
        return model_classes.model_class(find_estimator(rest))

    def names(self) -> Sequence[str]:
        """List the names, sorted, without importing scikit-learn."""
        return sorted([*ESTIMATORS, *EXPERIMENTAL, "Estimator"])


@cache
def find_estimator(name: str) -> type:
    """Import the estimator class of a public name.

    Parameters
    ----------
    name : str
        ``"SGDClassifier"`` or ``"linear_model.SGDClassifier"``.

    Raises
    ------
    UnknownNameError
        The installed scikit-learn has no public estimator of that name.
    """
    module, _, class_name = name.rpartition(".")
    found = _in_module(module, class_name) if module else _anywhere(class_name)
    if found is None:
        known = Resolver().names()
        hint = "`batchloom models sklearn` lists them all"
        raise UnknownNameError("scikit-learn estimator", name, known, hint=hint)
    return found


def _anywhere(class_name: str) -> type | None:
    if class_name in EXPERIMENTAL:
        module, enabler = EXPERIMENTAL[class_name]
        import_module(f"sklearn.experimental.{enabler}")
        return _in_module(module, class_name)
    modules = (ESTIMATORS[class_name],) if class_name in ESTIMATORS else MODULES
    hits = (_in_module(module, class_name) for module in modules)
    return next((hit for hit in hits if hit is not None), None)


def _in_module(module: str, class_name: str) -> type | None:
    if any(part.startswith("_") for part in (*module.split("."), class_name)):
        return None
    try:
        found: Any = getattr(import_module(f"sklearn.{module}"), class_name, None)
    except ModuleNotFoundError:
        return None
    return found if _is_estimator_class(found) else None


def _is_estimator_class(found: Any) -> bool:
    from inspect import isabstract

    from sklearn.base import BaseEstimator

    return (
        isinstance(found, type)
        and issubclass(found, BaseEstimator)
        and found is not BaseEstimator
        and not isabstract(found)
    )


resolver = Resolver()
"""The object behind the entry point ``sklearn/*``."""
