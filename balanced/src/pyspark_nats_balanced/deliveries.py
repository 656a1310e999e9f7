"""Messages delivered by the durable consumer, without their payloads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nats_spark_common.rows.messages import Int64s

from .packed_columns import MAX_MESSAGES, pack, unpack, unzigzag, zigzag


@dataclass(frozen=True)
class Deliveries:
    """Messages of one stream, each once, ordered by stream sequence.

    Attributes:
        seqs: stream sequences.
        consumer_seqs: consumer sequences of the deliveries.
        counts: how many times each message was delivered, this delivery included.
    """

    seqs: Int64s
    consumer_seqs: Int64s
    counts: Int64s

    @staticmethod
    def empty() -> Deliveries:
        """Return no messages."""
        none = np.zeros(0, np.int64)
        return Deliveries(none, none, none)

    @staticmethod
    def joined(parts: Sequence[Deliveries]) -> Deliveries:
        """Return the parts concatenated, unsorted."""
        return Deliveries(
            *(
                np.concatenate([np.zeros(0, np.int64), *(getattr(part, name) for part in parts)])
                for name in ("seqs", "consumer_seqs", "counts")
            )
        )

    @staticmethod
    def of(parts: Sequence[Deliveries]) -> Deliveries:
        """Return unordered deliveries as one, with the last delivery of each message."""
        found = Deliveries.joined(parts)
        if (found.seqs[1:] > found.seqs[:-1]).all():
            return found
        order = np.lexsort((found.consumer_seqs, found.seqs))
        last = np.append(np.diff(found.seqs[order]) != 0, True)
        return found.select(order[last])

    def __len__(self) -> int:
        return len(self.seqs)

    def select(self, which: npt.NDArray[np.bool_] | Int64s | slice) -> Deliveries:
        """Return the messages that a mask, indices or a slice select."""
        return Deliveries(self.seqs[which], self.consumer_seqs[which], self.counts[which])

    def split(self, pieces: int) -> list[Deliveries]:
        """Return pieces of about equal size, in order, none of them empty."""
        bounds = np.linspace(0, len(self), pieces + 1).astype(int)
        spans = [slice(a, b) for a, b in pairwise(bounds.tolist()) if a < b]
        return [self.select(span) for span in spans]

    def pack(self) -> str:
        """Return the messages as text for an offset: runs of adjacent messages as differences.

        A run is a first stream sequence, a length, a first consumer sequence and a count of
        deliveries. Between runs the consumer sequence mostly advances with the stream sequence, if
        others share the consumer, or by one, if a filter skips messages. Deviations from one of the
        two rules are written; the rule with fewer deviations is chosen.
        """
        if not len(self):
            return pack([self.seqs] * 7)
        breaks = (
            (np.diff(self.seqs) != 1)
            | (np.diff(self.consumer_seqs) != 1)
            | (np.diff(self.counts) != 0)
        )
        first = np.concatenate(([0], np.flatnonzero(breaks) + 1))
        lengths = np.diff(np.append(first, len(self)))
        starts, consumer_starts = self.seqs[first], self.consumer_seqs[first]
        gaps = starts[1:] - (starts + lengths)[:-1]
        moves = consumer_starts[1:] - (consumer_starts + lengths)[:-1]
        along = int(np.count_nonzero(moves - gaps) < np.count_nonzero(moves))
        return pack(
            [
                np.array([along]),
                starts[:1],
                gaps,
                consumer_starts[:1],
                zigzag(moves - gaps * along),
                lengths - 1,
                self.counts[first] - 1,
            ]
        )

    @staticmethod
    def unpack(text: str) -> Deliveries:
        """Return what `pack` packed. Raise ``ValueError`` for any other text."""
        along, first, gaps, consumer_first, moves, lengths, counts = unpack(text, 7)
        runs = len(lengths)
        sizes = (len(first) + len(gaps), len(consumer_first) + len(moves), len(counts))
        if sizes != (runs, runs, runs) or len(along) != min(runs, 1):
            raise ValueError("its runs are inconsistent")
        if not runs:
            return Deliveries.empty()
        moves = unzigzag(moves) + gaps * int(along[0])
        if lengths.max() >= MAX_MESSAGES or len(lengths) + lengths.sum() > MAX_MESSAGES:
            raise ValueError("it has too many messages")
        lengths = lengths + 1
        steps = np.arange(lengths.sum())
        found = Deliveries(
            np.repeat(np.cumsum(np.concatenate((first, gaps))), lengths) + steps,
            np.repeat(np.cumsum(np.concatenate((consumer_first, moves))), lengths) + steps,
            np.repeat(counts + 1, lengths),
        )
        if (
            found.seqs[0] < 0
            or (found.seqs[1:] <= found.seqs[:-1]).any()
            or (found.consumer_seqs < 0).any()
            or (found.counts < 0).any()
        ):
            raise ValueError("its sequences do not ascend")
        return found
