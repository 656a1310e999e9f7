"""Ranges of stream sequences and how they are split over tasks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class StreamRange:
    """Sequences ``first``..``last`` of one stream, both included.

    Attributes:
        created: creation time of the stream that the range was planned on.
        filters: filter subjects; none reads every message.
        direct: whether direct get batches are to be had; else an ordered consumer reads.
    """

    stream: str
    created: str
    first: int
    last: int
    filters: tuple[str, ...] = ()
    direct: bool = True

    def __len__(self) -> int:
        return max(0, self.last - self.first + 1)


def split(ranges: Sequence[StreamRange], tasks: int, smallest: int) -> list[StreamRange]:
    """Split ranges into about ``tasks`` pieces of even length, none far below ``smallest``.

    Every piece lies in one stream. The pieces of a stream are in order, cover its range and do not
    overlap; empty ranges yield none. A stream that is itself below ``smallest`` is one piece.
    """
    total = sum(map(len, ranges))
    if not total:
        return []
    target = max(smallest, -(-total // max(1, tasks)))
    pieces = []
    for each in ranges:
        if not len(each):
            continue
        count = max(1, round(len(each) / target))
        bounds = [each.first + len(each) * i // count for i in range(count + 1)]
        pieces += [replace(each, first=bounds[i], last=bounds[i + 1] - 1) for i in range(count)]
    return pieces
