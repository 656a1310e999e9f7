"""Keeps the last progress of each query."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

from ..sink.counts import Counts, read_counts, start_counting, stop_counting
from .measures import QueryMeasures, measures

#: Ended queries that are kept: an application may start one after the other.
_MAX_ENDED = 100


@dataclass(frozen=True)
class QueryState:
    """A query, and its last batch.

    Attributes:
        query: its name, or its id if it has none.
        active: whether it is running.
        failures: how many of its runs have failed.
        rows, written: rows read and written since the listener was added.
        sink: what the NATS sink has published since the listener was added.
        losses: data-loss events since the listener was added.
        last: the last batch, None before the first.
        seen: when the query last made progress or was idle, in seconds since the epoch.
    """

    query: str
    active: bool = True
    failures: int = 0
    rows: int = 0
    written: int = 0
    sink: Counts = field(default_factory=Counts)
    losses: int = 0
    last: QueryMeasures | None = None
    seen: float = 0.0


class Queries(StreamingQueryListener):
    """A listener with the state of each query; thread-safe.

    A query is known by its name, under which it may start again with another checkpoint, or by its
    id if it has no name.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[str, QueryState] = {}
        self._names: dict[str, str] = {}  # by id
        self._counted: dict[str, Counts] = {}  # of the sink, by run

    def states(self) -> list[QueryState]:
        """Return the queries."""
        with self._lock:
            return list(self._states.values())

    def batches(self) -> list[tuple[str, QueryMeasures]]:
        """Return the last batch of each running query, with the query's name."""
        return [
            (each.query, each.last)
            for each in self.states()
            if each.active and each.last is not None
        ]

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        name = event.name or str(event.id)
        start_counting(str(event.runId))
        with self._lock:
            self._names[str(event.id)] = name
            known = self._states.pop(name, None) or QueryState(name)
            self._states[name] = replace(known, active=True, seen=self._clock())

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        progress = json.loads(event.progress.json)
        found = measures(progress)
        start_counting(found.run)  # it may have started before the listener was added
        counts = read_counts(found.run)
        with self._lock:
            self._names[str(progress["id"])] = found.query  # it may have started before
            known = self._states.get(found.query) or QueryState(found.query)
            before = known.last
            earlier = before.losses if before is not None and before.run == found.run else 0
            published = counts - self._counted.get(found.run, Counts())
            self._counted[found.run] = counts
            self._states[found.query] = replace(
                known,
                sink=known.sink + published,
                rows=known.rows + found.input_rows,
                written=known.written + (found.written_rows or 0),
                losses=known.losses + max(0, found.losses - earlier),
                last=found,
                seen=self._clock(),
            )

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        with self._lock:
            known = self._states.get(self._names.get(str(event.id), ""))
            if known is not None:
                self._states[known.query] = replace(known, seen=self._clock())

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        stop_counting(str(event.runId))
        with self._lock:
            self._counted.pop(str(event.runId), None)
            known = self._states.get(self._names.pop(str(event.id), ""))
            if known is None:
                return
            failures = known.failures + (1 if event.exception else 0)
            ended = replace(known, active=False, failures=failures, seen=self._clock())
            self._states[known.query] = ended
            others = [each.query for each in self._states.values() if not each.active]
            for name in others[:-_MAX_ENDED]:
                del self._states[name]
