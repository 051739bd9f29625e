"""The model: a scikit-learn estimator that a pipeline trains, asks, saves and loads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import sklearn

from batchloom.errors import ModelConfigError, ModelNotBuiltError, UnknownArgumentError
from batchloom.models import BaseModel, RunInfo
from batchloom.plain import read_plain, write_plain

from . import config as configs
from . import estimators, making, seeds
from .collect import Collect
from .incremental import obstacle
from .inputs import InputCheck
from .joblib_use import may_run_joblib
from .outputs import Outputs
from .partial import PartialFit

_ARGUMENTS = {
    "train": ("x", "y", "sample_weight", "output"),
    "predict": ("x", "y", "sample_weight", "output"),
    "save": ("path", "format", "trusted"),
    "load": ("path", "allow_pickle", "trusted"),
}


class SklearnModel(BaseModel):
    """A scikit-learn estimator as a model.

    The config holds the estimator's constructor parameters, directly
    (``config={"loss": "log_loss"}``; ``step__parameter`` reaches into a part), and these keys:

    ================ ============ ====================================================================
    key              default      meaning
    ================ ============ ====================================================================
    ``params``       ``{}``       constructor parameters by name, for one called like a key of this table
    ``classes``      ``None``     all labels; by default those of the dataset's whole column of labels
    ``strategy``     ``"auto"``   ``"partial"``: learn from each batch; ``"collect"``: gather, fit once;
                                  ``"auto"``: the first if the estimator can
    ``fit_at``       ``"run"``    when a collecting model fits: the end of the ``"run"``'s last epoch, or
                                  of each ``"epoch"``
    ``max_rows``     ``None``     how many rows a collecting model may gather
    ``max_bytes``    4 GiB        how many bytes it may gather; ``None`` for no bound
    ``load``         ``False``    whether to load the model from ``path`` instead of making it
    ``path``                      the file to load; its estimator keeps its own parameters
    ================ ============ ====================================================================

    Attributes
    ----------
    estimator : estimator
        The live scikit-learn object.

    Notes
    -----
    A ``random_state`` that is None, nested ones included, is set when a run begins, from the run's
    seed, so that the run can be repeated to the bit. One that was given is left alone.
    """

    data_args: ClassVar[tuple[str, ...]] = ("x", "y", "sample_weight")
    literal_args: ClassVar[tuple[str, ...]] = ("output",)
    predict_is_thread_safe: bool = True
    load_needs_build: ClassVar[bool] = False
    library: ClassVar[str | None] = "scikit-learn"
    estimator_class: ClassVar[type]

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.estimator: Any = None
        self._settings, self._params = self._read_config()
        self._asked: Any = None
        self._is_fitted = False
        self._types: frozenset[str] | None = None

    @classmethod
    def _check_config(cls, config: Mapping[str, Any]) -> None:
        """Refuse keys and values that no estimator can be made with."""
        cls(config)

    def _build(self, *args: Any, **kwargs: Any) -> None:
        """Make the estimator from the config and choose how it learns."""
        self._adopt(self._make())

    def _begin_run(self, run: RunInfo) -> None:
        """Fix the random states that nobody has, and let the strategy see the run."""
        self._asked = None
        if run.seed is not None:
            seeds.seed_random_states(self._built(), run.seed)
        self._strategy.begin_run(run)

    def _train(
        self, x: Any, y: Any = None, sample_weight: Any = None, output: Any = None, **unknown: Any
    ) -> Any:
        """Learn from a batch, or keep it until the estimator is fitted.

        Parameters
        ----------
        x : array-like of shape (n_samples, n_features)
            An array, a sparse matrix or a data frame; texts for vectorizers.
        y : array-like of shape (n_samples,), optional
            Labels or targets.
        sample_weight : array-like of shape (n_samples,), optional
        output : str, or list, tuple or dict of str, optional
            ``"loss"``, ``"score"``, the name of a metric such as ``"accuracy"``, or predictions as in
            `_predict`.

        Returns
        -------
        object or None
            The values before this update, in the structure of `output`. While nothing has been
            learned yet, a number is NaN and an array None. A model that gathers its batches returns
            None, and at the end of the epoch the values on the rows that it was just fitted on.

        Raises
        ------
        ModelInputError
            The batch is refused, and nothing was changed.
        """
        _refuse_unknown(unknown, "train", type(self))
        self._built()
        samples = self._inputs.for_training(x, y, sample_weight)
        if output is not None:
            self._outputs.check(output, samples.y)
        self._strategy.check(samples)
        if output is not None:
            self._asked = output  # another step, or an action, may train without asking
        result = None
        if output is not None and self._strategy.fits_per_batch:
            result = self._outputs.before_update(output, samples, self._is_fitted)
        self._strategy.train(samples)
        self._is_fitted |= self._strategy.fits_per_batch
        return result

    def _predict(
        self, x: Any, y: Any = None, sample_weight: Any = None, output: Any = None, **unknown: Any
    ) -> Any:
        """Predict for a batch.

        Parameters
        ----------
        x : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
            For ``"score"``, ``"loss"`` and metrics.
        sample_weight : array-like of shape (n_samples,), optional
            For ``"score"`` and ``"loss"``.
        output : str, or list, tuple or dict of str, optional
            ``"predict"`` (the default), ``"proba"``, ``"log_proba"``, ``"decision"``, ``"transform"``
            (the default of transformers), ``"score_samples"``, ``"score"``, ``"loss"`` or the name
            of a metric.

        Returns
        -------
        object
            What was asked for, in the structure of `output`.

        Raises
        ------
        ModelNotBuiltError
            Nothing has been learned yet; says when that will be.
        """
        _refuse_unknown(unknown, "predict", type(self))
        if not self._is_fitted:
            self._refuse_unfitted()
        if output is None:
            output = self._outputs.default()
        samples = self._inputs(x, y, sample_weight)
        self._outputs.check(output, samples.y)
        return self._outputs.compute(output, samples)

    def _end_epoch(self, epoch: int, last: bool) -> Any:
        """Fit a model that gathers its batches, if it is time to."""
        samples = self._strategy.end_epoch(last)
        if samples is None:
            return None
        self._is_fitted = True
        return None if self._asked is None else self._outputs.compute(self._asked, samples)

    def _abandon_run(self) -> None:
        """Drop what was gathered."""
        if self.estimator is not None:
            self._strategy.abandon_run()

    def _save(
        self, path: Path, format: str = "skops", trusted: Collection[str] = (), **unknown: Any
    ) -> None:
        """Write the estimator.

        Parameters
        ----------
        path : Path
            An empty directory.
        format : {"skops", "joblib"}
            joblib writes a pickle, which only ``load_model(..., allow_pickle=True)`` reads.
        trusted : collection of str
            Full names of types of other packages that the caller vouches for.
        """
        from . import files

        _refuse_unknown(unknown, "save", type(self))
        files.save(self._built(), path, format, trusted)

    def _load(
        self,
        path: Path,
        allow_pickle: bool = False,
        trusted: Collection[str] = (),
        **unknown: Any,
    ) -> None:
        """Read the estimator.

        Parameters
        ----------
        path : Path
            A directory of verified files.
        allow_pickle : bool
            Whether a model saved with ``format="joblib"`` may run the code in its file.
        trusted : collection of str
            Full names of types of other packages that the caller vouches for.
        """
        from . import files

        _refuse_unknown(unknown, "load", type(self))
        estimator = files.load(path, allow_pickle, trusted)
        self._check_loaded(estimator)
        self._adopt(estimator)

    def _save_checkpoint(self, path: Path) -> None:
        """Write the estimator, fitted or not, and what was gathered for it."""
        from . import files

        folder = path / "estimator"
        folder.mkdir()
        files.save(self._built(), folder, "skops", self._own_types())
        state = {
            "is_fitted": self._is_fitted,
            "asked": self._asked,
            "gathered": self._strategy.state(),
        }
        write_plain(state, path / "state", f"model {self.name!r}")

    def _load_checkpoint(self, path: Path, run: RunInfo | None) -> None:
        """Take over the estimator, its random states fixed already, and what was gathered."""
        from . import files

        state = read_plain(path / "state")
        estimator = files.load(path / "estimator", False, self._own_types())
        self._check_class(
            estimator, self.estimator_class if self.estimator is None else type(self.estimator)
        )
        self._adopt(estimator)
        if run is not None:
            self._strategy.begin_run(run)
        self._strategy.restore(state["gathered"])
        self._is_fitted, self._asked = state["is_fitted"], state["asked"]

    def _own_types(self) -> frozenset[str]:
        """List the types that the definition brings: a checkpoint of it may hold them."""
        from . import files

        if self._types is None:
            # One that is loaded from a file brings none of the user's own.
            self._types = frozenset() if self.config.get("load") else files.types_in(self._make())
        return self._types

    @classmethod
    def _capture_settings(cls) -> Callable[[], AbstractContextManager[Any]]:
        """Remember scikit-learn's configuration, which belongs to the thread."""
        captured = sklearn.get_config()
        return lambda: sklearn.config_context(**captured)

    def _describe(self) -> str:
        """Say when the estimator is fitted, if not batch by batch."""
        return "" if self.estimator is None else self._strategy.describe()

    @classmethod
    def describe_unbuilt(cls, config: Mapping[str, Any]) -> str:
        """Say the same of a model that is yet to be made; nothing if the config cannot tell."""
        try:
            model = cls(config)
            model._build()
        except Exception:
            return ""  # an expression that has no value yet, or an error that the run will raise
        return model._describe()

    @classmethod
    def describe_config(cls) -> dict[str, Any]:
        """List the config keys with their defaults; a parameter that has to be given is ``...``."""
        return configs.describe(making.default_parameters(cls.estimator_class))

    def _parameters(self) -> Collection[str]:
        return making.default_parameters(self.estimator_class)

    def _read_config(self) -> tuple[configs.Settings, dict[str, Any]]:
        return configs.split(self.config, self._parameters(), self.estimator_class.__name__)

    def _make(self) -> Any:
        return making.make(self.estimator_class, self._params)

    def _adopt(self, estimator: Any) -> None:
        settings = self._settings
        collects = settings.strategy == "collect" or (
            settings.strategy == "auto" and obstacle(estimator) is not None
        )
        self._strategy = (Collect if collects else PartialFit)(estimator, settings)
        self._inputs = InputCheck(estimator)
        self._outputs = Outputs(estimator)
        self._is_fitted = estimators.is_fitted(estimator)
        self.predict_is_thread_safe = not may_run_joblib(estimator)
        self.estimator = estimator

    def _check_loaded(self, estimator: Any) -> None:
        self._check_class(estimator, self.estimator_class)
        if conflict := estimators.contradiction(estimator, self._params):
            raise ModelConfigError(
                f"{conflict}: a loaded estimator keeps its parameters. Leave them out of the config"
            )

    def _check_class(self, estimator: Any, wanted: type) -> None:
        if not isinstance(estimator, wanted):
            raise ModelConfigError(
                f"the file holds a {type(estimator).__name__}, and a {wanted.__name__} was asked for"
            )

    def _built(self) -> Any:
        if self.estimator is None:
            raise ModelNotBuiltError(f"model {self.name!r} has been neither built nor loaded yet")
        return self.estimator

    def _refuse_unfitted(self) -> NoReturn:
        title = type(self._built()).__name__
        how = self._strategy.describe() or "learns from the batches of train_model"
        raise ModelNotBuiltError(
            f"{title} cannot predict: it has not been fitted yet. It {how}. Train it before predicting, "
            "or load a trained one (load=True, path=...)"
        )


def _refuse_unknown(
    unknown: Mapping[str, Any], method: str, model_class: type[SklearnModel]
) -> None:
    for name in unknown:
        hint = ""
        if name in model_class.describe_config():  # partial_fit's own users give it classes=
            hint = f"{name!r} is a key of the config: init_model(..., config={{{name!r}: ...}})"
        raise UnknownArgumentError("argument", name, _ARGUMENTS[method], f"of {method}", hint)
