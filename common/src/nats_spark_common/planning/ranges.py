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


def shares(
    ranges: Sequence[StreamRange], tasks: int, smallest: int
) -> list[tuple[StreamRange, ...]]:
    """What each of about ``tasks`` tasks reads: pieces as `split` makes them.

    Pieces of small streams share a task as long as they are together no more than others have.
    """
    pieces = split(ranges, tasks, smallest)
    target = _target(ranges, tasks, smallest)
    most = -(-len(pieces) // max(1, tasks))
    found: list[list[StreamRange]] = []
    room = 0
    for piece in pieces:
        if found and len(piece) <= room and len(found[-1]) < most:
            found[-1].append(piece)
        else:
            found.append([piece])
            room = target
        room -= len(piece)
    return [tuple(each) for each in found]


def _target(ranges: Sequence[StreamRange], tasks: int, smallest: int) -> int:
    return max(smallest, -(-sum(map(len, ranges)) // max(1, tasks)))


def split(ranges: Sequence[StreamRange], tasks: int, smallest: int) -> list[StreamRange]:
    """Split ranges into about ``tasks`` pieces of even length, none far below ``smallest``.

    Every piece lies in one stream. The pieces of a stream are in order, cover its range and do not
    overlap; empty ranges yield none. A stream that is itself below ``smallest`` is one piece.
    """
    target = _target(ranges, tasks, smallest)
    pieces = []
    for each in ranges:
        if not len(each):
            continue
        count = max(1, round(len(each) / target))
        bounds = [each.first + len(each) * i // count for i in range(count + 1)]
        pieces += [replace(each, first=bounds[i], last=bounds[i + 1] - 1) for i in range(count)]
    return pieces
