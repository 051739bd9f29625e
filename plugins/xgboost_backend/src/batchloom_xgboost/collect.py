"""The strategy "collect": gather the batches of an epoch, then train once on all of them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchloom.errors import ModelConfigError, ModelInputError
from batchloom_xgboost.asked import HISTORY, check_asked, pick
from batchloom_xgboost.boosting import History, boost
from batchloom_xgboost.classes import Classes
from batchloom_xgboost.freed import give_back
from batchloom_xgboost.learned import Learned, Task
from batchloom_xgboost.matrix import MatrixBuilder
from batchloom_xgboost.pages import Gathered, Pages
from batchloom_xgboost.queries import QueryPages
from batchloom_xgboost.reader import Reader
from batchloom_xgboost.recalled import recall
from batchloom_xgboost.spool import Spool, SpoolFolder
from batchloom_xgboost.targets import check_num_class
from batchloom_xgboost.validation import HoldOut, read_eval_sets


class Collect:
    """Gathers and trains; the result is that of training on all the rows at once.

    Parameters
    ----------
    task : Task
    learned : Learned or None
        What there is from before; ``warm_start`` adds to it.
    """

    def __init__(self, task: Task, learned: Learned | None) -> None:
        self.task, self.learned = task, learned
        self._output: Any = None
        self._begin_epoch()

    def train(self, arguments: Mapping[str, Any], output: Any, batch: Any = None) -> None:
        """Keep a batch. What `output` asks for is there when the epoch ends."""
        check_asked(output, self.task.parameters, HISTORY)
        if output not in (None, HISTORY) and not self.task.settings.train_metrics:
            raise ModelConfigError(
                f"output={output!r} asks for metrics on the training data, and train_metrics=False leaves "
                "them out: drop one of the two"
            )
        if output is not None:
            self._output = output  # another step, or an action, may train without asking
        rows = self._reader.read(arguments, learn=True)
        if self._hold_out is None:
            self._training.add(rows, recall(rows, self.task.run, batch))
            return
        held = self._hold_out.draw(rows)
        self._training.add(rows.take(~held))
        self._held_out.add(rows.take(held))

    def end_epoch(self, last: bool) -> Any:
        """Train if it is time to, and return the history of the training, or what was asked for.

        Returns
        -------
        list of dict, or of float
            The history; for ``"loss"`` or a metric, its value on the training data in each round.
        """
        try:
            if not self.gathered_rows or not (last or self._fits_every_epoch):
                return None
            self.learned = self._fit()
            return self._asked_of(self.learned.history)
        finally:
            self.drop()
            if not last:
                self._begin_epoch()

    def drop(self) -> None:
        """Forget the rows gathered, and remove what is on disk."""
        self._training.drop()
        self._held_out.drop()
        if self._folder is not None:
            self._folder.remove()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the rows gathered, and return what else there is, as plain data."""
        for each in (folder / "training", folder / "held-out"):
            each.mkdir()
        return {
            "reader": self._reader.state(),
            "output": self._output,
            "training": self._training.save(folder / "training"),
            "held_out": self._held_out.save(folder / "held-out"),
            "draws": None if self._hold_out is None else self._hold_out.state(),
        }

    def restore(self, folder: Path, kept: Mapping[str, Any]) -> None:
        """Go on with what `save` wrote and returned."""
        self._reader.restore(kept["reader"])
        self._output = kept["output"]
        self._training.restore(folder / "training", kept["training"])
        self._held_out.restore(folder / "held-out", kept["held_out"])
        if self._hold_out is not None:
            self._hold_out.restore(kept["draws"])

    @property
    def gathered_rows(self) -> int:
        """How many rows wait for training."""
        return self._training.rows + self._held_out.rows

    @property
    def _fits_every_epoch(self) -> bool:
        # A run without end has no last epoch.
        return self.task.settings.fit_at == "epoch" or self.task.run.n_epochs is None

    def _begin_epoch(self) -> None:
        settings = self.task.settings
        before = self.learned if settings.warm_start else None
        if before is None:
            columns = self.task.new_columns()
            classes = Classes(settings.classes) if self.task.classifies else None
        else:
            columns, classes = before.columns, before.classes
        self._start = before
        self._reader = Reader(columns, classes, self.task.parameters, ranks=self.task.ranks)
        self._folder = SpoolFolder(settings.spool or True) if settings.on_disk else None
        self._training = Gathered(settings, self._spool("train"))
        self._held_out = Gathered(settings, self._spool("validation"))
        fraction, seed = settings.eval_fraction, self.task.parameters.seed
        self._hold_out = None if fraction is None else HoldOut(fraction, seed)

    def _asked_of(self, history: History) -> Any:
        if self._output in (None, HISTORY):
            return history
        columns = {
            name.removeprefix("train-"): [row[name] for row in history]
            for name in history[0]
            if name.startswith("train-")
        }
        return pick(self._output, {**columns, HISTORY: history})

    def _spool(self, name: str) -> Spool | None:
        return None if self._folder is None else Spool(self._folder, name)

    def _fit(self) -> Learned:
        columns, classes = self._reader.columns, self._reader.classes
        if classes is not None:
            check_num_class(len(classes.values), self.task.parameters.native)
        parameters = self.task.parameters_for(classes)
        external = self.task.settings.memory == "external"
        builder = MatrixBuilder(
            parameters,
            columns,
            None if classes is None else classes.order,
            self._folder if external else None,
            exact=self._start is not None,
        )
        train = builder.build(self._pages(self._training), "train")
        evaluated = {"train": train} if self.task.settings.train_metrics else {}
        for name, pages in self._validation_pages().items():
            evaluated[name] = builder.build(pages, name, ref=train)
        self._training.forget_recalled()
        if not external:
            self._training.drop()
            self._held_out.drop()
        give_back()
        try:
            booster, history = boost(
                parameters,
                train,
                evaluated,
                start=self._start.booster if self._start else None,
                progress=self.task.run.progress,
            )
        except BaseException as exc:
            # A matrix held by the traceback would outlive its files, and complain.
            traceback.clear_frames(exc.__traceback__)
            raise
        finally:
            del train, evaluated
        return Learned(booster, parameters, columns, classes, history)

    def _validation_pages(self) -> dict[str, Pages]:
        sets = read_eval_sets(self.task.settings.eval_set, self._reader)
        pages = {name: self._sorted(rows) for name, rows in sets.items()}
        if self._hold_out is not None:
            pages["validation"] = self._pages(self._held_out)
        return pages

    def _pages(self, gathered: Gathered) -> Pages:
        gathered.flush()
        if not len(gathered):
            raise ModelInputError(
                f"eval_fraction={self.task.settings.eval_fraction} left no rows for training "
                f"or for validation, of {self.gathered_rows}"
            )
        return self._sorted(gathered)

    def _sorted(self, pages: Pages) -> Pages:
        return QueryPages(pages) if "qid" in pages[0].fields else pages
