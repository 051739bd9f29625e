"""The strategy "continue": every batch adds trees that are fitted to that batch alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from batchloom.errors import ModelInputError
from batchloom_xgboost.asked import check_asked, pick
from batchloom_xgboost.boosting import History, evaluate, grow, new_booster
from batchloom_xgboost.classes import Classes
from batchloom_xgboost.learned import Learned, Task
from batchloom_xgboost.matrix import MatrixBuilder
from batchloom_xgboost.pages import Pages
from batchloom_xgboost.parameters import Parameters
from batchloom_xgboost.queries import QueryPages
from batchloom_xgboost.reader import Reader
from batchloom_xgboost.rows import Rows
from batchloom_xgboost.targets import check_num_class
from batchloom_xgboost.validation import read_eval_sets


class Continue:
    """Keeps one live booster and adds ``rounds_per_batch`` rounds with each batch.

    Parameters
    ----------
    task : Task
    learned : Learned or None
        What there is from before, and is added to.
    """

    gathered_rows = 0

    def __init__(self, task: Task, learned: Learned | None) -> None:
        self.task, self.learned = task, learned
        columns = learned.columns if learned else task.new_columns()
        classes = learned.classes if learned else self._classes()
        if classes is not None:
            check_num_class(len(classes.values), task.parameters.native)
        parameters = task.parameters_for(classes)
        # Draws that depend on the seed and the round only: see boosting.grow.
        self._parameters = parameters.with_native(seed_per_iteration=True)
        self._reader = Reader(columns, classes, self._parameters, ranks=task.ranks)
        order = None if classes is None else classes.order
        self._builder = MatrixBuilder(self._parameters, columns, order, exact=True)
        # XGBoost's ranking knows a matrix by its address, which the next one would get if it were free.
        self._last_matrix: Any = None
        self._validation: dict[str, Any] | None = None
        self._validated_with: dict[str, Any] | None = None
        self._queries: set[int] = set()
        self._history: History = []

    def train(self, arguments: Mapping[str, Any], output: Any, batch: Any = None) -> Any:
        """Add rounds fitted to a batch; return the metrics asked for as they were before."""
        check_asked(output, self._parameters)
        rows = self._reader.read(arguments, learn=True)
        self._refuse_split_queries(rows)
        matrix = self._matrix([rows], "batch")
        learned = self._started(matrix)
        value = self._before(matrix, output)
        grow(learned.booster, matrix, self._parameters, self.task.settings.rounds_per_batch)
        self._last_matrix = matrix
        self._record(learned)
        return value

    def end_epoch(self, last: bool) -> History | None:
        """Return the validation metrics after each batch of the epoch, if there is validation."""
        history, self._history = self._history, []
        self._queries.clear()
        return history or None

    def drop(self) -> None:
        """Nothing is kept beyond a batch."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Return what is kept from batch to batch, beside the booster."""
        return {
            "reader": self._reader.state(),
            "queries": self._queries,
            "history": self._history,
            "validated_with": self._validated_with,
        }

    def restore(self, folder: Path, kept: Mapping[str, Any]) -> None:
        """Go on with what `save` returned."""
        if kept["validated_with"] is not None:
            self._reader.restore({**kept["reader"], "columns": kept["validated_with"]})
            self._read_validation()
        self._reader.restore(kept["reader"])
        self._queries, self._history = kept["queries"], kept["history"]

    def _classes(self) -> Classes | None:
        """All labels there are: the first batch need not hold each of them."""
        if not self.task.classifies:
            return None
        if self.task.settings.classes is not None:
            return Classes(self.task.settings.classes)
        run = self.task.run
        if run.dataset is not None and "y" in run.columns:
            return Classes(np.asarray(run.dataset.column(run.columns["y"])))
        raise ModelInputError(
            'strategy="continue" must know all labels before the first batch, and y is no column '
            'of the dataset: give config={"classes": [...]}'
        )

    def _started(self, matrix: Any) -> Learned:
        if self.learned is None:
            booster = new_booster(self._first_parameters(matrix), matrix)
            reader = self._reader
            self.learned = Learned(booster, self._parameters, reader.columns, reader.classes)
        elif self.learned.parameters is not self._parameters:
            # The library forgets most parameters in a file.
            self.learned.booster.set_param(self._parameters.native)
            self.learned.parameters = self._parameters
        return self.learned

    def _first_parameters(self, matrix: Any) -> Parameters:
        """Start from even odds where the first batch would rule out a class that it lacks."""
        classes, native = self._reader.classes, self._parameters.native
        if classes is None or "base_score" in native:
            return self._parameters
        if len(np.unique(matrix.get_label())) == len(classes.values):
            return self._parameters
        return self._parameters.with_native(base_score=0.5)

    def _before(self, matrix: Any, output: Any) -> Any:
        if output is None:
            return None
        assert self.learned is not None
        metrics = evaluate(self.learned.booster, {"batch": matrix}, self._parameters)
        return pick(output, {name.removeprefix("batch-"): v for name, v in metrics.items()})

    def _record(self, learned: Learned) -> None:
        if self._validation is None:
            self._read_validation()
        if self._validation:
            metrics = evaluate(learned.booster, self._validation, self._parameters)
            done = learned.booster.num_boosted_rounds()
            row: dict[str, float] = {"round": done - 1, **metrics}
            self._history.append(row)
            learned.history.append(row)

    def _read_validation(self) -> None:
        # Categories that later batches bring stay unknown to it: a run that goes on must read it so.
        self._validated_with = copy.deepcopy(self._reader.columns.state())
        sets = read_eval_sets(self.task.settings.eval_set, self._reader)
        self._validation = {name: self._matrix(rows, name) for name, rows in sets.items()}

    def _matrix(self, pages: Pages, name: str) -> Any:
        ordered = QueryPages(pages) if "qid" in pages[0].fields else pages
        return self._builder.build(ordered, name)

    def _refuse_split_queries(self, rows: Rows) -> None:
        if "qid" not in rows.fields:
            return
        queries = set(np.unique(rows.fields["qid"]).tolist())
        if again := sorted(queries & self._queries):
            raise ModelInputError(
                f"qid: the queries {again[:5]} were in an earlier batch too. A query must be whole "
                'in its batch: make batches of whole queries, or use strategy="collect"'
            )
        self._queries |= queries
