"""Where to start and end: ``nats.start`` and ``nats.end``. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .errors import OptionError, ProtocolError
from .timestamps import ns_to_rfc3339, rfc3339_to_ns

_ALLOWED = (
    "'earliest', 'latest', a sequence from 1 on, an RFC 3339 time with its zone "
    '(2024-05-01T12:00:00Z), or JSON per stream ({"ORDERS": 17, "*": "earliest"})'
)


@dataclass(frozen=True)
class Earliest:
    """The first stored message."""

    def __str__(self) -> str:
        return "earliest"


@dataclass(frozen=True)
class Latest:
    """Behind the last stored message."""

    def __str__(self) -> str:
        return "latest"


@dataclass(frozen=True)
class AtSequence:
    """A stream sequence; as a start and as an end it is included."""

    seq: int

    def __str__(self) -> str:
        return str(self.seq)


@dataclass(frozen=True)
class AtTime:
    """Nanoseconds since the epoch; the first message stored then or later."""

    ns: int

    def __str__(self) -> str:
        return ns_to_rfc3339(self.ns)


Position = Earliest | Latest | AtSequence | AtTime


@dataclass(frozen=True)
class Positions:
    """A position for every stream, and others for some by name."""

    default: Position
    per_stream: dict[str, Position] = field(default_factory=dict)

    def for_stream(self, name: str) -> Position:
        """The position that holds for a stream."""
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
        otherwise: for streams that JSON per stream does not name, unless it names ``*``.

    Raises ``OptionError`` that names the option, the value and what is allowed.
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


def _position(option: str, value: object) -> Position:
    text = str(value).strip()
    if text.lower() == "earliest":
        return Earliest()
    if text.lower() == "latest":
        return Latest()
    if text.isascii() and text.isdigit() and not isinstance(value, bool):
        if len(text) <= 19 and 0 < int(text) < 1 << 63:
            return AtSequence(int(text))
        raise OptionError(f"{option}={text[:40]}: stream sequences begin at 1; use {_ALLOWED}")
    try:
        return AtTime(rfc3339_to_ns(text))
    except ProtocolError:
        raise OptionError(f"{option}={text!r} is none of {_ALLOWED}") from None
