from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.protocol import (
    OK_SIGNAL,
    PING_SIGNAL,
    PONG_SIGNAL,
    Err,
    Event,
    Info,
    Msg,
    header_pairs,
    header_status,
    parse,
)

OPERATIONS: list[tuple[bytes, Event]] = [
    (b"PING\r\n", PING_SIGNAL),
    (b"PONG\r\n", PONG_SIGNAL),
    (b"+OK\r\n", OK_SIGNAL),
    (b"-ERR 'Stale Connection'\r\n", Err("Stale Connection")),
    (b'INFO {"version":"2.11.0"} \r\n', Info({"version": "2.11.0"})),
    (b"MSG a.b 1 0\r\n\r\n", Msg(b"a.b", b"1", b"", b"", b"")),
    (b"MSG a.b 1 re.ply 6\r\nPING\r\n\r\n", Msg(b"a.b", b"1", b"re.ply", b"", b"PING\r\n")),
    (
        b"HMSG a 12 12 15\r\nNATS/1.0\r\n\r\nabc\r\n",
        Msg(b"a", b"12", b"", b"NATS/1.0\r\n\r\n", b"abc"),
    ),
    (
        b"HMSG a 12 r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        Msg(b"a", b"12", b"r", b"NATS/1.0\r\n\r\n", b""),
    ),
]


@given(st.lists(st.sampled_from(OPERATIONS), max_size=8), st.data())
@settings(deadline=None)
def test_operations_are_parsed_wherever_the_bytes_are_cut(
    operations: list[tuple[bytes, Event]], data: st.DataObject
) -> None:
    stream = b"".join(raw for raw, _ in operations)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    events: list[Event] = []
    buffer = b""
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer += stream[begin:end]
        found, consumed = parse(buffer)
        events += found
        buffer = buffer[consumed:]
    assert events == [event for _, event in operations]
    assert buffer == b""


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 3\r\nabcd\r\n",
        b"HMSG a 1 20 10\r\n" + b"x" * 10 + b"\r\n",
        b"INFO nothing\r\n",
    ],
)
def test_what_is_not_the_protocol_is_an_error(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(bad)


def test_a_line_without_end_is_an_error_and_not_awaited_for_ever() -> None:
    with pytest.raises(ProtocolError, match="no line end"):
        parse(b"x" * (2 << 20))


def test_header_pairs_keep_order_repeats_and_empty_values() -> None:
    block = b"NATS/1.0\r\nB: 2\r\nA:1\r\nB: 3 \r\nE:\r\n\r\n"
    assert header_pairs(block) == [("B", "2"), ("A", "1"), ("B", "3"), ("E", "")]


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"NATS/1.0\r\n\r\n", (0, "")),
        (b"NATS/1.0 503\r\n\r\n", (503, "")),
        (b"NATS/1.0 404 Message Not Found\r\nA: 1\r\n\r\n", (404, "Message Not Found")),
    ],
)
def test_header_status(block: bytes, status: tuple[int, str]) -> None:
    assert header_status(block) == status
