"""The models below ``xgboost/``: XGBoost's estimators and its Booster, trained from batches."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from batchloom import Batch
from batchloom.errors import BatchloomError, CorruptFileError, ModelConfigError, ModelNotBuiltError
from batchloom.models import BaseModel, RunInfo
from batchloom.plain import read_plain, write_plain
from batchloom_xgboost import checkpoints, files
from batchloom_xgboost.adopted import adopt
from batchloom_xgboost.boosting import History
from batchloom_xgboost.collect import Collect
from batchloom_xgboost.config import DEFAULTS, OWN_KEYS, Settings, library_part
from batchloom_xgboost.continuing import Continue
from batchloom_xgboost.learned import Learned, Task
from batchloom_xgboost.library import xgboost as xgb
from batchloom_xgboost.outputs import Predictor, check_outputs, check_rounds
from batchloom_xgboost.parameters import (
    Parameters,
    booster_parameters,
    estimator_defaults,
    estimator_parameters,
)
from batchloom_xgboost.rows import FIELDS, read_field
from batchloom_xgboost.validation import name_eval_sets

_NOT_SAVED = ("fitted", "eval_set", "spool")


class BoostedTrees(BaseModel):
    """A model of XGBoost. Its config holds the library's parameters by their own names, and ours.

    Ours are those of `config.Settings`: ``strategy``, ``spool``, ``eval_fraction`` and others.

    Attributes
    ----------
    booster : xgboost.Booster
        The trained booster. Categories are codes to it: see `categories`.
    history : list of dict
        The metrics of each round of the last training.
    """

    data_args = ("x", *FIELDS)
    literal_args = ("output", "iteration_range")
    predict_is_thread_safe = True
    load_needs_build = False
    library = "xgboost"

    _classifies: ClassVar[bool] = False
    _ranks: ClassVar[bool] = False
    _forest: ClassVar[bool] = False

    _is_configured = False
    _omitted: Sequence[str] = ()
    _learned: Learned | None = None
    _learner: Collect | Continue | None = None
    _predictor: Predictor | None = None

    # What a user may look at

    @property
    def booster(self) -> Any:
        """The trained booster."""
        return self._fitted().booster

    @property
    def history(self) -> History:
        """The metrics of each round of the last training."""
        return self._fitted().history

    @property
    def categories(self) -> dict[str, list[Any]]:
        """Categories of each categorical column, in the order of their codes."""
        return self._fitted().columns.categories

    @property
    def best_iteration(self) -> int | None:
        """The best round, counted from 0, after early stopping; else None."""
        best = self._fitted().booster.attr("best_iteration")
        return None if best is None else int(best)

    @property
    def feature_importances_(self) -> NDArray[np.float32]:
        """Importance of each column by ``importance_type``, adding up to 1, as in the estimators."""
        booster = self.booster
        linear = self._parameters.native.get("booster") == "gblinear"
        kind = self._given.get("importance_type") or ("weight" if linear else "gain")
        scores = booster.get_score(importance_type=kind)
        names = booster.feature_names or [f"f{i}" for i in range(booster.num_features())]
        given = np.array([scores.get(name, 0.0) for name in names], np.float32)
        return given / (given.sum() or 1)

    @classmethod
    def describe_config(cls) -> dict[str, Any]:
        """Return the keys of the config and their defaults: ours, then the library's."""
        ours = {key: DEFAULTS[key] for key in OWN_KEYS if key != "fitted"}
        return {**ours, **cls._library_defaults()}

    @classmethod
    def _check_config(cls, config: Mapping[str, Any]) -> None:
        cls(config)._configure(config)

    # The lifecycle

    def _build(self, *args: Any, pipeline: Any = None, batch: Any = None, **kwargs: Any) -> None:
        self._configure(self.config)
        if self._settings.fitted is None:  # what is fitted may be there to predict only
            self._check_together()
        else:
            columns = self._task(RunInfo()).new_columns()
            adopted = adopt(self._settings.fitted, self._parameters, columns, self._classifies)
            self._take_over(adopted)

    def _begin_run(self, run: RunInfo) -> None:
        self._check_together()
        task = self._task(run)
        kind = Collect if self._settings.strategy == "collect" else Continue
        self._learner = kind(task, self._learned)

    def _train(
        self,
        x: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        base_margin: Any = None,
        qid: Any = None,
        label_lower_bound: Any = None,
        label_upper_bound: Any = None,
        output: str | Sequence[str] | None = None,
        batch: Batch | None = None,
    ) -> Any:
        arguments = {
            "x": x,
            "y": y,
            "sample_weight": sample_weight,
            "base_margin": base_margin,
            "qid": qid,
            "label_lower_bound": label_lower_bound,
            "label_upper_bound": label_upper_bound,
        }
        if self._learner is None:
            self._begin_run(RunInfo())
        assert self._learner is not None
        value = self._learner.train(arguments, output, batch)
        self._take_over(self._learner.learned)
        return value

    def _end_epoch(self, epoch: int, last: bool) -> Any:
        if self._learner is None:
            return None
        value = self._learner.end_epoch(last)
        self._take_over(self._learner.learned)
        if last:
            self._learner = None
        return value

    def _abandon_run(self) -> None:
        if self._learner is not None:
            self._learner.drop()
            self._learner = None

    def _predict(
        self,
        x: Any,
        base_margin: Any = None,
        output: str | Sequence[str] = "predict",
        iteration_range: Sequence[int] | None = None,
    ) -> Any:
        asked = check_outputs(output)
        learned = self._fitted()
        values = learned.columns.encode(x, learn=False)
        n = values.shape[0]
        margin = None if base_margin is None else read_field("base_margin", base_margin, n)
        if not n:  # XGBoost gives no shape for no rows
            values = np.zeros((1, values.shape[1]), np.float32)
            margin = None
        rounds = self._rounds(iteration_range)
        assert self._predictor is not None
        with self._predict_lock:
            results = [self._predictor.predict(values, each, margin, rounds)[:n] for each in asked]
        return results[0] if isinstance(output, str) else results

    def _save(self, path: Path, format: str = "json", **kwargs: Any) -> None:
        _refuse_unknown(kwargs, "save_model", "format")
        kept = {k: v for k, v in self._given.items() if k not in _NOT_SAVED}
        files.write(self._fitted(), kept, path, format)

    def _load(self, path: Path, trusted: bool = False, **kwargs: Any) -> None:
        _refuse_unknown(kwargs, "load_model", "trusted")
        state = files.read_state(path)
        saved = {k: v for k, v in state["config"].items() if k not in _NOT_SAVED}
        self._configure({**saved, **self.config})
        self._omitted = [key for key in state["omitted"] if key not in self.config]
        columns, classes = files.restore(state, self._task(RunInfo()).new_columns())
        parameters = self._task(RunInfo()).parameters_for(classes)
        booster = files.read_booster(path, parameters, trusted=trusted)
        self._take_over(Learned(booster, parameters, columns, classes, state["history"]))

    def _save_checkpoint(self, path: Path) -> None:
        config, omitted = files.split_config(self._given)
        gathered = path / "gathered"
        gathered.mkdir()
        state = {
            "config": config,
            "omitted": [*self._omitted, *omitted],
            "learned": checkpoints.save_learned(self._learned, self._parameters, path),
            "learner": None if self._learner is None else self._learner.save(gathered),
        }
        write_plain(state, path / "state", f"model {self.name!r}")

    def _load_checkpoint(self, path: Path, run: RunInfo | None) -> None:
        self._abandon_run()
        state = read_plain(path / "state")
        if not self._is_configured:  # one that was loaded: the definition says less than its file
            self._configure({**state["config"], **self.config})
            self._omitted = [key for key in state["omitted"] if key not in self.config]
        task = self._task(run or RunInfo())
        try:
            self._learned = None
            learned = checkpoints.read_learned(path, state["learned"], task)
            self._take_over(learned)
            if state["learner"] is not None:
                kind = Collect if self._settings.strategy == "collect" else Continue
                self._learner = kind(task, learned)
                self._learner.restore(path / "gathered", state["learner"])
        except BatchloomError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise CorruptFileError(f"the checkpoint of an XGBoost model is damaged: {exc}") from exc

    @classmethod
    def _capture_settings(cls) -> Callable[[], AbstractContextManager[Any]]:
        settings = xgb.get_config()
        return lambda: xgb.config_context(**settings)

    def _describe(self) -> str:
        return self.describe_unbuilt(self.config)

    @classmethod
    def describe_unbuilt(cls, config: Mapping[str, Any]) -> str:
        """Say when a model of this config is trained; nothing if the config cannot tell yet."""
        try:
            settings = Settings.from_config(config)
        except Exception:  # an expression has no value yet; what is wrong is said when it is made
            return ""
        if settings.strategy == "continue":
            return f"adds {settings.rounds_per_batch} round(s) of trees with every batch"
        if settings.fit_at == "epoch":
            return "collects batches, trains at the end of every epoch"
        return "collects batches, trains once, at the end of the run's last epoch"

    # What the above is made of

    def _configure(self, config: Mapping[str, Any]) -> None:
        self._is_configured = True
        self._given = dict(config)
        self._settings = Settings.from_config(config)
        self._parameters = self._read_parameters(library_part(config))
        name_eval_sets(self._settings.eval_set)
        # Linear boosters cannot be asked by several threads at once.
        linear = self._parameters.native.get("booster") == "gblinear"
        self._predict_lock = threading.Lock() if linear else nullcontext()

    def _check_together(self) -> None:
        """Refuse what cannot be trained; a model that was loaded to predict need not be trained."""
        if self._omitted:
            raise ModelConfigError(
                f"to train on, the model needs {', '.join(self._omitted)}, which its file could "
                "not hold: give it in load_model(path, config={...})"
            )
        settings, parameters = self._settings, self._parameters
        validated = settings.eval_fraction is not None or settings.eval_set is not None
        if parameters.early_stopping_rounds is not None and not validated:
            raise ModelConfigError(
                "early_stopping_rounds needs validation data: set eval_fraction or eval_set"
            )
        if settings.strategy == "collect":
            return
        if self._forest:
            raise ModelConfigError(
                "a random forest is not grown batch by batch: leave out strategy"
            )
        if parameters.early_stopping_rounds is not None or parameters.callbacks:
            raise ModelConfigError(
                'early_stopping_rounds and callbacks work with strategy="collect" only'
            )

    @classmethod
    def _library_defaults(cls) -> dict[str, Any]:
        return estimator_defaults(cls.__name__)

    @classmethod
    def _read_parameters(cls, given: Mapping[str, Any]) -> Parameters:
        return estimator_parameters(cls.__name__, given, forest=cls._forest)

    def _task(self, run: RunInfo) -> Task:
        parameters = self._parameters
        if run.seed is not None:
            parameters = parameters.with_seed(run.seed)
        return Task(self._settings, parameters, self._classifies, self._ranks, run)

    def _fitted(self) -> Learned:
        if self._learned is not None:
            return self._learned
        waiting = self._learner.gathered_rows if self._learner else 0
        raise ModelNotBuiltError(
            f"{type(self).__name__} has not been trained yet"
            + (f": {waiting} rows wait for the end of the epoch" if waiting else "")
        )

    def _take_over(self, learned: Learned | None) -> None:
        if learned is self._learned or learned is None:
            return
        self._learned = learned
        classes = None if learned.classes is None else learned.classes.values
        self._predictor = Predictor(learned.booster, learned.parameters, learned.columns, classes)

    def _rounds(self, iteration_range: Sequence[int] | None) -> tuple[int, int]:
        if iteration_range is not None:
            return check_rounds(iteration_range, self.booster)
        best = self.best_iteration
        return (0, 0) if best is None else (0, best + 1)


class XGBClassifier(BoostedTrees):
    """``xgboost.XGBClassifier``; labels may be any numbers or strings, and come back as given."""

    registered_name = "xgboost/XGBClassifier"
    _classifies = True

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels, sorted; columns of ``"proba"`` are in this order."""
        classes = self._fitted().classes
        assert classes is not None
        return classes.values


class XGBRegressor(BoostedTrees):
    """``xgboost.XGBRegressor``."""

    registered_name = "xgboost/XGBRegressor"


class XGBRanker(BoostedTrees):
    """``xgboost.XGBRanker``; ``qid`` gives the query of each row."""

    registered_name = "xgboost/XGBRanker"
    _ranks = True


class XGBRFClassifier(XGBClassifier):
    """``xgboost.XGBRFClassifier``: a random forest."""

    registered_name = "xgboost/XGBRFClassifier"
    _forest = True


class XGBRFRegressor(BoostedTrees):
    """``xgboost.XGBRFRegressor``: a random forest."""

    registered_name = "xgboost/XGBRFRegressor"
    _forest = True


class Booster(BoostedTrees):
    """``xgboost.train``: native parameters, in the config itself or in its ``params``."""

    registered_name = "xgboost/Booster"

    @classmethod
    def _library_defaults(cls) -> dict[str, Any]:
        names = inspect.signature(xgb.train).parameters
        kept = (
            "params",
            "num_boost_round",
            "obj",
            "custom_metric",
            "early_stopping_rounds",
            "callbacks",
        )
        empty = inspect.Parameter.empty
        return {k: None if names[k].default is empty else names[k].default for k in kept}

    @classmethod
    def _read_parameters(cls, given: Mapping[str, Any]) -> Parameters:
        return booster_parameters(given)


def _refuse_unknown(given: Mapping[str, Any], action: str, known: str) -> None:
    if given:
        raise ModelConfigError(
            f"{action}: XGBoost's models know no {', '.join(map(repr, given))}; there is {known!r}"
        )
