"""Decoders that are as simple as possible: slow, one operation at a time, obvious.

They return plain tuples. What they do not understand is `InvalidError`, whatever it is.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

#: The largest message that the reference takes: nats-server counts sizes with 32 bits.
_MAX_SIZE = 2**31 - 1
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.A)


class InvalidError(Exception):
    """The bytes are not what a server sends."""


def number(digits: bytes, maximum: int = 2**63 - 1) -> int:
    if not re.fullmatch(rb"[0-9]{1,40}", digits) or int(digits) > maximum:
        raise InvalidError(digits)
    return int(digits)


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


Message = tuple[bytes, bytes, bytes, bytes, bytes]  # subject, sid, reply, header, payload


def operations(data: bytes) -> tuple[list[Any], int]:
    """Return the complete operations, and the number of their bytes.

    A message is a tuple of bytes. Others are ``("INFO", fields)``, ``("-ERR", text)`` and
    ``("PING",)``.
    """
    found: list[Any] = []
    position = 0
    while b"\r\n" in data[position:]:
        line = data[position : data.index(b"\r\n", position)]
        body = position + len(line) + 2
        words = line.split()
        if line[:4] == b"MSG " or line[:5] == b"HMSG ":
            sizes = 2 if line[:5] == b"HMSG " else 1
            if len(words) not in (3 + sizes, 4 + sizes):
                raise InvalidError(line)
            total = number(words[-1], _MAX_SIZE)
            header = number(words[-2], total) if sizes == 2 else 0
            if len(data) < body + total + 2:
                break
            if data[body + total : body + total + 2] != b"\r\n":
                raise InvalidError(line)
            reply = words[3] if len(words) == 4 + sizes else b""
            content = data[body : body + total]
            found.append((words[1], words[2], reply, content[:header], content[header:]))
            position = body + total + 2
            continue
        if line.upper() in (b"PING", b"PONG", b"+OK"):
            found.append((line.upper().decode(),))
        elif line[:5] == b"INFO ":
            found.append(("INFO", _object(line[5:])))
        elif line[:4] == b"-ERR":
            found.append(("-ERR", text(line[4:].strip().strip(b"'"))))
        else:
            raise InvalidError(line)
        position = body
    return found, position


def _object(raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidError(raw[:80]) from None
    if not isinstance(fields, dict):
        raise InvalidError(raw[:80])
    return fields


def headers(block: bytes) -> list[tuple[str, list[str]]]:
    """Return the names of a header block, each with its values."""
    values: dict[str, list[str]] = {}
    for line in block.split(b"\r\n")[1:]:
        if line:
            name, _, value = line.partition(b":")
            values.setdefault(text(name), []).append(text(value.strip()))
    return list(values.items())


def status(block: bytes) -> tuple[int, str]:
    """Return the code and the text of a header block's first line."""
    line = block[: block.find(b"\r\n")][len(b"NATS/1.0") :].strip()
    code, _, words = line.partition(b" ")
    return (int(code), text(words.strip())) if re.fullmatch(rb"[0-9]{3}", code) else (0, "")


def microseconds(raw: bytes) -> int:
    """Return an RFC 3339 time in microseconds since the epoch, rounded down."""
    match = _TIME.fullmatch(raw.decode("ascii", "replace"))
    if not match:
        raise InvalidError(raw)
    day, clock, fraction, zone = match.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        raise InvalidError(raw) from None
    seconds = round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    nanoseconds = seconds * 10**9 + int((fraction or "")[:9].ljust(9, "0"))
    if abs(nanoseconds) >= 2**63:
        raise InvalidError(raw)
    return nanoseconds // 1000


#: The headers that end the header block of a direct get's reply. The fast decoder tells them apart
#: by their first eight bytes and their lengths, so the rest of a name may be wrong.
_SERVER = ("Stream", "Subject", "Sequence", "Time-Stamp", "Num-Pending", "Last-Sequence")
_VALUE = rb"([^\r]*(?:\r(?!\n)[^\r]*)*)"
_DIRECT = re.compile(
    rb"(.*)"
    + rb"\r\n".join(
        b"Nats-%b[^\r]{%d}%b" % (name[:3].encode(), len(name) - 1, _VALUE) for name in _SERVER
    )
    + rb"\r\n\r\n",
    re.S,
)


def direct_gets(data: bytes, inbox: bytes, stream: bytes) -> Any:
    """Return rows, the last status, other operations and the number of bytes.

    A row is its sequence, the one sent before it, subject, payload, headers and microseconds.
    """
    found, consumed = operations(data)
    rows, end, others = [], None, []
    for each in found:
        if len(each) != 5 or each[:2] != (inbox, b"1"):
            others.append(each)
            continue
        _, _, _, block, payload = each
        if block[-4:] != b"\r\n\r\n":
            raise InvalidError(block)
        match = _DIRECT.fullmatch(block)
        if match is None:
            code, words = status(block)
            if not code or block.count(b"\r\n") > len(_SERVER):
                raise InvalidError(block)
            last = block.rpartition(b"Nats-Last-Sequence: ")
            end = (code, words, number(last[2].split(b"\r\n")[0]) if last[1] else None)
            continue
        own, name, subject, seq, at, _, previous = match.groups()
        if name != stream:
            raise InvalidError(name)
        own = own.removesuffix(b"\r\n")
        sent = number(previous)
        rows.append((number(seq), sent, text(subject), payload, headers(own), microseconds(at)))
    return rows, end, others, consumed


Ack = tuple[bytes, int, int, int, int]  # prefix, deliveries, sequence, consumer sequence, time


def ack_subject(subject: bytes) -> Ack | None:
    """Return the contents of an ack subject of nine, or of eleven or more tokens."""
    tokens = subject.split(b".")
    if len(tokens) < 9 or len(tokens) == 10:
        return None
    named = 4 if len(tokens) == 9 else 6
    try:
        count, seq, consumer_seq, at = (number(each) for each in tokens[named : named + 4])
    except InvalidError:
        return None
    return b".".join(tokens[:named]), count, seq, consumer_seq, at


def deliveries(data: bytes, sid: bytes, consumer: bytes, inbox: bytes) -> Any:
    """Return rows, the last status, other operations, the number of bytes and the messages' size.

    A row is its sequence, consumer sequence, number of deliveries and nanoseconds, then subject,
    payload and headers.
    """
    found, consumed = operations(data)
    rows, end, others, size = [], None, [], 0
    for each in found:
        if len(each) != 5:
            others.append(each)
            continue
        subject, of, reply, block, payload = each
        if of == sid and reply.startswith(b"$JS.ACK."):
            ack = ack_subject(reply)
            if ack is None:
                raise InvalidError(reply)
            prefix, count, seq, consumer_seq, at = ack
            if prefix.endswith(b"." + consumer):
                size += len(subject) + len(reply) + len(block) + len(payload)
                numbers = (seq, consumer_seq, count, at)
                rows.append((*numbers, text(subject), payload, headers(block)))
        elif subject == inbox and not reply:
            code, words = status(block)
            unsent = dict(headers(block)).get("Nats-Pending-Messages", [""])[-1]
            end = (code, words, unsent)
    return rows, end, others, consumed, size


def acks(data: bytes, inbox: bytes, streams: frozenset[str] | None) -> Any:
    """Return the numbers of stored messages, other replies, other operations and the bytes."""
    found, consumed = operations(data)
    numbers, replies, others = [], [], []
    for each in found:
        if len(each) != 5 or not each[0].startswith(inbox + b"."):
            others.append(each)
            continue
        to = text(each[0][len(inbox) + 1 :])
        code = status(each[3])[0] if each[3] else 0
        try:
            body = _object(each[4]) if each[4] else {}
        except InvalidError:
            body = {"error": "invalid"}
        stored = "seq" in body and "error" not in body and "batch" not in body
        expected = streams is None or body.get("stream") in streams
        if stored and expected and not code and re.fullmatch(r"[0-9]{1,18}", to):
            numbers.append(int(to))
        else:
            replies.append((to, code, body))
    return numbers, replies, others, consumed
