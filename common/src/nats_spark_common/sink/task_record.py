"""Exactly-once: the record of a task, and the lease by which one attempt may publish.

The record is created in a key-value bucket before the task's first message. It names the last
sequence of each stream at that time, so that any later attempt finds every message of the task by
reading the stream from there. It also names the attempt that may publish: a newer attempt takes
the record over, waits until the older one must have noticed, and only then reads what is stored.
The server's duplicate window is a second line of defence, not the first.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..errors import FencedError, TimeoutExpiredError
from ..jetstream.api import StreamInfo, well_formed
from ..options.settings import NatsSettings
from ..protocol.json_object import json_object
from .kv_bucket import Bucket
from .rows import Rows
from .stored_rows import StoredByStream, StoredRowsFinder, StreamStart, stream_starts
from .targets import StreamMasks, Targets
from .task_id import TaskId

_log = logging.getLogger(__name__)

#: How long an attempt may publish before it reads the record again, in seconds.
LEASE = 1.0
_READS = 5


class TaskRecord:
    """The record of one task, as this attempt of the task holds it.

    Attributes:
        revision: revision of the record when this attempt first wrote it; 0 until then.
    """

    def __init__(
        self, settings: NatsSettings, task: TaskId, targets: Targets, *, user_ids: bool
    ) -> None:
        """``user_ids``: rows may carry ids of their own, so every stored id is relevant."""
        self._settings = settings
        self._task = task
        self._targets = targets
        self._bucket = Bucket(settings, settings.sink_bucket)
        self._finder = StoredRowsFinder(settings, task, targets, user_ids=user_ids)
        self._attempt = secrets.token_hex(8)
        self._starts: dict[str, StreamStart] = {}
        self._stored: StoredByStream = {}
        self._held = 0
        self._checked = 0.0
        self.revision = 0

    @property
    def streams(self) -> frozenset[str]:
        """The streams that the task's rows go to, as far as they are known."""
        return frozenset(self._starts)

    def admit(self, rows: Rows, parts: StreamMasks) -> Rows:
        """Return the rows that are to be published, without those that are already stored.

        Args:
            parts: the streams of the rows; they are recorded before this returns.

        Raises:
            FencedError: another attempt has taken the task over.
            ReplayError: it cannot be determined which rows are stored, or they came in another
                order.
        """
        replicas = max(info.replicas for info, _ in parts)
        new = {info.name: info for info, _ in parts if info.name not in self._starts}
        if not self._held:
            self._acquire(new, replicas)
        elif new:
            self._starts |= stream_starts(self._settings, new)
            self._write(replicas)
        return self._finder.without_stored(rows, parts, self._stored)

    def check(self) -> None:
        """Check that this attempt may continue to publish.

        Raises:
            FencedError: another attempt has taken the task over.
            TimeoutExpiredError: reading the record took longer than the lease, each time.
        """
        if time.monotonic() - self._checked < LEASE:
            return
        for _ in range(_READS):
            requested = time.monotonic()
            found = self._bucket.get(self._task.key)
            if found is None or found[1] != self._held:
                raise self._fenced()
            if time.monotonic() - requested < LEASE:  # a slow reply may already be outdated
                self._checked = requested
                return
        raise TimeoutExpiredError(
            f"key-value bucket {self._settings.sink_bucket} takes more than {LEASE:g}s to answer"
        )

    def time_left(self) -> float:
        """Return for how many seconds this attempt may still send; check the record when due.

        An attempt that takes over waits this long, after which nothing of this attempt arrives.
        Raises as `check`.
        """
        self.check()
        return max(self._checked + 2 * LEASE - time.monotonic(), 0.001)

    def find_stored(
        self, since: float | None = None, after: Mapping[str, int] | None = None
    ) -> StoredByStream:
        """Read what the streams have stored since the task started, as `StoredRowsFinder.find`."""
        return self._finder.find(self._starts, since, after or {})

    def without_stored(self, rows: Rows, stored: StoredByStream) -> Rows:
        """Return the rows that are not stored. Raises ``ReplayError`` for rows in another order."""
        return self._finder.without_stored(rows, self._targets.of(rows.subjects), stored)

    def _acquire(self, new: dict[str, StreamInfo], replicas: int) -> None:
        """Create the record, or take it over from an earlier attempt."""
        starts = stream_starts(self._settings, new)
        self._starts = starts
        self._checked = time.monotonic()
        revision = self._bucket.put(self._task.key, self._json(), 0, replicas)
        takes_over = False
        while revision is None:
            found = self._bucket.get(self._task.key)
            if found is None:
                raise self._fenced()
            value, held = found
            with well_formed("task record", value):
                record = json_object(value) or {}
                attempt = record["attempt"]
                others = {
                    name: _recorded(state, new.get(name))
                    for name, state in record["streams"].items()
                }
            if attempt == self._attempt:  # our own, whose ack was lost
                revision = held
            else:
                takes_over = True
                self._starts = starts | others
                revision = self._bucket.put(self._task.key, self._json(), held, replicas)
        self._held = self.revision = revision
        if takes_over:
            _log.info("retrying task %s: reading which of its rows are stored", self._task.key)
            time.sleep(2 * LEASE)
            self._stored = self.find_stored()
            self._checked = -LEASE

    def _write(self, replicas: int) -> None:
        revision = self._bucket.put(self._task.key, self._json(), self._held, replicas)
        if revision is None:
            found = self._bucket.get(self._task.key)
            if found is None or (json_object(found[0]) or {}).get("attempt") != self._attempt:
                raise self._fenced()
            revision = found[1]
        self._held = revision

    def _json(self) -> bytes:
        streams = {name: asdict(start) for name, start in self._starts.items()}
        return json.dumps({"v": 1, "attempt": self._attempt, "streams": streams}).encode()

    def _fenced(self) -> FencedError:
        return FencedError(
            f"{self._task}: another attempt, or a newer run of the query, has taken this task "
            "over; this attempt stops"
        )


def _recorded(state: Mapping[str, Any], info: StreamInfo | None) -> StreamStart:
    """Return a stream's recorded state; earlier versions record fewer fields."""
    start = StreamStart(**state)
    return start.seen_with(info.duplicate_window) if info else start


def delete_records(settings: NatsSettings, query: str, before: int | None = None) -> None:
    """Delete the records of a query's tasks, or those with a revision below ``before``."""
    Bucket(settings, settings.sink_bucket).purge(f"{query}.>", before)
