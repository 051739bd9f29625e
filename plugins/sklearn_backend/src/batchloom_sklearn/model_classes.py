"""The model class of each estimator: one by one for scikit-learn's own, one for all of other packages."""

from __future__ import annotations

import copyreg
from collections.abc import Collection
from functools import cache
from typing import Any, ClassVar

from batchloom.errors import ModelConfigError

from . import config as configs
from . import making
from .joblib_use import class_may_run_joblib
from .model import SklearnModel


class EstimatorModel(SklearnModel):
    """An estimator that is given as an object or a class: ``config={"estimator": LGBMClassifier()}``.

    The object is never changed: the model works on a clone of it, or on a deep copy if it is fitted.
    All other keys are those of `SklearnModel`; parameters given beside ``estimator`` are set on the copy.
    """

    registered_name = "sklearn/Estimator"
    estimator_class: ClassVar[type] = object

    def _parameters(self) -> Collection[str]:
        given = self.config.get("estimator")
        if given is None:  # a file holds it
            return list(self.config)
        if isinstance(given, type):
            return making.default_parameters(given)
        return list(given.get_params()) if hasattr(given, "get_params") else ()

    def _read_config(self) -> tuple[configs.Settings, dict[str, Any]]:
        given = self.config.get("estimator")
        rest = {key: each for key, each in self.config.items() if key != "estimator"}
        title = "Estimator" if given is None else getattr(given, "__name__", type(given).__name__)
        return configs.split(rest, self._parameters(), title)

    def _make(self) -> Any:
        given = self.config.get("estimator")
        if given is None:
            raise ModelConfigError(
                "sklearn/Estimator needs config={'estimator': ...}: an object or a class with fit, "
                "get_params and set_params"
            )
        if isinstance(given, type):
            return making.make(given, self._params)
        return making.with_parameters(making.own_copy(given), self._params)

    @classmethod
    def describe_config(cls) -> dict[str, Any]:
        """List the config keys with their defaults."""
        return {"estimator": ..., **configs.describe({})}


@cache
def model_class(estimator_class: type) -> type[SklearnModel]:
    """Make the model class of a public estimator class; the same one every time."""
    name = estimator_class.__name__
    first_line = (estimator_class.__doc__ or "").strip().partition("\n")[0]
    return type(
        name,
        (SklearnModel,),
        {
            "__doc__": f"scikit-learn's {name} as a model: {first_line}\n\n{SklearnModel.__doc__}",
            "__module__": __name__,
            "estimator_class": estimator_class,
            "registered_name": f"sklearn/{name}",
            "predict_is_thread_safe": not class_may_run_joblib(estimator_class),
        },
    )


def __getattr__(name: str) -> type[SklearnModel]:
    # The classes made above are looked up here by pickle, in this process or in a new one.
    from .resolver import find_estimator

    if not name.startswith("_"):
        try:
            return model_class(find_estimator(name))
        except LookupError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Wrapping(type):
    """The type of wrapping classes, which pickle cannot find by their names: others have them too."""

    wrapped: type


@cache
def wrapping_class(estimator_class: type) -> type[EstimatorModel]:
    """Make an `EstimatorModel` that is called like the estimator that will be given to it."""
    return _Wrapping(  # type: ignore[return-value]
        estimator_class.__name__,
        (EstimatorModel,),
        {
            "__doc__": EstimatorModel.__doc__,
            "__module__": __name__,
            "wrapped": estimator_class,
            "registered_name": EstimatorModel.registered_name,
            "predict_is_thread_safe": not class_may_run_joblib(estimator_class),
        },
    )


def _pickled(made: _Wrapping) -> str | tuple[Any, ...]:
    is_subclass = made is not wrapping_class(made.wrapped)
    return made.__qualname__ if is_subclass else (wrapping_class, (made.wrapped,))


copyreg.pickle(_Wrapping, _pickled)
