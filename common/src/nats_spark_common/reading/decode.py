"""Decodes replies to direct get batch requests to Arrow columns. Pure: bytes in, columns out.

A reply is a sequence of frames (ADR-31)::

    HMSG <inbox> <sid> <header bytes> <total bytes>
    NATS/1.0
    <the stored message's own headers, if it has any>
    Nats-Stream, Nats-Subject, Nats-Sequence, Nats-Time-Stamp, Nats-Num-Pending, Nats-Last-Sequence

    <payload>

A status frame ends it: ``204 EOB``, or ``404``, ``408``, ``503`` if there is nothing to send.

Two decoders give the same result. The fast decoder works on whole blocks of bytes in C (NumPy and
Arrow). The inbox contains a random token, so the marker finds the frames. The line ends of
the block are found in one pass; counting them *backwards* from the end of each header block finds
the server's six headers, whatever the message's own headers contain. Every column is then one Arrow
``take`` from an array over the received bytes. The fast decoder checks each frame's declared length
and the names of its last six headers. If anything in the block differs, or its messages are so
large that there are only few, the sequential decoder parses the block operation by operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import OtherStreamError, ProtocolError
from ..protocol.operations import (
    CRLF,
    HEADER_VERSION,
    Event,
    Msg,
    header_status,
    message_size,
    parse,
    parse_sequence,
)
from ..protocol.timestamps import rfc3339_to_ns
from ..rows.messages import Int64s, Message, Messages, from_messages, headers_array, text
from .spans import IrregularBlockError, Spans, find_all, starts_large, strings

CR = 13
LF = 10
SPACE = 32

#: The server's headers, in the order in which it writes them after the message's own.
SERVER_HEADERS = (
    b"Nats-Stream: ",
    b"Nats-Subject: ",
    b"Nats-Sequence: ",
    b"Nats-Time-Stamp: ",
    b"Nats-Num-Pending: ",
    b"Nats-Last-Sequence: ",
)
_COUNT = len(SERVER_HEADERS)
_STREAM, _SUBJECT, _SEQUENCE, _TIME, _PENDING, _LAST = range(_COUNT)
#: The first eight bytes of each of them as one integer: enough to tell them apart.
_PROBES = tuple(np.frombuffer(name, "<u8", 1)[0] for name in SERVER_HEADERS)


class Status(NamedTuple):
    """The frame that ends a reply: 204 (end of batch), 404, 408, 413, 503, with its description.

    ``last_seq`` is the sequence of the reply's last message, None if the server did not send it.
    """

    code: int
    text: str
    last_seq: int | None


class Frame(NamedTuple):
    """A message of a reply, and the sequence of the message sent before it."""

    message: Message
    previous: int


@dataclass(frozen=True)
class Decoded:
    """The contents of a block of bytes.

    Attributes:
        messages: the complete messages, in the order of their frames.
        previous: for each message, the sequence of the message sent before it in this reply, 0 for
            the first. A break in this chain means that a frame was lost.
        status: the end of the reply, if the block contains it.
        others: protocol operations that do not belong to the reply (PING, INFO, ...).
        consumed: number of bytes of the block that were decoded.
    """

    messages: Messages
    previous: Int64s
    status: Status | None
    others: list[Event]
    consumed: int


def marker(inbox: str, sid: str) -> bytes:
    """Return the bytes with which every frame to ``inbox`` begins."""
    return f"HMSG {inbox} {sid} ".encode()


def decode(data: bytes, mark: bytes, stream: bytes, fields: frozenset[str]) -> Decoded:
    """Decode the complete frames at the start of ``data``.

    A mirror with ``mirror_direct`` replies to direct gets for the stream that it mirrors, and it
    may filter, transform or expire messages (ADR-31). Its messages are never decoded.

    Args:
        data: received bytes, starting at the start of an operation.
        mark: `marker` of the inbox of the reply.
        stream: name of the requested stream.
        fields: the columns to decode, of `MESSAGE_COLUMNS`.

    Raises:
        OtherStreamError: the reply came from another stream.
        ProtocolError: the bytes are not what a NATS server sends.
    """
    if starts_large(data):
        return decode_sequentially(data, mark, stream, fields)
    try:
        return _decode_fast(data, mark, stream, fields)
    except (IrregularBlockError, ProtocolError, IndexError):
        return decode_sequentially(data, mark, stream, fields)


def decode_sequentially(data: bytes, mark: bytes, stream: bytes, fields: frozenset[str]) -> Decoded:
    """Decode as `decode` does, one operation after the other."""
    events, consumed = parse(data)
    _, inbox, sid = mark.split()
    found: list[Message] = []
    previous: list[int] = []
    status: Status | None = None
    others: list[Event] = []
    for event in events:
        if not isinstance(event, Msg) or (event.subject, event.sid) != (inbox, sid):
            others.append(event)
            continue
        frame = decode_frame(event, stream)
        if isinstance(frame, Status):
            status = frame
            continue
        found.append(frame.message)
        previous.append(frame.previous)
    return Decoded(
        from_messages(found, fields), np.array(previous, np.int64), status, others, consumed
    )


def decode_frame(reply: Msg, stream: bytes) -> Frame | Status:
    """Decode one frame of a reply. Raises as `decode`."""
    header = reply.header
    if not header.endswith(CRLF + CRLF):
        raise ProtocolError(f"headers do not end where their length says: {header[:200]!r}")
    values = _server_headers(header)
    if values is None:
        return _status(header)
    require_stream(values[_STREAM], stream)
    time = rfc3339_to_ns(values[_TIME].decode("ascii", "replace"))
    seq = parse_sequence(values[_SEQUENCE])
    message = Message(seq, values[_SUBJECT], time, _own_headers(header), reply.payload)
    return Frame(message, parse_sequence(values[_LAST]))


def _server_headers(header: bytes) -> list[bytes] | None:
    """Return the values of the last six headers; None if they are not the server's (a status).

    The server removes two bytes at the end of the message's own headers, assuming that they are the
    blank line, and appends its headers. It also stores header blocks that do not end in a blank
    line; the first of the server's headers is then in the middle of a line.
    """
    lines = header.split(CRLF)[-_COUNT - 2 : -2]
    if len(lines) < _COUNT:
        return None
    _, found, stream = lines[_STREAM].rpartition(SERVER_HEADERS[_STREAM])
    if not found:
        return None
    values = [stream]
    for line, name in zip(lines[1:], SERVER_HEADERS[1:], strict=True):
        if not line.startswith(name):
            return None
        values.append(line[len(name) :])
    return values


def _own_headers(header: bytes) -> bytes:
    lines = CRLF.join(header.split(CRLF)[: -_COUNT - 1])
    return lines.rpartition(SERVER_HEADERS[_STREAM])[0].removesuffix(CRLF)


def _status(header: bytes) -> Status:
    code, description = header_status(header)
    if not code or header.count(CRLF) > _COUNT:  # a message with malformed server headers
        raise ProtocolError(f"neither a message nor a status: {header[:200]!r}")
    _, found, rest = header.rpartition(b"Nats-Last-Sequence: ")
    last_seq = parse_sequence(rest.split(b"\r\n", 1)[0]) if found else None
    return Status(code, description, last_seq)


def require_stream(replying: bytes, requested: bytes) -> None:
    """Raise ``OtherStreamError`` if the reply came from another stream than the requested one."""
    if replying != requested:
        raise OtherStreamError(
            f"stream {text(replying)} replied to a direct get of stream {text(requested)}: it is a "
            "mirror with mirror_direct, which may lack, rename or expire messages"
        )


def _decode_fast(data: bytes, mark: bytes, stream: bytes, fields: frozenset[str]) -> Decoded:
    marks = find_all(data, mark)
    first = int(marks[0]) if len(marks) else len(data)
    others, before = parse(data[:first])
    if not len(marks):
        _require_marked(others, mark)
        return Decoded(from_messages([], fields), np.zeros(0, np.int64), None, others, before)
    if before != first:
        raise IrregularBlockError
    starts, ends = marks + len(mark), np.append(marks[1:], len(data))

    consumed = len(data)
    last = data[starts[-1] :]
    complete = _frame_length(last)
    if complete is None or complete > len(last):
        consumed = int(starts[-1]) - len(mark)
        starts, ends = starts[:-1], ends[:-1]
    elif complete < len(last):
        trailing, taken = parse(last[complete:])
        others += trailing
        consumed = int(starts[-1]) + complete + taken
        ends[-1] = starts[-1] + complete

    status = None
    if len(starts):
        header = _header_alone(data[starts[-1] : ends[-1]])
        if header.startswith(HEADER_VERSION + b" ") and _server_headers(header) is None:
            status = _status(header)
            starts, ends = starts[:-1], ends[:-1]
    _require_marked(others, mark)
    messages, previous = _columns(data, starts, ends, stream, fields)
    return Decoded(messages, previous, status, others, consumed)


def _require_marked(others: list[Event], mark: bytes) -> None:
    """Raise ``IrregularBlockError`` if a frame of the reply does not begin with the marker."""
    inbox = mark.split()[1]
    if any(isinstance(each, Msg) and each.subject == inbox for each in others):
        raise IrregularBlockError


def _sizes(segment: bytes) -> tuple[int, int, int] | None:
    """Return the end of a frame's first line, its header bytes and total bytes.

    Returns None if the line is not complete.
    """
    eol = segment.find(b"\r\n")
    if eol < 0:
        return None
    try:
        header_size, total = segment[:eol].split()
        return eol + 2, message_size(header_size), message_size(total)
    except ValueError:
        raise IrregularBlockError from None


def _frame_length(segment: bytes) -> int | None:
    """Return the bytes from the end of the marker to the end of the frame.

    Returns None if the frame's first line is not complete.
    """
    sizes = _sizes(segment)
    return sizes and sizes[0] + sizes[2] + 2


def _header_alone(segment: bytes) -> bytes:
    """Return the header block of a complete frame without payload (a status), else ``b""``."""
    sizes = _sizes(segment)
    if sizes is None or sizes[1] != sizes[2] or sizes[0] + sizes[2] + 2 != len(segment):
        return b""
    header = segment[sizes[0] : sizes[0] + sizes[1]]
    if not header.endswith(CRLF + CRLF) or not segment.endswith(CRLF):
        raise IrregularBlockError
    return header


class _Frames(NamedTuple):
    """Positions within a block, one element (or row) per message frame.

    Attributes:
        head: start of the header block.
        body: start of the payload.
        line_starts: starts of the server's six header lines.
        line_ends: end of the message's own headers, then the ends of the server's six lines.
    """

    head: Int64s
    body: Int64s
    line_starts: Int64s
    line_ends: Int64s

    def value(self, which: int) -> tuple[Int64s, Int64s]:
        """Return the start and end of the value of one of `SERVER_HEADERS`."""
        start = self.line_starts[:, which] + len(SERVER_HEADERS[which])
        return start, self.line_ends[:, which + 1]


def _columns(
    data: bytes, starts: Int64s, ends: Int64s, stream: bytes, fields: frozenset[str]
) -> tuple[Messages, Int64s]:
    """Return the columns of the message frames in ``starts``..``ends`` of ``data``."""
    count = len(starts)
    if not count:
        return from_messages([], fields), np.zeros(0, np.int64)
    spans = Spans(data, count)
    frames = _locate(data, starts, ends, spans)
    # Any other name is a mirror's, or the message's own headers continue into the server's.
    streams = spans.binary(*frames.value(_STREAM))
    if not pc.all(pc.equal(streams, pa.scalar(stream, pa.binary()))).as_py():
        raise IrregularBlockError

    columns: dict[str, pa.Array] = {}
    if "subject" in fields:
        columns["subject"] = strings(spans.binary(*frames.value(_SUBJECT)))
    if "content" in fields:
        columns["content"] = spans.binary(frames.body, ends - 2)
    if "headers" in fields:
        head, own_end = frames.head, frames.line_ends[:, 0]
        own = np.flatnonzero(own_end != head + len(HEADER_VERSION))
        blocks = ((i, data[head[i] : own_end[i]]) for i in own.tolist())
        columns["headers"] = headers_array(count, blocks)
    if "timestamp" in fields:
        columns["timestamp"] = spans.times(*frames.value(_TIME))
    return (
        Messages(spans.integers(*frames.value(_SEQUENCE)), columns),
        spans.integers(*frames.value(_LAST)),
    )


def _locate(data: bytes, starts: Int64s, ends: Int64s, spans: Spans) -> _Frames:
    """Locate the parts of the message frames and check their lengths and header names."""
    octets = np.frombuffer(data, np.uint8)
    line_ends = np.flatnonzero(octets == CR)
    first_line = np.searchsorted(line_ends, starts)
    head = line_ends[first_line] + 2
    space = _spaces(octets, starts, line_ends[first_line])

    header_size = spans.integers(starts, space)
    total = spans.integers(space + 1, head - 2)
    body = head + header_size
    # The end of the blank line ends the header block; the six lines before it are the server's.
    blank = np.searchsorted(line_ends, body - 2)
    if (
        (head + total + 2 != ends).any()
        or (octets[ends - 2] != CR).any()
        or (octets[ends - 1] != LF).any()
        or (octets[head - 1] != LF).any()
        or (octets[body - 1] != LF).any()
        or (header_size > total).any()
        or (blank - first_line < _COUNT + 2).any()
        or (line_ends[np.minimum(blank, len(line_ends) - 1)] != body - 2).any()
    ):
        raise IrregularBlockError
    lines = line_ends[(blank - _COUNT - 1)[:, None] + np.arange(_COUNT + 1)]
    if (octets[lines + 1] != LF).any() or (lines[:, -1] != body - 4).any():
        raise IrregularBlockError
    line_starts = lines[:, :-1] + 2
    eight_bytes_at = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    for column, probe in enumerate(_PROBES):
        if (eight_bytes_at[line_starts[:, column]] != probe).any():
            raise IrregularBlockError
    return _Frames(head, body, line_starts, lines)


def _spaces(octets: npt.NDArray[np.uint8], starts: Int64s, line_ends: Int64s) -> Int64s:
    """Return the position of the space in each ``<header bytes> <total bytes>``."""
    space = starts + 1
    for _ in range(10):
        wrong = octets[space] != SPACE
        if not wrong.any():
            break
        space = space + wrong
    if (space >= line_ends).any():
        raise IrregularBlockError
    return space
