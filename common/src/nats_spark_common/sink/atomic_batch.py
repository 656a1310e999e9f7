"""Atomic batches: the server stores all rows of a task or none.

Source: ADR-50 (batch publishing), nats-server 2.12 or later, streams with ``allow_atomic``.
"""

from __future__ import annotations

import secrets
import time

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import LOST, retrying
from ..errors import JetStreamUnavailableError, PublishError
from ..jetstream.api import ATOMIC_BATCH_VERSION, NO_RESPONDERS, well_formed, whole
from ..options.settings import NatsSettings
from .encode import encode, numbered_replies
from .headers import add_lines
from .pub_acks import Reply, is_number, parse_acks
from .publish_errors import is_transient, publish_error
from .rows import Rows, check_sizes
from .targets import Targets, no_stream
from .task_record import TaskRecord

#: The server's default limit of an atomic batch.
MAX_ROWS = 1_000


def require_within_limit(count: int) -> None:
    """Raise ``PublishError`` if a task has more rows than an atomic batch may hold."""
    if count > MAX_ROWS:
        raise PublishError(
            f"nats.sink.atomic=true: a task has more than {MAX_ROWS:,} rows, the maximum of an "
            "atomic batch: write with more tasks (repartition(n)) or smaller batches "
            "(nats.max.messages.per.trigger); no row of this task was published"
        )


def publish_atomically(
    settings: NatsSettings, rows: Rows, targets: Targets, record: TaskRecord | None
) -> None:
    """Publish the rows as one batch.

    Raises:
        PublishError: the rows go to several streams, the stream or server does not support atomic
            batches, or the server rejects a row; nothing is stored then.
        FencedError, ReplayError: as `TaskRecord.admit`.
        ConnectError, TimeoutExpiredError, JetStreamUnavailableError: all retries failed.
    """
    parts = targets.of(rows.subjects)
    names = sorted(info.name for info, _ in parts)
    if len(names) > 1:
        raise PublishError(
            f"nats.sink.atomic=true: the rows of a task go to the streams {', '.join(names)}, but "
            "an atomic batch goes to one: write each stream's rows with a separate query"
        )
    if not parts[0][0].allow_atomic:
        raise PublishError(
            f"nats.sink.atomic=true: stream {names[0]!r} does not allow atomic batches: set its "
            "allow_atomic (nats stream edit --allow-batch), on nats-server 2.12 or later"
        )
    state = _State(record.admit(rows, parts) if record else rows, record)
    retrying(lambda: _attempt(settings, state, targets), settings, LOST)


class _State:
    """The rows that are not known to be stored, and when their outcome became unknown."""

    def __init__(self, rows: Rows, record: TaskRecord | None) -> None:
        self.rows = rows
        self.unknown = False
        self.sent_at = 0.0
        self.record = record


def _attempt(settings: NatsSettings, state: _State, targets: Targets) -> None:
    if state.record:
        if state.unknown:
            stored = state.record.find_stored(state.sent_at)
            state.rows = state.record.without_stored(state.rows, stored)
        state.record.check()
    if not len(state.rows):
        return
    with connection(settings) as link:
        if link.info.version < ATOMIC_BATCH_VERSION:
            raise PublishError(
                "nats.sink.atomic=true: atomic batches need nats-server 2.12 or later, but this "
                f"server has version {'.'.join(map(str, link.info.version))}"
            )
        rows = _with_batch_headers(state.rows)
        check_sizes(rows, link.info.max_payload)
        link.busy = True
        if not state.unknown:
            state.unknown, state.sent_at = True, time.time()
        _publish(link, settings, rows, targets)
        link.busy = False


def _publish(link: Connection, settings: NatsSettings, rows: Rows, targets: Targets) -> None:
    """Send the batch; the server must accept the first row before the others follow."""
    count = len(rows)
    first = link.reserve(count)
    frames = encode(rows, numbered_replies(link.inbox, first, count))
    link.send(frames.part(0, 1))
    _wait_for_ack(link, settings, rows, targets, first, first)
    if count > 1:
        link.send(frames.part(1, count))
        _wait_for_ack(link, settings, rows, targets, first, first + count - 1)


def _wait_for_ack(
    link: Connection,
    settings: NatsSettings,
    rows: Rows,
    targets: Targets,
    first: int,
    last: int,
) -> None:
    deadline = time.monotonic() + settings.request_timeout
    while True:
        acks = parse_acks(link.arrived(deadline, "an atomic batch"), link.inbox)
        link.consume(acks.consumed)
        for event in acks.others:
            link.handle(event)
        for reply in acks.replies:
            row = int(reply.to) - first if is_number(reply.to) else -1
            if not 0 <= row < len(rows):
                continue
            with well_formed("reply to a publish", reply):
                _check(reply, rows.subjects[row].as_py(), targets)
                if row == len(rows) - 1 and whole(reply.body["count"]) != len(rows):
                    raise ValueError(f"the batch has {len(rows)} messages")
            if first + row == last:
                return


def _check(reply: Reply, subject: str, targets: Targets) -> None:
    if reply.status == NO_RESPONDERS:
        if not targets.exists(subject):
            raise no_stream(subject)
        raise JetStreamUnavailableError(f"subject {subject!r}: its stream has no leader")
    if "error" not in reply.body:
        return
    if is_transient(reply.body):
        raise JetStreamUnavailableError(f"subject {subject!r}: {reply.body['error']}")
    raise publish_error(subject, reply.body)


def _with_batch_headers(rows: Rows) -> Rows:
    batch = secrets.token_hex(16)
    lines = [
        f"Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {number}\r\n"
        for number in range(1, len(rows) + 1)
    ]
    lines[-1] += "Nats-Batch-Commit: 1\r\n"
    return rows.with_blocks(add_lines(rows.blocks, lines))
