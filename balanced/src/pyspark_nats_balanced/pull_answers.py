"""What the server sends in answer to a pull, decoded. Pure: bytes in, deliveries out.

A pull is answered by the consumer's messages, and a status where it ends before it is filled::

    MSG  <subject> <sid> <ack subject> <bytes>
    HMSG <subject> <sid> <ack subject> <header bytes> <total bytes>

The ack subject is ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.
<time>.<pending>``, or has domain and account hash before the stream and a token behind the end.

Source: ADR-15 (ack subjects), ADR-37 (pull consumers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nats_spark_common.errors import ProtocolError
from nats_spark_common.protocol.ack_subject import ACK, parse_ack_subject
from nats_spark_common.protocol.operations import Event, Msg, header_pairs, header_status, parse
from nats_spark_common.rows.messages import Int64s

from .deliveries import Deliveries

#: The numbers of an ack subject, in their order behind the prefix.
_COUNT, _SEQ, _CONSUMER_SEQ, _TIME = range(4)


class Status(NamedTuple):
    """The end of a pull: code, the server's words, and how many messages it did not send.

    ``unsent`` is None where the server does not say.
    """

    code: int
    words: str
    unsent: int | None


@dataclass(frozen=True)
class Frames:
    """What a block of bytes held.

    Attributes:
        deliveries: the consumer's messages, in the order in which they came.
        times: when each was stored, in nanoseconds since the epoch.
        ack_prefix: what the subjects of their acks begin with, without the last dot; empty where
            there was no message.
        status: the end of the pull, None while it goes on.
        others: protocol operations that do not belong to the pull (PING, INFO, ...).
        consumed: how many bytes of the block these were.
    """

    deliveries: Deliveries
    times: Int64s
    ack_prefix: str
    status: Status | None
    others: list[Event]
    consumed: int


def decode(data: bytes, sid: bytes, inbox: bytes) -> Frames:
    """Decode the complete operations at the start of ``data``.

    The fast way relies on ``sid`` being random: no stored payload holds it, so one ``split`` finds
    the messages. If anything is not as expected, the careful way parses operation by operation.

    Args:
        data: received bytes, beginning where an operation begins.
        sid: id of the pulls' subscription.
        inbox: reply subject of this pull; a status to any other belongs to an earlier one.

    Raises:
        ProtocolError: the bytes are not what a NATS server sends.
    """
    mark = b" " + sid + b" " + ACK
    segments = data.split(mark)
    if len(segments) < 3:
        return _carefully(data, sid, inbox)
    # The last message, which may be cut, and what stands behind it are read with care.
    last = data.rfind(b"\r\n", 0, len(data) - len(segments[-1]) - len(mark)) + 2
    found = _fast(segments[0], segments[1:-1])
    if found is None:
        return _carefully(data, sid, inbox)
    columns, prefix = found
    rest = _carefully(data[last:], sid, inbox)
    return Frames(
        Deliveries.joined([_deliveries(columns), rest.deliveries]),
        np.concatenate((columns[:, _TIME], rest.times)),
        prefix,
        rest.status,
        rest.others,
        last + rest.consumed,
    )


def _fast(before: bytes, segments: list[bytes]) -> tuple[Int64s, str] | None:
    """The numbers of whole frames, a row each, and their prefix; None if anything is irregular.

    Args:
        before: what stands before the first mark.
        segments: each begins behind its mark and ends before the next one.
    """
    count = len(segments)
    kind = b"HMSG " if before.startswith(b"HMSG ") else b"MSG "
    numbers = 7 if kind == b"HMSG " else 6
    tokens = segments[0].split(b" ", 1)[0].split(b".")
    prefix = b".".join(tokens[: 2 if len(tokens) == 7 else 4]) + b"."
    heads = [segment[: segment.find(b"\r\n")] for segment in segments]
    if any(not head.startswith(prefix) for head in heads):
        return None
    text = b"\n".join(heads).replace(prefix, b"").replace(b".", b" ")
    try:
        values = np.fromstring(text, np.int64, sep=" ")
    except ValueError:
        return None
    if len(values) != numbers * count:
        return None
    columns: Int64s = values.reshape(count, numbers)
    # Behind each message, as long as it says it is, begins the next one, and nothing else.
    lengths = zip(segments, heads, columns[:, -1].tolist(), strict=True)
    tails = [segment[len(head) + 2 + total :] for segment, head, total in lengths]
    between = b"".join([b"\r\n", before, *tails])
    if not between.count(b"\r\n" + kind) == between.count(b"\r") == count + 1:
        return None
    return columns, (ACK + prefix[:-1]).decode()


def _carefully(data: bytes, sid: bytes, inbox: bytes) -> Frames:
    events, consumed = parse(data)
    found: list[tuple[int, ...]] = []
    prefix = ""
    status = None
    others: list[Event] = []
    for event in events:
        if not isinstance(event, Msg):
            others.append(event)
        elif event.sid == sid and event.reply.startswith(ACK):
            origin = parse_ack_subject(event.reply)
            if origin is None:
                raise ProtocolError(f"not the ack subject of a message: {event.reply[:200]!r}")
            prefix = origin.prefix.decode()
            found.append(origin[1:])
        elif event.subject == inbox:
            status = _status(event.header)
    columns = np.array(found, np.int64).reshape(-1, _TIME + 1)
    return Frames(_deliveries(columns), columns[:, _TIME], prefix, status, others, consumed)


def _deliveries(columns: Int64s) -> Deliveries:
    return Deliveries(
        columns[:, _SEQ].copy(), columns[:, _CONSUMER_SEQ].copy(), columns[:, _COUNT].copy()
    )


def _status(header: bytes) -> Status:
    code, words = header_status(header)
    unsent = dict(header_pairs(header)).get("Nats-Pending-Messages", "")
    return Status(code, words, int(unsent) if unsent.isdigit() else None)
