"""Answers to publishes: counted as a block or parsed one by one, with the same result."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common.errors import ProtocolError
from nats_spark_common.protocol.operations import (
    OK_SIGNAL,
    PING_SIGNAL,
    PONG_SIGNAL,
    Err,
    Event,
    Info,
    Msg,
)
from nats_spark_common.sink.pub_acks import Acks, Reply, _parse_each, _parse_plain_acks, parse_acks
from nats_spark_common.sink.publish_errors import publish_error

INBOX = "_INBOX.0123456789abcdef.7"
Streams = frozenset[str] | None


def go_json(body: Any) -> bytes:
    """Return JSON as Go encodes it: without spaces, with few characters escaped."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode()


def msg(to: str, payload: bytes, inbox: str = INBOX) -> bytes:
    return f"MSG {inbox}.{to} 1 {len(payload)}\r\n".encode() + payload + b"\r\n"


def ack(number: int, seq: int = 1, stream: str = "ORDERS", **more: object) -> bytes:
    return msg(str(number), go_json({"stream": stream, "seq": seq, **more}))


def no_responders(to: str) -> bytes:
    """Return the server's answer if no stream has the subject of a message."""
    return f"HMSG {INBOX}.{to} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n".encode()


@dataclass
class Answer:
    """An operation of the server, and its meaning."""

    raw: bytes
    number: int | None = None
    reply: Reply | None = None
    other: Event | None = None


def ack_answer(
    number: int, seq: int, stream: str, more: dict[str, object], streams: Streams
) -> Answer:
    raw = ack(number, seq, stream, **more)
    if streams is None or stream in streams:
        return Answer(raw, number)
    return Answer(raw, reply=Reply(str(number), 0, {"stream": stream, "seq": seq, **more}))


def body_answer(to: str, body: dict[str, Any]) -> Answer:
    return Answer(msg(to, go_json(body)), reply=Reply(to, 0, body))


def error(code: int = 400, err_code: int = 10077, words: str = "no") -> dict[str, Any]:
    return {"code": code, "err_code": err_code, "description": words}


ELSEWHERE = f"{INBOX}0.5"
OTHERS = [
    Answer(b"PING\r\n", other=PING_SIGNAL),
    Answer(b"PONG\r\n", other=PONG_SIGNAL),
    Answer(b"+OK\r\n", other=OK_SIGNAL),
    Answer(b"-ERR 'Permissions Violation'\r\n", other=Err("Permissions Violation")),
    Answer(b'INFO {"server_id":"x"} \r\n', other=Info({"server_id": "x"})),
    Answer(
        msg("5", b'{"stream":"ORDERS","seq":1}', f"{INBOX}0"),
        other=Msg(ELSEWHERE.encode(), b"1", b"", b"", b'{"stream":"ORDERS","seq":1}'),
    ),
    Answer(msg("x", ack(3), "_INBOX.other"), other=Msg(b"_INBOX.other.x", b"1", b"", b"", ack(3))),
]
NAMES = ["ORDERS", "ORDERS2", "grün-日本", 'quo"te', "a&b<c", "back\\slash", "error", "batch"]
NUMBERS = st.integers(0, 10**12)
SEQS = st.integers(1, (1 << 64) - 1)
MORE: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    [{}, {"duplicate": True}, {"domain": "hub"}, {"domain": "hub", "duplicate": True}, {"val": "7"}]
)
STREAMS: st.SearchStrategy[Streams] = st.none() | st.frozensets(st.sampled_from(NAMES), max_size=4)
FAST_TO = st.builds("b4tch.500.fail.{}.{}.$FI".format, NUMBERS, st.integers(0, 2))
FAST_BODIES = st.sampled_from(
    [
        {"type": "ack", "seq": 500, "msgs": 100},
        {"type": "gap", "last_seq": 3, "seq": 7},
        {"type": "err", "seq": 3, "error": error()},
        {"stream": "ORDERS", "seq": 9, "batch": "b4tch", "count": 9},
        {"stream": "ORDERS", "seq": 9},
        {"error": error(400, 10208), "stream": "ORDERS", "seq": 0},
    ]
)
BODIES = st.sampled_from(
    [
        {"error": error(), "stream": "ORDERS", "seq": 0},
        {"stream": "ORDERS", "seq": 0, "error": error()},
        {"error": error(503, 10077, 'with "stream":"x" in it'), "stream": "grün", "seq": 0},
        {"stream": "ORDERS", "seq": 9, "batch": "b4tch", "count": 9},
        {"type": "io.nats.jetstream.api.v1.stream_info_response"},
        {},
    ]
)


def answers(streams: Streams) -> st.SearchStrategy[Answer]:
    """Anything that a server may send."""
    numbers = NUMBERS.map(str)
    names = st.sampled_from(NAMES)
    acks = st.builds(ack_answer, NUMBERS, SEQS, names, MORE, st.just(streams))
    return st.one_of(
        acks,
        acks,
        st.sampled_from(OTHERS),
        st.builds(body_answer, numbers, BODIES),
        st.builds(body_answer, FAST_TO, FAST_BODIES),
        (numbers | FAST_TO).map(lambda to: Answer(no_responders(to), reply=Reply(to, 503, {}))),
        numbers.map(lambda to: Answer(msg(to, b""), reply=Reply(to, 0, {}))),
    )


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Answer], Streams]:
    """Long runs of plain acks, with anything else between."""
    streams = draw(STREAMS)
    stream = draw(st.sampled_from(sorted(streams) if streams else NAMES))
    run = st.integers(0, 5).map(
        lambda count: [ack_answer(i, i + 1, stream, {}, streams) for i in range(count)]
    )
    mixed = st.lists(answers(streams), max_size=3)
    return [each for some in draw(st.lists(run | mixed, max_size=6)) for each in some], streams


@dataclass
class Received:
    """What was parsed from bytes that arrived in parts."""

    numbers: list[int] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)
    left: bytes = b""


def same(one: Acks, other: Acks) -> bool:
    return (one.numbers.tolist(), one.replies, one.others, one.consumed) == (
        other.numbers.tolist(),
        other.replies,
        other.others,
        other.consumed,
    )


def feed(stream: bytes, cuts: Iterable[int], streams: Streams) -> Received:
    """Read bytes that arrive cut at ``cuts``, as a publisher does."""
    received = Received()
    for begin, end in pairwise([0, *cuts, len(stream)]):
        received.left += stream[begin:end]
        acks = parse_acks(received.left, INBOX, streams)
        assert same(acks, _parse_each(received.left, INBOX, streams))
        received.numbers += acks.numbers.tolist()
        received.replies += acks.replies
        received.others += acks.others
        received.left = received.left[acks.consumed :]
    return received


def expected(sent: list[Answer]) -> Received:
    return Received(
        [each.number for each in sent if each.number is not None],
        [each.reply for each in sent if each.reply is not None],
        [each.other for each in sent if each.other is not None],
    )


@given(conversations(), st.data())
@settings(max_examples=400)
def test_all_answers_are_parsed_wherever_the_bytes_are_split(
    conversation: tuple[list[Answer], Streams], data: st.DataObject
) -> None:
    sent, streams = conversation
    stream = b"".join(each.raw for each in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assert feed(stream, cuts, streams) == expected(sent)


@given(conversations())
@settings(max_examples=60)
def test_both_ways_agree_on_every_start_of_a_block(
    conversation: tuple[list[Answer], Streams],
) -> None:
    sent, streams = conversation
    stream = b"".join(each.raw for each in sent)
    for stop in range(len(stream) + 1):
        start = stream[:stop]
        assert same(parse_acks(start, INBOX, streams), _parse_each(start, INBOX, streams)), start


@given(st.lists(NUMBERS, min_size=1, max_size=20), MORE, st.integers(0, 60))
def test_plain_acks_are_counted_as_a_block_even_if_the_last_is_incomplete(
    numbers: list[int], more: dict[str, object], extra: int
) -> None:
    whole = b"".join(ack(number, **more) for number in numbers)
    acks = _parse_plain_acks(
        whole + ack(7)[: min(extra, len(ack(7)) - 1)], INBOX, frozenset({"ORDERS"})
    )
    assert acks is not None
    assert (acks.numbers.tolist(), acks.consumed) == (numbers, len(whole))


@pytest.mark.parametrize("name", NAMES)
def test_streams_are_known_by_names_that_json_escapes(name: str) -> None:
    acks = parse_acks(ack(1, stream=name) + ack(2, stream=name), INBOX, frozenset({name}))
    assert (acks.numbers.tolist(), acks.replies) == ([1, 2], [])


@pytest.mark.parametrize("name", NAMES)
def test_acks_of_another_stream_do_not_count(name: str) -> None:
    body = {"stream": name, "seq": 1}
    acks = parse_acks(ack(1, stream=name) + ack(2, stream="X"), INBOX, frozenset({"X"}))
    assert (acks.numbers.tolist(), acks.replies) == ([2], [Reply("1", 0, body)])


def test_a_name_that_starts_with_an_expected_name_is_another_stream() -> None:
    assert parse_acks(ack(1, stream="ORDERS2"), INBOX, frozenset({"ORDERS"})).numbers.size == 0


def test_no_ack_counts_if_no_stream_is_expected() -> None:
    assert parse_acks(ack(1), INBOX, frozenset()).numbers.size == 0


def test_a_duplicate_is_stored() -> None:
    assert parse_acks(ack(1, duplicate=True) + ack(1), INBOX).numbers.tolist() == [1, 1]


@pytest.mark.parametrize("more", [{"error": error()}, {"batch": "b4tch", "count": 1}])
def test_an_error_or_a_batch_answer_among_plain_acks_is_not_an_ack(more: dict[str, object]) -> None:
    acks = parse_acks(ack(1) + ack(2, **more) + ack(3), INBOX, frozenset({"ORDERS"}))
    reply = Reply("2", 0, {"stream": "ORDERS", "seq": 1, **more})
    assert (acks.numbers.tolist(), acks.replies) == ([1, 3], [reply])


def test_an_empty_block_has_no_answers() -> None:
    assert same(parse_acks(b"", INBOX), _parse_each(b"", INBOX, None))


@pytest.mark.parametrize("streams", [None, frozenset({"ORDERS"})])
def test_an_answer_without_a_sequence_is_not_an_ack(streams: Streams) -> None:
    body = {"stream": "ORDERS", "domain": "hub"}
    acks = parse_acks(msg("1", go_json(body)), INBOX, streams)
    assert (acks.numbers.tolist(), acks.replies) == ([], [Reply("1", 0, body)])


@pytest.mark.parametrize("payload", [b"no json", b"[1]", b"1", b"null", b'{"seq":', b"\xff", b"-"])
def test_an_invalid_answer_is_an_error_and_not_an_ack(payload: bytes) -> None:
    acks = parse_acks(msg("1", payload), INBOX)
    assert acks.numbers.size == 0
    assert "invalid JetStream reply" in acks.replies[0].body["error"]["description"]


def test_bytes_outside_the_protocol_are_an_error() -> None:
    with pytest.raises(ProtocolError):
        parse_acks(ack(1) + b"HTTP/1.1 400\r\n" + ack(2), INBOX)


@pytest.mark.parametrize("payload", [b"no json", b"[]"])
def test_an_answer_that_is_not_json_can_be_reported(payload: bytes) -> None:
    reply = parse_acks(msg("1", payload), INBOX).replies[0]
    assert "invalid JetStream reply" in str(publish_error("a", reply.body))
