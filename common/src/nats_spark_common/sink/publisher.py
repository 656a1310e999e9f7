"""Pipelined publishes, all of which are acknowledged before the task is done.

Rows are sent in chunks of about a megabyte, several of which may be unacknowledged. A chunk is
published in one of two ways: individually, where each row has its own reply subject and its own
ack, or as a fast-ingest batch, see `fast_batch`.

Rows that are not acknowledged when a connection is lost, and rows that the server rejects
temporarily, are resent a bounded number of times.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import LOST, pause
from ..errors import (
    AuthError,
    JetStreamUnavailableError,
    NatsSparkError,
    TimeoutExpiredError,
)
from ..jetstream.api import well_formed
from ..options.settings import NatsSettings
from .encode import encode, numbered_replies
from .fast_batch import FastBatches, ping
from .in_flight import Chunk, Window
from .pub_acks import Acks, Reply, is_number, parse_acks
from .rejected_rows import RejectedRows
from .rows import CHUNK_BYTES, Rows, check_sizes
from .targets import Targets
from .task_record import TaskRecord

_log = logging.getLogger(__name__)

#: Bytes handed to the socket at a time; acks are read in between.
_SLICE_BYTES = 1 << 18

#: How long to wait for acks of a fast batch before requesting its state, in seconds.
_PING_SECONDS = 0.25


class Publisher:
    """Publishes a task's rows; `publish` returns when they are sent, `finish` when stored.

    Holds connections of the pool; use it in ``with``. Sending, reading acks and recovery share the
    state of one connection, which is why they are one class.
    """

    def __init__(
        self,
        settings: NatsSettings,
        targets: Targets,
        record: TaskRecord | None = None,
    ) -> None:
        """
        Args:
            targets: used to check that a stream exists for rows without a reply.
            record: finds stored rows before rows with an unknown outcome are resent, and decides
                whether this attempt of the task may continue; without it, all of them are resent.
        """
        self._settings = settings
        self._record = record
        self._links = ExitStack()
        self._link: Connection | None = None
        self._unsent: deque[tuple[Rows, bool]] = deque()
        self._window = Window(settings.sink_max_in_flight)
        self._fast = FastBatches()
        self._rejected = RejectedRows(targets)
        self._failures = 0
        self._progress_time = 0.0

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._link is not None:
            self._link.busy = bool(self._window.chunks) or kind is not None
            if self._link.busy:
                self._link.abort()
        self._links.close()
        self._link = None

    def publish(self, rows: Rows, *, fast: bool = False) -> None:
        """Send the rows as soon as the window has room, and read acks meanwhile.

        Args:
            fast: all rows go to one stream, which supports fast-ingest batches.

        Raises:
            PublishError: a row cannot be published, or the server rejects it.
            AuthError: the user may not publish to a row's subject.
            ConnectError, TimeoutExpiredError, JetStreamUnavailableError: all retries failed.
        """
        # A fast batch may only be acknowledged at its end, so it must fit into the window.
        max_bytes = min(CHUNK_BYTES, self._settings.sink_max_in_flight)
        self._unsent += ((chunk, fast) for chunk in rows.chunks(max_bytes=max_bytes))
        self._run_until(lambda: True)

    def finish(self) -> None:
        """Wait until every row is stored. Raises as `publish`."""
        self._run_until(lambda: not self._window.chunks)

    def _run_until(self, done: Callable[[], bool]) -> None:
        self._progress_time = time.monotonic()  # time between calls is not the server's
        while True:
            try:
                link = self._connected()
                while self._receive(link, wait=False):
                    self._require_progress()
                while self._unsent:
                    rows, fast = self._unsent[0]
                    check_sizes(rows, link.info.max_payload)
                    self._window.chunks.append(self._encode(link, rows, fast))
                    self._unsent.popleft()
                    self._send(link, self._window.chunks[-1])
                if done():
                    return
                self._receive(link, wait=True)
            except AuthError:
                raise
            except LOST as error:
                self._recover(error)

    def _connected(self) -> Connection:
        if self._link is None:
            self._link = self._links.enter_context(connection(self._settings))
            self._link.busy = True
        return self._link

    def _encode(self, link: Connection, rows: Rows, fast: bool) -> Chunk:
        if fast and self._fast.supported(link):
            return self._fast.chunk(link, rows, self._window.max_rows)
        first = link.reserve(len(rows))
        replies = numbered_replies(link.inbox, first, len(rows))
        return Chunk(rows, encode(rows, replies), first=first)

    def _send(self, link: Connection, chunk: Chunk) -> None:
        offsets = chunk.frames.offsets
        while chunk.sent < len(chunk.rows) and not chunk.closed and not chunk.stalled:
            room = self._room(chunk)
            if room <= 0:
                self._receive(link, wait=True)
                continue
            max_offset = int(offsets[chunk.sent]) + _SLICE_BYTES
            stop = int(np.searchsorted(offsets, max_offset, "right")) - 1
            stop = min(max(stop, chunk.sent + 1), chunk.sent + room, len(chunk.rows))
            part = chunk.frames.part(chunk.sent, stop)
            if self._record:
                link.send(part, self._record.time_left())
            else:
                link.send(part)
            chunk.sent = stop
            self._progress_time = time.monotonic()
            self._receive(link, wait=False)
        if chunk.stalled and not chunk.closed:
            self._ping(link)  # closes the batch, so that its other rows can be resent in order
            while chunk in self._window.chunks:
                self._receive(link, wait=True)

    def _room(self, chunk: Chunk) -> int:
        """Return how many more rows may be sent now."""
        if self._window.full:
            return 0
        max_rows = self._window.max_rows
        if chunk.batch:
            max_rows = self._fast.max_in_flight(max_rows)
        return max_rows - self._window.unsettled()

    def _receive(self, link: Connection, *, wait: bool) -> bool:
        """Process the server's replies, with ``wait`` at least one; return whether any arrived."""
        block = self._wait(link) if wait else link.arrived(None)
        if not block:
            return False
        streams = self._record.streams if self._record else None
        acks = parse_acks(block, link.inbox, streams)
        link.consume(acks.consumed)
        for event in acks.others:
            link.handle(event)
        self._store(acks)
        self._rejected.reset()
        for reply in acks.replies:
            with well_formed("reply to a publish", reply):
                self._apply(reply, streams)
        self._remove_complete()
        return acks.consumed > 0

    def _wait(self, link: Connection) -> bytes:
        """Return the next bytes of the server; request the state of fast batches if none arrive.

        Raises ``TimeoutExpiredError`` after ``nats.request.timeout`` without progress.
        """
        while True:
            self._require_progress()
            deadline = self._progress_time + self._settings.request_timeout
            try:
                return link.arrived(min(time.monotonic() + _PING_SECONDS, deadline))
            except TimeoutExpiredError:
                self._ping(link)

    def _require_progress(self) -> None:
        if time.monotonic() >= self._progress_time + self._settings.request_timeout:
            count = self._window.unsettled()
            raise TimeoutExpiredError(
                f"no reply from the server in time for {count} published messages"
            )

    def _ping(self, link: Connection) -> None:
        for chunk in self._window.chunks:
            if chunk.batch and chunk.sent:
                ping(link, chunk)

    def _store(self, acks: Acks) -> None:
        if len(acks.numbers):
            self._window.store(acks.numbers)
            self._progressed()

    def _apply(self, reply: Reply, streams: frozenset[str] | None) -> None:
        """Apply a reply that is not a plain ack: one to a fast batch, or an error."""
        name, _, rest = reply.to.partition(".")
        for chunk in self._window.chunks:
            if chunk.batch and chunk.batch == name:
                if not chunk.closed:  # rows sent after that are answered as of an unknown batch
                    self._apply_to_batch(chunk, reply, rest, streams)
                return
            row = int(name) - chunk.first if is_number(name) and not chunk.batch else -1
            if 0 <= row < len(chunk.rows) and not chunk.stored[row]:
                self._rejected.add(chunk, row, reply)
                chunk.count_settled()
                return

    def _apply_to_batch(
        self, chunk: Chunk, reply: Reply, rest: str, streams: frozenset[str] | None
    ) -> None:
        before = chunk.settled
        row = self._fast.apply(chunk, reply, rest, streams)
        if row is not None:
            self._rejected.add(chunk, row, reply)
        elif chunk.settled > before:
            self._progressed()

    def _progressed(self) -> None:
        self._failures = 0
        self._progress_time = time.monotonic()

    def _remove_complete(self) -> None:
        """Remove chunks that are complete, and queue their rejected rows to be resent, in order."""
        complete = self._window.complete()
        if not complete:
            return
        left = [each for each in complete if not each.stored.all()]
        if all(each.unsupported for each in left):
            self._window.grow()
        else:
            self._window.shrink()
            rows = left[0].unacknowledged()
            count = "1 message" if len(rows) == 1 else f"{len(rows)} messages, the first"
            self._pause_or_raise(
                JetStreamUnavailableError(
                    f"{count} to {rows.subjects[0].as_py()!r}: rejected, because the stream's "
                    "server is overloaded or has no leader"
                )
            )
        # A leader that took a batch over may report fewer rows than its predecessor stored.
        resent = self._not_stored(left, any(each.batch and not each.unsupported for each in left))
        self._window.remove(complete)
        self._unsent.extendleft(reversed(resent))

    def _not_stored(self, chunks: list[Chunk], look_up: bool) -> list[tuple[Rows, bool]]:
        """Return the rows of chunks that must be resent, and whether in fast batches.

        Args:
            chunks: in the order of sending.
            look_up: rows without an ack may be stored, so exactly-once reads the streams.
        """
        rows = [(chunk.unacknowledged(), bool(chunk.batch)) for chunk in chunks]
        if self._record and look_up:
            since = min(chunk.started for chunk in chunks)
            stored = self._record.find_stored(since, chunks[0].after)
            rows = [(self._record.without_stored(each, stored), fast) for each, fast in rows]
        return [(each, fast) for each, fast in rows if len(each)]

    def _require_streams_of_unanswered(self) -> None:
        """Raise for a subject that only core subscribers have: they receive it and do not ack."""
        for chunk in self._window.chunks:
            rows = chunk.unacknowledged()
            if len(rows):
                self._rejected.reset()
                self._rejected.require_stream(rows.subjects[0].as_py())

    def _recover(self, error: NatsSparkError) -> None:
        """Drop a lost connection, and queue all rows that are not acknowledged to be resent."""
        if isinstance(error, TimeoutExpiredError):
            self._require_streams_of_unanswered()
        self._pause_or_raise(error)
        if self._link is not None:
            if isinstance(error, TimeoutExpiredError):
                self._link.give_up()
            self._link.abort()
        self._links.close()
        self._link = None
        chunks = list(self._window.chunks)
        resent = self._not_stored(chunks, look_up=bool(chunks))
        self._window.remove(chunks)
        self._unsent.extendleft(reversed(resent))

    def _pause_or_raise(self, error: NatsSparkError) -> None:
        if self._failures >= self._settings.retry_count:
            raise error
        seconds = pause(self._failures)
        _log.info("publishing failed: %s; retrying in %.1f s", error, seconds)
        time.sleep(seconds)
        self._failures += 1
        self._progress_time = time.monotonic()
