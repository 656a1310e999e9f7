"""Ranges of stream sequences, and their division into tasks. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: A ``consumer_from`` that no range reaches.
NEVER = sys.maxsize


@dataclass(frozen=True)
class StreamRange:
    """Sequences ``first``..``last`` of one stream, both included.

    Attributes:
        created: creation time of the stream that the range was planned on.
        filters: filter subjects; without any, every message is read.
        direct: whether direct get batches can read it; otherwise an ordered consumer does.
        consumer_from: length from which a consumer reads it even so, because it is cheaper.
        filters_here: whether the task reads every message and keeps those that match, rather than
            asking the server for them.
        mean_size: mean stored bytes of the stream's messages; infinite if unknown.
    """

    stream: str
    created: str
    first: int
    last: int
    filters: tuple[str, ...] = ()
    direct: bool = True
    consumer_from: int = NEVER
    mean_size: float = math.inf
    filters_here: bool = False

    def __len__(self) -> int:
        return max(0, self.last - self.first + 1)


def plan_tasks(
    ranges: Sequence[StreamRange], tasks: int, min_size: int
) -> list[tuple[StreamRange, ...]]:
    """Return the ranges that each of about ``tasks`` tasks reads, divided as by `split`.

    Ranges of small streams share a task if together they do not exceed the size of other tasks.
    """
    pieces = split(ranges, tasks, min_size)
    target = _target(ranges, tasks, min_size)
    max_pieces = -(-len(pieces) // max(1, tasks))
    found: list[list[StreamRange]] = []
    room = 0
    for piece in pieces:
        if found and len(piece) <= room and len(found[-1]) < max_pieces:
            found[-1].append(piece)
        else:
            found.append([piece])
            room = target
        room -= len(piece)
    return [tuple(each) for each in found]


def _target(ranges: Sequence[StreamRange], tasks: int, min_size: int) -> int:
    return max(min_size, -(-sum(map(len, ranges)) // max(1, tasks)))


def split(ranges: Sequence[StreamRange], tasks: int, min_size: int) -> list[StreamRange]:
    """Split ranges into about ``tasks`` pieces of even length, none far below ``min_size``.

    Every piece belongs to one stream. The pieces of a stream are in order, cover its range and do
    not overlap. Empty ranges yield no piece. A range shorter than ``min_size`` is one piece.
    """
    target = _target(ranges, tasks, min_size)
    pieces = []
    for each in ranges:
        if not len(each):
            continue
        count = max(1, round(len(each) / target))
        bounds = [each.first + len(each) * i // count for i in range(count + 1)]
        pieces += [replace(each, first=bounds[i], last=bounds[i + 1] - 1) for i in range(count)]
    return pieces
