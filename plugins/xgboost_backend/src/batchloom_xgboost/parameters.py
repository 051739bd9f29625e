"""The library's own parameters: which there are, what they default to, and which have no effect."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from batchloom.errors import ModelConfigError, nearest
from batchloom_xgboost.config import OWN_KEYS, check_positive
from batchloom_xgboost.library import xgboost as xgb
from batchloom_xgboost.targets import UNSTATED

# Arguments of the estimators, of `xgboost.train` or of a matrix, which no booster knows of.
_OUTSIDE = (
    "missing",
    "enable_categorical",
    "feature_types",
    "feature_weights",
    "early_stopping_rounds",
    "callbacks",
    "verbosity",
)
# They name features, and so can only be checked against data.
_NAMING_FEATURES = ("monotone_constraints", "interaction_constraints")
_WITHOUT_NAMES = {
    "monotone_constraints": "give a tuple with an entry for each column",
    "interaction_constraints": 'give a string of numbers of columns, "[[0, 1], [2]]"',
}
_SEEDS = ("seed", "random_state")
# Two names for one parameter: native, and of the estimators.
_ALIASES = (
    ("eta", "learning_rate"),
    ("gamma", "min_split_loss"),
    ("lambda", "reg_lambda"),
    ("alpha", "reg_alpha"),
    ("nthread", "n_jobs"),
    _SEEDS,
)


@dataclass(frozen=True)
class Parameters:
    """What of a config goes to XGBoost, sorted by where it goes.

    Parameters
    ----------
    native : dict
        Parameters of the booster.
    rounds : int
        Boosting rounds of one training.
    objective, metric : callable, optional
        As `xgboost.train` takes them: ``objective(predictions, matrix)``.
    metric_name : str
        What the values of `metric` are called; empty where only its results say it.
    missing : float
        The value in x that stands for a missing one, beside NaN.
    enable_categorical : bool
        Whether a frame may bring categories.
    feature_types : list of str, optional
        Types of the columns of an array: ``"c"`` marks categories given as codes.
    feature_weights : array, optional
        How likely each column is to be drawn by ``colsample_*``.
    early_stopping_rounds : int, optional
        Rounds without improvement of the validation metric after which training stops.
    callbacks : list
        ``xgboost.callback.TrainingCallback`` objects.
    verbosity : int, optional
        As in the library.
    """

    native: dict[str, Any] = field(default_factory=dict)
    rounds: int = 100
    objective: Callable[..., Any] | None = None
    metric: Callable[..., Any] | None = None
    metric_name: str = ""
    missing: float = np.nan
    enable_categorical: bool = True
    feature_types: list[str] | None = None
    feature_weights: Any = None
    early_stopping_rounds: int | None = None
    callbacks: tuple[Any, ...] = ()
    verbosity: int | None = None

    @property
    def seed(self) -> int:
        """The seed; the library's own is 0."""
        return int(next((self.native[key] for key in _SEEDS if key in self.native), 0))

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics asked for; empty for the objective's own."""
        names = self.native.get("eval_metric", [])
        return [names] if isinstance(names, str) else list(names)

    @property
    def nthread(self) -> int | None:
        """Threads to use; None for all."""
        return self.native.get("nthread", self.native.get("n_jobs"))

    @property
    def max_bin(self) -> int | None:
        """Bins of a quantile matrix; None for the library's own number."""
        return self.native.get("max_bin")

    def with_native(self, **parameters: Any) -> Parameters:
        """Return these with some parameters of the booster replaced, checked again."""
        native = {**self.native, **parameters}
        refuse_idle(native, list(native))
        return replace(self, native=native)

    def with_seed(self, seed: int) -> Parameters:
        """Return these with a seed, if they have none yet."""
        if any(key in self.native for key in _SEEDS):
            return self
        return replace(self, native={**self.native, "seed": seed % 2**31})


def estimator_defaults(name: str) -> dict[str, Any]:
    """Return the constructor's parameters of an estimator class and their defaults."""
    defaults: dict[str, Any] = {}
    for cls in reversed(getattr(xgb, name).__mro__):
        if issubclass(cls, xgb.XGBModel):
            for key, parameter in inspect.signature(cls.__init__).parameters.items():
                if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                    defaults[key] = parameter.default
    return defaults


def estimator_parameters(name: str, given: Mapping[str, Any], *, forest: bool) -> Parameters:
    """Sort the parameters of an estimator.

    Parameters
    ----------
    name : str
        The class: ``"XGBRFClassifier"``.
    given : mapping
        Constructor or native parameters.
    forest : bool
        Whether its ``n_estimators`` are trees of one round, not rounds.

    Raises
    ------
    ModelConfigError
        If a parameter is unknown, has no effect beside the others, or has an impossible value.
    """
    defaults = {k: v for k, v in estimator_defaults(name).items() if v is not None}
    defaults.pop("enable_categorical", None)
    for names in _ALIASES:
        if any(given.get(name) is not None for name in names):
            defaults = {k: v for k, v in defaults.items() if k not in names}
    native = {k: v for k, v in {**defaults, **given}.items() if v is not None}
    outside = {key: native.pop(key) for key in _OUTSIDE if key in native}
    native.pop("importance_type", None)
    size = native.pop("n_estimators", 100)
    check_positive("n_estimators", size)
    if forest:
        native["num_parallel_tree"] = size
    objective = native.get("objective")
    if callable(objective):
        native["objective"] = estimator_defaults(name)["objective"] or "reg:squarederror"
        outside["objective"] = _native_objective(objective)
    outside["metric"], outside["metric_name"] = _take_metric(native)
    if str(native.get("objective")).startswith("multi:"):
        native.setdefault("num_class", UNSTATED)
    return _checked(native, 1 if forest else size, outside, list(given))


def booster_parameters(given: Mapping[str, Any]) -> Parameters:
    """Sort the arguments of ``xgboost.train``: native parameters, and those beside them.

    Native parameters may stand in the config itself or in ``params``.

    Raises
    ------
    ModelConfigError
        As `estimator_parameters`; also if one parameter is given twice.
    """
    native = {k: v for k, v in given.items() if k != "params" and v is not None}
    params = dict(given.get("params") or {})
    if twice := sorted(set(params) & set(native)):
        raise ModelConfigError(f"{', '.join(twice)} given twice: in the config and in its params")
    native |= params
    outside = {key: native.pop(key) for key in _OUTSIDE if key in native}
    outside["objective"] = native.pop("obj", None)
    outside["metric"] = native.pop("custom_metric", None)
    rounds = native.pop("num_boost_round", 10)
    check_positive("num_boost_round", rounds)
    return _checked(native, rounds, outside, [*native])


def check_features(parameters: Parameters, count: int, names: list[str] | None) -> None:
    """Refuse parameters that name columns which are not there; the library does so once all is gathered.

    Parameters
    ----------
    parameters : Parameters
    count : int
        How many columns there are.
    names : list of str or None
        Their names, if they have any.

    Raises
    ------
    ModelConfigError
    """
    for key in _NAMING_FEATURES:
        value = parameters.native.get(key)
        if value is None or isinstance(value, str):
            continue
        if isinstance(value, tuple) and key == "monotone_constraints":
            if len(value) > count:
                raise ModelConfigError(f"{key} has {len(value)} entries, and x {count} columns")
            continue
        named = value if isinstance(value, Mapping) else [each for group in value for each in group]
        for each in named:
            if each not in (names or ()):
                raise ModelConfigError(
                    f"{key} names {each!r}, and x "
                    + (
                        f"has no such column{nearest(str(each), names)}"
                        if names
                        else "has no names: "
                    )
                    + ("" if names else _WITHOUT_NAMES[key])
                )
    weights = parameters.feature_weights
    if weights is not None and len(weights) != count:
        raise ModelConfigError(f"feature_weights has {len(weights)} entries, and x {count} columns")


def refuse_idle(
    native: Mapping[str, Any], given: list[str], known: list[str] | None = None
) -> None:
    """Refuse parameters that the booster would not use; the library itself only warns.

    Parameters
    ----------
    native : mapping
        Parameters of the booster.
    given : list of str
        Those that the user gave; defaults that have no effect are no mistake.
    known : list of str, optional
        Further names that a misspelt one may have meant.

    Raises
    ------
    ModelConfigError
        If one is unknown or has no effect, or the library refuses a value.
    """
    used = _used_by_booster({k: v for k, v in native.items() if k not in _NAMING_FEATURES})
    idle = sorted(key for key in native if key in given and key not in used)
    if idle:
        names = {*used, *(known or ()), *OWN_KEYS}
        said = "; ".join(f"{key!r}{nearest(key, names - set(idle))}" for key in idle)
        raise ModelConfigError(
            f"misspelt, or of no effect with this booster and objective, are the parameters {said}"
        )


def _checked(
    native: dict[str, Any], rounds: int, outside: dict[str, Any], given: list[str]
) -> Parameters:
    native = {key: _plain(key, value) for key, value in native.items()}
    _refuse_two_values(native)
    if native.get("booster") == "gblinear":
        # The default, shotgun, races its threads: no two runs are the same.
        native.setdefault("updater", "coord_descent")
    refuse_idle(native, given, ["n_estimators", "num_boost_round", *_OUTSIDE])
    check_positive("early_stopping_rounds", outside.get("early_stopping_rounds"))
    outside["callbacks"] = tuple(outside.get("callbacks") or ())
    return Parameters(native, rounds, **outside)


def _refuse_two_values(native: Mapping[str, Any]) -> None:
    for one, other in _ALIASES:
        if one in native and other in native and native[one] != native[other]:
            raise ModelConfigError(
                f"{one}={native[one]!r} and {other}={native[other]!r} are values of one parameter: give one"
            )


def _plain(key: str, value: Any) -> Any:
    """Return a value as the booster takes it, where the estimators or a file have another form."""
    if key == "monotone_constraints" and isinstance(value, (list, np.ndarray)):
        return tuple(int(each) for each in value)
    if key not in _SEEDS:
        return value
    if isinstance(value, np.random.RandomState):
        return int(value.randint(np.iinfo(np.int32).max))
    if isinstance(value, np.random.Generator):
        return int(value.integers(np.iinfo(np.int32).max))
    return value


def _used_by_booster(native: Mapping[str, Any]) -> set[str]:
    """Names that a booster with these parameters knows, by the rule of the library's own check.

    Its check (``ValidateParameters`` in ``learner.cc``) walks the booster's config: parameters are
    the members of the objects whose names end in ``_param``, and the global ones.
    """
    try:
        with xgb.config_context(verbosity=0):
            booster = xgb.Booster({"num_feature": 1, **native})
            config = json.loads(booster.save_config())
    except (xgb.core.XGBoostError, TypeError, ValueError) as exc:
        raise ModelConfigError(f"XGBoost refuses the parameters: {reason(exc)}") from exc
    used = {"eval_metric", "num_output_group", *_NAMING_FEATURES, *xgb.get_config()}
    _collect_names(config, used)
    return used


def _collect_names(config: Any, used: set[str]) -> None:
    for key, value in config.items() if isinstance(config, dict) else ():
        if key.endswith("_param") and isinstance(value, dict):
            used.update(value)
        else:
            _collect_names(value, used)
    for value in config if isinstance(config, list) else ():
        _collect_names(value, used)


def reason(exc: Exception) -> str:
    """What an error of the library says, without place, time and stack of C++ frames."""
    text = " ".join(str(exc).partition("Stack trace:")[0].split())
    text = re.sub(r"^(\[[\d:]+\] )?(\S+:\d+: )?(Check failed: )?", "", text)
    said, *candidates = text.split(" Objective candidate: ")
    if candidates:
        said += nearest(said.split("`")[1], candidates) + f" There is: {', '.join(candidates)}"
    return said


def _native_objective(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn ``objective(y_true, y_pred)`` of the estimators into ``objective(y_pred, matrix)``."""
    weighted = "sample_weight" in inspect.signature(function).parameters

    def objective(predictions: Any, matrix: Any) -> Any:
        weights = matrix.get_weight()
        if not len(weights):
            return function(matrix.get_label(), predictions)
        if not weighted:
            raise ModelConfigError("the objective takes no sample_weight, and train_model gives it")
        return function(matrix.get_label(), predictions, sample_weight=weights)

    return objective


def _take_metric(native: dict[str, Any]) -> tuple[Callable[..., Any] | None, str]:
    """Take a metric that is a function, ``metric(y_true, y_pred)``, and its name out of eval_metric."""
    given = native.pop("eval_metric", None)
    metrics = list(given) if isinstance(given, (list, tuple)) else [given]
    names = [each for each in metrics if isinstance(each, str)]
    functions = [each for each in metrics if callable(each)]
    if names:
        native["eval_metric"] = names
    if len(functions) > 1:
        raise ModelConfigError("eval_metric holds several functions: XGBoost takes one of them")
    if not functions:
        return None, ""
    name = getattr(functions[0], "__name__", type(functions[0]).__name__)
    return _native_metric(functions[0], name), name


def _native_metric(function: Callable[..., Any], name: str) -> Callable[..., tuple[str, float]]:
    def metric(predictions: Any, matrix: Any) -> tuple[str, float]:
        weights = matrix.get_weight()
        more = {"sample_weight": weights} if len(weights) else {}
        return name, float(function(matrix.get_label(), predictions, **more))

    return metric
