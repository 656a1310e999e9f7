"""The NATS client protocol as pure functions: bytes in, events out, no socket.

Source: the NATS client protocol reference (docs.nats.io, "Client Protocol") and ADR-4 (headers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ProtocolError
from .json_object import json_object

CRLF = b"\r\n"
PING = b"PING\r\n"
PONG = b"PONG\r\n"
HEADER_VERSION = b"NATS/1.0"

#: Maximum length of a message's first line (``max_control_line``, 4,096 by default).
LONGEST_LINE = 1 << 13
MAX_CONTROL_LINE = 1 << 20  # the INFO of a large cluster is long, but no NATS line exceeds this

#: Maximum size of a message with its headers: nats-server counts them with 32 bits.
MAX_SIZE = (1 << 31) - 1


class Msg(NamedTuple):
    """A delivered message; ``header`` is the raw block, empty if the message has none."""

    subject: bytes
    sid: bytes
    reply: bytes
    header: bytes
    payload: bytes


class Info(NamedTuple):
    """The server's INFO, sent on connect and when the cluster changes."""

    fields: dict[str, Any]


class Err(NamedTuple):
    """A protocol error (``-ERR``) with the server's text."""

    text: str


@dataclass(frozen=True)
class Signal:
    """An operation without arguments: ``PING``, ``PONG`` or ``+OK``."""

    name: str


PING_SIGNAL = Signal("PING")
PONG_SIGNAL = Signal("PONG")
OK_SIGNAL = Signal("+OK")

_SIGNALS = {b"PING": PING_SIGNAL, b"PONG": PONG_SIGNAL, b"+OK": OK_SIGNAL}

Event = Msg | Info | Err | Signal


def parse(data: bytes) -> tuple[list[Event], int]:
    """Parse every complete operation at the start of ``data``.

    Returns the events and the number of bytes parsed. The remaining bytes are an incomplete
    operation; pass them again when more bytes have arrived.

    Raises ``ProtocolError`` if the bytes are not the NATS protocol.
    """
    events: list[Event] = []
    return events, parse_into(events, data)


def parse_into(events: list[Event], data: bytes) -> int:
    """Parse as `parse` does; append the events, and return the number of bytes parsed.

    If it raises ``ProtocolError``, the events before the wrong bytes were appended.
    """
    pos = 0
    find = data.find
    size = len(data)
    while True:
        eol = find(CRLF, pos)
        if eol < 0:
            if size - pos > MAX_CONTROL_LINE:
                raise ProtocolError(f"no line end in {size - pos} bytes: {data[pos : pos + 64]!r}")
            return pos
        line = data[pos:eol]
        body = eol + 2
        if line.startswith((b"MSG ", b"HMSG ")):
            msg, end = _message(data, line, body)
            if msg is None:
                return pos
            events.append(msg)
            pos = end
            continue
        signal = _SIGNALS.get(line.upper())
        if signal is not None:
            events.append(signal)
        elif line.startswith(b"INFO "):
            events.append(Info(_info(line[5:])))
        elif line.startswith(b"-ERR"):
            events.append(Err(line[4:].strip().strip(b"'").decode("utf-8", "replace")))
        else:
            raise ProtocolError(f"not a NATS operation: {line[:80]!r}")
        pos = body


def frame_length(data: bytes) -> int:
    """Return the length of the message at the start of ``data`` in bytes; 0 if it is unknown."""
    line, end, _ = data.partition(CRLF)
    if not end or not line.startswith((b"MSG ", b"HMSG ")):
        return 0
    try:
        return len(line) + 2 + message_size(line.rpartition(b" ")[2]) + 2
    except ValueError:
        return 0


def message_size(digits: bytes) -> int:
    """Parse the size of a message or of its headers. Raises ``ValueError`` for anything else."""
    if not digits.isdigit() or len(digits) > 10 or int(digits) > MAX_SIZE:
        raise ValueError
    return int(digits)


def _message(data: bytes, line: bytes, body: int) -> tuple[Msg | None, int]:
    args = line.split()
    try:
        if line[0] == 0x48:  # HMSG <subject> <sid> [reply] <header bytes> <total bytes>
            header_size, total = message_size(args[-2]), message_size(args[-1])
            reply = args[3] if len(args) == 6 else b""
        else:  # MSG <subject> <sid> [reply] <bytes>
            header_size, total = 0, message_size(args[-1])
            reply = args[3] if len(args) == 5 else b""
        if len(args) not in ((5, 6) if line[0] == 0x48 else (4, 5)):
            raise ValueError
        subject, sid = args[1], args[2]
    except (ValueError, IndexError):
        raise ProtocolError(f"malformed message line: {line[:80]!r}") from None
    end = body + total
    if len(data) < end + 2 and header_size <= total:
        return None, 0
    if data[end : end + 2] != CRLF or header_size > total:
        raise ProtocolError(f"message does not end where its length says: {line[:80]!r}")
    split = body + header_size
    return Msg(subject, sid, reply, data[body:split], data[split:end]), end + 2


def _info(text: bytes) -> dict[str, Any]:
    fields = json_object(text)
    if fields is None:
        raise ProtocolError(f"INFO is not a JSON object: {text[:80]!r}")
    return fields


def header_status(header: bytes) -> tuple[int, str]:
    """Return the status code and text of a header block's first line; ``(0, "")`` if none."""
    line = header[: header.find(CRLF)]
    code, _, text = line[len(HEADER_VERSION) :].strip().partition(b" ")
    if not (code.isdigit() and len(code) == 3):
        return 0, ""
    return int(code), text.strip().decode("utf-8", "replace")


def header_pairs(header: bytes) -> list[tuple[str, str]]:
    """Return the ``(name, value)`` pairs of a header block, in order, with repeated names (ADR-4).

    Bytes that are not UTF-8 are replaced. White space around a value is removed.
    """
    pairs = []
    for line in header.split(CRLF)[1:]:
        if line:
            name, _, value = line.partition(b":")
            pairs.append(
                (name.decode("utf-8", "replace"), value.strip().decode("utf-8", "replace"))
            )
    return pairs


def parse_sequence(digits: bytes) -> int:
    """Parse the digits of a stream sequence. Raises ``ProtocolError`` for anything else."""
    if digits.isdigit() and len(digits) <= 19 and int(digits) < 1 << 63:
        return int(digits)
    raise ProtocolError(f"not a sequence: {digits[:80]!r}")


def pub(subject: str, reply: str, payload: bytes) -> bytes:
    """Encode a ``PUB``; the caller ensures that subject and reply contain no whitespace."""
    return f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + CRLF


def hpub(subject: str, reply: str, header: bytes, payload: bytes) -> bytes:
    """Encode an ``HPUB``; ``header`` is a whole block, from its version line to its blank line."""
    sizes = f"{len(header)} {len(header) + len(payload)}"
    return f"HPUB {subject} {reply} {sizes}\r\n".encode() + header + payload + CRLF
