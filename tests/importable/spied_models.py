"""A model that keeps what it is given, and pipelines around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchloom import Batch, Dataset, Pipeline, action
from batchloom.models import BaseModel


class Spy(BaseModel):
    """Keeps what it is given; gives back what its config says."""

    data_args = ("x", "y", "feed_dict")
    literal_args = ("output", "fetches")

    def _build(self, *args: Any, **kwargs: Any) -> None:
        self.given: list[dict[str, Any]] = []
        self.answer = self.config.get("answer", lambda **kwargs: len(self.given))

    def _train(self, **kwargs: Any) -> Any:
        self.given.append(kwargs)
        return self.answer(**kwargs)

    _predict = _train


class Items(Batch):
    @action
    def add(self) -> Items:
        self.add_component("made", self.x * 10)
        return self


def pipeline(answer: Any = None, n: int = 6) -> Pipeline:
    data = {"x": np.arange(n), "y": np.arange(n) % 2}
    config = {} if answer is None else {"answer": answer}
    return (
        Dataset(batch_class=Items, data=data)
        .pipeline({"lr": 0.1})
        .init_variable("v", 5)
        .init_variable("history", init_on_each_run=list)
        .init_model("static", Spy, "spy", config)
    )


def given(base: Pipeline, **options: Any) -> list[dict[str, Any]]:
    base.get_model_by_name("spy").given.clear()
    return base.run(3, **options).get_model_by_name("spy").given


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
