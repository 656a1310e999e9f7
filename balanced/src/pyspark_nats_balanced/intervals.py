"""Sets of sequences as intervals: what a query has committed. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nats_spark_common.rows.messages import Int64s

from .packed_columns import pack, unpack


@dataclass(frozen=True)
class Intervals:
    """A set of sequences.

    Attributes:
        starts, ends: of its intervals, both included, ascending; no two touch each other.
    """

    starts: Int64s
    ends: Int64s

    @staticmethod
    def empty() -> Intervals:
        return Intervals(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @staticmethod
    def of(seqs: Int64s) -> Intervals:
        """The set of ``seqs``, which may stand in any order and repeat."""
        return _joined(seqs, seqs)

    def __len__(self) -> int:
        """How many intervals."""
        return len(self.starts)

    def contains(self, seqs: Int64s) -> npt.NDArray[np.bool_]:
        """For each of ``seqs`` whether it is in the set."""
        if not len(self):
            return np.zeros(len(seqs), bool)
        at = np.searchsorted(self.starts, seqs, "right") - 1
        return (at >= 0) & (seqs <= self.ends[np.maximum(at, 0)])

    def union(self, other: Intervals) -> Intervals:
        """The sequences that are in either."""
        return _joined(
            np.concatenate((self.starts, other.starts)), np.concatenate((self.ends, other.ends))
        )

    def newest(self, most: int) -> Intervals:
        """The last ``most`` intervals: those of the highest sequences."""
        first = max(0, len(self) - most)
        return Intervals(self.starts[first:], self.ends[first:])

    def pack(self) -> str:
        """As text for an offset."""
        before = np.concatenate(([0], self.ends[:-1])) if len(self) else self.ends
        return pack([self.starts[:1], (self.starts - before)[1:], self.ends - self.starts])

    @staticmethod
    def unpack(text: str) -> Intervals:
        """What `pack` made. Raises ``ValueError`` for anything else."""
        first, gaps, lengths = unpack(text, 3)
        if len(first) + len(gaps) != len(lengths):
            raise ValueError("its intervals do not fit together")
        ends = np.cumsum(np.concatenate((first, gaps)) + lengths)
        return Intervals(ends - lengths, ends)


def _joined(starts: Int64s, ends: Int64s) -> Intervals:
    """Intervals in any order, overlapping or touching, as the set of what they cover."""
    if not len(starts):
        return Intervals.empty()
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    fresh = np.concatenate(([True], starts[1:] > ends[:-1] + 1))
    last = np.append(np.flatnonzero(fresh)[1:] - 1, len(ends) - 1)
    return Intervals(starts[fresh], ends[last])
