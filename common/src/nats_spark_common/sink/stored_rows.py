"""Exactly-once: which rows of a task its streams have already stored.

A stream is read from the last sequence that it had before the task's first message, so every
message of the task is found, whatever the server's duplicate window is. The window is only used
when messages were removed from that range.

Rows without ids of their own are identified by their numbers. A stored row must then be identical
to the row that would be published under its number; if it is not, the rows came in another order.
In a stream of counters, the server replaces the payload by the sum; there, increments are compared.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..connection.pool import connection
from ..errors import ReplayError, StreamNotFoundError
from ..jetstream.api import StreamInfo
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..protocol.timestamps import rfc3339_to_ns
from ..reading.range_reader import read_range
from ..rows.messages import Messages
from .arrays import bools
from .headers import MSG_ID, flatten_headers, header_value
from .rows import Rows
from .server_processes import process_ids
from .targets import StreamMasks, Targets
from .task_id import TaskId

_log = logging.getLogger(__name__)

#: Allowed difference between the clocks of executors, in seconds.
_CLOCK_MARGIN = 5.0

#: The header of a counter's increment (ADR-49).
_INCREMENT = "Nats-Incr"

#: The fields that ids and fingerprints are made of.
_READ_FIELDS = frozenset({"subject", "content", "headers"})


@dataclass(frozen=True)
class StreamStart:
    """A stream's state before the task's first message.

    Attributes:
        seq: its last sequence.
        created: its creation time, which identifies a recreated stream.
        at: when this state was read, in seconds since the epoch.
        holders: ids of the server processes with an up-to-date replica, by server name.
        window: the shortest duplicate window that an attempt of the task has seen, in seconds: a
            longer one does not bring back ids that the server has forgotten. None if not recorded.
        last_ts: when the message ``seq`` was stored, in RFC 3339; empty if not recorded.
    """

    seq: int
    created: str
    at: float
    holders: dict[str, str] = field(default_factory=dict)
    window: float | None = None
    last_ts: str = ""

    def seen_with(self, window: float) -> StreamStart:
        """Return this state after an attempt has seen a duplicate window, in seconds."""
        return replace(self, window=min(self.window or window, window))


@dataclass(frozen=True)
class StoredRows:
    """Rows that one stream has stored.

    Attributes:
        fingerprints: hashes of the rows that are identified by number, by message id.
        ids: all relevant message ids, perhaps with those of other producers; some may repeat.
    """

    fingerprints: dict[str, int]
    ids: pa.StringArray

    @staticmethod
    def concat(parts: Iterable[StoredRows]) -> StoredRows:
        """Return the rows of all parts."""
        fingerprints: dict[str, int] = {}
        ids = [pa.array([], pa.string())]
        for part in parts:
            fingerprints |= part.fingerprints
            ids.append(part.ids)
        return StoredRows(fingerprints, pa.concat_arrays(ids))


#: By stream: servers compare ids within one stream, and users choose ids within one stream.
StoredByStream = dict[str, StoredRows]


def stream_starts(
    settings: NatsSettings, streams: Mapping[str, StreamInfo]
) -> dict[str, StreamStart]:
    """Return the present state of the streams, to be read back by a later attempt of the task."""
    at = time.time()
    ids = process_ids(settings, {each for info in streams.values() for each in info.servers})
    return {
        name: StreamStart(
            info.last_seq,
            info.created,
            at,
            {server: ids[server] for server in info.servers if server in ids},
            info.duplicate_window,
            info.last_ts,
        )
        for name, info in streams.items()
    }


class StoredRowsFinder:
    """Finds the rows of one task in its streams."""

    def __init__(
        self, settings: NatsSettings, task: TaskId, targets: Targets, *, user_ids: bool
    ) -> None:
        """``user_ids``: rows may carry ids of their own, so every stored id is relevant."""
        self._settings = settings
        self._task = task
        self._targets = targets
        self._user_ids = user_ids

    def find(
        self, starts: Mapping[str, StreamStart], since: float | None, after: Mapping[str, int]
    ) -> StoredByStream:
        """Read what the streams have stored since the task's first message.

        Args:
            since: when the first row with an unknown outcome was sent, in seconds since the epoch;
                by default when the task started.
            after: by stream, a sequence after which all rows with an unknown outcome are stored.

        Raises ``ReplayError`` if messages were removed that the duplicate window does not cover.
        """
        return {
            name: StoredRows.concat(
                self._read(name, start, max(start.seq, after.get(name, 0)), since or start.at)
            )
            for name, start in starts.items()
        }

    def without_stored(self, rows: Rows, parts: StreamMasks, stored: StoredByStream) -> Rows:
        """Return the rows that are not stored. Raises ``ReplayError`` for rows in another order."""
        known = np.zeros(len(rows), bool)
        for info, mask in parts:
            if info.name in stored:
                known |= mask & self._is_stored(rows, stored[info.name], info.counts)
        return rows.where(~known)

    def _read(self, stream: str, start: StreamStart, after: int, at: float) -> Iterator[StoredRows]:
        try:
            info = self._targets.info(stream)
        except StreamNotFoundError:
            return  # its messages were deleted with it
        first = after + 1
        if info.created != start.created:
            first = 1
        elif info.last_seq < after or not self._has_first(info, start):
            self._report(
                f"stream {stream!r} has lost messages since the task started: its storage is in "
                "memory and its server has restarted, or it was restored from an older state"
            )
            first = 1
        count = 0
        if first <= info.last_seq:
            for messages in self._messages(info, first, info.last_seq, _READ_FIELDS):
                count += len(messages)
                yield self._stored_rows(messages, info)
        if count < info.last_seq - first + 1:
            self._check_window(info, start, after, at)

    def _messages(
        self, info: StreamInfo, first: int, last: int, fields: frozenset[str]
    ) -> Iterator[Messages]:
        """Read those messages of the range that are stored."""
        with connection(self._settings) as link:
            direct = info.reads_direct(link.info.version)
        span = StreamRange(info.name, info.created, max(first, info.first_seq), last, (), direct)
        return read_range(self._settings, span, fields, check_loss=False)

    def _has_first(self, info: StreamInfo, start: StreamStart) -> bool:
        """Return whether the message before the task is still the same, or was removed.

        A stream that has lost its messages may have reached the sequence again.
        """
        if not start.last_ts or not info.first_seq <= start.seq:
            return True
        stored_us = rfc3339_to_ns(start.last_ts) // 1_000
        return all(
            messages.columns["timestamp"].cast(pa.int64()).to_pylist() == [stored_us]
            for messages in self._messages(info, start.seq, start.seq, frozenset({"timestamp"}))
        )

    def _stored_rows(self, messages: Messages, info: StreamInfo) -> StoredRows:
        """Return the message ids, with fingerprints of the rows that are identified by number."""
        offsets, names, values = flatten_headers(messages.columns["headers"])
        rows = np.repeat(np.arange(len(messages)), np.diff(offsets))
        contents, subjects = messages.columns["content"], messages.columns["subject"]
        lines = np.flatnonzero(bools(pc.equal(names, MSG_ID)))
        ids = values.take(pa.array(lines))
        own = bools(pc.starts_with(ids, self._task.id_prefix))
        increments: dict[int, bytes] = {}
        if info.counts:
            marked = np.flatnonzero(bools(pc.equal(names, _INCREMENT)))
            increments = {int(rows[i]): values[i].as_py().encode() for i in marked}
        found: dict[str, int] = {}
        for position in np.flatnonzero(own):
            row = int(rows[lines[position]])
            payload = increments.get(row) if info.counts else contents[row].as_py()
            named = payload if info.transforms else (subjects[row].as_py(), payload)
            found[ids[position].as_py()] = hash(named)
        return StoredRows(found, ids if self._user_ids else ids.filter(pa.array(own)))

    def _check_window(self, info: StreamInfo, start: StreamStart, after: int, at: float) -> None:
        """Check that the duplicate window covers messages that were removed.

        The window is in the leader's memory. A server that has restarted since only knows the ids
        of messages that are still stored.
        """
        window = start.seen_with(info.duplicate_window).window or 0.0
        within = time.time() - at + _CLOCK_MARGIN < window
        leader = process_ids(self._settings, info.servers[:1]) if within else {}
        if leader and leader.items() <= start.holders.items():
            return
        reason = (
            f"its duplicate window of {window:g}s has passed"
            if not within
            else "the message ids in its duplicate window are not reliable, because its leader has "
            "restarted, lagged behind when the task started, or does not report its process id"
        )
        self._report(
            f"messages after sequence {after} of stream {info.name!r} were removed (consumed, "
            f"deleted or overwritten), and {reason}",
            "" if within else "; a longer duplicate window only helps later tasks",
        )

    def _report(self, why: str, hint: str = "") -> None:
        """Raise ``ReplayError``, or log it with ``nats.fail.on.data.loss=false``."""
        problem = (
            f"{self._task}: cannot determine which rows of this replayed task are already stored, "
            f"because {why}"
        )
        if self._settings.fail_on_data_loss:
            raise ReplayError(
                f"{problem}: set nats.fail.on.data.loss=false to publish the rows that are not "
                f"found, which may repeat rows, or use nats.sink.mode=at-least-once{hint}"
            )
        _log.warning("%s; publishing the rows that are not found", problem)

    def _is_stored(self, rows: Rows, stored: StoredRows, counts: bool) -> npt.NDArray[np.bool_]:
        """Return a mask of the rows that a stream has stored.

        Args:
            counts: as `StreamInfo.counts`.
        """
        ids = rows.ids
        assert ids is not None, "in this mode, every row has one"
        known = bools(pc.is_in(ids, value_set=stored.ids))
        for row in np.flatnonzero(known):
            subject, payload = rows.subjects[row].as_py(), rows.payloads[row].as_py()
            if counts and rows.blocks is not None:
                payload = header_value(rows.blocks[row].as_py(), _INCREMENT)
            expected = stored.fingerprints.get(ids[row].as_py())
            if expected not in (None, hash((subject, payload)), hash(payload)):
                raise ReplayError(
                    f"row {rows.numbers[row]} of {self._task}, to {subject!r}, differs from the "
                    "row that an earlier attempt published under this number: rows must come in "
                    "the same order when a task is retried, which a shuffle (groupBy, join, "
                    "repartition) does not guarantee; give each row an id of its own in the "
                    "column msgId, or sort with sortWithinPartitions"
                )
        return known
