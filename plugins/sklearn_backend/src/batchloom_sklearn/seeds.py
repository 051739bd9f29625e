"""Random states that nobody has set: fixed from the seed of the run."""

from __future__ import annotations

from typing import Any

import numpy as np


def seed_random_states(estimator: Any, seed: int) -> None:
    """Give a fixed seed to every ``random_state`` that is None, nested ones too.

    The seeds are words drawn from ``numpy.random.SeedSequence(seed)``, one for each parameter in
    the alphabetical order of their names; a ``random_state`` that was given is left alone.
    """
    params = estimator.get_params()
    names = sorted(key for key in params if _names_random_state(key))
    if not names:
        return
    words = np.random.SeedSequence(seed).generate_state(len(names)).tolist()
    drawn = dict(zip(names, words, strict=True))
    estimator.set_params(**{key: drawn[key] for key in names if params[key] is None})


def _names_random_state(key: str) -> bool:
    return key == "random_state" or key.endswith("__random_state")
