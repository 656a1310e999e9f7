"""The decoder against a model: any messages, cut at any byte, between any other operations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.decode import Decoded, Status, _decode_fast, decode, decode_carefully, marker
from nats_spark_common.messages import MESSAGE_COLUMNS
from nats_spark_common.protocol import PING_SIGNAL, Err, Info, Msg
from nats_spark_common.timestamps import ns_to_rfc3339

INBOX = "_INBOX.0123456789abcdef.7"
MARK = marker(INBOX, "1")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stored:
    """A message as the stream holds it."""

    seq: int
    subject: bytes
    time_ns: int
    own: tuple[bytes, ...]  # its own header lines; the first may carry a status
    payload: bytes


def frame(header: bytes, payload: bytes, inbox: str = INBOX) -> bytes:
    total = len(header) + len(payload)
    return f"HMSG {inbox} 1 {len(header)} {total}\r\n".encode() + header + payload + b"\r\n"


def trimmed(time_ns: int) -> str:
    """RFC 3339 as Go prints it: zeros at the end of the fraction are dropped."""
    text = ns_to_rfc3339(time_ns).removesuffix("Z").rstrip("0")
    return text.removesuffix(".") + "Z"


def message_frame(message: Stored, previous: int) -> bytes:
    """A frame as the server writes it: the message's own headers first, then its six."""
    lines = [
        *(message.own or (b"NATS/1.0",)),
        b"Nats-Stream: ORDERS",
        b"Nats-Subject: " + message.subject,
        b"Nats-Sequence: %d" % message.seq,
        b"Nats-Time-Stamp: " + trimmed(message.time_ns).encode(),
        b"Nats-Num-Pending: 17",
        b"Nats-Last-Sequence: %d" % previous,
        b"",
        b"",
    ]
    return frame(b"\r\n".join(lines), message.payload)


def end_frame(last: int) -> bytes:
    head = b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: %d\r\n\r\n" % last
    return frame(head, b"")


def answer(messages: list[Stored]) -> bytes:
    """A whole answer: the messages and the end of the batch."""
    parts, previous = [], 0
    for message in messages:
        parts.append(message_frame(message, previous))
        previous = message.seq
    return b"".join([*parts, end_frame(previous)])


def headers_of(message: Stored) -> list[tuple[str, list[str]]]:
    values: dict[str, list[str]] = {}
    for line in message.own[1:]:
        name, _, value = line.partition(b":")
        values.setdefault(name.decode(), []).append(value.strip().decode())
    return list(values.items())


def rows(decoded: Decoded) -> list[tuple[object, ...]]:
    columns = decoded.messages.columns
    return list(
        zip(
            decoded.messages.seqs.tolist(),
            decoded.previous.tolist(),
            columns["subject"].to_pylist(),
            columns["content"].to_pylist(),
            columns["headers"].to_pylist(),
            columns["timestamp"].to_pylist(),
            strict=True,
        )
    )


def expected_rows(messages: list[Stored]) -> list[tuple[object, ...]]:
    before = [0, *(m.seq for m in messages)]
    return [
        (
            m.seq,
            before[i],
            m.subject.decode("utf-8", "replace"),
            m.payload,
            headers_of(m),
            EPOCH + timedelta(microseconds=m.time_ns // 1000),
        )
        for i, m in enumerate(messages)
    ]


PROTOCOL_TEXT = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"NATS/1.0 204 EOB\r\n",
        b"HMSG _INBOX.x 1 12 12\r\n",
        MARK,
        MARK + b"12 12\r\nNATS/1.0\r\n\r\n\r\n",
        b"Nats-Sequence: 7\r\n",
        b"Nats-Last-Sequence: 3\r\n\r\n",
        b"PING\r\n",
        b"-ERR 'no'\r\n",
        b"MSG a 1 3\r\nabc\r\n",
        b"",
    ]
)
PAYLOADS = st.lists(PROTOCOL_TEXT | st.binary(max_size=40), max_size=5).map(b"".join)
HEADER_WORDS = st.sampled_from(
    [
        b"Nats-Sequence: 99",
        b"Nats-Subject: elsewhere",
        b"Nats-Time-Stamp: 1999-01-01T00:00:00Z",
        b"Nats-Stream: OTHER",
        b"Nats-Last-Sequence: 5",
        b"Nats-Num-Pending: 1",
        b"A: 1",
        b"A:2",
        b"Empty:",
        "Umlaut: ä".encode(),
        b"HMSG: _INBOX 1 2 3",
    ]
)
STATUS_LINES = st.sampled_from(
    [b"NATS/1.0", b"NATS/1.0 204 EOB", b"NATS/1.0 404", b"NATS/1.0 503 x"]
)
OWN = st.one_of(
    st.just(()),
    st.tuples(STATUS_LINES, st.lists(HEADER_WORDS, max_size=8)).map(lambda t: (t[0], *t[1])),
)
SUBJECTS = st.sampled_from(
    [b"a", b"orders.eu.1", "grün.日本".encode(), b"bad.\xff\xfe", b"x" * 300]
)


@st.composite
def stored_messages(draw: st.DrawFn) -> list[Stored]:
    seq = draw(st.sampled_from([0, 1, 998, (1 << 53) - 2, (1 << 63) - 200]))
    found = []
    for _ in range(draw(st.integers(0, 12))):
        seq += draw(st.integers(1, 9))
        found.append(
            Stored(
                seq,
                draw(SUBJECTS),
                draw(st.integers(0, 4_102_444_800 * 10**9) | st.just(1_700_000_000 * 10**9)),
                draw(OWN),
                draw(PAYLOADS),
            )
        )
    return found


OTHERS = {
    b"PING\r\n": PING_SIGNAL,
    b'INFO {"server_id":"x"}\r\n': Info({"server_id": "x"}),
    b"-ERR 'slow'\r\n": Err("slow"),
    b"MSG _INBOX.other 1 5\r\nab\r\nc\r\n": Msg(b"_INBOX.other", b"1", b"", b"", b"ab\r\nc"),
}


@given(stored_messages())
@settings(max_examples=300, deadline=None)
def test_an_answer_decodes_to_what_was_stored(messages: list[Stored]) -> None:
    data = answer(messages)
    decoded = decode(data, MARK, MESSAGE_COLUMNS)
    assert rows(decoded) == expected_rows(messages)
    assert decoded.status == Status(204, "EOB", messages[-1].seq if messages else 0)
    assert decoded.consumed == len(data)


@given(stored_messages(), st.data())
@settings(max_examples=300, deadline=None)
def test_where_the_bytes_are_cut_makes_no_difference(
    messages: list[Stored], data: st.DataObject
) -> None:
    stream = answer(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    found: list[tuple[object, ...]] = []
    status, buffer = None, b""
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer += stream[begin:end]
        decoded = decode(buffer, MARK, MESSAGE_COLUMNS)
        found += rows(decoded)
        status = decoded.status or status
        buffer = buffer[decoded.consumed :]
    assert found == expected_rows(messages)
    assert status is not None
    assert buffer == b""


@given(stored_messages(), st.data())
@settings(max_examples=200, deadline=None)
def test_other_operations_in_between_are_handed_out_and_nothing_is_lost(
    messages: list[Stored], data: st.DataObject
) -> None:
    kinds = list(OTHERS)
    parts, previous, inserted = [], 0, []
    for message in messages:
        for kind in data.draw(st.lists(st.sampled_from(kinds), max_size=2)):
            parts.append(kind)
            inserted.append(OTHERS[kind])
        parts.append(message_frame(message, previous))
        previous = message.seq
    parts.append(end_frame(previous))
    for kind in data.draw(st.lists(st.sampled_from(kinds), max_size=2)):
        parts.append(kind)
        inserted.append(OTHERS[kind])
    decoded = decode(b"".join(parts), MARK, MESSAGE_COLUMNS)
    assert rows(decoded) == expected_rows(messages)
    assert decoded.others == inserted
    assert decoded.status is not None


@given(stored_messages())
@settings(max_examples=200, deadline=None)
def test_both_decoders_agree(messages: list[Stored]) -> None:
    data = answer(messages)
    fast, careful = (f(data, MARK, MESSAGE_COLUMNS) for f in (decode, decode_carefully))
    assert rows(fast) == rows(careful)
    assert (fast.status, fast.others, fast.consumed) == (
        careful.status,
        careful.others,
        careful.consumed,
    )


def regular(count: int, own: tuple[bytes, ...] = ()) -> list[Stored]:
    start = 1_700_000_000 * 10**9
    return [Stored(i, b"a.b", start + i, own, b"\r\n" * (i % 3)) for i in range(1, count + 1)]


@pytest.mark.parametrize("own", [(), (b"NATS/1.0", b"Nats-Msg-Id: 1", b"Nats-Sequence: 3")])
def test_regular_answers_take_the_fast_way(own: tuple[bytes, ...]) -> None:
    messages = regular(500, own)
    assert rows(_decode_fast(answer(messages), MARK, MESSAGE_COLUMNS)) == expected_rows(messages)


def test_only_what_is_asked_for_is_decoded() -> None:
    decoded = decode(answer(regular(3)), MARK, frozenset({"subject"}))
    assert set(decoded.messages.columns) == {"subject"}
    assert decoded.messages.seqs.tolist() == [1, 2, 3]


@pytest.mark.parametrize("status", [b"404 Message Not Found", b"408 Bad Request", b"503"])
def test_a_status_alone_is_the_end_of_an_answer(status: bytes) -> None:
    decoded = decode(frame(b"NATS/1.0 " + status + b"\r\n\r\n", b""), MARK, MESSAGE_COLUMNS)
    code, _, words = status.partition(b" ")
    assert decoded.status == Status(int(code), words.decode(), None)
    assert len(decoded.messages) == 0


def test_the_rest_of_an_abandoned_answer_is_not_taken_for_this_one() -> None:
    old = message_frame(regular(1)[0], 0).replace(INBOX.encode(), b"_INBOX.0123456789abcdef.6")
    decoded = decode(old + answer(regular(2)), MARK, MESSAGE_COLUMNS)
    assert decoded.messages.seqs.tolist() == [1, 2]


@pytest.mark.parametrize("change", [-3, -1, 1, 3])
def test_a_length_that_lies_is_an_error_and_never_wrong_rows(change: int) -> None:
    good = message_frame(regular(2)[1], 0)
    line, _, rest = good.partition(b"\r\n")
    words = line.split()
    words[-1] = b"%d" % (int(words[-1]) + change)
    data = b" ".join(words) + b"\r\n" + rest + answer(regular(3))
    with pytest.raises(ProtocolError):
        decode(data, MARK, MESSAGE_COLUMNS)


@given(stored_messages(), st.data())
@settings(max_examples=200, deadline=None)
def test_broken_bytes_are_rows_or_an_error_and_nothing_else(
    messages: list[Stored], data: st.DataObject
) -> None:
    broken = bytearray(answer(messages))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(broken), MARK, MESSAGE_COLUMNS)
    except ProtocolError:
        return
    assert decoded.consumed <= len(broken)


def test_a_header_block_without_the_servers_headers_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="neither a message nor a status"):
        decode(frame(b"NATS/1.0\r\nA: 1\r\n\r\n", b"x"), MARK, MESSAGE_COLUMNS)


def test_sequences_are_kept_exactly_to_the_largest() -> None:
    last = (1 << 63) - 1
    decoded = decode(answer([Stored(last, b"a", 0, (), b"")]), MARK, MESSAGE_COLUMNS)
    assert decoded.messages.seqs.tolist() == [last]
    assert decoded.messages.seqs.dtype == np.int64
