"""Mutations of recorded bytes, as a hypothesis strategy that shrinks to few small changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

#: Numbers that no server sends where it sends a number.
NUMBERS = [
    b"",
    b"0",
    b"-1",
    b"+1",
    b"1_0",
    b" 1",
    b"0x10",
    b"1e3",
    b"1.0",
    b"00000000000000000001",
    b"\xd9\xa1",  # a digit that is not ASCII
    str(2**31).encode(),
    str(2**62).encode(),
    str(2**63 - 1).encode(),
    str(2**63).encode(),
    str(2**64).encode(),
    str(2**70).encode(),
    b"9" * 5_000,
]

#: Pieces of the protocol where they do not belong.
TOKENS = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b".",
    b"*",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"PING\r\n",
    b"-ERR 'x'\r\n",
    b"MSG ",
    b"HMSG ",
    b"INFO {}\r\n",
    b"NATS/1.0 ",
    b"NATS/1.0 503\r\n\r\n",
    b"$JS.ACK.",
    b"Nats-Stream: ",
    b"~nobody/x",
    b"://",
    b"[::1",
    b"Z",
    b"+25:00",
]

#: JSON where other JSON belongs.
VALUES = [
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"x"',
    b'"\\ud800"',
    b"[[1]]",
    b'{"x":1}',
    b"-1",
    b"1.5",
    b"1e400",
    b"Infinity",
    b"NaN",
    str(2**63).encode(),
    str(2**70).encode(),
    b"[" * 5_000,
    b'{"a":' * 5_000,
]

_DIGITS = re.compile(rb"\d+")
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.]*|true|false|null')

Draw = st.DrawFn
Mutation = Callable[[Draw, bytes, Sequence[bytes]], bytes]


def _span(draw: Draw, data: bytes) -> tuple[int, int]:
    start = draw(st.integers(0, len(data)))
    return start, min(len(data), start + draw(st.integers(0, 64) | st.integers(0, len(data))))


def _flip(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


def _cut(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[end:]


def _truncate(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _duplicate(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(draw, data)
    return data[:end] + data[start:end] * draw(st.integers(1, 3)) + data[end:]


def _splice(draw: Draw, data: bytes, corpus: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(corpus))
    start, end = _span(draw, other)
    at = draw(st.integers(0, len(data)))
    return data[:at] + other[start:end] + data[at:]


def _token(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(draw, data)
    end = draw(st.sampled_from([start, end]))
    return data[:start] + draw(st.sampled_from(TOKENS)) + data[end:]


def _replace(draw: Draw, data: bytes, pattern: re.Pattern[bytes], by: Sequence[bytes]) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data
    which = draw(st.sampled_from(found))
    return data[: which.start()] + draw(st.sampled_from(by)) + data[which.end() :]


def _number(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    return _replace(draw, data, _DIGITS, NUMBERS)


def _value(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    return _replace(draw, data, _VALUE, VALUES)


def _exchange_lines(draw: Draw, data: bytes, _: Sequence[bytes]) -> bytes:
    lines = data.split(b"\r\n")
    one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


_OF_FRAMES: list[Mutation] = [
    *(_flip, _cut, _truncate, _duplicate, _splice, _token, _number, _number, _exchange_lines)
]
_OF_TEXT: list[Mutation] = [_flip, _cut, _truncate, _splice, _token, _number, _value, _value]


@st.composite
def mutated(draw: Draw, corpus: Sequence[bytes], text: bool) -> bytes:
    """Return bytes of the corpus with up to four changes; ``text`` for JSON and options."""
    data = draw(st.sampled_from(corpus))
    mutations = _OF_TEXT if text else _OF_FRAMES
    for _ in range(draw(st.integers(1, 4))):
        data = draw(st.sampled_from(mutations))(draw, data, corpus)
    return data
