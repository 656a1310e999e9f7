"""Decides how many of the available messages the next batch reads. Pure: time is an argument.

Amounts are counted in stream sequences, as Spark's Kafka source counts offsets: deleted messages
and messages that a filter excludes count too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Size of the first batch of a query with a target duration, before anything was measured.
FIRST_ADAPTED_BATCH = 50_000
#: Maximum factor by which the batch size grows from one batch to the next.
_GROWTH = 4.0
_MIN_ADAPTED_BATCH = 100


@dataclass(frozen=True)
class Available:
    """The unread part of a stream: ``count`` sequences of ``size`` stored bytes on average."""

    count: int
    size: float


def admit(
    available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
) -> dict[str, int]:
    """Return the number of sequences to read of each stream.

    A limit is divided in proportion to the streams' backlogs, so that a long backlog in one does
    not delay the others. Each stream with a backlog gets at least one sequence if the limit allows
    it, so that the query always progresses.
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
    # One sequence of each stream may exceed the limit. Then reduce the largest shares to one; if
    # this is not enough, reduce to none, shortest backlogs first: they grow until they are served.
    excess = sum(taken.values()) - max_messages
    for least in (1, 0):
        for name in sorted(taken, key=lambda n: (-taken[n], available[n].count)):
            given = max(0, min(excess, taken[name] - least))
            taken[name] -= given
            excess -= given
    return taken


def worth_a_batch(count: int, min_messages: int, waited: float, max_delay: float) -> bool:
    """Return whether ``count`` sequences start a batch ``waited`` seconds after the last batch."""
    return count > 0 and (count >= min_messages or waited >= max_delay)


class AdaptiveBatchSize:
    """Adapts the batch size to a target duration, based on the durations of earlier batches."""

    def __init__(self, target: float) -> None:
        """``target`` is the duration of a batch in seconds."""
        self._target = target
        self._limit = float(FIRST_ADAPTED_BATCH)
        self._running: tuple[int, float] | None = None  # count and start of the batch

    @property
    def limit(self) -> int:
        """Maximum sequences of the next batch."""
        return int(self._limit)

    def begin(self, count: int, now: float) -> None:
        """Record that a batch of ``count`` sequences starts at ``now`` (of `time.monotonic`)."""
        self._running = (count, now)

    def finish(self, now: float) -> None:
        """Record that the running batch ended; adapt the size."""
        if self._running is None:
            return
        count, started = self._running
        self._running = None
        took = max(now - started, 1e-3)
        wanted = count * self._target / took
        if count < self._limit and wanted < self._limit and took <= self._target:
            return  # a short small batch does not show how long a large one takes
        ceiling = max(float(count), self._limit) * _GROWTH
        self._limit = min(max(wanted, _MIN_ADAPTED_BATCH), ceiling)
