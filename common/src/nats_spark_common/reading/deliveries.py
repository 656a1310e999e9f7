"""Decodes a pull consumer's deliveries to Arrow columns. Pure: bytes in, columns out.

The reply to a pull request consists of the consumer's messages, and of a status if the pull ends
before it is filled::

    MSG  <subject> <sid> <ack subject> <bytes>
    HMSG <subject> <sid> <ack subject> <header bytes> <total bytes>

The ack subject is ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.
<time>.<pending>``; newer servers add domain and account hash before the stream, and may add a token
at the end (ADR-15).

Two decoders give the same result. The fast decoder works on whole blocks of bytes in C (NumPy and
Arrow). Either the subscription id or the consumer's name is random, so what stands in every frame
between the subject and the numbers cannot occur in a stored payload, and it finds the frames. The
rest of each first line is copied into a row of a matrix, in which the separators are found. Each
frame must begin where the one before it ends, by the declared lengths, with nothing but a verb and
a subject before the separator. If anything in the block differs, the sequential decoder parses the
block operation by operation.

Source: ADR-15 (ack subjects), ADR-37 (pull consumers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import ProtocolError
from ..protocol.ack_subject import ACK, AckSubject, parse_ack_subject
from ..protocol.operations import Event, Msg, header_pairs, header_status, message_size, parse_into
from ..rows.messages import (
    TIMESTAMP_TYPE,
    Int64s,
    Message,
    Messages,
    from_messages,
    headers_array,
)
from .spans import IrregularBlockError, Spans, find_all, starts_large, strings

CR, LF, SPACE, DOT = 13, 10, 32, 46

#: The numbers of an ack subject, by their position after the consumer's name.
_DELIVERED, _SEQ, _CONSUMER_SEQ, _TIME = range(4)

#: Five dots, two spaces and the line's end.
_MAX_SEPARATORS = 8

#: The verbs as integers.
_MSG, _HMSG = (int.from_bytes(verb, "little") for verb in (b"MSG ", b"HMSG"))

#: By how many bytes the first line of a frame may be longer than that of the block's first frame.
_SPARE = 32


class PullStatus(NamedTuple):
    """The end of a pull.

    Attributes:
        description: the server's text.
        unsent: how many messages of the pull were not sent; None if the server does not say.
    """

    code: int
    description: str
    unsent: int | None


@dataclass(frozen=True)
class PullReplies:
    """The contents of a block of received bytes.

    Attributes:
        messages: the consumer's complete messages, in the order of their frames.
        consumer_seqs: consumer sequence of each.
        delivered: number of deliveries of each, including this one.
        times_ns: when each was stored, in nanoseconds since the epoch.
        ack_prefix: start of their ack subjects, without the last dot; empty without messages.
        size: bytes of the messages as the server counts them against a pull's ``max_bytes``:
            subjects, ack subjects, headers and payloads.
        status: the end of the pull, if the block contains it.
        others: protocol operations that do not belong to the pull (PING, INFO, ...).
        consumed: number of bytes of the block that were decoded.
    """

    messages: Messages
    consumer_seqs: Int64s
    delivered: Int64s
    times_ns: Int64s
    ack_prefix: str
    size: int
    status: PullStatus | None
    others: list[Event]
    consumed: int


class Pull(NamedTuple):
    """How the messages of a pull are recognized: one of ``sid`` and ``consumer`` is random.

    Attributes:
        sid: subscription id.
        consumer: end of the ack prefix: ``<stream>.<consumer>``, or the consumer's name alone.
        inbox: reply subject of the pull; a status to another subject belongs to an earlier pull.
    """

    sid: bytes
    consumer: bytes
    inbox: bytes


def decode_deliveries(data: bytes, pull: Pull, fields: frozenset[str]) -> PullReplies:
    """Decode the complete operations at the start of ``data``.

    Args:
        data: received bytes, from the start of an operation.
        fields: the columns to decode, of `MESSAGE_COLUMNS`.

    Raises:
        ProtocolError: the bytes do not follow the NATS protocol.
    """
    if starts_large(data):
        return decode_sequentially(data, pull, fields)
    try:
        return _decode_fast(data, pull, fields)
    except (IrregularBlockError, ProtocolError, IndexError):
        return decode_sequentially(data, pull, fields)


def decode_sequentially(data: bytes, pull: Pull, fields: frozenset[str]) -> PullReplies:
    """Decode as `decode_deliveries` does, one operation after the other."""
    replies, error = decode_until_error(data, pull, fields)
    if error is not None:
        raise error
    return replies


def decode_until_error(
    data: bytes, pull: Pull, fields: frozenset[str]
) -> tuple[PullReplies, ProtocolError | None]:
    """Decode what is before the first wrong bytes, and return the error; None without one.

    The server counts messages as delivered once they are sent, whatever follows them.
    """
    events: list[Event] = []
    found: list[Message] = []
    acks: list[AckSubject] = []
    size = consumed = 0
    prefix = ""
    status: PullStatus | None = None
    others: list[Event] = []
    error: ProtocolError | None = None
    try:
        consumed = parse_into(events, data)
    except ProtocolError as wrong:
        error = wrong
    for event in events:
        if not isinstance(event, Msg):
            others.append(event)
            continue
        if event.sid == pull.sid and event.reply.startswith(ACK):
            ack = parse_ack_subject(event.reply)
            if ack is None:
                error = ProtocolError(f"invalid ack subject of a message: {event.reply[:200]!r}")
                break
            if ack.prefix.endswith(b"." + pull.consumer):
                if not acks or ack.prefix != acks[-1].prefix:
                    try:
                        prefix = _prefix(ack)
                    except ProtocolError as wrong:
                        error = wrong
                        break
                time_ns, header = ack.time_ns, event.header
                size += sum(map(len, (event.subject, event.reply, header, event.payload)))
                acks.append(ack)
                found.append(Message(ack.seq, event.subject, time_ns, header, event.payload))
        elif event.subject == pull.inbox and not event.reply:
            status = _status(event.header)
    numbers = np.array([ack[1:] for ack in acks], np.int64).reshape(-1, _TIME + 1)
    replies = PullReplies(
        from_messages(found, fields),
        numbers[:, _CONSUMER_SEQ].copy(),
        numbers[:, _DELIVERED].copy(),
        numbers[:, _TIME].copy(),
        prefix,
        size,
        status,
        others,
        consumed,
    )
    return replies, error


def _prefix(ack: AckSubject) -> str:
    try:
        return ack.prefix.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"invalid ack subject: {ack.prefix[:200]!r}") from error


def _status(header: bytes) -> PullStatus:
    code, description = header_status(header)
    unsent = dict(header_pairs(header)).get("Nats-Pending-Messages", "")
    return PullStatus(code, description, int(unsent) if unsent.isdigit() else None)


def _decode_fast(data: bytes, pull: Pull, fields: frozenset[str]) -> PullReplies:
    mark, prefix = _separator(data, pull)
    marks = find_all(data, mark)
    if not _is_complete(data[marks[-1] + len(mark) :]):
        marks = marks[:-1]
        if not len(marks):
            raise IrregularBlockError
    spans = Spans(data, len(marks))
    frames = _locate(data, marks, len(mark))
    subjects = spans.binary(frames.subjects, marks)
    _check_verbs(data, frames, subjects)
    count, end = len(marks), int(frames.ends[-1])
    ack_prefixes = count * (len(mark) - len(pull.sid) - len("  "))
    size = int((marks - frames.subjects).sum()) + ack_prefixes + frames.size
    rest = decode_sequentially(data[end:], pull, frozenset())
    if len(rest.messages):
        raise IrregularBlockError
    seqs, consumer_seqs, delivered, times = (
        frames.number(which) for which in (_SEQ, _CONSUMER_SEQ, _DELIVERED, _TIME)
    )
    columns: dict[str, pa.Array] = {}
    if "subject" in fields:
        columns["subject"] = strings(subjects)
    if "content" in fields:
        columns["content"] = spans.binary(frames.payloads, frames.ends - 2)
    if "headers" in fields:
        rows = np.flatnonzero(frames.payloads != frames.bodies)
        blocks = ((i, data[frames.bodies[i] : frames.payloads[i]]) for i in rows.tolist())
        columns["headers"] = headers_array(count, blocks)
    if "timestamp" in fields:
        columns["timestamp"] = pa.array(times // 1000).cast(TIMESTAMP_TYPE)
    return PullReplies(
        Messages(seqs, columns),
        consumer_seqs,
        delivered,
        times,
        prefix,
        size,
        rest.status,
        rest.others,
        end + rest.consumed,
    )


def _separator(data: bytes, pull: Pull) -> tuple[bytes, str]:
    """Return the bytes between the subject and the numbers of every frame, and the ack prefix."""
    begin = b" " + pull.sid + b" "
    at = data.find(begin + ACK)
    start = at + len(begin)
    ack = parse_ack_subject(data[start : data.find(b" ", start)]) if at >= 0 else None
    if ack is None or not ack.prefix.endswith(b"." + pull.consumer):
        raise IrregularBlockError
    return begin + ack.prefix + b".", _prefix(ack)


def _is_complete(segment: bytes) -> bool:
    """Return whether the message that the block's last segment belongs to has arrived whole."""
    line = segment.find(b"\r\n")
    if line < 0:
        return False
    try:
        size = message_size(segment[:line].rpartition(b" ")[2])
    except ValueError:
        raise IrregularBlockError from None
    return line + 2 + size + 2 <= len(segment)


@dataclass(frozen=True)
class _Frames:
    """Positions within a block, one element (or row) per message frame.

    Attributes:
        starts: start of the frame.
        subjects: start of the subject.
        bodies: start of the header block, which is empty if there is none.
        payloads: start of the payload.
        ends: end of the frame.
        has_headers: whether the frame is an HMSG.
        size: bytes of all numbers of the ack subjects, headers and payloads.
        lines: the first lines after the ack prefix, one after the other.
        separators: within ``lines``, the start of the first number, then the ends of the numbers.
    """

    starts: Int64s
    subjects: Int64s
    bodies: Int64s
    payloads: Int64s
    ends: Int64s
    has_headers: npt.NDArray[np.bool_]
    size: int
    lines: Spans
    separators: Int64s

    def number(self, which: int) -> Int64s:
        """Return one of the ack subject's numbers."""
        starts = self.separators[:, which]
        return self.lines.integers(starts + (which > 0), self.separators[:, which + 1])


def _locate(data: bytes, marks: Int64s, mark_size: int) -> _Frames:
    """Locate the parts of the frames, and check that each begins where the one before it ends."""
    octets = np.frombuffer(data, np.uint8)
    tails = marks + mark_size
    count = len(tails)
    lines = _lines(data, tails)
    line_starts = np.arange(count) * lines.shape[1]
    places, has_headers = _separators(lines)
    spans = Spans(lines.reshape(-1), count)
    first_space, last_space, line_ends = places[:, -3], places[:, -2], places[:, -1]

    totals = spans.integers(last_space + 1, line_ends)
    bodies = tails + (line_ends - line_starts) + 2
    ends = bodies + totals + 2
    payloads = bodies.copy()
    rows = np.flatnonzero(has_headers)
    if len(rows):
        some = Spans(lines.reshape(-1), len(rows))
        sizes = some.integers(first_space[rows] + 1, last_space[rows])
        if (sizes > totals[rows]).any():
            raise IrregularBlockError
        payloads[rows] += sizes
    starts = np.concatenate(([0], ends[:-1]))
    if (
        ends[-1] > len(data)
        or (ends[:-1] > marks[1:]).any()
        or (octets[bodies - 1] != LF).any()
        or (octets[ends - 2] != CR).any()
        or (octets[ends - 1] != LF).any()
    ):
        raise IrregularBlockError
    subjects = starts + np.where(has_headers, 5, 4)
    separators = np.concatenate((line_starts[:, None], places[:, :4]), axis=1)
    size = int((first_space - line_starts).sum() + totals.sum())
    return _Frames(starts, subjects, bodies, payloads, ends, has_headers, size, spans, separators)


def _separators(lines: npt.NDArray[np.uint8]) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Return the positions of the separators in lines one after the other, and which have headers.

    The columns are the dots, four or five, the first and the last space, and the line's end. The
    first space is the last one in a line without headers.
    """
    count, width = lines.shape
    octets = lines.reshape(-1)
    # Below the digits: all separators, and bytes that do not occur between numbers.
    places = np.flatnonzero(octets < ord("0"))
    line_starts = np.arange(0, count * width, width)
    first = np.searchsorted(places, line_starts)
    places = places[np.minimum(first[:, None] + np.arange(_MAX_SEPARATORS), len(places) - 1)]
    kinds = octets[places]
    dots = 5 if kinds[0, 4] == DOT else 4  # a token may follow the numbers
    has_headers: npt.NDArray[np.bool_] = kinds[:, dots + 1] == SPACE
    spaces = places[:, dots]
    last_spaces = np.where(has_headers, places[:, dots + 1], spaces)
    line_ends = np.where(has_headers, places[:, dots + 2], places[:, dots + 1])
    if (
        (kinds[:, :dots] != DOT).any()
        or (kinds[:, dots] != SPACE).any()
        or (octets[line_ends] != CR).any()
        or (line_ends >= line_starts + width).any()
    ):
        raise IrregularBlockError
    columns = (places[:, :dots], spaces[:, None], last_spaces[:, None], line_ends[:, None])
    return np.concatenate(columns, axis=1), has_headers


def _lines(data: bytes, tails: Int64s) -> npt.NDArray[np.uint8]:
    """Return the bytes from each position on, a row each, long enough for a first line's end."""
    width = data.find(b"\r\n", int(tails[0])) - int(tails[0]) + _SPARE
    if width <= _SPARE or width > len(data):
        raise IrregularBlockError
    rows = np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))
    near_end = int(np.searchsorted(tails, len(rows)))
    found = rows[tails[:near_end]].view(np.uint8).reshape(-1, width)
    last = [data[tail:].ljust(width, b"\0") for tail in tails[near_end:].tolist()]
    if not last:
        return found
    return np.concatenate((found, np.frombuffer(b"".join(last), np.uint8).reshape(-1, width)))


def _check_verbs(data: bytes, frames: _Frames, subjects: pa.BinaryArray) -> None:
    """Check that a frame's verb fits its sizes, and that only its subject follows the verb.

    Args:
        subjects: what is between the verbs and the separators.
    """
    starts, has_headers = frames.starts, frames.has_headers
    four = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))
    if (four[starts] != np.where(has_headers, _HMSG, _MSG)).any():
        raise IrregularBlockError
    if (np.frombuffer(data, np.uint8)[starts[has_headers] + 4] != SPACE).any():
        raise IrregularBlockError
    octets = subjects.buffers()[2]
    lengths = np.diff(np.frombuffer(subjects.buffers()[1], np.int32, len(subjects) + 1))
    if not lengths.all() or (octets and (np.frombuffer(octets, np.uint8) <= SPACE).any()):
        raise IrregularBlockError
