"""Learning from every batch as it comes."""

from __future__ import annotations

from typing import Any

from batchloom.errors import ModelConfigError
from batchloom.models import RunInfo

from . import labels
from .config import Settings
from .incremental import (
    check_first_batch,
    check_parameters,
    known_classes,
    learn,
    obstacle,
    takes_classes,
)
from .inputs import Samples, check_weights


class PartialFit:
    """Calls ``partial_fit`` once per batch, of a pipeline's steps in turn.

    Parameters
    ----------
    estimator : estimator
    settings : Settings

    Raises
    ------
    ModelConfigError
        If the estimator cannot learn batch by batch, or not with these parameters.
    """

    fits_per_batch = True

    def __init__(self, estimator: Any, settings: Settings) -> None:
        why = obstacle(estimator)
        title = type(estimator).__name__
        if why is not None:
            raise ModelConfigError(
                f"strategy='partial' needs an estimator that learns batch by batch, and {title} cannot: "
                f"{why}. With strategy='collect' the batches are gathered and it is fitted once"
            )
        check_parameters(estimator)
        self.estimator = estimator
        self.run: RunInfo | None = None
        self.needs_classes = takes_classes(estimator)
        self.is_first = True  # of the calls of partial_fit in this process
        self.classes = labels.from_config(settings.classes)
        if self.classes is not None and not self.needs_classes:
            raise ModelConfigError(f"{title} has no classes: leave config['classes'] out")

    def begin_run(self, run: RunInfo) -> None:
        """Remember the run: its dataset may know the classes."""
        self.run = run

    def check(self, samples: Samples) -> None:
        """Refuse a batch that cannot be learned from, before anything is changed."""
        check_weights(self.estimator, "partial_fit", samples.sample_weight)
        check_first_batch(self.estimator, len(samples))
        if self.needs_classes and samples.y is not None:
            self._known_classes().check(samples.y)

    def train(self, samples: Samples) -> None:
        """Learn from a batch that passed `check`."""
        classes = self.classes.labels if self.is_first and self.classes is not None else None
        with samples.trusted(parameters=not self.is_first):
            learn(self.estimator, samples.x, samples.y, samples.sample_weight, classes)
        self.is_first = False

    def end_epoch(self, last: bool) -> Samples | None:
        """Do nothing: everything has been learned."""
        return None

    def abandon_run(self) -> None:
        """Forget the run; what was learned stays."""
        self.run = None

    def state(self) -> dict[str, Any]:
        """Give nothing: what was learned is in the estimator."""
        return {}

    def restore(self, kept: dict[str, Any]) -> None:
        """Do nothing: the estimator is all there is."""

    def describe(self) -> str:
        """Say nothing: learning batch by batch is what a reader expects."""
        return ""

    def _known_classes(self) -> labels.Classes:
        if self.classes is None:
            self.classes = self._learned_classes() or self._classes_of_dataset()
        if self.classes is None:
            raise labels.missing_classes(type(self.estimator).__name__)
        return self.classes

    def _learned_classes(self) -> labels.Classes | None:
        learned = known_classes(self.estimator)
        return None if learned is None else labels.Classes(learned, "what it was trained on before")

    def _classes_of_dataset(self) -> labels.Classes | None:
        per_output = hasattr(self.estimator, "estimator")
        return labels.from_dataset(self.run, per_output)
