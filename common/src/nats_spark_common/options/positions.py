"""Start and end positions: ``nats.start`` and ``nats.end``. Pure, except for the clock.

A relative time such as ``-1h`` becomes an absolute one when it is parsed: when a streaming query
starts, and when a batch read is planned, which Spark does once per DataFrame.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import OptionError, ProtocolError
from ..protocol.timestamps import ns_to_rfc3339, rfc3339_to_ns
from .durations import parse_duration

_ALLOWED = (
    "'earliest', 'latest', a sequence (1 or higher), an RFC 3339 time with a zone "
    "(2024-05-01T12:00:00Z), a time before now (-30m, -1h, -2d), or JSON per stream "
    '({"ORDERS": 17, "*": "earliest"})'
)

#: A relative time has a unit, so that Kafka's -1 and -2 are not taken for times.
_AGO = re.compile(r"-\s*(\d.*[a-z])", re.ASCII)
_LONGEST_AGO_NS = 1 << 62  # 146 years, before any stream

_NO_ZONE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?", re.ASCII)


@dataclass(frozen=True)
class Earliest:
    """The first stored message."""

    def __str__(self) -> str:
        return "earliest"


@dataclass(frozen=True)
class Latest:
    """After the last stored message."""

    def __str__(self) -> str:
        return "latest"


@dataclass(frozen=True)
class AtSequence:
    """A stream sequence, inclusive both as a start and as an end."""

    seq: int

    def __str__(self) -> str:
        return str(self.seq)


@dataclass(frozen=True)
class AtTime:
    """The first message stored at or after a time in nanoseconds since the epoch."""

    ns: int

    def __str__(self) -> str:
        return ns_to_rfc3339(self.ns)


Position = Earliest | Latest | AtSequence | AtTime


@dataclass(frozen=True)
class Positions:
    """A default position, and positions of single streams by name."""

    default: Position
    per_stream: dict[str, Position] = field(default_factory=dict)

    def for_stream(self, name: str) -> Position:
        """Return the position of a stream."""
        return self.per_stream.get(name, self.default)

    def __str__(self) -> str:
        if not self.per_stream:
            return str(self.default)
        named = {name: str(position) for name, position in self.per_stream.items()}
        return json.dumps({**named, "*": str(self.default)})

    def __hash__(self) -> int:
        return hash((self.default, tuple(sorted(self.per_stream))))


def parse_positions(option: str, text: str, otherwise: Position) -> Positions:
    """Parse an option's text.

    Args:
        otherwise: the position of streams that JSON names neither by name nor by ``*``.

    Raises ``OptionError`` with the option, the value and the allowed values.
    """
    text = text.strip()
    if not text.startswith("{"):
        return Positions(_position(option, text))
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = text if len(text) < 200 else f"{text[:200]}..."
        raise OptionError(f"{option}={shown!r} is not JSON ({error}): use {_ALLOWED}") from None
    parsed = {str(name): _position(f"{option}[{name}]", value) for name, value in given.items()}
    return Positions(parsed.pop("*", otherwise), parsed)


def check_streams(
    option: str, positions: Positions, is_read: Callable[[str], bool], streams: str
) -> None:
    """Raise ``OptionError`` if positions name a stream that the query never reads.

    Args:
        is_read: whether the query reads a stream of this name, if it exists.
        streams: the streams that it reads, for the message.
    """
    others = sorted(name for name in positions.per_stream if not is_read(name))
    if others:
        raise OptionError(
            f"{option} names {', '.join(others)}, which the query does not read: use only its "
            f"streams ({streams}); names are case-sensitive"
        )


def check_start(position: Position, stream: str, last_seq: int) -> None:
    """Raise ``OptionError`` if a start is beyond the end of the stream, or in the future."""
    if isinstance(position, AtSequence) and position.seq > last_seq + 1:
        raise OptionError(
            f"nats.start={position.seq} is beyond the end of stream {stream!r}, whose last "
            f"sequence is {last_seq}: use a sequence up to {last_seq + 1}, or 'latest'"
        )
    if isinstance(position, AtTime) and position.ns > time.time_ns():
        raise OptionError(
            f"nats.start={position} is in the future: use a time up to now, or 'latest' to read "
            "only new messages"
        )


def _position(option: str, value: object) -> Position:
    text = str(value).strip()
    if text.lower() == "earliest":
        return Earliest()
    if text.lower() == "latest":
        return Latest()
    if text.isascii() and text.isdigit() and not isinstance(value, bool):
        if len(text) <= 19 and 0 < int(text) < 1 << 63:
            return AtSequence(int(text))
        raise OptionError(f"{option}={text[:40]}: sequences are from 1 to 2^63 - 1: use {_ALLOWED}")
    ago = _AGO.fullmatch(text.lower())
    try:
        return AtTime(_before_now(ago.group(1)) if ago else rfc3339_to_ns(text))
    except (ProtocolError, ValueError):
        pass
    local = _NO_ZONE.fullmatch(text)
    if local:
        # Spark does not pass its session time zone to a Python source.
        day, clock = local.groups()
        whole = f"{day}T{clock or '00:00:00'}{':00' if clock and len(clock) == 5 else ''}"
        raise OptionError(
            f"{option}={text!r} has no time zone: append Z for UTC ({whole}Z), or an offset "
            f"({whole}+02:00)"
        )
    raise OptionError(f"{option}={text!r} is not a position: use {_ALLOWED}")


def _before_now(duration: str) -> int:
    return time.time_ns() - int(min(parse_duration(duration) * 1e9, _LONGEST_AGO_NS))
