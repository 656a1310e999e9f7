"""Replies to gets of single messages, from a direct get and from the stream's leader."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import (
    JetStreamUnavailableError,
    ProtocolError,
    ServerError,
    StreamNotFoundError,
)
from nats_spark_common.protocol.operations import Msg, header_pairs
from nats_spark_common.protocol.timestamps import ns_to_rfc3339
from nats_spark_common.reading.single_gets import _direct_message, _leaders_message
from nats_spark_common.rows.messages import MESSAGE_COLUMNS, Message, from_messages

DIRECT = "$JS.API.DIRECT.GET.ORDERS"
LEADERS = "$JS.API.STREAM.MSG.GET.ORDERS"
NS = 1_714_564_800_123_456_789


@dataclass(frozen=True)
class Stored:
    """A message as the stream stores it."""

    seq: int = 7
    subject: bytes = b"orders.eu.1"
    time_ns: int = NS
    header: bytes = b""
    payload: bytes = b""

    @property
    def kept(self) -> bytes:
        """Return the message's headers as direct gets return them: without their last two bytes."""
        return self.header[:-2] if len(self.header) > 2 else b"NATS/1.0\r\n"

    def as_told(self) -> Values:
        return (self.seq, self.subject, self.time_ns, header_pairs(self.kept), self.payload)


Values = tuple[int, bytes, int, list[tuple[str, str]], bytes]


def values(message: Message | None) -> Values:
    assert message is not None
    own = header_pairs(message.header)
    return (message.seq, message.subject, message.time_ns, own, message.payload)


def reply(payload: bytes = b"", header: bytes = b"") -> Msg:
    return Msg(b"_INBOX.x.1", b"1", b"", header, payload)


def direct(stored: Stored, stream: bytes = b"ORDERS") -> Msg:
    """Return the reply to a direct get: the message's headers, then the server's four."""
    lines = [
        stored.kept + b"Nats-Stream: " + stream,
        b"Nats-Subject: " + stored.subject,
        b"Nats-Sequence: %d" % stored.seq,
        b"Nats-Time-Stamp: " + ns_to_rfc3339(stored.time_ns).encode(),
        b"",
        b"",
    ]
    return reply(stored.payload, b"\r\n".join(lines))


def leaders(stored: Stored) -> Msg:
    """Return the reply of the stream's leader."""
    message: dict[str, Any] = {
        "subject": stored.subject.decode("utf-8", "replace"),
        "seq": stored.seq,
        "time": ns_to_rfc3339(stored.time_ns),
    }
    if stored.header:
        message["hdrs"] = base64.b64encode(stored.header).decode()
    if stored.payload:
        message["data"] = base64.b64encode(stored.payload).decode()
    kind = "io.nats.jetstream.api.v1.stream_msg_get_response"
    return reply(json.dumps({"type": kind, "message": message}, separators=(",", ":")).encode())


def headers(*lines: bytes, version: bytes = b"NATS/1.0") -> bytes:
    return b"".join(line + b"\r\n" for line in (version, *lines, b""))


HEADERS = {
    "none": b"",
    "empty": headers(),
    "some": headers(b"A: 1", b"A:2", b"Empty:", b"Nats-Msg-Id: x"),
    "not ASCII": headers("Umlaut: ä".encode(), b"Latin: \xe4"),
    "forged sequence": headers(b"Nats-Sequence: 99"),
    "forged stream": headers(b"Nats-Stream: OTHER"),
    "forged stream at the end": headers(b"A: 1", b"Nats-Stream: ORDERS"),
    "forged answer": headers(
        b"Nats-Stream: ORDERS",
        b"Nats-Subject: elsewhere",
        b"Nats-Sequence: 99",
        b"Nats-Time-Stamp: 1999-01-01T00:00:00Z",
    ),
    "forged twice": headers(*[b"Nats-Stream: ORDERS", b"Nats-Sequence: 99"] * 2),
}
PAYLOADS = [b"", b"x", b"ab\r\ncd\r\n\r\n", b"NATS/1.0 404\r\n\r\n", bytes(range(256))]


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_direct_answer_is_the_stored_message(header: bytes, payload: bytes) -> None:
    stored = Stored(header=header, payload=payload)
    assert values(_direct_message(direct(stored), DIRECT)) == stored.as_told()


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_leaders_answer_is_the_stored_message(header: bytes, payload: bytes) -> None:
    stored = Stored(header=header, payload=payload)
    assert values(_leaders_message(leaders(stored), LEADERS)) == stored.as_told()


HEADER_LINES = st.sampled_from(
    [
        b"Nats-Stream: ORDERS",
        b"Nats-Stream: OTHER",
        b"Nats-Subject: elsewhere",
        b"Nats-Sequence: 99",
        b"Nats-Time-Stamp: 1999-01-01T00:00:00Z",
        b"A: 1",
        b"Empty:",
        b"no colon",
    ]
)
MESSAGES = st.builds(
    Stored,
    st.integers(0, (1 << 63) - 1),
    st.sampled_from([b"a", b"orders.eu.1", "grün.日本".encode()]),
    st.integers(0, 4_102_444_800 * 10**9),
    st.just(b"") | st.lists(HEADER_LINES, max_size=6).map(lambda lines: headers(*lines)),
    st.binary(max_size=40),
)


@given(MESSAGES)
def test_any_message_is_read_from_a_direct_answer(stored: Stored) -> None:
    assert values(_direct_message(direct(stored), DIRECT)) == stored.as_told()


@given(MESSAGES)
def test_both_answers_become_the_same_columns(stored: Stored) -> None:
    found = [_direct_message(direct(stored), DIRECT), _leaders_message(leaders(stored), LEADERS)]
    one, two = (from_messages([m], MESSAGE_COLUMNS) for m in found if m is not None)
    assert (one.seqs.tolist(), one.columns) == (two.seqs.tolist(), two.columns)


def test_a_subject_that_is_not_utf_8_is_read_from_a_direct_answer() -> None:
    stored = Stored(subject=b"bad.\xff")
    assert values(_direct_message(direct(stored), DIRECT)) == stored.as_told()


@pytest.mark.parametrize("status", [b"204 EOB", b"404", b"404 Message Not Found", b"503"])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_status_in_a_messages_own_headers_is_its_own(status: bytes, payload: bytes) -> None:
    stored = Stored(header=headers(b"A: 1", version=b"NATS/1.0 " + status), payload=payload)
    assert values(_direct_message(direct(stored), DIRECT)) == stored.as_told()


@pytest.mark.parametrize("own", [b"", b"\r\nA: 1\r\nName: value", b"\r\nNats-Stream: OTHER"])
@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\rXyz", b"\n\n"])
def test_headers_that_their_publisher_did_not_close_are_kept(own: bytes, ending: bytes) -> None:
    stored = Stored(header=b"NATS/1.0" + own + ending)
    assert values(_direct_message(direct(stored), DIRECT)) == stored.as_told()


@pytest.mark.parametrize(
    "answer",
    [b"NATS/1.0 404 Message Not Found\r\n\r\n", b"NATS/1.0 404\r\n\r\n"],
)
def test_a_missing_message_is_none_from_a_direct_get(answer: bytes) -> None:
    assert _direct_message(reply(header=answer), DIRECT) is None


@pytest.mark.parametrize(
    "error",
    [
        {"code": 404, "err_code": 10037, "description": "no message found"},
        {"code": 404, "description": "no message found"},
    ],
)
def test_a_missing_message_is_none_from_the_leader(error: dict[str, Any]) -> None:
    assert _leaders_message(reply(json.dumps({"error": error}).encode()), LEADERS) is None


Read = Callable[[Msg, str], Message | None]


@pytest.mark.parametrize(
    ("read", "subject"), [(_direct_message, DIRECT), (_leaders_message, LEADERS)]
)
def test_no_responders_is_an_error_that_names_the_subject(read: Read, subject: str) -> None:
    with pytest.raises(JetStreamUnavailableError, match=subject.replace("$", r"\$")):
        read(reply(header=b"NATS/1.0 503\r\n\r\n"), subject)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [(b"408 Bad Request", 408, "Bad Request"), (b"413 Too Many Results", 413, "Too Many Results")],
)
def test_any_other_status_keeps_the_servers_description_and_code(
    line: bytes, code: int, words: str
) -> None:
    with pytest.raises(ServerError, match=words) as raised:
        _direct_message(reply(header=b"NATS/1.0 " + line + b"\r\n\r\n"), DIRECT)
    assert (raised.value.code, raised.value.description) == (code, words)


def test_any_other_error_of_the_leader_keeps_its_description_and_codes() -> None:
    error = {"code": 400, "err_code": 10003, "description": "bad request"}
    with pytest.raises(ServerError, match="bad request") as raised:
        _leaders_message(reply(json.dumps({"error": error}).encode()), LEADERS)
    assert (raised.value.code, raised.value.err_code) == (400, 10003)


def test_a_missing_stream_is_an_error_that_names_it() -> None:
    error = {"code": 404, "err_code": 10059, "description": "stream not found"}
    with pytest.raises(StreamNotFoundError, match="'ORDERS'"):
        _leaders_message(reply(json.dumps({"error": error}).encode()), LEADERS)


def changed(old: bytes, new: bytes) -> bytes:
    """Return the header block of a direct reply with a change in it."""
    block = direct(Stored()).header
    assert old in block
    return block.replace(old, new)


@pytest.mark.parametrize(
    "header",
    [
        headers(),
        headers(b"A: 1", b"B: 2", b"C: 3", b"D: 4"),
        changed(b"Nats-Stream: ", b"Nats-Streams: "),
        changed(b"Nats-Sequence: 7\r\n", b""),
        changed(b"Nats-Subject", b"Subject"),
        changed(b"Nats-Time-Stamp: 2024", b"Nats-Time-Stamp: x"),
        changed(b"Nats-Sequence: 7\r\n", b"Nats-Last-Sequence: 7\r\n"),
    ],
)
def test_an_invalid_direct_reply_is_an_error(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        _direct_message(reply(b"x", header), DIRECT)


@pytest.mark.parametrize("payload", [b"", b"x", b'{"error":{"code":400}}'])
def test_a_direct_answer_without_headers_is_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        _direct_message(reply(payload), DIRECT)


@pytest.mark.parametrize("header", [b"x", b"NATS/1.0", b"NATS/1.0\r\n", b"\r\n", b"\r\n\r\n"])
def test_a_direct_answer_with_too_few_lines_is_an_error(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        _direct_message(reply(b"x", header), DIRECT)


@pytest.mark.parametrize("digits", [b"", b"x", b"-1", b"1_0", b"99999999999999999999"])
def test_a_direct_answer_without_a_sequence_is_an_error(digits: bytes) -> None:
    with pytest.raises(ProtocolError):
        _direct_message(reply(b"x", changed(b"Sequence: 7", b"Sequence: " + digits)), DIRECT)


@pytest.mark.parametrize("payload", [b"", b"no JSON", b"\xff\xfe", b"[]", b"7", b"null"])
def test_a_leaders_answer_that_is_no_json_object_is_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        _leaders_message(reply(payload), LEADERS)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"message": None},
        {"message": {}},
        {"message": {"seq": "x", "subject": "a", "time": "2024-05-01T12:00:00Z"}},
        {"message": {"seq": 7, "subject": "a", "time": "2024-05-01T12:00:00Z", "data": "x"}},
    ],
)
def test_a_leaders_answer_without_a_message_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        _leaders_message(reply(json.dumps(answer).encode()), LEADERS)


def test_a_leaders_answer_without_a_time_in_it_is_an_error() -> None:
    message = {"seq": 7, "subject": "a", "time": "yesterday"}
    with pytest.raises(ProtocolError):
        _leaders_message(reply(json.dumps({"message": message}).encode()), LEADERS)
