"""How much of what is there goes into the next batch. Pure: time comes in as a number.

Amounts are counted in stream sequences, as Spark's Kafka source counts offsets: a sequence that was
deleted, or that a filter passes over, counts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: The first batch of a query that adapts to a duration, before anything was measured.
FIRST_ADAPTED_BATCH = 50_000
#: A batch grows at most by this factor over the one before.
_GROWTH = 4.0
_SMALLEST_ADAPTED_BATCH = 100


@dataclass(frozen=True)
class Available:
    """What one stream has to offer: ``count`` sequences of ``size`` stored bytes on average."""

    count: int
    size: float


def admit(
    available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
) -> dict[str, int]:
    """How many sequences to take of each stream.

    A limit is shared in proportion to what the streams have, so that a long backlog in one does
    not hold up the others; each stream with anything to offer gets at least one sequence, so
    a query always moves on.
    """
    total = sum(each.count for each in available.values())
    total_bytes = sum(each.count * each.size for each in available.values())
    share = 1.0
    if max_messages is not None and total > max_messages:
        share = max_messages / total
    if max_bytes is not None and total_bytes * share > max_bytes:
        share = max_bytes / total_bytes
    if share == 1.0:
        return {name: each.count for name, each in available.items()}
    taken = {
        name: max(int(each.count * share), 1) if each.count else 0
        for name, each in available.items()
    }
    if max_messages is None:
        return taken
    # One of each may be more than the limit allows. Then the largest shares give way, down to one
    # each, then to none: the shortest backlogs first, which grow until it is their turn.
    excess = sum(taken.values()) - max_messages
    for least in (1, 0):
        for name in sorted(taken, key=lambda n: (-taken[n], available[n].count)):
            given = max(0, min(excess, taken[name] - least))
            taken[name] -= given
            excess -= given
    return taken


def worth_a_batch(count: int, min_messages: int, waited: float, max_delay: float) -> bool:
    """Whether ``count`` new sequences make a batch, ``waited`` seconds after the last one."""
    return count > 0 and (count >= min_messages or waited >= max_delay)


class Pace:
    """Adapts the size of a batch to a duration, from how long the batches before it took."""

    def __init__(self, target: float) -> None:
        """``target`` is in seconds."""
        self._target = target
        self._limit = float(FIRST_ADAPTED_BATCH)
        self._begun: tuple[int, float] | None = None

    @property
    def limit(self) -> int:
        """Sequences for the next batch."""
        return int(self._limit)

    def begin(self, count: int, now: float) -> None:
        """A batch of ``count`` sequences starts at ``now`` (seconds on any steady clock)."""
        self._begun = (count, now)

    def finish(self, now: float) -> None:
        """The batch that was begun is done."""
        if self._begun is None:
            return
        count, started = self._begun
        self._begun = None
        took = max(now - started, 1e-3)
        wanted = count * self._target / took
        if count < self._limit and wanted < self._limit and took <= self._target:
            return  # a small batch that was quick says nothing of a large one
        ceiling = max(float(count), self._limit) * _GROWTH
        self._limit = min(max(wanted, _SMALLEST_ADAPTED_BATCH), ceiling)
