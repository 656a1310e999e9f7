"""Exactly-once: what a task has begun, who may go on with it, and which of its rows stand.

A task's record in a key-value bucket is made before its first message. It names the last sequence
that each stream had then, so that another attempt of the task, however late, finds every message
of the task by reading the stream from there. And it names the attempt that may publish: a newer one
takes the record over, waits until the older one must have noticed, and only then looks what stands.
The server's duplicate window is a second line of defence, not the first.

Rows are known by their numbers, unless they carry ids of their own. So a row that stands must be
the row that would be published under its number; where it is not, rows came in another order.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..connection.pool import connection
from ..errors import FencedError, ReplayError, StreamNotFoundError, TimeoutExpiredError
from ..jetstream.api import StreamInfo
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..reading.range_reader import read_range
from ..rows.messages import Messages
from .arrays import bools
from .headers import MSG_ID, flat
from .kv_bucket import Bucket
from .rows import Rows
from .server_processes import process_ids
from .targets import Targets

_log = logging.getLogger(__name__)

#: How long an attempt may publish without looking whether it still holds its task, in seconds.
LEASE = 1.0
_LOOKS = 5

#: Clocks of executors differ; where time must tell, this much is allowed for, in seconds.
_CLOCK_MARGIN = 5.0

#: What a fingerprint is taken of, and the ids.
_FINGERPRINTED = frozenset({"subject", "content", "headers"})

Parts = list[tuple[StreamInfo, npt.NDArray[np.bool_]]]


@dataclass(frozen=True)
class TaskId:
    """A task of a batch; its attempts share it."""

    query: str
    batch: str
    partition: int

    @property
    def key(self) -> str:
        """Of its record."""
        return f"{self.query}.{self.batch}.{self.partition}"

    @property
    def id_prefix(self) -> str:
        """What the message ids of its rows begin with; the row's number follows."""
        return f"{self.query}/{self.batch}/{self.partition}/"


@dataclass(frozen=True)
class _Begun:
    """A stream as it was before the task's first message.

    Attributes:
        seq: its last sequence.
        created: tells a recreated stream apart.
        at: seconds since the epoch.
        holders: ids of the server processes that held it in step, by the servers' names.
    """

    seq: int
    created: str
    at: float
    holders: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Stored:
    """Messages that a stream has stored.

    Attributes:
        fingerprints: of the rows known by their numbers, by message id.
        ids: of all messages that count, those of other producers perhaps; some may repeat.
    """

    fingerprints: dict[str, int]
    ids: pa.StringArray

    @staticmethod
    def of(parts: Iterable[_Stored]) -> _Stored:
        fingerprints: dict[str, int] = {}
        ids = [pa.array([], pa.string())]
        for part in parts:
            fingerprints |= part.fingerprints
            ids.append(part.ids)
        return _Stored(fingerprints, pa.concat_arrays(ids))


#: What stands, by stream: servers know ids by stream, and so does a user's id.
StoredRows = dict[str, _Stored]


class Ledger:
    """The record of one task, held by this attempt of it.

    Attributes:
        revision: of the record when this attempt first wrote it; 0 as long as it has not.
    """

    def __init__(
        self, settings: NatsSettings, task: TaskId, targets: Targets, *, user_ids: bool
    ) -> None:
        """``user_ids``: rows may carry ids of their own, so every id that stands counts."""
        self._settings = settings
        self._task = task
        self._targets = targets
        self._bucket = Bucket(settings, settings.sink_bucket)
        self._user_ids = user_ids
        self._attempt = secrets.token_hex(8)
        self._streams: dict[str, _Begun] = {}
        self._standing: StoredRows = {}
        self._held = 0
        self._checked = 0.0
        self.revision = 0

    @property
    def streams(self) -> frozenset[str]:
        """The streams that the task's rows go to, as far as they are known."""
        return frozenset(self._streams)

    def admit(self, rows: Rows, parts: Parts) -> Rows:
        """The rows that are to be published, those that stand already left out.

        Args:
            parts: the streams of the rows; they are recorded before this returns.

        Raises:
            FencedError: another attempt has taken the task over.
            ReplayError: nothing tells which rows stand, or they came in another order.
        """
        replicas = max(info.replicas for info, _ in parts)
        new = {info.name: info for info, _ in parts if info.name not in self._streams}
        if not self._held:
            self._enter(new, replicas)
        elif new:
            self._streams |= self._begin(new)
            self._write(replicas)
        return self._left(rows, parts, self._standing)

    def check(self) -> None:
        """Whether this attempt may go on publishing.

        Raises:
            FencedError: another attempt has taken the task over.
            TimeoutExpiredError: the record could not be read fast enough to tell.
        """
        if time.monotonic() - self._checked < LEASE:
            return
        for _ in range(_LOOKS):
            asked = time.monotonic()
            found = self._bucket.get(self._task.key)
            if found is None or found[1] != self._held:
                raise self._fenced()
            if time.monotonic() - asked < LEASE:  # an answer may be older than it seems
                self._checked = asked
                return
        raise TimeoutExpiredError(
            f"key-value bucket {self._settings.sink_bucket} takes more than {LEASE:g}s to answer"
        )

    def time_left(self) -> float:
        """For how many seconds this attempt may still send; asks again when it is due.

        An attempt that takes over waits for as long, and then nothing of this one arrives any more.
        Raises as `check`.
        """
        self.check()
        return max(self._checked + 2 * LEASE - time.monotonic(), 0.001)

    def look(self, since: float | None = None) -> StoredRows:
        """What the streams hold since the task began.

        Args:
            since: when the first row was sent whose fate is unknown, in seconds since the epoch;
                by default when the task began.

        Raises ``ReplayError`` where nothing tells.
        """
        return {
            name: _Stored.of(self._since(name, begun, since or begun.at))
            for name, begun in self._streams.items()
        }

    def without(self, rows: Rows, standing: StoredRows) -> Rows:
        """The rows that do not stand. Raises ``ReplayError`` for rows in another order."""
        return self._left(rows, self._targets.of(rows.subjects), standing)

    def _enter(self, new: dict[str, StreamInfo], replicas: int) -> None:
        """Make the record, or take it over from an attempt before this one."""
        begun = self._begin(new)
        self._streams = begun
        self._checked = time.monotonic()
        revision = self._bucket.put(self._task.key, self._json(), 0, replicas)
        takes_over = False
        while revision is None:
            found = self._bucket.get(self._task.key)
            if found is None:
                raise self._fenced()
            value, held = found
            record = json.loads(value)
            if record["attempt"] == self._attempt:  # our own, whose ack was lost
                revision = held
            else:
                takes_over = True
                self._streams = begun | {n: _Begun(**b) for n, b in record["streams"].items()}
                revision = self._bucket.put(self._task.key, self._json(), held, replicas)
        self._held = self.revision = revision
        if takes_over:
            _log.info("task %s was begun before: looking for its messages", self._task.key)
            time.sleep(2 * LEASE)
            self._standing = self.look()
            self._checked = -LEASE

    def _begin(self, new: dict[str, StreamInfo]) -> dict[str, _Begun]:
        at = time.time()
        ids = process_ids(self._settings, {each for info in new.values() for each in info.servers})
        return {
            name: _Begun(
                info.last_seq,
                info.created,
                at,
                {server: ids[server] for server in info.servers if server in ids},
            )
            for name, info in new.items()
        }

    def _write(self, replicas: int) -> None:
        revision = self._bucket.put(self._task.key, self._json(), self._held, replicas)
        if revision is None:
            found = self._bucket.get(self._task.key)
            if found is None or json.loads(found[0])["attempt"] != self._attempt:
                raise self._fenced()
            revision = found[1]
        self._held = revision

    def _json(self) -> bytes:
        streams = {name: asdict(begun) for name, begun in self._streams.items()}
        return json.dumps({"v": 1, "attempt": self._attempt, "streams": streams}).encode()

    def _fenced(self) -> FencedError:
        return FencedError(
            f"partition {self._task.partition} of batch {self._task.batch}: another attempt, or a "
            "newer run of the query, has taken this task over; this attempt stops"
        )

    def _since(self, stream: str, begun: _Begun, at: float) -> Iterator[_Stored]:
        """The messages that a stream has stored since the task began."""
        try:
            info = self._targets.info(stream)
        except StreamNotFoundError:
            return  # with the stream, what it held is gone
        first = begun.seq + 1 if info.created == begun.created else 1
        count = 0
        if first <= info.last_seq:
            with connection(self._settings) as link:
                direct = info.reads_direct(link.info.version)
            stored = max(first, info.first_seq)
            span = StreamRange(stream, info.created, stored, info.last_seq, (), direct)
            for messages in read_range(self._settings, span, _FINGERPRINTED, check_loss=False):
                count += len(messages)
                yield self._fingerprints(messages, info.transforms)
        if count < info.last_seq - first + 1:
            self._check_window(info, begun, at)

    def _fingerprints(self, messages: Messages, transforms: bool) -> _Stored:
        """The message ids, and for rows known by their numbers what stands under them."""
        offsets, names, values = flat(messages.columns["headers"])
        rows = np.repeat(np.arange(len(messages)), np.diff(offsets))
        contents, subjects = messages.columns["content"], messages.columns["subject"]
        lines = np.flatnonzero(bools(pc.equal(names, MSG_ID)))
        ids = values.take(pa.array(lines))
        own = bools(pc.starts_with(ids, self._task.id_prefix))
        found: dict[str, int] = {}
        for position in np.flatnonzero(own):
            row = rows[lines[position]]
            payload, subject = contents[row].as_py(), subjects[row].as_py()
            found[ids[position].as_py()] = hash(payload if transforms else (subject, payload))
        return _Stored(found, ids if self._user_ids else ids.filter(pa.array(own)))

    def _check_window(self, info: StreamInfo, begun: _Begun, at: float) -> None:
        """Messages are gone that may have been ours: only the server's memory of ids is left.

        A server that has restarted since remembers the ids of stored messages only.
        """
        within = time.time() - at + _CLOCK_MARGIN < info.duplicate_window
        now = process_ids(self._settings, info.servers[:1]) if within else {}
        if now and now.items() <= begun.holders.items():
            return
        why = (
            f"its duplicate window, {info.duplicate_window:g}s, has passed"
            if not within
            else "the server that leads it has restarted or was not in step since, or does not "
            "tell, so the message ids in its duplicate window are no proof"
        )
        words = (
            f"partition {self._task.partition} of batch {self._task.batch} is written again, and "
            f"messages that stream {info.name!r} stored since sequence {begun.seq} are gone "
            f"(consumed, deleted or overwritten), so nothing tells which rows stood; {why}"
        )
        if self._settings.fail_on_data_loss:
            raise ReplayError(
                f"{words}: set nats.fail.on.data.loss=false to publish the rows that are not found "
                "once more, or nats.sink.mode=at-least-once; a longer duplicate window avoids this"
            )
        _log.warning("%s; publishing the rows that are not found", words)

    def _left(self, rows: Rows, parts: Parts, standing: StoredRows) -> Rows:
        known = np.zeros(len(rows), bool)
        for info, mask in parts:
            if info.name in standing:
                known |= mask & self._known(rows, standing[info.name])
        return rows.where(~known)

    def _known(self, rows: Rows, stored: _Stored) -> npt.NDArray[np.bool_]:
        """Which of the rows a stream has stored."""
        ids = rows.ids
        assert ids is not None, "in this mode, every row has one"
        known = bools(pc.is_in(ids, value_set=stored.ids))
        for row in np.flatnonzero(known):
            subject, payload = rows.subjects[row].as_py(), rows.payloads[row].as_py()
            expected = stored.fingerprints.get(ids[row].as_py())
            if expected not in (None, hash((subject, payload)), hash(payload)):
                raise ReplayError(
                    f"row {rows.numbers[row]} of partition {self._task.partition} of batch "
                    f"{self._task.batch}, to {subject!r}, is another than the one that was "
                    "published under this number before: rows must come in the same order when a "
                    "task is run again, which they do not after a shuffle (groupBy, join, "
                    "repartition): give each row an id of its own in the column msgId, or sort "
                    "with sortWithinPartitions"
                )
        return known


def forget(settings: NatsSettings, query: str, before: int | None = None) -> None:
    """Remove the records of a query's tasks, those with a revision below ``before``."""
    Bucket(settings, settings.sink_bucket).purge(f"{query}.>", before)
