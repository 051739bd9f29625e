"""Rows in the order of their queries, each query whole, wherever its rows came from.

XGBoost makes two queries of one whose rows lie in two pages, without a word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchloom.errors import ModelInputError
from batchloom_xgboost.pages import Pages
from batchloom_xgboost.rows import Rows, concatenate


class QueryPages:
    """Pages of whole queries, sorted by query; rows of one query stay in the order they came in.

    Rows that come in the order of their queries are cheapest: each page is then made of two others
    at most.

    Parameters
    ----------
    pages : Pages
        Rows with a ``qid``; their weights, if there are any, must be one for each query.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        qids = [pages[i].fields["qid"] for i in range(len(pages))]
        self._starts = np.cumsum([0, *map(len, qids)])
        qid = np.concatenate(qids)
        self._order = np.argsort(qid, kind="stable")
        self._cuts = _cuts(qid[self._order], max(map(len, qids)))

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __getitem__(self, i: int) -> Rows:
        rows = self._take(self._order[self._cuts[i] : self._cuts[i + 1]])
        if "weight" not in rows.fields:
            return rows
        return Rows(rows.x, {**rows.fields, "weight": _weight_of_queries(rows)})

    def _take(self, which: NDArray[np.intp]) -> Rows:
        page_of = np.searchsorted(self._starts, which, side="right") - 1
        parts, places = [], []
        for page in np.unique(page_of):
            here = np.flatnonzero(page_of == page)
            parts.append(self._pages[int(page)].take(which[here] - self._starts[page]))
            places.append(here)
        return concatenate(parts).take(np.argsort(np.concatenate(places), kind="stable"))


def _cuts(qid: NDArray[np.uint32], page_rows: int) -> NDArray[np.intp]:
    """Places at which to cut sorted rows into pages of about `page_rows` and of whole queries."""
    borders = np.append(np.flatnonzero(np.diff(qid)) + 1, len(qid))
    wanted = np.arange(page_rows, len(qid) + page_rows, page_rows)
    places = np.minimum(np.searchsorted(borders, wanted), len(borders) - 1)
    return np.concatenate([[0], np.unique(borders[places])])


def _weight_of_queries(rows: Rows) -> NDArray[np.float32]:
    """Return one weight for each query, as XGBoost asks for it in ranking."""
    qid, weight = rows.fields["qid"], rows.fields["weight"]
    first = np.concatenate([[0], np.flatnonzero(np.diff(qid)) + 1])
    lengths = np.diff(np.append(first, len(qid)))
    if (np.repeat(weight[first], lengths) != weight).any():
        raise ModelInputError("sample_weight: differs within a query; ranking weighs whole queries")
    return weight[first]
