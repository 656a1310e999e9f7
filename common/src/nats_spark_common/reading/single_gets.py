"""Reads single messages by sequence, with many requests in flight: for sequences far apart.

Source: ADR-31 (direct get), NATS docs "JetStream wire API Reference" (``STREAM.MSG.GET``).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

from ..connection.connection import Connection
from ..errors import JetStreamUnavailableError, OtherStreamError, ProtocolError, ServerError
from ..jetstream.api import NO_RESPONDERS, api_prefix, is_no_message, parse_json, whole
from ..jetstream.requests import exchange
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..protocol.operations import CRLF, Msg, header_status, parse_sequence
from ..protocol.timestamps import rfc3339_to_ns
from ..rows.messages import Message, Messages, from_messages
from .decode import require_stream

_NOT_FOUND = 404

#: Requests in flight: enough to keep the server busy, and few enough that their replies are at most
#: ``nats.fetch.bytes`` at the largest size seen. The server disconnects a client that reads slowly.
_FIRST_WINDOW, _LARGEST_WINDOW = 4, 1_000
#: The server's headers of a reply, in their order after the message's own.
_HEADERS = (b"Nats-Stream: ", b"Nats-Subject: ", b"Nats-Sequence: ", b"Nats-Time-Stamp: ")


def read_singly(
    link: Connection,
    settings: NatsSettings,
    stream: str,
    seqs: Sequence[int],
    direct: bool,
    fields: frozenset[str],
    first_timeout: float,
) -> Iterator[Messages]:
    """Yield those of the messages that are stored, in blocks, each in the order of ``seqs``.

    Args:
        seqs: ascending.
        direct: any replica or mirror replies, which may lack messages (a mirror's message is not
            yielded). If false, the stream's leader replies, and a message that it does not find is
            not stored.
        fields: the columns to decode, of `MESSAGE_COLUMNS`.
        first_timeout: seconds to wait for the first bytes of the first replies.

    Raises:
        JetStreamUnavailableError: no server replies for the stream.
        ServerError: the server rejects a request; the message is the server's.
        TimeoutExpiredError, ConnectError, ProtocolError: as `Connection.block`.
    """
    call = "DIRECT.GET" if direct else "STREAM.MSG.GET"
    subject = f"{api_prefix(settings)}.{call}.{stream}"
    read = _direct_message if direct else _leaders_message
    link.busy = True
    start, size, largest, timeout = 0, _FIRST_WINDOW, 1, first_timeout
    while start < len(seqs):
        window = seqs[start : start + size]
        start += len(window)
        replies = _replies(link, [(subject, b'{"seq":%d}' % seq) for seq in window], timeout)
        timeout = settings.request_timeout
        largest = max(largest, *(len(each.header) + len(each.payload) for each in replies))
        size = max(1, min(4 * size, _LARGEST_WINDOW, settings.fetch_bytes // largest))
        found = [m for m in (read(reply, subject) for reply in replies) if m is not None]
        if not {message.seq for message in found}.issubset(window):
            raise ProtocolError(f"{subject}: a reply has another message than the requested one")
        if found:
            yield from_messages(found, fields)
    link.busy = False


def _replies(link: Connection, requests: Sequence[tuple[str, bytes]], timeout: float) -> list[Msg]:
    """Return the replies, in the order of the requests."""
    replies: dict[int, Msg] = {}

    def take(number: int, reply: Msg) -> bool:
        replies[number] = reply
        return True

    exchange(link, requests, take, timeout)
    return [replies[number] for number in range(len(requests))]


def _direct_message(reply: Msg, subject: str) -> Message | None:
    # Look for the server's headers first: on old servers a stored message may have a status line.
    lines = reply.header.split(CRLF)[-len(_HEADERS) - 2 : -2]
    _, found, replying = lines[0].rpartition(_HEADERS[0]) if lines else (b"", b"", b"")
    rest = list(zip(lines[1:], _HEADERS[1:], strict=False))
    complete = found and len(rest) == len(_HEADERS) - 1
    if not complete or not all(line.startswith(header) for line, header in rest):
        _no_message(reply, subject)
        return None
    try:
        require_stream(replying, subject.rpartition(".")[2].encode())
    except OtherStreamError:
        return None  # no proof of absence, nor is a replica's "not found": only the leader knows
    name, seq, stored = (line[len(header) :] for line, header in rest)
    before = reply.header[: reply.header.rindex(_HEADERS[0] + replying + CRLF)]
    time_ns = rfc3339_to_ns(stored.decode("ascii", "replace"))
    return Message(parse_sequence(seq), name, time_ns, before, reply.payload)


def _no_message(reply: Msg, subject: str) -> None:
    """Check that a reply without a message reports "not found". Raises as `read_singly`."""
    code, description = header_status(reply.header)
    if code == NO_RESPONDERS:
        raise JetStreamUnavailableError(
            f"no server replies to {subject}: the stream does not exist, has allow_direct off, "
            "or its server is not ready"
        )
    if not code:
        raise ProtocolError(f"{subject}: not a reply to a direct get: {reply.header[:200]!r}")
    if code != _NOT_FOUND:
        raise ServerError(f"{subject}: {description}", code, 0, description)


def _leaders_message(reply: Msg, subject: str) -> Message | None:
    if reply.header and header_status(reply.header)[0] == NO_RESPONDERS:
        raise JetStreamUnavailableError(f"no server replies to {subject}")
    try:
        message = parse_json(reply.payload, subject)["message"]
        return Message(
            whole(message["seq"]),
            str(message["subject"]).encode(),
            rfc3339_to_ns(message["time"]),
            base64.b64decode(message.get("hdrs", "")),
            base64.b64decode(message.get("data", "")),
        )
    except ServerError as error:
        if is_no_message(error):
            return None
        raise
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ProtocolError(f"{subject}: not a stored message: {reply.payload[:200]!r}") from None


def read_from_leader(
    connection: Connection,
    settings: NatsSettings,
    span: StreamRange,
    cursor: int,
    fields: frozenset[str],
    first_timeout: float,
) -> Iterator[Messages]:
    """Read as `range_reader.Fetch` describes, with one request for each message.

    The range must have no filters. For streams that allow no second consumer and whose direct gets
    are replied to by another stream. Raises as `read_singly`.
    """
    seqs = range(cursor, span.last + 1)
    yield from read_singly(connection, settings, span.stream, seqs, False, fields, first_timeout)
