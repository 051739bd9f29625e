"""From the arguments of train to rows: the first batch says what every batch must bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchloom.errors import ModelInputError
from batchloom_xgboost.classes import Classes
from batchloom_xgboost.columns import Columns
from batchloom_xgboost.parameters import Parameters, check_features
from batchloom_xgboost.rows import FIELDS, Rows, read_column, read_field, refuse_infinite
from batchloom_xgboost.targets import check_bounds, check_labels


class Reader:
    """Reads batches into rows, and refuses those that do not go together with the first.

    XGBoost's data iterator takes the labels and weights of the batch before where a batch has none.

    Parameters
    ----------
    columns : Columns
        What x looks like; learned from training batches.
    classes : Classes or None
        The labels of a classifier; None for other models.
    parameters : Parameters
        Those of the library.
    ranks : bool
        Whether the rows belong to queries.
    """

    def __init__(
        self, columns: Columns, classes: Classes | None, parameters: Parameters, *, ranks: bool
    ) -> None:
        self.columns, self.classes, self.parameters = columns, classes, parameters
        self.ranks = ranks
        self._brought: set[str] | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}

    def read(self, arguments: Mapping[str, Any], *, learn: bool) -> Rows:
        """Return the rows of one batch. They may share memory with it.

        Parameters
        ----------
        arguments : mapping
            ``x``, ``y`` and the others in `rows.FIELDS`; None where one was not given.
        learn : bool
            Whether the batch may bring new categories and labels.

        Raises
        ------
        ModelInputError
            Naming the argument at fault.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        self._check_arguments(set(given))
        if learn:
            self._check_same_arguments(set(given))
        x = self.columns.encode(given.pop("x"), learn=learn)
        if not x.shape[0]:
            raise ModelInputError("x: no rows. XGBoost would train on none without a word")
        if self._brought is not None and not self._shapes:  # the first batch
            check_features(self.parameters, x.shape[1], self.columns.names)
        refuse_infinite(x, self.parameters.missing)
        fields = {FIELDS[k]: self._read(k, v, x.shape[0], learn) for k, v in given.items()}
        self._check_shapes(fields)
        if "label_lower_bound" in fields and "label_upper_bound" in fields:
            check_bounds(fields["label_lower_bound"], fields["label_upper_bound"])
        return Rows(x, fields)

    def state(self) -> dict[str, Any]:
        """Return what the batches so far have said, as plain data."""
        return {
            "columns": self.columns.state(),
            "classes": None if self.classes is None else self.classes.codes(),
            "brought": self._brought,
            "shapes": self._shapes,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on with what `state` gave."""
        self.columns.restore(kept["columns"])
        if self.classes is not None:
            self.classes.restore_codes(kept["classes"])
        self._brought, self._shapes = kept["brought"], kept["shapes"]

    def _read(self, argument: str, values: Any, n: int, learn: bool) -> Any:
        if argument == "y" and self.classes is not None:
            return self.classes.encode(read_column(argument, values, n), learn=learn)
        array = read_field(argument, values, n)
        if argument == "y" and self.parameters.objective is None:
            check_labels(array, self.parameters.native)
        return array

    def _check_arguments(self, names: set[str]) -> None:
        if "x" not in names:
            raise ModelInputError("x is missing: train_model(..., x=..., y=...)")
        bounds = {"label_lower_bound", "label_upper_bound"}
        if "y" not in names and not bounds <= names:
            raise ModelInputError("y is missing: training needs the labels of every batch")
        if self.ranks and "qid" not in names:
            raise ModelInputError("qid is missing: ranking needs to know the query of each row")

    def _check_same_arguments(self, names: set[str]) -> None:
        brought = self._brought if self._brought is not None else names
        self._brought = brought
        if names != brought:
            less, more = sorted(brought - names), sorted(names - brought)
            lost = f"without {', '.join(less)}, which the first batch had" if less else ""
            new = f"with {', '.join(more)}, which the first batch had not" if more else ""
            raise ModelInputError(f"the batch comes {' and '.join(filter(None, (lost, new)))}")

    def _check_shapes(self, fields: Mapping[str, Any]) -> None:
        for name, values in fields.items():
            first = self._shapes.setdefault(name, values.shape[1:])
            if values.shape[1:] != first:
                raise ModelInputError(
                    f"{name}: {values.shape[1:] or 1} values a row, and the first batch had "
                    f"{first or 1}"
                )
