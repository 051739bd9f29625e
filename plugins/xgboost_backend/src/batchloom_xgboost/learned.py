"""What training leaves behind, and what a model is asked to train: the two ends of a strategy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batchloom.errors import ModelInputError
from batchloom.models import RunInfo
from batchloom_xgboost.boosting import History
from batchloom_xgboost.classes import Classes
from batchloom_xgboost.columns import Columns
from batchloom_xgboost.config import Settings
from batchloom_xgboost.parameters import Parameters


@dataclass
class Learned:
    """A trained booster and what it takes to use it.

    Parameters
    ----------
    booster : xgboost.Booster
    parameters : Parameters
        Those that it was trained with; the library forgets most of them in a file.
    columns : Columns
    classes : Classes or None
        The labels of a classifier.
    history : list of dict
        The metrics of each round.
    """

    booster: Any
    parameters: Parameters
    columns: Columns
    classes: Classes | None
    history: History = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """What is to be trained in a run.

    Parameters
    ----------
    settings : Settings
    parameters : Parameters
    classifies, ranks : bool
        What kind of estimator it is.
    run : RunInfo
        The run.
    """

    settings: Settings
    parameters: Parameters
    classifies: bool
    ranks: bool
    run: RunInfo

    def new_columns(self) -> Columns:
        """Return columns that no batch has shown yet."""
        return Columns(
            self.parameters.feature_types,
            enable_categorical=self.parameters.enable_categorical,
            unseen=self.settings.unseen_categories,
        )

    def parameters_for(self, classes: Classes | None) -> Parameters:
        """Return the parameters for the labels found, with the objective of that many classes.

        Raises
        ------
        ModelInputError
            If there is one class only.
        """
        if classes is None:
            return self.parameters
        count = len(classes.values)
        if count < 2:
            raise ModelInputError(
                f"y: a classifier needs two classes at least, and there is "
                f"{classes.values.tolist()} only"
            )
        objective = str(self.parameters.native.get("objective"))
        if not objective.startswith("multi:"):
            if count == 2:
                return self.parameters
            objective = "multi:softprob"
        return self.parameters.with_native(objective=objective, num_class=count)
