"""Reads a range through direct get batches (ADR-31): no consumer, any replica replies.

The server puts a whole reply into its outbound queue at once, without flow control. Therefore each
reply is bounded (``nats.fetch.bytes``), and only one is in flight while the rows before it are
consumed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from ..connection.connection import Connection
from ..errors import JetStreamUnavailableError, ProtocolError, ServerError
from ..jetstream.api import NO_RESPONDERS, api_prefix, encode
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..rows.messages import Int64s, Messages
from .decode import Decoded, Status, decode, marker

END_OF_BATCH = 204
NOT_FOUND = 404


def read(
    connection: Connection,
    settings: NatsSettings,
    span: StreamRange,
    cursor: int,
    fields: frozenset[str],
    first_timeout: float,
) -> Iterator[Messages]:
    """Read as `range_reader.Fetch` describes.

    Ends when the range is covered or the replying replica has no more messages. The latter does not
    prove that there are none.

    Raises:
        JetStreamUnavailableError: no server replies for the stream.
        OtherStreamError: a mirror replied for the stream; the connection cannot be used any more.
        ProtocolError: a message of the reply was lost in transit; the messages yielded before are
            complete.
        TimeoutExpiredError, ConnectError: as `Connection.block`.
    """
    subject = f"{api_prefix(settings)}.DIRECT.GET.{span.stream}"
    connection.busy = True
    mark = _request(connection, settings, span, cursor, subject)
    received = 0  # sequence of the last message received of the reply
    deadline = time.monotonic() + first_timeout
    while True:
        block = connection.block(deadline, subject)
        decoded = decode(block, mark, span.stream.encode(), fields)
        connection.consume(decoded.consumed)
        for event in decoded.others:
            connection.handle(event)
        messages, lost = _unbroken(decoded, received)
        if len(messages):
            require_order(messages.seqs, cursor, span.stream)
            received = int(messages.seqs[-1])
            cursor = received + 1
            deadline = time.monotonic() + settings.request_timeout
        if decoded.status is not None and not lost:
            _check_end(decoded.status, subject)
            if not received or cursor > span.last:
                connection.busy = False
                yield messages
                return
            # The next reply is in flight while these rows are consumed.
            mark, received = _request(connection, settings, span, cursor, subject), 0
            deadline = time.monotonic() + first_timeout
        if len(messages):
            yield messages
        if lost:
            raise ProtocolError(
                f"stream {span.stream}: messages after sequence {cursor - 1} were lost in transit"
            )


def _request(
    connection: Connection, settings: NatsSettings, span: StreamRange, cursor: int, subject: str
) -> bytes:
    request: dict[str, int | str] = {
        "seq": cursor,
        "batch": min(settings.fetch_messages, span.last - cursor + 1),
        "max_bytes": settings.fetch_bytes,
    }
    if span.filters:
        request["next_by_subj"] = span.filters[0]
    return marker(connection.send_request(subject, encode(request)), connection.sid)


def _unbroken(decoded: Decoded, received: int) -> tuple[Messages, bool]:
    """Return the messages up to the first break of the chain, and whether it is broken.

    Each message contains the sequence of the message sent before it. If a route between servers
    goes down during a reply, some messages of it are lost.
    """
    messages = decoded.messages
    before = np.concatenate(([received], messages.seqs[:-1]))
    breaks = np.flatnonzero(decoded.previous != before)
    if not len(messages) or not len(breaks):
        return messages, False
    return messages.slice(0, int(breaks[0])), True


def require_order(seqs: Int64s, first: int, stream: str) -> None:
    """Raise ``ProtocolError`` unless sequences ascend from ``first`` up."""
    if int(seqs[0]) < first or (seqs[1:] <= seqs[:-1]).any():
        raise ProtocolError(f"stream {stream}: the server sent messages that are out of order")


def _check_end(status: Status, subject: str) -> None:
    """Raise unless the reply ended with its batch or because there are no more messages."""
    if status.code == NO_RESPONDERS:
        raise JetStreamUnavailableError(
            f"no server replies to {subject}: the stream does not exist, has allow_direct off, "
            "or its server is not ready"
        )
    if status.code not in (END_OF_BATCH, NOT_FOUND):
        raise ServerError(f"{subject}: {status.text}", status.code, 0, status.text)
