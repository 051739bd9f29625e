"""Which names there are below ``xgboost/``, known without importing the library."""

from __future__ import annotations

from collections.abc import Sequence

from batchloom.errors import nearest

NAMES = (
    "XGBClassifier",
    "XGBRegressor",
    "XGBRanker",
    "XGBRFClassifier",
    "XGBRFRegressor",
    "Booster",
)


class Resolver:
    """Turns what follows ``xgboost/`` in a name into a model class."""

    def names(self) -> Sequence[str]:
        """List the names, without ``xgboost/``."""
        return NAMES

    def __call__(self, rest: str) -> type:
        """Return the model class of a name.

        Raises
        ------
        LookupError
            If there is no such model.
        ImportError
            If XGBoost is not installed; the message says how to install it.
        """
        if rest not in NAMES:
            raise LookupError(
                f"XGBoost has no model {rest!r}{nearest(rest, NAMES) or '.'} There is: {', '.join(NAMES)}"
            )
        from batchloom_xgboost import model

        return getattr(model, rest)


resolver = Resolver()
