"""Gathering the batches of an epoch, and fitting once on all of them."""

from __future__ import annotations

from typing import Any

from sklearn import get_config
from sklearn.pipeline import Pipeline

from batchloom.errors import ModelConfigError
from batchloom.models import RunInfo

from . import labels
from .config import Settings
from .gather import ARGUMENTS, Gathered
from .inputs import Samples, check_weights
from .plain_data import from_plain, to_plain


class Collect:
    """Gathers batches and calls ``fit`` at the end of the run's last epoch, or of each.

    Parameters
    ----------
    estimator : estimator
    settings : Settings
        ``fit_at``, the bounds of what may be gathered, and ``classes``: all labels allowed.
    """

    fits_per_batch = False

    def __init__(self, estimator: Any, settings: Settings) -> None:
        self.estimator = estimator
        self.settings = settings
        self.classes = labels.from_config(settings.classes)
        self.gathered = self._nothing()

    def begin_run(self, run: RunInfo) -> None:
        """Refuse a run without a last epoch, in which the estimator would never be fitted.

        Raises
        ------
        ModelConfigError
        """
        if run.n_epochs is None and self.settings.fit_at == "run":
            raise ModelConfigError(
                f"{type(self.estimator).__name__} is fitted at the end of the run's last epoch, and a "
                "run with n_epochs=None has none. Set fit_at='epoch' in the model's config"
            )
        self.gathered = self._nothing()

    def check(self, samples: Samples) -> None:
        """Refuse a batch that does not go with those gathered before, or is too much."""
        check_weights(self.estimator, "fit", samples.sample_weight)
        if self.classes is not None and samples.y is not None:
            self.classes.check(samples.y)
        self.gathered.check(samples)

    def train(self, samples: Samples) -> None:
        """Keep a copy of a batch that passed `check`."""
        self.gathered.add(samples)

    def end_epoch(self, last: bool) -> Samples | None:
        """Fit if it is time to.

        Returns
        -------
        Samples or None
            What the estimator was fitted on.
        """
        due = last or self.settings.fit_at == "epoch"
        gathered, self.gathered = self.gathered, self._nothing()
        if not due or not len(gathered):
            return None
        samples = gathered.drain()
        self._fit(samples)
        return samples

    def abandon_run(self) -> None:
        """Drop what was gathered."""
        self.gathered = self._nothing()

    def state(self) -> dict[str, Any]:
        """Give what was gathered as plain data."""
        samples = self.gathered.together()
        if samples is None:
            return {}
        kept = {name: to_plain(getattr(samples, name), name) for name in ARGUMENTS}
        return {**kept, "n_bytes": self.gathered.n_bytes}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on with what `state` gave."""
        self.gathered = self._nothing()
        if kept:
            samples = Samples(*[from_plain(kept[name]) for name in ARGUMENTS])
            self.gathered.restore(samples, kept["n_bytes"])

    def describe(self) -> str:
        """Say when the estimator is fitted."""
        when = "every epoch" if self.settings.fit_at == "epoch" else "the run's last epoch"
        return f"gathers the batches and fits once, at the end of {when}"

    def _nothing(self) -> Gathered:
        title = type(self.estimator).__name__
        return Gathered(title, self.settings.max_rows, self.settings.max_bytes)

    def _fit(self, samples: Samples) -> None:
        data = (samples.x,) if samples.y is None else (samples.x, samples.y)
        weights = {}
        if samples.sample_weight is not None:
            weights[_weight_argument(self.estimator)] = samples.sample_weight
        self.estimator.fit(*data, **weights)


def _weight_argument(estimator: Any) -> str:
    if not isinstance(estimator, Pipeline) or get_config()["enable_metadata_routing"]:
        return "sample_weight"
    return f"{estimator.steps[-1][0]}__sample_weight"
