"""A model under test: how it is made, trained, asked and saved by the checks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from batchloom import Batch, Pipeline
from batchloom.models.handle import ModelHandle
from batchloom.models.spec import ModelSpec
from batchloom.testing import samples
from batchloom.testing.promises import NotApplicable

SEED = 2016
MODEL = "model"  # what the checks' pipelines call it


@dataclass(frozen=True)
class Subject:
    """A model and what it is tested with.

    Attributes
    ----------
    model : str or type
        A registered name, or a class.
    config : mapping
        What it is made from.
    task : str
        Which data it gets; see `samples.sample`.
    train_args : mapping of str to str or None
        Arguments of ``train`` and the components that they get; the task's by default.
    train_options, predict_options : mapping
        Further arguments, such as ``{"output": "proba"}``.
    n_epochs, batch_size : int
        How it is trained.
    load_options : mapping
        Keywords of `load_model`.
    can_train, can_save, learns, is_deterministic, is_static, checks_config : bool
        What it promises; see `ModelTests`.
    """

    model: str | type
    config: Mapping[str, Any] = field(default_factory=dict)
    task: str = "classification"
    train_args: Mapping[str, str] | None = None
    train_options: Mapping[str, Any] = field(default_factory=dict)
    predict_options: Mapping[str, Any] = field(default_factory=dict)
    n_epochs: int = 3
    batch_size: int = 16
    load_options: Mapping[str, Any] = field(default_factory=dict)
    can_train: bool = True
    can_save: bool = True
    learns: bool = True
    is_deterministic: bool = True
    is_static: bool = True
    checks_config: bool = True

    @property
    def label(self) -> str:
        """How reports call the model."""
        return self.model if isinstance(self.model, str) else self.model.__qualname__

    @cached_property
    def spec(self) -> ModelSpec:
        """The model as `init_model` resolves it."""
        return ModelSpec.resolve(self.model, MODEL, self.fresh_config())

    @property
    def columns(self) -> dict[str, samples.Array]:
        """The data, new arrays each time."""
        return samples.sample(self.task)

    @property
    def x(self) -> samples.Array:
        """The data to predict for."""
        return self.columns["x"]

    @property
    def arguments(self) -> Mapping[str, str]:
        """Arguments of ``train`` and the components that they get."""
        given = self.train_args
        return samples.task_named(self.task).trains_with if given is None else given

    def need(self, **flags: str) -> None:
        """Leave a check out unless the model promises something.

        Parameters
        ----------
        **flags : str
            The name of a flag, and why the check is left out without it.

        Raises
        ------
        NotApplicable
            If a flag is off.
        """
        for name, reason in flags.items():
            if not getattr(self, name):
                raise NotApplicable(f"{name} = False: {reason}")

    def fresh_config(self, **changes: Any) -> dict[str, Any]:
        """Copy the config, so that no model sees what another did to it."""
        given = {key: _copied(value) for key, value in self.config.items()}
        return {**given, **changes}

    def with_config(self, **changes: Any) -> Subject:
        """Return the same subject with another config."""
        return replace(self, config={**self.config, **changes})

    def make(self, **changes: Any) -> ModelHandle:
        """Make the model outside of a pipeline, built and loaded as the config says."""
        spec = ModelSpec.resolve(self.model, MODEL, self.fresh_config(**changes))
        return spec.make(pipeline=None, seed=SEED)

    def pipeline(
        self,
        mode: str = "dynamic",
        batch_class: type[Batch] = Batch,
        columns: Mapping[str, samples.Array] | None = None,
        actions: tuple[str, ...] = (),
        changes: Mapping[str, Any] | None = None,
    ) -> Pipeline:
        """Make a pipeline that trains the model, or predicts with it if it cannot be trained."""
        data = samples.dataset(columns or self.columns, batch_class)
        made = data.p.init_model(
            mode, self.model, MODEL, config=self.fresh_config(**(changes or {}))
        )
        for each in actions:
            made = getattr(made, each)()
        if self.can_train:
            return made.train_model(MODEL, None, **self.arguments, **self.train_options)
        return made.predict_model(MODEL, x="x", **self.predict_options)

    def begun(self, batches: int = 1, **options: Any) -> Pipeline:
        """Return a pipeline whose run was broken off after some batches."""
        pipeline = self.pipeline()
        defaults: dict[str, Any] = {"n_epochs": 2, "shuffle": True, "seed": SEED}
        iterator: Any = pipeline.gen_batch(self.batch_size, **{**defaults, **options})
        for _ in range(batches):
            next(iterator)
        iterator.close()
        return pipeline

    def run(self, pipeline: Pipeline, **options: Any) -> Any:
        """Run a pipeline and return its model."""
        defaults = {"n_epochs": self.n_epochs, "shuffle": True, "seed": SEED}
        pipeline.run(self.batch_size, **{**defaults, **options})
        return pipeline.get_model_by_name(MODEL)

    def trained(self, **options: Any) -> Any:
        """Return a live model that is trained."""
        return self.run(self.pipeline(), **options)

    def predictions(self, model: Any, x: samples.Array | None = None) -> Any:
        """Ask a live model, outside of a pipeline."""
        return model.predict(x=self.x if x is None else x, **self.predict_options)

    def saved(self, folder: Path) -> tuple[Any, Path]:
        """Return a trained model and the file that it is saved in."""
        self.need(can_save="the model cannot be saved")
        model = self.trained()
        path = folder / "saved-model"
        model.save(path)
        return model, path


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value  # what cannot be copied (a lock, a handle of a library) is passed on as it is
