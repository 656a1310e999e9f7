"""The server's answers to publishes, as they stand in a block of received bytes.

Answers to single publishes are plain acks but for exceptions; whole blocks of them are counted and
compared rather than parsed one by one.
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
    """An answer that is no plain ack.

    Attributes:
        to: the part of its subject after the inbox.
        status: 503 where nobody took the message; 0 for an answer with a body.
        body: the answer's JSON; empty where it has none.
    """

    to: str
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Acks:
    """What a block of bytes says.

    Attributes:
        numbers: of the single publishes that are stored, in the order of arrival.
        replies: all other answers.
        others: operations that are no answers.
        consumed: bytes taken from the block; what follows is incomplete.
    """

    numbers: Int64s
    replies: list[Reply] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)
    consumed: int = 0


def parse_acks(block: bytes, inbox: str, streams: frozenset[str] | None = None) -> Acks:
    """Read all complete operations of ``block``.

    Args:
        inbox: that of the connection; single publishes have the reply subject ``<inbox>.<number>``.
        streams: where acks must come from, those of others are given as replies; ``None`` for any.
    """
    return _plain(block, inbox, streams) or _each(block, inbox, streams)


def _plain(block: bytes, inbox: str, streams: frozenset[str] | None) -> Acks | None:
    """A block of nothing but plain acks; ``None`` where there is anything else in it."""
    lines = block.split(b"\r\n")
    count = (len(lines) - 1) // 2
    heads = lines[0 : 2 * count : 2]
    if not heads or b'"error"' in block or b'"batch"' in block:
        return None
    rest = b"\r\n".join(lines[2 * count :])
    consumed = len(block) - len(rest)
    start = f"MSG {inbox}.".encode()
    if not start.startswith(rest[: len(start)]):  # something else follows, and may be complete
        return None
    taken = b"\r\n" + block[:consumed]
    if streams is None:
        acks = min(taken.count(b"\r\n" + _ACK), taken.count(b',"seq":'))
    else:
        names = (json.dumps(name).encode() for name in streams)
        acks = sum(taken.count(b'\r\n{"stream":%b,"seq":' % name) for name in names)
    if acks != count or taken.count(b"\r\n" + start) != count:
        return None
    begin = len(start)
    try:
        numbers = [int(head[begin : head.index(b" ", begin)]) for head in heads]
    except ValueError:  # an answer to something else
        return None
    return Acks(np.array(numbers, np.int64), consumed=consumed)


def _each(block: bytes, inbox: str, streams: frozenset[str] | None) -> Acks:
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
        return {"error": {"description": f"not an answer of JetStream: {payload[:80]!r}"}}
    return body
