"""The processes that a test has started."""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess


def own_children() -> list[BaseProcess]:
    """Give this process's children that are alive, but for those that joblib keeps for later.

    A test of scikit-learn that ran before in the same process may have asked it for them.
    """
    alive = multiprocessing.active_children()
    return [each for each in alive if not type(each).__name__.startswith("Loky")]
