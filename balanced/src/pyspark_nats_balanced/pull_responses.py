"""Decodes the server's responses to a pull request. Pure: bytes in, deliveries out.

The server responds with the consumer's messages, and with a status if the pull ends before it is
filled::

    MSG  <subject> <sid> <ack subject> <bytes>
    HMSG <subject> <sid> <ack subject> <header bytes> <total bytes>

The ack subject is ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.
<time>.<pending>``, or has domain and account hash before the stream and a token after the end.

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

#: The numbers of an ack subject, in order after the prefix.
_COUNT, _SEQ, _CONSUMER_SEQ, _TIME = range(4)


class Status(NamedTuple):
    """The end of a pull.

    Attributes:
        description: the server's text.
        unsent: how many messages of the pull were not sent; None if the server does not say.
    """

    code: int
    description: str
    unsent: int | None


@dataclass(frozen=True)
class PullResponses:
    """The operations in a block of received bytes.

    Attributes:
        deliveries: the consumer's messages, in order of arrival.
        times: when each was stored, in nanoseconds since the epoch.
        ack_prefix: start of the messages' ack subjects, without the last dot; empty without
            messages.
        status: the end of the pull; None while it continues.
        others: protocol operations that do not belong to the pull (PING, INFO, ...).
        consumed: bytes of the block that were decoded.
    """

    deliveries: Deliveries
    times: Int64s
    ack_prefix: str
    status: Status | None
    others: list[Event]
    consumed: int


def decode_responses(data: bytes, sid: bytes, inbox: bytes) -> PullResponses:
    """Decode the complete operations at the start of ``data``.

    The block decoder relies on ``sid`` being random: no stored payload contains it, so one
    ``split`` finds the messages. If anything is irregular, operations are parsed one by one.

    Args:
        data: received bytes, from the start of an operation.
        sid: subscription id of the pulls.
        inbox: reply subject of this pull; a status to another subject belongs to an earlier pull.

    Raises:
        ProtocolError: the bytes do not follow the NATS protocol.
    """
    mark = b" " + sid + b" " + ACK
    segments = data.split(mark)
    if len(segments) < 3:
        return _decode_one_by_one(data, sid, inbox)
    # The last message, which may be incomplete, and the bytes after it are parsed one by one.
    last = data.rfind(b"\r\n", 0, len(data) - len(segments[-1]) - len(mark)) + 2
    block = _decode_block(segments[0], segments[1:-1])
    if block is None:
        return _decode_one_by_one(data, sid, inbox)
    columns, prefix = block
    rest = _decode_one_by_one(data[last:], sid, inbox)
    return PullResponses(
        Deliveries.joined([_deliveries(columns), rest.deliveries]),
        np.concatenate((columns[:, _TIME], rest.times)),
        prefix,
        rest.status,
        rest.others,
        last + rest.consumed,
    )


def _decode_block(before: bytes, segments: list[bytes]) -> tuple[Int64s, str] | None:
    """Return the numbers of complete messages, a row each, and their ack prefix.

    Returns None if anything is irregular.

    Args:
        before: the bytes before the first mark.
        segments: the bytes between two marks each.
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
    # Each message must be followed, after its stated length, by the next one and nothing else.
    lengths = zip(segments, heads, columns[:, -1].tolist(), strict=True)
    tails = [segment[len(head) + 2 + total :] for segment, head, total in lengths]
    between = b"".join([b"\r\n", before, *tails])
    if not between.count(b"\r\n" + kind) == between.count(b"\r") == count + 1:
        return None
    return columns, (ACK + prefix[:-1]).decode()


def _decode_one_by_one(data: bytes, sid: bytes, inbox: bytes) -> PullResponses:
    """Decode as `decode_responses` does, operation by operation."""
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
                raise ProtocolError(
                    f"invalid ack subject {event.reply[:200]!r} of a pulled message"
                )
            prefix = origin.prefix.decode()
            found.append(origin[1:])
        elif event.subject == inbox:
            status = _status(event.header)
    columns = np.array(found, np.int64).reshape(-1, _TIME + 1)
    return PullResponses(_deliveries(columns), columns[:, _TIME], prefix, status, others, consumed)


def _deliveries(columns: Int64s) -> Deliveries:
    return Deliveries(
        columns[:, _SEQ].copy(), columns[:, _CONSUMER_SEQ].copy(), columns[:, _COUNT].copy()
    )


def _status(header: bytes) -> Status:
    code, description = header_status(header)
    unsent = dict(header_pairs(header)).get("Nats-Pending-Messages", "")
    return Status(code, description, int(unsent) if unsent.isdigit() else None)
