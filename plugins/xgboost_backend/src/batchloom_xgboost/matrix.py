"""Pages of rows as the matrices that XGBoost trains on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from batchloom.errors import ModelConfigError, ModelInputError
from batchloom_xgboost.columns import Columns
from batchloom_xgboost.library import xgboost as xgb
from batchloom_xgboost.pages import Pages
from batchloom_xgboost.parameters import Parameters, reason
from batchloom_xgboost.rows import Rows, concatenate
from batchloom_xgboost.spool import SpoolFolder


@dataclass(frozen=True)
class MatrixBuilder:
    """Builds the matrices of one training.

    Parameters
    ----------
    parameters : Parameters
    columns : Columns
        Names and types of the columns.
    order : ndarray, optional
        The class of each label's code.
    cache : SpoolFolder, optional
        Where an external-memory matrix keeps its pages; None for a matrix in memory.
    exact : bool
        Whether to keep the values themselves. A booster that has trees sees in a quantile matrix
        only the quantiles of that matrix, and its trees split elsewhere.
    """

    parameters: Parameters
    columns: Columns
    order: NDArray[Any] | None = None
    cache: SpoolFolder | None = None
    exact: bool = False

    def build(self, pages: Pages, name: str, ref: Any = None) -> Any:
        """Return a matrix of all rows, of the kind that the tree method works on.

        Quantiles are those of all rows at once, to the bit, however they are cut into pages.

        Parameters
        ----------
        pages : Pages
        name : str
            Tells the cache files of several matrices apart.
        ref : xgboost.DMatrix, optional
            The training matrix, whose quantiles a validation matrix uses.
        """
        if self.exact or not uses_quantiles(self.parameters):
            return self._plain(pages)
        prefix = None if self.cache is None else str(self.cache.path / f"cache-{name}")
        kind = xgb.QuantileDMatrix if prefix is None else xgb.ExtMemQuantileDMatrix
        iterator = _PageIterator(pages, self._arguments, prefix)
        try:
            matrix = kind(
                iterator,
                ref=ref,
                missing=self.parameters.missing,
                nthread=self.parameters.nthread,
                max_bin=self.parameters.max_bin,
                enable_categorical=True,
            )
        except xgb.core.XGBoostError as exc:
            raise ModelInputError(f"XGBoost refuses the data: {reason(exc)}") from exc
        finally:
            iterator.raise_interrupt()
        return self._weigh_columns(matrix)

    def _plain(self, pages: Pages) -> Any:
        if self.cache is not None:
            raise ModelConfigError('memory="external" works with tree_method="hist" only')
        rows = concatenate([pages[i] for i in range(len(pages))])
        matrix = xgb.DMatrix(
            **self._arguments(rows),
            missing=self.parameters.missing,
            nthread=self.parameters.nthread,
            enable_categorical=True,
        )
        return self._weigh_columns(matrix)

    def _arguments(self, rows: Rows) -> dict[str, Any]:
        fields = dict(rows.fields)
        if self.order is not None and "label" in fields:
            fields["label"] = self.order[fields["label"].astype(int)]
        names = {"feature_names": self.columns.names, "feature_types": self.columns.types}
        return {"data": rows.x, **fields, **names}

    def _weigh_columns(self, matrix: Any) -> Any:
        if self.parameters.feature_weights is not None:
            matrix.set_info(feature_weights=self.parameters.feature_weights)
        return matrix


def uses_quantiles(parameters: Parameters) -> bool:
    """Whether the parameters ask for histograms, as they do by default."""
    native = parameters.native
    hist = native.get("tree_method") in (None, "auto", "hist")
    return hist and native.get("booster") != "gblinear" and "updater" not in native


class _PageIterator(xgb.DataIter):
    """Hands XGBoost one page after the other, as often as it asks."""

    def __init__(
        self, pages: Pages, arguments: Callable[[Rows], dict[str, Any]], cache_prefix: str | None
    ) -> None:
        self._pages, self._arguments = pages, arguments
        self._next = 0
        self._interrupt: BaseException | None = None
        super().__init__(cache_prefix=cache_prefix)

    def reset(self) -> None:
        self._next = 0

    def next(self, input_data: Callable[..., Any]) -> bool:
        if self._next == len(self._pages):
            return False
        try:
            input_data(**self._arguments(self._pages[self._next]))
        except Exception:
            raise  # kept by DataIter, and raised once XGBoost has returned
        except BaseException as exc:
            # Ctrl-C within a callback is printed and lost, and the data would end here.
            self._interrupt = exc
            return False
        self._next += 1
        return True

    def raise_interrupt(self) -> None:
        """Raise what interrupted the passing on of a page, if anything did."""
        if self._interrupt is not None:
            raise self._interrupt
