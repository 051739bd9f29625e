"""An exception names the step that it came from, whichever of several that is, however it failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from batchloom import Batch, Dataset, action
from batchloom.errors import ActionError, DataError

STEPS = 4


def raised_before() -> ValueError:
    try:
        raise ValueError("raised once already")
    except ValueError as exc:
        return exc


class Failing(Batch):
    components = "x", "y"

    @action
    def step(self, number: int, at: int = -1, how: str = "") -> Any:
        assert len(self.x)  # gathered beforehand, after the first batches
        if self.number == at:
            if how == "raises":
                raise ValueError("as it was told to")
            if how == "raises again":
                raise raised_before()
            if how == "gives nothing":
                return None
            self.x = [number]
        return self


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("at", [0, 7])
@pytest.mark.parametrize("failing", range(STEPS))
@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("raises", ValueError),
        ("raises again", ValueError),
        ("gives nothing", ActionError),
        ("writes too little", DataError),
    ],
)
def test_the_step_that_failed_is_named(
    how: str, error: type[Exception], failing: int, at: int, prefetch: int
) -> None:
    pipeline = Dataset(data={"x": np.zeros(400), "y": np.zeros(400)}, batch_class=Failing).p
    for number in range(STEPS):
        pipeline = pipeline.step(number, at, how) if number == failing else pipeline.step(number)
    with pytest.raises(error) as caught:
        pipeline.run(10, prefetch=prefetch)
    (note,) = [each for each in caught.value.__notes__ if each.startswith("in step")]
    assert note.startswith(f"in step step({failing}, {at}, {how!r}), batch {at} of epoch 0")
