"""Names after `tf/`: which there are, and the model class of each."""

from __future__ import annotations

from collections.abc import Sequence

from batchloom.errors import ModelNotFoundError, listing, nearest
from batchloom_tf.architectures import ARCHITECTURES

NAMES = ("Model", "Sequential", *sorted(ARCHITECTURES))


class Resolver:
    """Turn the part of a name after ``tf/`` into a model class; only that imports TensorFlow."""

    def __call__(self, rest: str) -> type:
        """Return the model class of a name.

        Parameters
        ----------
        rest : str
            ``"Model"``, ``"Sequential"``, or an architecture of `keras.applications`.

        Raises
        ------
        ModelNotFoundError
            If there is none of that name. It is a LookupError.
        """
        if rest not in NAMES:
            raise ModelNotFoundError(
                f"unknown model 'tf/{rest}'{nearest(rest, NAMES) or '.'} "
                f"{listing('model in tf/', list(NAMES), most=len(NAMES))}"
            )
        from batchloom_tf import model

        return model.application(rest) if rest in ARCHITECTURES else getattr(model, rest)

    def names(self) -> Sequence[str]:
        """List all names, without importing TensorFlow."""
        return NAMES


resolver = Resolver()
