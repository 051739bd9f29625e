"""Raw Keras models, and classes of them, where the name of a model may stand."""

from __future__ import annotations

from typing import Any


def adapt(model: Any) -> tuple[type, dict[str, Any]]:
    """Say how a Keras model becomes a Batchloom model.

    Parameters
    ----------
    model : keras.Model or subclass of it
        An object, compiled or not, or a class that makes one.

    Returns
    -------
    tuple of type and dict
        `batchloom_tf.model.Model` and what its config gains.

    Raises
    ------
    TypeError
        If it belongs to Keras and is no model, such as a layer or an optimizer.
    """
    from batchloom_tf.library import keras  # whoever holds such an object has imported it already
    from batchloom_tf.model import Model

    is_class = isinstance(model, type)
    if not (issubclass(model, keras.Model) if is_class else isinstance(model, keras.Model)):
        raise TypeError(
            f"{model!r} is of Keras and no keras.Model. Layers go into config['layers'] of "
            "'tf/Sequential'"
        )
    return Model, {"model": model}
