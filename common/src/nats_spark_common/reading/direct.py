"""Reading a range through direct get batches (ADR-31): no consumer, any replica answers.

The server puts an answer into its outbound queue at once and has no flow control, so an answer is
bounded (``nats.fetch.bytes``), and only one is under way while the rows before it are consumed.
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
from ..rows.messages import Messages
from .decode import Decoded, Status, decode, marker

END_OF_BATCH = 204
NOT_FOUND = 404


def read(
    connection: Connection,
    settings: NatsSettings,
    span: StreamRange,
    cursor: int,
    fields: frozenset[str],
    patience: float,
) -> Iterator[Messages]:
    """As `reading.Fetch`.

    Ends when the range is covered or the answering replica knows no more messages, which does not
    prove that there are none.

    Raises:
        JetStreamUnavailableError: nobody answers for the stream.
        OtherStreamError: a mirror answers for the stream; the connection cannot be used any more.
        ProtocolError: a message of the answer was lost on its way; what was yielded stands.
        TimeoutExpiredError, ConnectError: as `Connection.block`.
    """
    subject = f"{api_prefix(settings)}.DIRECT.GET.{span.stream}"
    connection.busy = True
    mark = _ask(connection, settings, span, cursor, subject)
    answered = 0  # sequence of the answer's last message so far
    while True:
        wait = settings.request_timeout if answered else patience
        block = connection.block(time.monotonic() + wait, subject)
        decoded = decode(block, mark, span.stream.encode(), fields)
        connection.consume(decoded.consumed)
        for event in decoded.others:
            connection.handle(event)
        messages, lost = _unbroken(decoded, answered)
        if len(messages):
            answered = int(messages.seqs[-1])
            cursor = answered + 1
        if decoded.status is not None and not lost:
            _check_end(decoded.status, subject)
            if not answered or cursor > span.last:
                connection.busy = False
                yield messages
                return
            # The next answer travels while these rows are consumed.
            mark, answered = _ask(connection, settings, span, cursor, subject), 0
        if len(messages):
            yield messages
        if lost:
            raise ProtocolError(f"stream {span.stream}: what follows sequence {cursor - 1} is lost")


def _ask(
    connection: Connection, settings: NatsSettings, span: StreamRange, cursor: int, subject: str
) -> bytes:
    request: dict[str, int | str] = {
        "seq": cursor,
        "batch": min(settings.fetch_messages, span.last - cursor + 1),
        "max_bytes": settings.fetch_bytes,
    }
    if span.filters:
        request["next_by_subj"] = span.filters[0]
    return marker(connection.ask(subject, encode(request)), connection.sid)


def _unbroken(decoded: Decoded, answered: int) -> tuple[Messages, bool]:
    """The messages up to the first break of the chain, and whether it is broken.

    Each message names the one sent before it. Between servers a route can go down in the middle
    of an answer and take some messages with it.
    """
    messages = decoded.messages
    before = np.concatenate(([answered], messages.seqs[:-1]))
    breaks = np.flatnonzero(decoded.previous != before)
    if not len(messages) or not len(breaks):
        return messages, False
    return messages.slice(0, int(breaks[0])), True


def _check_end(status: Status, subject: str) -> None:
    """Raise where the answer ended otherwise than with its batch or for want of messages."""
    if status.code == NO_RESPONDERS:
        raise JetStreamUnavailableError(
            f"nobody answers at {subject}: the stream is gone, has allow_direct off, "
            "or its server is not ready"
        )
    if status.code not in (END_OF_BATCH, NOT_FOUND):
        raise ServerError(f"{subject}: {status.text}", status.code, 0, status.text)
