"""The server's replies to publishes, parsed from blocks of received bytes.

Nearly all replies to individual publishes are plain acks, so a whole block of them is counted and
compared instead of parsed one by one.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import ProtocolError
from ..protocol.json_object import json_object
from ..protocol.operations import Event, Msg, header_status, parse
from ..rows.messages import Int64s

#: A string in the server's JSON without escapes.
_STRING = rb'"[^"\\\x00-\x1f]*"'
#: Numbers of publishes have at most so many digits, which fit 64 bits.
_DIGITS = 18


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
    found = _plain_ack(inbox).findall(block)
    if not found:
        return None
    numbers, sizes, bodies, names = zip(*found, strict=True)
    if streams is not None:
        expected = {json.dumps(name).encode() for name in streams}
        if not expected.issuperset(names):
            return None
    if list(map(int, sizes)) != list(map(len, bodies)):
        return None
    fixed = len(found) * len(f"MSG {inbox}. 1 \r\n\r\n")
    consumed = fixed + sum(sum(map(len, column)) for column in (numbers, sizes, bodies))
    last = f"MSG {inbox}.".encode() + b"%b 1 %b\r\n%b\r\n" % found[-1][:3]
    if not block.endswith(last, 0, consumed):  # something is between the acks
        return None
    try:
        others, _ = parse(block[consumed:])
        text = b"".join(names).decode()
    except (ProtocolError, UnicodeDecodeError):
        return None
    if others or not text.isprintable():
        return None
    return Acks(np.array(list(map(int, numbers)), np.int64), consumed=consumed)


@functools.lru_cache(maxsize=8)
def _plain_ack(inbox: str) -> re.Pattern[bytes]:
    """Return the pattern of a plain ack: its number, size, body and the JSON of its stream."""
    return re.compile(
        rb"MSG %b\.([0-9]{1,%d}) 1 ([0-9]{1,4})\r\n" % (re.escape(inbox).encode(), _DIGITS)
        + rb'(\{"stream":(%b),"seq":(?:0|[1-9][0-9]{0,18})' % _STRING
        + rb'(?:,"(?!stream"|error"|batch")[a-z]+":(?:true|"[\x20\x21\x23-\x5b\x5d-\x7e]*"))*'
        + rb"\})\r\n"
    )


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
        stream = body.get("stream")
        expected = streams is None or (isinstance(stream, str) and stream in streams)
        if stored and expected and not status and is_number(to):
            numbers.append(int(to))
        else:
            acks.replies.append(Reply(to, status, body))
    return Acks(np.array(numbers, np.int64), acks.replies, acks.others, consumed)


def is_number(text: str) -> bool:
    """Return whether the end of a reply subject is the number of a publish."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def _json(payload: bytes) -> dict[str, Any]:
    body = json_object(payload) if payload else {}
    if body is None:
        return {"error": {"description": f"invalid JetStream reply: {payload[:80]!r}"}}
    return body
