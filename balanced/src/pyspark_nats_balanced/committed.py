"""The messages that a query has committed, so that redelivered ones are recognized. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nats_spark_common.rows.messages import Int64s

from .deliveries import Deliveries
from .intervals import Intervals
from .offset import Offset

#: Intervals of committed messages that are remembered while the query runs.
_MAX_INTERVALS = 1_000_000


class Committed:
    """The sequences of committed messages, on one stream.

    Attributes:
        seqs: the sequences; of very many intervals, the newest.
        newest: when the newest committed message was stored, in nanoseconds since the epoch.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all messages: the stream's sequences now belong to other messages."""
        self.seqs, self.newest = Intervals.empty(), 0

    def restore(self, position: Offset) -> None:
        """Take over what was committed before a batch, from its offset."""
        self.seqs, self.newest = position.done, position.newest

    def add(self, position: Offset) -> None:
        """Add the batch that ends at ``position``."""
        batch = Intervals.of(position.deliveries.seqs)
        self.seqs = self.seqs.union(batch).newest(_MAX_INTERVALS)
        self.newest = max(self.newest, position.newest)

    def contains(self, deliveries: Deliveries) -> npt.NDArray[np.bool_]:
        """Return for each delivered message whether its sequence is committed."""
        return self.seqs.contains(deliveries.seqs)

    def is_newer(self, times: Int64s) -> npt.NDArray[np.bool_]:
        """Return for each time of storage whether it is later than that of every committed message.

        A message stored later under a committed sequence is another one: the stream was restored
        from an older state, or has lost its messages.
        """
        return times > self.newest

    @property
    def last(self) -> int:
        """Return the highest committed sequence; 0 if there is none."""
        return int(self.seqs.ends.max(initial=0))
