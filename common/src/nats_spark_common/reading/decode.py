"""Answers to direct get batch requests, decoded to Arrow columns. Pure: bytes in, columns out.

An answer is a run of frames (ADR-31)::

    HMSG <inbox> <sid> <header bytes> <total bytes>
    NATS/1.0
    <the stored message's own headers, if it has any>
    Nats-Stream, Nats-Subject, Nats-Sequence, Nats-Time-Stamp, Nats-Num-Pending, Nats-Last-Sequence

    <payload>

ended by a status frame: ``204 EOB``, or ``404``, ``408``, ``503`` where there is nothing to send.

Two decoders give the same result. The fast one works on whole blocks of bytes in C (NumPy and
Arrow): the inbox holds a random token, so one ``bytes.split`` finds the frames; the line ends of
the block are found at once, and counting them *backwards* from the end of each header block leads
to the server's six headers whatever the message's own headers say. Every column is then one Arrow
``take`` from an array laid over the received bytes. Each frame's declared length and the names of
its six last headers are checked; if anything in the block differs, the careful decoder parses the
block operation by operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import OtherStreamError, ProtocolError
from ..protocol.operations import CRLF, HEADER_VERSION, Event, Msg, header_status, parse
from ..protocol.timestamps import rfc3339_to_ns
from ..rows.messages import (
    TIMESTAMP_TYPE,
    Int64s,
    Message,
    Messages,
    from_messages,
    headers_array,
    text,
)

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
_PROBES = tuple(np.frombuffer(name, "<u8", 1)[0] for name in SERVER_HEADERS)


class Status(NamedTuple):
    """The frame that ends an answer: 204 (end of batch), 404, 408, 413, 503 and the server's words.

    ``last_seq`` is the sequence of the answer's last message, None where the server did not say.
    """

    code: int
    text: str
    last_seq: int | None


@dataclass(frozen=True)
class Decoded:
    """What a block of bytes held.

    Attributes:
        messages: the complete messages, in the order of their frames.
        previous: for each message the sequence of the one sent before it in this answer, 0 for
            the first: the chain by which a lost frame is noticed.
        status: the end of the answer, where the block holds it.
        others: protocol operations that do not belong to the answer (PING, INFO, ...).
        consumed: how many bytes of the block these were.
    """

    messages: Messages
    previous: Int64s
    status: Status | None
    others: list[Event]
    consumed: int


class _Irregular(Exception):
    """The block is not what the fast decoder expects: the careful one reads it, or refuses it."""


def marker(inbox: str, sid: str) -> bytes:
    """The bytes with which every frame to ``inbox`` begins."""
    return f"HMSG {inbox} {sid} ".encode()


def decode(data: bytes, mark: bytes, stream: bytes, fields: frozenset[str]) -> Decoded:
    """Decode the complete frames at the start of ``data``.

    A mirror with ``mirror_direct`` answers direct gets for the stream that it mirrors, and it may
    filter, transform or expire messages (ADR-31). Its messages are never decoded.

    Args:
        data: received bytes, beginning where an operation begins.
        mark: `marker` of the inbox of the answer.
        stream: name of the requested stream.
        fields: the columns to decode, of `MESSAGE_COLUMNS`.

    Raises:
        OtherStreamError: another stream gave the answer.
        ProtocolError: the bytes are not what a NATS server sends.
    """
    try:
        return _decode_fast(data, mark, stream, fields)
    except (_Irregular, ProtocolError, IndexError):
        return decode_carefully(data, mark, stream, fields)


def decode_carefully(data: bytes, mark: bytes, stream: bytes, fields: frozenset[str]) -> Decoded:
    """`decode`, one operation after the other."""
    events, consumed = parse(data)
    inbox = mark.split()[1]
    found: list[Message] = []
    previous: list[int] = []
    status: Status | None = None
    others: list[Event] = []
    for event in events:
        if not isinstance(event, Msg) or event.subject != inbox:
            others.append(event)
            continue
        if not event.header.endswith(CRLF + CRLF):
            raise ProtocolError(
                f"headers do not end where their length says: {event.header[:200]!r}"
            )
        values = _server_headers(event.header)
        if values is None:
            status = _status(event.header)
            continue
        require_stream(values[_STREAM], stream)
        own = _own_headers(event.header)
        time = rfc3339_to_ns(values[_TIME].decode("ascii", "replace"))
        seq = sequence(values[_SEQUENCE])
        found.append(Message(seq, values[_SUBJECT], time, own, event.payload))
        previous.append(sequence(values[_LAST]))
    return Decoded(
        from_messages(found, fields), np.array(previous, np.int64), status, others, consumed
    )


def _server_headers(header: bytes) -> list[bytes] | None:
    """The values of the six last headers; None where they are not the server's: a status frame.

    The server drops two bytes at the end of the message's own headers, taking them for the blank
    line, and writes on. It stores blocks that do not end in one too, and then the first of its
    headers stands in the midst of a line.
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
    code, words = header_status(header)
    if not code or header.count(CRLF) > _COUNT:  # that is a message's, and not as it should be
        raise ProtocolError(f"neither a message nor a status: {header[:200]!r}")
    _, found, rest = header.rpartition(b"Nats-Last-Sequence: ")
    return Status(code, words, sequence(rest.split(b"\r\n", 1)[0]) if found else None)


def require_stream(answering: bytes, requested: bytes) -> None:
    """Raise ``OtherStreamError`` if another stream answered than the requested one."""
    if answering != requested:
        raise OtherStreamError(
            f"stream {text(answering)} answered a direct get of stream {text(requested)}: it is a "
            "mirror with mirror_direct, which may lack, rename or expire messages"
        )


def sequence(digits: bytes) -> int:
    """A stream sequence out of its digits. Raises ``ProtocolError`` for anything else."""
    if digits.isdigit() and len(digits) <= 19 and int(digits) < 1 << 63:
        return int(digits)
    raise ProtocolError(f"not a sequence: {digits[:80]!r}")


def _decode_fast(data: bytes, mark: bytes, stream: bytes, fields: frozenset[str]) -> Decoded:
    segments = data.split(mark)
    others, before = parse(segments[0])
    if len(segments) == 1:
        return Decoded(from_messages([], fields), np.zeros(0, np.int64), None, others, before)
    if before != len(segments[0]):
        raise _Irregular

    lengths = np.fromiter(map(len, segments), np.int64, len(segments))
    ends = np.cumsum(lengths + len(mark)) - len(mark)
    starts = (ends - lengths)[1:]
    ends = ends[1:]

    consumed = len(data)
    last = segments[-1]
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
    messages, previous = _columns(data, starts, ends, stream, fields)
    return Decoded(messages, previous, status, others, consumed)


def _sizes(segment: bytes) -> tuple[int, int, int] | None:
    """Where a frame's first line ends, its header bytes and total; None while the line is cut."""
    eol = segment.find(b"\r\n")
    if eol < 0:
        return None
    try:
        header_size, total = segment[:eol].split()
        return eol + 2, int(header_size), int(total)
    except ValueError:
        raise _Irregular from None


def _frame_length(segment: bytes) -> int | None:
    """Bytes from behind the marker to behind the frame's line end; None while its line is cut."""
    sizes = _sizes(segment)
    return sizes and sizes[0] + sizes[2] + 2


def _header_alone(segment: bytes) -> bytes:
    """The header block of a whole frame without payload, as a status frame is; else nothing."""
    sizes = _sizes(segment)
    if sizes is None or sizes[1] != sizes[2] or sizes[0] + sizes[2] + 2 != len(segment):
        return b""
    return segment[sizes[0] : sizes[0] + sizes[1]]


def _columns(
    data: bytes, starts: Int64s, ends: Int64s, stream: bytes, fields: frozenset[str]
) -> tuple[Messages, Int64s]:
    """Columns of the message frames that lie in ``starts``..``ends`` of ``data``."""
    count = len(starts)
    if not count:
        return from_messages([], fields), np.zeros(0, np.int64)
    octets = np.frombuffer(data, np.uint8)
    line_ends = np.flatnonzero(octets == CR)
    first_line = np.searchsorted(line_ends, starts)
    head = line_ends[first_line] + 2
    space = _spaces(octets, starts, line_ends[first_line])

    spans = _Spans(data, count)
    header_size = spans.integers(starts, space)
    total = spans.integers(space + 1, head - 2)
    body = head + header_size
    # The blank line's end closes the header block; the six lines before it are the server's.
    blank = np.searchsorted(line_ends, body - 2)
    if (
        (head + total + 2 != ends).any()
        or (octets[ends - 2] != CR).any()
        or (octets[ends - 1] != LF).any()
        or (header_size > total).any()
        or (blank - first_line < _COUNT + 2).any()
        or (line_ends[np.minimum(blank, len(line_ends) - 1)] != body - 2).any()
    ):
        raise _Irregular
    lines = line_ends[(blank - _COUNT - 1)[:, None] + np.arange(_COUNT + 1)]
    if (octets[lines[:, 0] + 1] != LF).any():
        raise _Irregular
    begin = lines[:, :-1] + 2
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    for column, probe in enumerate(_PROBES):
        if (words[begin[:, column]] != probe).any():
            raise _Irregular

    def value(which: int) -> tuple[Int64s, Int64s]:
        return begin[:, which] + len(SERVER_HEADERS[which]), lines[:, which + 1]

    # Any other name is a mirror's, or that of a message whose own headers run on into the server's.
    if not pc.all(pc.equal(spans.binary(*value(_STREAM)), pa.scalar(stream, pa.binary()))).as_py():
        raise _Irregular

    columns: dict[str, pa.Array] = {}
    if "subject" in fields:
        columns["subject"] = spans.strings(*value(_SUBJECT))
    if "content" in fields:
        columns["content"] = spans.binary(body, ends - 2)
    if "headers" in fields:
        own = np.flatnonzero(lines[:, 0] != head + len(HEADER_VERSION))
        columns["headers"] = headers_array(
            count, ((i, data[head[i] : lines[i, 0]]) for i in own.tolist())
        )
    if "timestamp" in fields:
        columns["timestamp"] = spans.times(*value(_TIME))
    return (
        Messages(spans.integers(*value(_SEQUENCE)), columns),
        spans.integers(*value(_LAST)),
    )


def _spaces(octets: npt.NDArray[np.uint8], starts: Int64s, line_ends: Int64s) -> Int64s:
    """Where the space of each ``<header bytes> <total bytes>`` stands."""
    space = starts + 1
    for _ in range(10):
        wrong = octets[space] != SPACE
        if not wrong.any():
            break
        space = space + wrong
    if (space >= line_ends).any():
        raise _Irregular
    return space


class _Spans:
    """Columns cut out of one buffer: an Arrow array laid over it, its values picked by ``take``."""

    def __init__(self, data: bytes, count: int) -> None:
        self._buffer = pa.py_buffer(data)
        self._size = len(data)
        self._picks = pa.array(np.arange(0, 2 * count, 2))
        self._count = count

    def binary(self, starts: Int64s, ends: Int64s) -> pa.Array:
        """The spans as they are: every second value of an array of values and what lies between."""
        if (ends < starts).any():
            raise _Irregular
        bounds = np.empty(2 * self._count + 1, np.int32)
        bounds[:-1:2] = starts
        bounds[1::2] = ends
        bounds[-1] = self._size
        overlay = pa.Array.from_buffers(
            pa.binary(), 2 * self._count, [None, pa.py_buffer(bounds), self._buffer]
        )
        return overlay.take(self._picks)

    def strings(self, starts: Int64s, ends: Int64s) -> pa.Array:
        raw = self.binary(starts, ends)
        try:
            return raw.cast(pa.string())
        except pa.ArrowInvalid:
            return pa.array([text(value) for value in raw.to_pylist()], pa.string())

    def integers(self, starts: Int64s, ends: Int64s) -> Int64s:
        try:
            numbers = self.binary(starts, ends).view(pa.string()).cast(pa.int64())
        except pa.ArrowInvalid:
            raise _Irregular from None
        values: Int64s = numbers.to_numpy(zero_copy_only=False)
        if (values < 0).any():
            raise _Irregular
        return values

    def times(self, starts: Int64s, ends: Int64s) -> pa.Array:
        """RFC 3339 times in UTC: the closing ``Z`` is checked by being the only thing left out."""
        try:
            nanos = self.binary(starts, ends - 1).view(pa.string()).cast(pa.timestamp("ns"))
        except pa.ArrowInvalid:
            raise _Irregular from None
        return nanos.cast(pa.timestamp("us"), safe=False).view(TIMESTAMP_TYPE)
