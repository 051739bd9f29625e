"""The categories of one column, and the codes that they keep in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchloom.errors import ModelInputError


class CategoryTable:
    """Categories of a column in the order in which training first saw them: the place is the code.

    XGBoost sees codes only. A batch whose categories stand in another order, or are others, would
    train and predict on wrong codes without a word.

    Parameters
    ----------
    values : iterable
        The categories so far.
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.values: list[Any] = []
        self._code_of: dict[Any, int] = {}
        self._last: tuple[Any, NDArray[np.float32]] | None = None
        self._learn(values)

    def encode(
        self, column: str, categories: Any, codes: NDArray[Any], *, learn: bool, unseen: str
    ) -> NDArray[np.float32]:
        """Give a batch's codes in this table's order; NaN where the value is missing.

        Parameters
        ----------
        column : str
            Its name, for errors.
        categories : pandas.Index
            The batch's categories.
        codes : ndarray of int, shape (n,)
            Places in `categories`; -1 is a missing value.
        learn : bool
            Add new categories (training) instead of treating them as `unseen` says.
        unseen : {"error", "missing"}
            What to do with rows of a category that is not in the table.

        Raises
        ------
        ModelInputError
            If rows hold a category that training never saw, and `unseen` is ``"error"``.
        """
        if learn:
            self._learn(categories)
        mapped = self._codes_of(categories)[codes]  # -1, a missing value, takes the last: NaN
        strange = np.isnan(mapped) & (codes >= 0)
        if unseen == "error" and strange.any():
            self._refuse(column, categories[np.unique(codes[strange])])
        return mapped

    def _learn(self, categories: Iterable[Any]) -> None:
        for value in categories:
            if value not in self._code_of:
                self._code_of[value] = len(self.values)
                self.values.append(plain(value))
                self._last = None

    def _codes_of(self, categories: Any) -> NDArray[np.float32]:
        # Batches of one column nearly always share one index of categories.
        if self._last is None or self._last[0] is not categories:
            known = [self._code_of.get(value, np.nan) for value in categories]
            self._last = categories, np.array([*known, np.nan], np.float32)
        return self._last[1]

    def _refuse(self, column: str, strange: Any) -> None:
        more = " and more" if len(self.values) > 10 else ""
        raise ModelInputError(
            f"x: column {column!r} holds the categories {list(strange)[:5]}, "
            f"which training never saw. It saw {self.values[:10]}{more}. "
            'Set unseen_categories to "missing" to predict for them as for a missing value'
        )


def plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python value that it is."""
    return value.item() if isinstance(value, np.generic) else value
