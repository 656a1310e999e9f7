"""Rows under way to a server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .encode import Frames
from .rows import Rows


@dataclass(eq=False)
class Flight:
    """Rows under way.

    Attributes:
        first: number of the first row's publish, where they are published singly.
        batch: id of the fast batch, empty where there is none.
        flow: after how many messages of it we ask for an ack, at the latest.
        sent, done: how many rows were sent, and how many of these are settled.
        stored: rows that are acknowledged.
        again: rows that were turned away for the moment.
        ended: the server has closed the fast batch.
        declined: the server takes no fast batches, so it was closed before it began.
        begun: when it was first sent, in seconds since the epoch.
    """

    rows: Rows
    frames: Frames
    first: int = 0
    batch: str = ""
    flow: int = 0
    sent: int = 0
    done: int = 0
    again: set[int] = field(default_factory=set)
    ended: bool = False
    declined: bool = False
    begun: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.stored: npt.NDArray[np.bool_] = np.zeros(len(self.rows), bool)

    def count_done(self) -> None:
        """Count anew what is settled of rows that are published singly."""
        self.done = int(np.count_nonzero(self.stored)) + len(self.again)

    @property
    def complete(self) -> bool:
        return self.ended or self.done == len(self.rows)

    @property
    def stuck(self) -> bool:
        """Whether a row of a fast batch was turned away: what follows it would be, too."""
        return bool(self.batch and self.again)

    @property
    def bytes_in_flight(self) -> int:
        return int(self.frames.offsets[self.sent] - self.frames.offsets[min(self.done, self.sent)])

    def missing(self) -> Rows:
        """The rows that are not acknowledged, in order."""
        return self.rows.where(~self.stored)
