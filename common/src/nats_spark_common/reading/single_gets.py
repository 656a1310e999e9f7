"""Reading single messages by sequence, many requests in flight: for sequences far apart.

Source: ADR-31 (direct get), NATS docs "JetStream wire API Reference" (``STREAM.MSG.GET``).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence

from ..connection.connection import Connection
from ..errors import JetStreamUnavailableError, OtherStreamError, ProtocolError, ServerError
from ..jetstream.api import NO_RESPONDERS, api_prefix, is_no_message, parse_json
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..protocol.operations import CRLF, Msg, header_status, parse, pub
from ..protocol.timestamps import rfc3339_to_ns
from ..rows.messages import Message, Messages, from_messages
from .decode import require_stream, sequence

_NOT_FOUND = 404

#: Requests in flight: enough to keep the server busy, and few enough that their answers make no
#: more than ``nats.fetch.bytes`` at the largest size seen: it cuts off who is slow to read.
_FIRST_WINDOW, _LARGEST_WINDOW = 4, 1_000
#: The server's headers of an answer, in their order behind the message's own.
_HEADERS = (b"Nats-Stream: ", b"Nats-Subject: ", b"Nats-Sequence: ", b"Nats-Time-Stamp: ")


def read_singly(
    link: Connection,
    settings: NatsSettings,
    stream: str,
    seqs: Sequence[int],
    direct: bool,
    fields: frozenset[str],
    patience: float,
) -> Iterator[Messages]:
    """Yield those of the messages that are stored, in blocks, each in the order of ``seqs``.

    Args:
        seqs: ascending.
        direct: any replica or mirror answers, which may lack messages (a mirror's message is not
            yielded); otherwise the stream's leader answers, and what it does not find is not
            stored.
        fields: the columns to decode, of `MESSAGE_COLUMNS`.
        patience: seconds in which an answer begins.

    Raises:
        JetStreamUnavailableError: nobody answers for the stream.
        ServerError: the server refuses, in its words.
        TimeoutExpiredError, ConnectError, ProtocolError: as `Connection.block`.
    """
    call = "DIRECT.GET" if direct else "STREAM.MSG.GET"
    subject = f"{api_prefix(settings)}.{call}.{stream}"
    read = _direct_message if direct else _leaders_message
    link.busy = True
    start, size, largest = 0, _FIRST_WINDOW, 1
    while start < len(seqs):
        window = seqs[start : start + size]
        start += len(window)
        first = link.reserve(len(window))
        link.send(
            b"".join(
                pub(subject, f"{link.inbox}.{first + i}", b'{"seq":%d}' % seq)
                for i, seq in enumerate(window)
            )
        )
        answers = _answers(link, subject, first, len(window), patience)
        patience = settings.request_timeout
        largest = max(largest, *(len(each.header) + len(each.payload) for each in answers))
        size = max(1, min(4 * size, _LARGEST_WINDOW, settings.fetch_bytes // largest))
        found = [m for m in (read(answer, subject) for answer in answers) if m is not None]
        if found:
            yield from_messages(found, fields)
    link.busy = False


def _answers(link: Connection, subject: str, first: int, count: int, patience: float) -> list[Msg]:
    """The answers to requests ``first`` on, in the order of the requests."""
    answers: dict[int, Msg] = {}
    before = f"{link.inbox}.".encode()
    while len(answers) < count:
        events, consumed = parse(link.arrived(time.monotonic() + patience, subject))
        link.consume(consumed)
        for event in events:
            if not isinstance(event, Msg):
                link.handle(event)
                continue
            to = event.subject.removeprefix(before)  # of an abandoned request, perhaps
            number = int(to) if to.isdigit() else -1
            if first <= number < first + count:
                answers[number] = event
    return [answers[number] for number in sorted(answers)]


def _direct_message(answer: Msg, subject: str) -> Message | None:
    # The server's headers come first in the question: old servers store a status line as well.
    lines = answer.header.split(CRLF)[-len(_HEADERS) - 2 : -2]
    _, found, answering = lines[0].rpartition(_HEADERS[0]) if lines else (b"", b"", b"")
    rest = list(zip(lines[1:], _HEADERS[1:], strict=False))
    complete = found and len(rest) == len(_HEADERS) - 1
    if not complete or not all(line.startswith(header) for line, header in rest):
        return _no_message(answer, subject)
    try:
        require_stream(answering, subject.rpartition(".")[2].encode())
    except OtherStreamError:
        return None  # proves nothing, and neither does a replica's "not found": ask the leader
    name, seq, stored = (line[len(header) :] for line, header in rest)
    before = answer.header[: answer.header.rindex(_HEADERS[0] + answering + CRLF)]
    time_ns = rfc3339_to_ns(stored.decode("ascii", "replace"))
    return Message(sequence(seq), name, time_ns, before, answer.payload)


def _no_message(answer: Msg, subject: str) -> Message | None:
    """Take an answer without a message for what it says. Raises as `read_singly`."""
    code, words = header_status(answer.header)
    if code == NO_RESPONDERS:
        raise JetStreamUnavailableError(
            f"nobody answers at {subject}: the stream is gone, has allow_direct off, "
            "or its server is not ready"
        )
    if not code:
        raise ProtocolError(f"{subject}: not an answer to a direct get: {answer.header[:200]!r}")
    if code != _NOT_FOUND:
        raise ServerError(f"{subject}: {words}", code, 0, words)
    return None


def _leaders_message(answer: Msg, subject: str) -> Message | None:
    if answer.header and header_status(answer.header)[0] == NO_RESPONDERS:
        raise JetStreamUnavailableError(f"nobody answers at {subject}")
    try:
        message = parse_json(answer.payload, subject)["message"]
        return Message(
            int(message["seq"]),
            str(message["subject"]).encode(),
            rfc3339_to_ns(message["time"]),
            base64.b64decode(message.get("hdrs", "")),
            base64.b64decode(message.get("data", "")),
        )
    except ServerError as error:
        if is_no_message(error):
            return None
        raise
    except (KeyError, TypeError, ValueError):
        raise ProtocolError(f"{subject}: not a stored message: {answer.payload[:200]!r}") from None


def read_from_leader(
    connection: Connection,
    settings: NatsSettings,
    span: StreamRange,
    cursor: int,
    fields: frozenset[str],
    patience: float,
) -> Iterator[Messages]:
    """As `reading.Fetch`, one request for each message of a range without filters.

    For streams that allow no other consumer and whose direct gets another stream answers. Raises
    as `read_singly`.
    """
    seqs = range(cursor, span.last + 1)
    yield from read_singly(connection, settings, span.stream, seqs, False, fields, patience)
