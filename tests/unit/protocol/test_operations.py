from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.protocol.operations import (
    OK_SIGNAL,
    PING_SIGNAL,
    PONG_SIGNAL,
    Err,
    Event,
    Info,
    Msg,
    frame_length,
    header_pairs,
    header_status,
    parse,
    pub,
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


@given(st.sampled_from(OPERATIONS), st.data())
def test_the_length_of_a_message_is_known_from_its_first_line(
    operation: tuple[bytes, Event], data: st.DataObject
) -> None:
    raw, event = operation
    cut = data.draw(st.integers(0, len(raw)))
    known = isinstance(event, Msg) and raw.find(b"\r\n") + 2 <= cut
    assert frame_length(raw[:cut]) == (len(raw) if known else 0)


@pytest.mark.parametrize("line", [b"MSG a 1 x", b"MSG a 1 -3", b"MSGS a 1 3", b"-ERR 'x' 3"])
def test_a_line_of_another_operation_has_no_length(line: bytes) -> None:
    assert frame_length(line + b"\r\n...") == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 3\r\nabcd\r\n",
        b"HMSG a 1 20 10\r\n" + b"x" * 10 + b"\r\n",
        b"INFO nothing\r\n",
        b"INFO []\r\n",
        b"MSG a 1 -2\r\n\r\n",
        b"MSG a 1 1 2 3\r\nabc\r\n",
        b"HMSG a 1 2\r\nab\r\n",
        b"HMSG a 1 -4 -2\r\n\r\n",
        b"HMSG a 1 x 10\r\n" + b"x" * 10 + b"\r\n",
        b"MSG a 1 3\r\nab\r\n\r\n",
        b"\r\n",
        b"PINGS\r\n",
    ],
)
def test_bytes_that_are_not_the_protocol_are_an_error(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(bad)


def test_a_header_can_hold_no_more_than_the_message() -> None:
    with pytest.raises(ProtocolError, match="does not end where its length says"):
        parse(b"HMSG a 1 4 3\r\nabc\r\n")


def test_operations_before_an_incomplete_one_are_returned() -> None:
    assert parse(b"PING\r\nMSG a 1 5\r\nab") == ([PING_SIGNAL], 6)


def test_a_long_payload_is_awaited_without_an_error() -> None:
    assert parse(b"MSG a 1 9000000\r\n" + b"x" * (2 << 20)) == ([], 0)


@pytest.mark.parametrize("line", [b"ping\r\n", b"Ping\r\n"])
def test_signals_are_known_in_any_case(line: bytes) -> None:
    assert parse(line) == ([PING_SIGNAL], 6)


@given(st.binary(max_size=60))
def test_any_bytes_are_operations_or_a_protocol_error(data: bytes) -> None:
    try:
        _, consumed = parse(data)
    except ProtocolError:
        return
    assert 0 <= consumed <= len(data)


@given(st.binary(max_size=80), st.text("abc.", min_size=1, max_size=9))
def test_what_is_published_is_what_arrives(payload: bytes, subject: str) -> None:
    sent = pub(subject, "re.ply", payload)
    line, rest = sent.split(b"\r\n", 1)
    delivered = line.replace(b"PUB " + subject.encode(), b"MSG " + subject.encode() + b" 1", 1)
    events, consumed = parse(delivered + b"\r\n" + rest)
    assert events == [Msg(subject.encode(), b"1", b"re.ply", b"", payload)]
    assert consumed == len(delivered) + 2 + len(rest)


def test_a_line_without_end_is_an_error_instead_of_an_endless_wait() -> None:
    with pytest.raises(ProtocolError, match="no line end"):
        parse(b"x" * (2 << 20))


def test_header_pairs_keep_order_repeats_and_empty_values() -> None:
    block = b"NATS/1.0\r\nB: 2\r\nA:1\r\nB: 3 \r\nE:\r\n\r\n"
    assert header_pairs(block) == [("B", "2"), ("A", "1"), ("B", "3"), ("E", "")]


def test_header_pairs_replace_bytes_that_are_not_utf_8() -> None:
    assert header_pairs(b"NATS/1.0\r\n\xe4: \xff\r\n\r\n") == [("\ufffd", "\ufffd")]


def test_a_value_keeps_its_colons_and_inner_spaces() -> None:
    assert header_pairs(b"NATS/1.0\r\nA:  b: c  d \r\n\r\n") == [("A", "b: c  d")]


def test_a_line_without_colon_is_a_name_without_value() -> None:
    assert header_pairs(b"NATS/1.0\r\nA\r\n\r\n") == [("A", "")]


@pytest.mark.parametrize(
    "block", [b"", b"NATS/1.0", b"NATS/1.0\r\n\r\n", b"NATS/1.0 204 EOB\r\n\r\n"]
)
def test_a_block_without_headers_has_no_pairs(block: bytes) -> None:
    assert header_pairs(block) == []


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"NATS/1.0\r\n\r\n", (0, "")),
        (b"NATS/1.0 503\r\n\r\n", (503, "")),
        (b"NATS/1.0 404 Message Not Found\r\nA: 1\r\n\r\n", (404, "Message Not Found")),
        (b"NATS/1.0  409   Leadership Change \r\n\r\n", (409, "Leadership Change")),
        (b"NATS/1.0 408 \xff\r\n\r\n", (408, "\ufffd")),
        (b"NATS/1.0 no status\r\n\r\n", (0, "")),
        (b"NATS/1.0 " + b"9" * 5000 + b"\r\n\r\n", (0, "")),
        (b"", (0, "")),
    ],
)
def test_header_status(block: bytes, status: tuple[int, str]) -> None:
    assert header_status(block) == status
