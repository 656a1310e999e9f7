"""Rows that were sent and are not acknowledged yet, and how many of them there may be."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import ProtocolError
from ..rows.messages import Int64s
from .encode import Frames
from .rows import Rows

#: Individually published rows in flight; the server queues up to 10,000 messages of a stream
#: (max_buffered_msgs).
MAX_ROWS = 8_000

#: Rows in flight on the slowest server.
_MIN_ROWS = 16


@dataclass(eq=False)
class Chunk:
    """Rows that are sent together.

    Attributes:
        first: number of the first row's publish, for rows that are published individually.
        batch: id of the fast batch; empty if the rows are published individually.
        flow: the maximum number of messages between two acks of the fast batch.
        sent: number of rows that were sent.
        settled: number of sent rows that are stored or rejected.
        stored: mask of the rows that are acknowledged.
        rejected: rows that the server rejected temporarily.
        closed: the server has closed the fast batch.
        unsupported: the server does not support fast batches, and closed this one at its start.
        started: when the chunk was encoded, in seconds since the epoch.
        after: by stream, a sequence after which all rows of the chunk are stored.
    """

    rows: Rows
    frames: Frames
    first: int = 0
    batch: str = ""
    flow: int = 0
    sent: int = 0
    settled: int = 0
    rejected: set[int] = field(default_factory=set)
    closed: bool = False
    unsupported: bool = False
    started: float = field(default_factory=time.time)
    after: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stored: npt.NDArray[np.bool_] = np.zeros(len(self.rows), bool)

    def count_settled(self) -> None:
        """Update ``settled`` of rows that are published individually."""
        self.settled = int(np.count_nonzero(self.stored)) + len(self.rejected)

    def store_up_to(self, count: int) -> bool:
        """Mark the first ``count`` rows of a fast batch as stored; return whether any is new.

        Raises ``ProtocolError`` if so many were not sent.
        """
        if count > self.sent:
            raise ProtocolError(
                f"the server reports {count} messages of a batch, of which {self.sent} were sent"
            )
        if count <= self.settled:
            return False
        self.settled = count
        self.stored[:count] = True
        return True

    @property
    def complete(self) -> bool:
        return self.closed or self.settled == len(self.rows)

    @property
    def stalled(self) -> bool:
        """Whether a row of a fast batch was rejected; the server rejects the rows after it too."""
        return bool(self.batch and self.rejected)

    @property
    def bytes_in_flight(self) -> int:
        offsets = self.frames.offsets
        return int(offsets[self.sent] - offsets[min(self.settled, self.sent)])

    def unacknowledged(self) -> Rows:
        """Return the rows that are not acknowledged, in order."""
        return self.rows.where(~self.stored)


class Window:
    """The chunks in flight, in the order of sending, and their limits.

    Attributes:
        max_rows: maximum rows in flight; lower while the server is overloaded.
    """

    def __init__(self, max_bytes: int) -> None:
        self.chunks: deque[Chunk] = deque()
        self.max_rows = MAX_ROWS
        self._max_bytes = max_bytes

    @property
    def full(self) -> bool:
        """Whether the bytes in flight have reached their limit."""
        return sum(each.bytes_in_flight for each in self.chunks) >= self._max_bytes

    def unsettled(self) -> int:
        """Return how many rows were sent and are neither stored nor rejected."""
        return sum(each.sent - each.settled for each in self.chunks)

    def store(self, numbers: Int64s) -> None:
        """Mark individually published rows as stored, by the numbers of their publishes.

        Raises ``ProtocolError`` for a row that was not sent.
        """
        numbers = np.sort(numbers)
        for chunk in self.chunks:
            if chunk.batch:
                continue
            low, high = np.searchsorted(numbers, [chunk.first, chunk.first + len(chunk.rows)])
            if low < high and numbers[high - 1] >= chunk.first + chunk.sent:
                raise ProtocolError("the server acknowledged a message that was not sent")
            chunk.stored[numbers[low:high] - chunk.first] = True
            chunk.count_settled()

    def complete(self) -> list[Chunk]:
        """Return the chunks that are complete."""
        return [each for each in self.chunks if each.complete]

    def remove(self, chunks: list[Chunk]) -> None:
        """Remove chunks."""
        self.chunks = deque(each for each in self.chunks if each not in chunks)

    def grow(self) -> None:
        """Raise the limit of rows, up to `MAX_ROWS`."""
        self.max_rows = min(2 * self.max_rows, MAX_ROWS)

    def shrink(self) -> None:
        """Lower the limit of rows until the server keeps up."""
        self.max_rows = max(self.max_rows // 2, _MIN_ROWS)
