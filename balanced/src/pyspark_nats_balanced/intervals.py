"""Sets of sequences as intervals. Pure."""

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
        starts, ends: bounds of its intervals, both included, ascending; no two are adjacent.
    """

    starts: Int64s
    ends: Int64s

    @staticmethod
    def empty() -> Intervals:
        """Return the empty set."""
        return Intervals(np.zeros(0, np.int64), np.zeros(0, np.int64))

    @staticmethod
    def of(seqs: Int64s) -> Intervals:
        """Return the set of ``seqs``, which may be unordered and repeat."""
        return _joined(seqs, seqs)

    def __len__(self) -> int:
        """Return the number of intervals."""
        return len(self.starts)

    def contains(self, seqs: Int64s) -> npt.NDArray[np.bool_]:
        """Return for each of ``seqs`` whether it is in the set."""
        if not len(self):
            return np.zeros(len(seqs), bool)
        at = np.searchsorted(self.starts, seqs, "right") - 1
        return (at >= 0) & (seqs <= self.ends[np.maximum(at, 0)])

    def union(self, other: Intervals) -> Intervals:
        """Return the sequences that are in either set."""
        return _joined(
            np.concatenate((self.starts, other.starts)), np.concatenate((self.ends, other.ends))
        )

    def newest(self, count: int) -> Intervals:
        """Return the last ``count`` intervals: those of the highest sequences."""
        first = max(0, len(self) - count)
        return Intervals(self.starts[first:], self.ends[first:])

    def pack(self) -> str:
        """Return the set as text for an offset."""
        before = np.concatenate(([0], self.ends[:-1])) if len(self) else self.ends
        return pack([self.starts[:1], (self.starts - before)[1:], self.ends - self.starts])

    @staticmethod
    def unpack(text: str) -> Intervals:
        """Return what `pack` packed. Raise ``ValueError`` for any other text."""
        first, gaps, lengths = unpack(text, 3)
        if len(first) + len(gaps) != len(lengths):
            raise ValueError("its intervals are inconsistent")
        ends = np.cumsum(np.concatenate((first, gaps)) + lengths)
        starts = ends - lengths
        if (starts <= np.concatenate(([-1], ends))[: len(starts)]).any() or (lengths < 0).any():
            raise ValueError("its intervals do not ascend")
        return Intervals(starts, ends)


def _joined(starts: Int64s, ends: Int64s) -> Intervals:
    """Return the union of intervals that may be unordered, overlapping or adjacent."""
    if not len(starts):
        return Intervals.empty()
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    separate = np.concatenate(([True], starts[1:] > ends[:-1] + 1))
    last = np.append(np.flatnonzero(separate)[1:] - 1, len(ends) - 1)
    return Intervals(starts[separate], ends[last])
