"""All rows of a task or none: atomic batches, which the server stores as a whole.

Source: ADR-50 (batch publishing), nats-server 2.12 or later, streams with ``allow_atomic``.
"""

from __future__ import annotations

import secrets
import time

from ..connection.connection import Connection
from ..connection.pool import connection
from ..connection.retry import LOST, retrying
from ..errors import JetStreamUnavailableError, PublishError
from ..jetstream.api import ATOMIC_BATCH_VERSION, NO_RESPONDERS
from ..options.settings import NatsSettings
from .encode import encode, numbered_replies
from .headers import add_lines
from .ledger import Ledger
from .pub_acks import Reply, parse_acks
from .publish_errors import is_transient, refusal
from .rows import Rows, check_sizes
from .targets import Targets, no_stream

#: The server's default limit of an atomic batch.
MOST_ROWS = 1_000


def require_room(count: int) -> None:
    """Raises ``PublishError`` where a task has more rows than an atomic batch may hold."""
    if count > MOST_ROWS:
        raise PublishError(
            f"nats.sink.atomic=true: a task has more than {MOST_ROWS:,} rows, which is what an "
            "atomic batch holds: write with more tasks, repartition(n), or smaller batches "
            "(nats.max.messages.per.trigger); nothing of this task is published"
        )


def publish_atomically(
    settings: NatsSettings, rows: Rows, targets: Targets, ledger: Ledger | None
) -> None:
    """Publish the rows as one batch.

    Raises:
        PublishError: the rows go to several streams, or the stream or server takes no such batch,
            or refuses a row; nothing is stored then.
        FencedError, ReplayError: as `Ledger.admit`.
        ConnectError, TimeoutExpiredError, JetStreamUnavailableError: however often it was tried.
    """
    parts = targets.of(rows.subjects)
    names = sorted(info.name for info, _ in parts)
    if len(names) > 1:
        raise PublishError(
            f"nats.sink.atomic=true: the rows of a task go to the streams {', '.join(names)}, and "
            "an atomic batch to one: write each stream's rows by a query of their own"
        )
    if not parts[0][0].allow_atomic:
        raise PublishError(
            f"nats.sink.atomic=true: stream {names[0]!r} takes no atomic batches: set "
            "allow_atomic for it (nats stream edit --allow-batch), on a server from 2.12 on"
        )
    state = _State(ledger.admit(rows, parts) if ledger else rows, ledger)
    retrying(lambda: _attempt(settings, state, targets), settings, LOST)


class _State:
    """What is left to publish; after an attempt of unknown outcome the ledger tells."""

    def __init__(self, rows: Rows, ledger: Ledger | None) -> None:
        self.rows = rows
        self.unknown = False
        self.begun = 0.0
        self.ledger = ledger


def _attempt(settings: NatsSettings, state: _State, targets: Targets) -> None:
    if state.ledger:
        if state.unknown:
            state.rows = state.ledger.without(state.rows, state.ledger.look(state.begun))
        state.ledger.check()
    if not len(state.rows):
        return
    with connection(settings) as link:
        if link.info.version < ATOMIC_BATCH_VERSION:
            raise PublishError(
                "nats.sink.atomic=true: atomic batches need a NATS server from 2.12 on, and this "
                f"one has version {'.'.join(map(str, link.info.version))}"
            )
        rows = _with_batch_headers(state.rows)
        check_sizes(rows, link.info.max_payload)
        link.busy = True
        if not state.unknown:
            state.unknown, state.begun = True, time.time()
        _exchange(link, settings, rows, targets)
        link.busy = False


def _exchange(link: Connection, settings: NatsSettings, rows: Rows, targets: Targets) -> None:
    """Send the batch: the first row must be taken before the rest follows."""
    count = len(rows)
    first = link.reserve(count)
    frames = encode(rows, numbered_replies(link.inbox, first, count))
    link.send(frames.part(0, 1))
    _await(link, settings, rows, targets, first, first)
    if count > 1:
        link.send(frames.part(1, count))
        _await(link, settings, rows, targets, first, first + count - 1)


def _await(
    link: Connection,
    settings: NatsSettings,
    rows: Rows,
    targets: Targets,
    first: int,
    awaited: int,
) -> None:
    deadline = time.monotonic() + settings.request_timeout
    while True:
        acks = parse_acks(link.arrived(deadline, "an atomic batch"), link.inbox)
        link.consume(acks.consumed)
        for event in acks.others:
            link.handle(event)
        for reply in acks.replies:
            row = int(reply.to) - first if reply.to.isdigit() else -1
            if not 0 <= row < len(rows):
                continue
            _check(reply, rows.subjects[row].as_py(), targets)
            if first + row == awaited:
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
    raise refusal(subject, reply.body)


def _with_batch_headers(rows: Rows) -> Rows:
    batch = secrets.token_hex(16)
    lines = [
        f"Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {number}\r\n"
        for number in range(1, len(rows) + 1)
    ]
    lines[-1] += "Nats-Batch-Commit: 1\r\n"
    return rows.with_blocks(add_lines(rows.blocks, lines))
