"""The server's replies to publishes, parsed from blocks of received bytes.

Nearly all replies to individual publishes are plain acks, so a whole block of them is counted and
compared instead of parsed one by one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..protocol.operations import Event, Msg, header_status, parse
from ..rows.messages import Int64s

_ACK = b'{"stream":"'


class Reply(NamedTuple):
    """A reply that is not a plain ack.

    Attributes:
        to: the part of its subject after the inbox.
        status: 503 (no responders) if nobody received the message; 0 for a reply with a body.
        body: the reply's JSON; empty if it has none.
    """

    to: str
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Acks:
    """The operations of a block of bytes.

    Attributes:
        numbers: numbers of the individual publishes that are stored, in the order of arrival.
        replies: all other replies.
        others: operations that are not replies.
        consumed: parsed bytes of the block; the rest is incomplete.
    """

    numbers: Int64s
    replies: list[Reply] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)
    consumed: int = 0


def parse_acks(block: bytes, inbox: str, streams: frozenset[str] | None = None) -> Acks:
    """Parse all complete operations of ``block``.

    Args:
        inbox: the connection's inbox; individual publishes have reply subjects
            ``<inbox>.<number>``.
        streams: streams whose acks count; acks of others become replies; ``None`` for any.
    """
    return _parse_plain_acks(block, inbox, streams) or _parse_each(block, inbox, streams)


def _parse_plain_acks(block: bytes, inbox: str, streams: frozenset[str] | None) -> Acks | None:
    """Parse a block of plain acks; return ``None`` if it contains anything else."""
    lines = block.split(b"\r\n")
    count = (len(lines) - 1) // 2
    heads = lines[0 : 2 * count : 2]
    if not heads or b'"error"' in block or b'"batch"' in block:
        return None
    rest = b"\r\n".join(lines[2 * count :])
    consumed = len(block) - len(rest)
    start = f"MSG {inbox}.".encode()
    if not start.startswith(rest[: len(start)]):  # another operation follows, perhaps complete
        return None
    complete = b"\r\n" + block[:consumed]
    if streams is None:
        acks = min(complete.count(b"\r\n" + _ACK), complete.count(b',"seq":'))
    else:
        names = (json.dumps(name).encode() for name in streams)
        acks = sum(complete.count(b'\r\n{"stream":%b,"seq":' % name) for name in names)
    if acks != count or complete.count(b"\r\n" + start) != count:
        return None
    begin = len(start)
    try:
        numbers = [int(head[begin : head.index(b" ", begin)]) for head in heads]
    except ValueError:  # a reply to another request
        return None
    return Acks(np.array(numbers, np.int64), consumed=consumed)


def _parse_each(block: bytes, inbox: str, streams: frozenset[str] | None) -> Acks:
    """Parse a block one operation at a time."""
    events, consumed = parse(block)
    start = f"{inbox}.".encode()
    numbers: list[int] = []
    acks = Acks(np.zeros(0, np.int64), consumed=consumed)
    for event in events:
        if not isinstance(event, Msg) or not event.subject.startswith(start):
            acks.others.append(event)
            continue
        to = event.subject[len(start) :].decode("utf-8", "replace")
        status = header_status(event.header)[0] if event.header else 0
        body = _json(event.payload)
        stored = "seq" in body and "error" not in body and "batch" not in body
        expected = streams is None or body.get("stream") in streams
        if stored and expected and not status and _is_number(to):
            numbers.append(int(to))
        else:
            acks.replies.append(Reply(to, status, body))
    return Acks(np.array(numbers, np.int64), acks.replies, acks.others, consumed)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _json(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload) if payload else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return {"error": {"description": f"invalid JetStream reply: {payload[:80]!r}"}}
    return body
