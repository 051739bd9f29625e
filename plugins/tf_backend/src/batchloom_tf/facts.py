"""What a network that is made to fit its data has to know, and where that is known from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchloom.errors import BatchloomError
from batchloom.models.protocol import RunInfo
from batchloom_tf.arrays import as_array
from batchloom_tf.classes import count_classes
from batchloom_tf.feeding import Feed, is_several, shapes_of


class NotYetKnownError(BatchloomError):
    """Raised where a network needs the first batch, and caught where there is none yet."""


class Facts:
    """What is known of the data at the time when the network is made.

    Parameters
    ----------
    config : mapping
        Its ``input_shape`` and ``classes`` come first.
    feed : Feed, optional
        What the first call of train or predict was given.
    run : RunInfo, optional
        The run, if it is one that trains.
    """

    def __init__(
        self, config: Mapping[str, Any], feed: Feed | None = None, run: RunInfo | None = None
    ) -> None:
        self.config, self.feed, self.run = config, feed, run

    @property
    def input_shape(self) -> Any:
        """Shape of x without its rows, or a dict (or list) of shapes."""
        given = self.config.get("input_shape")
        if given is None:
            return shapes_of(self._feed().x)
        return dict(given) if isinstance(given, Mapping) else tuple(given)

    @property
    def classes(self) -> int:
        """The number of classes, or of numbers to predict."""
        given = self.config.get("classes")
        if given is None:
            return count_classes(self._feed().y, self.run, self.config.get("loss"))
        return int(given)

    @property
    def dtype_kind(self) -> str:
        """NumPy's kind of x: ``"f"``, ``"i"``, ``"U"``, …; floating point if there is no batch."""
        x = self.feed and self.feed.x
        if x is None or isinstance(x, Mapping) or is_several(x):
            return "f"
        return as_array(x, "x").dtype.kind

    def _feed(self) -> Feed:
        if self.feed is None:
            raise NotYetKnownError("the first batch has not been seen")
        return self.feed
