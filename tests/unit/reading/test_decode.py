"""The decoder against a model: any messages, cut at any byte, between any other operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.errors import OtherStreamError
from nats_spark_common.protocol.operations import PING_SIGNAL, Err, Event, Info, Msg
from nats_spark_common.protocol.timestamps import ns_to_rfc3339
from nats_spark_common.reading.decode import (
    SERVER_HEADERS,
    Decoded,
    Status,
    _decode_fast,
    decode,
    decode_sequentially,
    marker,
)
from nats_spark_common.rows.messages import MESSAGE_COLUMNS, text

INBOX = "_INBOX.0123456789abcdef.7"
MARK = marker(INBOX, "1")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Decoder = Callable[[bytes, bytes, bytes, frozenset[str]], Decoded]


@dataclass(frozen=True)
class Stored:
    """A message as the stream holds it."""

    seq: int
    subject: bytes
    time_ns: int
    own: tuple[bytes, ...]  # its own header lines; the first may carry a status
    payload: bytes
    ending: bytes = b"\r\n\r\n"  # what the publisher closed its headers with; servers take all

    @property
    def kept(self) -> bytes:
        """The own headers as the server sends them on: less two bytes, be they what they may."""
        block = b"\r\n".join(self.own) + self.ending if self.own else b""
        return block[:-2] if len(block) > 2 else b"NATS/1.0\r\n"


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
        message.kept + b"Nats-Stream: ORDERS",
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


def message_frames(messages: list[Stored]) -> list[bytes]:
    """The frames of an answer's messages, each of which names the one before it."""
    before = [0, *(m.seq for m in messages)]
    return [message_frame(m, previous) for m, previous in zip(messages, before, strict=False)]


def answer(messages: list[Stored]) -> bytes:
    """A whole answer: the messages and the end of the batch."""
    last = messages[-1].seq if messages else 0
    return b"".join([*message_frames(messages), end_frame(last)])


def headers_of(message: Stored) -> list[tuple[str, list[str]]]:
    values: dict[str, list[str]] = {}
    for line in filter(None, message.kept.split(b"\r\n")[1:]):
        name, _, value = line.partition(b":")
        values.setdefault(text(name), []).append(text(value.strip()))
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
            text(m.subject),
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
        MARK + b"65 65\r\n" + b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n\r\n",
        MARK + b"9999 9999",
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
        b"Marked: " + MARK + b"9999 9999",
        b"Cut: " + MARK[:-3],
        b"Latin: \xe4",
        b"Bare: 1\r",
        b"Bare: \n2",
        b"no colon",
        b"",
    ]
)
STATUS_LINES = st.sampled_from(
    [b"NATS/1.0", b"NATS/1.0 204 EOB", b"NATS/1.0 404", b"NATS/1.0 503 x"]
)
OWN = st.one_of(
    st.just(()),
    st.tuples(STATUS_LINES, st.lists(HEADER_WORDS, max_size=8)).map(lambda t: (t[0], *t[1])),
)
CLOSED = b"\r\n\r\n"
ENDINGS = st.sampled_from(
    [CLOSED] * 5 + [b"", b"\r\n", b"\r", b"\r\n\r", b"\rXyz", b"\n\n", b"\r\n\r\n\r\n"]
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
        own = draw(OWN)
        # An own Nats-Stream that the server writes on is indistinguishable from the server's.
        ending = draw(ENDINGS) if not own or not own[-1].startswith(b"Nats-Stream") else CLOSED
        found.append(
            Stored(
                seq,
                draw(SUBJECTS),
                draw(st.integers(0, 4_102_444_800 * 10**9) | st.just(1_700_000_000 * 10**9)),
                own,
                draw(PAYLOADS),
                ending,
            )
        )
    return found


FORGED = end_frame(7)
OTHERS = {
    b"PING\r\n": PING_SIGNAL,
    b'INFO {"server_id":"x"}\r\n': Info({"server_id": "x"}),
    b"-ERR 'slow'\r\n": Err("slow"),
    b"MSG _INBOX.other 1 5\r\nab\r\nc\r\n": Msg(b"_INBOX.other", b"1", b"", b"", b"ab\r\nc"),
    b"MSG _INBOX.other 1 %d\r\n%b\r\n" % (len(FORGED), FORGED): Msg(
        b"_INBOX.other", b"1", b"", b"", FORGED
    ),
    frame(b"NATS/1.0 404\r\n\r\n", b"", "_INBOX.0123456789abcdef.6"): Msg(
        b"_INBOX.0123456789abcdef.6", b"1", b"", b"NATS/1.0 404\r\n\r\n", b""
    ),
}


@dataclass
class Received:
    """What came out of a stream of bytes that arrived in pieces."""

    rows: list[tuple[object, ...]]
    others: list[Event]
    statuses: list[Status]
    left: bytes


def feed(stream: bytes, cuts: Iterable[int], decoder: Decoder = decode) -> Received:
    """Decode a stream that arrives cut at ``cuts``, as the reader of a connection does."""
    received = Received([], [], [], b"")
    bounds = [0, *cuts, len(stream)]
    for begin, end in pairwise(bounds):
        received.left += stream[begin:end]
        decoded = decoder(received.left, MARK, b"ORDERS", MESSAGE_COLUMNS)
        received.rows += rows(decoded)
        received.others += decoded.others
        received.statuses += [decoded.status] if decoded.status else []
        received.left = received.left[decoded.consumed :]
    return received


def cuts_of(stream: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(stream)), max_size=8).map(sorted)


@given(stored_messages())
@settings(max_examples=300)
def test_an_answer_decodes_to_what_was_stored(messages: list[Stored]) -> None:
    data = answer(messages)
    decoded = decode(data, MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert rows(decoded) == expected_rows(messages)
    assert decoded.status == Status(204, "EOB", messages[-1].seq if messages else 0)
    assert decoded.consumed == len(data)


@pytest.mark.parametrize("regular_before", [0, 1])
def test_an_own_header_that_continues_into_the_servers_of_that_name_is_kept(
    regular_before: int,
) -> None:
    own = (b"NATS/1.0", b"Nats-Stream: OTHER", b"")
    regular = [Stored(seq, b"a", 0, (), b"") for seq in range(1, regular_before + 1)]
    messages = [*regular, Stored(regular_before + 1, b"a", 0, own, b"", ending=b"")]
    assert rows(decode(answer(messages), MARK, b"ORDERS", MESSAGE_COLUMNS)) == expected_rows(
        messages
    )


@given(stored_messages(), st.data())
@settings(max_examples=250)
def test_where_the_bytes_are_cut_makes_no_difference(
    messages: list[Stored], data: st.DataObject
) -> None:
    stream = answer(messages)
    received = feed(stream, data.draw(cuts_of(stream)))
    assert received.rows == expected_rows(messages)
    assert received.statuses == [Status(204, "EOB", messages[-1].seq if messages else 0)]
    assert received.left == b""


@given(stored_messages(), st.data())
@settings(max_examples=250)
def test_other_operations_in_between_are_returned_and_nothing_is_lost(
    messages: list[Stored], data: st.DataObject
) -> None:
    some = st.lists(st.sampled_from(list(OTHERS)), max_size=2)
    parts: list[bytes] = []
    inserted: list[bytes] = []
    frames = [*message_frames(messages), end_frame(messages[-1].seq if messages else 0), b""]
    for each in frames:
        between = data.draw(some)
        inserted += between
        parts += [*between, each]
    stream = b"".join(parts)
    received = feed(stream, data.draw(cuts_of(stream)))
    assert received.rows == expected_rows(messages)
    assert received.others == [OTHERS[kind] for kind in inserted]


def same(one: Decoded, other: Decoded) -> bool:
    return rows(one) == rows(other) and (one.status, one.others, one.consumed) == (
        other.status,
        other.others,
        other.consumed,
    )


@given(stored_messages(), st.data())
@settings(max_examples=200)
def test_both_decoders_agree_on_the_start_of_an_answer(
    messages: list[Stored], data: st.DataObject
) -> None:
    whole = answer(messages)
    start = whole[: data.draw(st.integers(0, len(whole)))]
    assert same(
        decode(start, MARK, b"ORDERS", MESSAGE_COLUMNS),
        decode_sequentially(start, MARK, b"ORDERS", MESSAGE_COLUMNS),
    )


def regular(count: int, own: tuple[bytes, ...] = ()) -> list[Stored]:
    start = 1_700_000_000 * 10**9
    return [Stored(i, b"a.b", start + i, own, b"\r\n" * (i % 3)) for i in range(1, count + 1)]


@pytest.mark.parametrize("own", [(), (b"NATS/1.0", b"Nats-Msg-Id: 1", b"Nats-Sequence: 3")])
def test_regular_replies_use_the_fast_decoder(own: tuple[bytes, ...]) -> None:
    messages = regular(500, own)
    assert rows(_decode_fast(answer(messages), MARK, b"ORDERS", MESSAGE_COLUMNS)) == expected_rows(
        messages
    )


@pytest.mark.parametrize("missing", [1, 40, 130, 175])
def test_a_partly_received_regular_reply_uses_the_fast_decoder(missing: int) -> None:
    messages = regular(50)
    arrived = b"".join(message_frames(messages))[:-missing]
    assert (
        rows(_decode_fast(arrived, MARK, b"ORDERS", MESSAGE_COLUMNS))
        == expected_rows(messages)[:-1]
    )


def test_a_subject_that_is_not_utf_8_uses_the_fast_decoder() -> None:
    messages = [*regular(2), Stored(3, b"bad.\xff", 10**9, (), b"")]
    assert rows(_decode_fast(answer(messages), MARK, b"ORDERS", MESSAGE_COLUMNS)) == expected_rows(
        messages
    )


@pytest.mark.parametrize("decoder", [decode, decode_sequentially])
def test_an_answer_cut_at_any_one_byte_is_put_together_again(decoder: Decoder) -> None:
    messages = regular(2, (b"NATS/1.0 204 EOB", b"A: 1"))
    stream = b"PING\r\n" + answer(messages)
    for cut in range(len(stream) + 1):
        received = feed(stream, [cut], decoder)
        assert received.rows == expected_rows(messages), cut
        assert (len(received.others), len(received.statuses), received.left) == (1, 1, b""), cut


def test_an_answer_that_drips_in_byte_by_byte_is_put_together_again() -> None:
    messages = regular(3)
    stream = answer(messages)
    received = feed(stream, range(1, len(stream)))
    assert received.rows == expected_rows(messages)


@pytest.mark.parametrize(
    "fields", [frozenset(c) for n in range(5) for c in combinations(sorted(MESSAGE_COLUMNS), n)]
)
@pytest.mark.parametrize("decoder", [_decode_fast, decode_sequentially])
def test_only_what_is_asked_for_is_decoded(decoder: Decoder, fields: frozenset[str]) -> None:
    messages = decoder(answer(regular(3)), MARK, b"ORDERS", fields).messages
    assert set(messages.columns) == fields
    assert messages.seqs.tolist() == [1, 2, 3]


@pytest.mark.parametrize("decoder", [_decode_fast, decode_sequentially])
@pytest.mark.parametrize("digits", range(10))
def test_times_have_up_to_nine_fractional_digits_and_are_cut_to_microseconds(
    decoder: Decoder, digits: int
) -> None:
    nanos = int("987654321"[:digits].ljust(9, "0"))
    message = Stored(1, b"a", 1_700_000_000 * 10**9 + nanos, (), b"")
    decoded = decoder(answer([message]), MARK, b"ORDERS", MESSAGE_COLUMNS)
    microseconds = decoded.messages.columns["timestamp"].cast(pa.int64()).to_pylist()
    assert microseconds == [1_700_000_000_000_000 + nanos // 1000]


def test_a_lost_frame_shows_in_what_the_next_one_names_before_it() -> None:
    frames = message_frames(regular(4))
    decoded = decode(b"".join(frames[:1] + frames[2:]), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert decoded.messages.seqs.tolist() == [1, 3, 4]
    assert decoded.previous.tolist() == [0, 2, 3]


def test_own_headers_in_the_servers_names_are_own_headers() -> None:
    own = (b"NATS/1.0", *(name.rstrip() + b" 7" for name in SERVER_HEADERS))
    message = Stored(5, b"a.b", 10**9, own, b"x")
    assert rows(_decode_fast(answer([message]), MARK, b"ORDERS", MESSAGE_COLUMNS)) == expected_rows(
        [message]
    )


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_stored_status_line_is_not_the_end_of_the_answer(payload: bytes) -> None:
    message = Stored(5, b"a.b", 10**9, (b"NATS/1.0 204 EOB",), payload)
    decoded = _decode_fast(message_frame(message, 0), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert (rows(decoded), decoded.status) == (expected_rows([message]), None)


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\rXyz"])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_message_whose_headers_do_not_end_in_a_blank_line_is_decoded(
    payload: bytes, ending: bytes
) -> None:
    message = Stored(5, b"a.b", 10**9, (b"NATS/1.0 204 EOB", b"Name: value"), payload, ending)
    decoded = decode(message_frame(message, 0), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert (rows(decoded), decoded.status) == (expected_rows([message]), None)


def test_the_inboxs_own_marker_in_a_header_does_not_end_the_answer() -> None:
    own = (b"NATS/1.0 204 EOB", b"X: " + MARK + b"9999 9999")
    message = Stored(5, b"a.b", 10**9, own, b"")
    decoded = decode(message_frame(message, 0), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert (rows(decoded), decoded.status) == (expected_rows([message]), None)


def test_a_whole_answer_in_a_payload_is_a_payload() -> None:
    message = Stored(5, b"a.b", 10**9, (), answer(regular(3)))
    decoded = decode(answer([message]), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert rows(decoded) == expected_rows([message])


@pytest.mark.parametrize("status", [b"404 Message Not Found", b"408 Bad Request", b"503"])
def test_a_status_alone_is_the_end_of_an_answer(status: bytes) -> None:
    decoded = decode(
        frame(b"NATS/1.0 " + status + b"\r\n\r\n", b""), MARK, b"ORDERS", MESSAGE_COLUMNS
    )
    code, _, words = status.partition(b" ")
    assert decoded.status == Status(int(code), words.decode(), None)
    assert len(decoded.messages) == 0


def test_the_rest_of_an_abandoned_answer_is_not_taken_for_this_one() -> None:
    old = message_frame(regular(1)[0], 0).replace(INBOX.encode(), b"_INBOX.0123456789abcdef.6")
    decoded = decode(old + answer(regular(2)), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert decoded.messages.seqs.tolist() == [1, 2]


def lying(good: bytes, which: int, change: int) -> bytes:
    """A frame whose header size (``which`` -2) or total (-1) is not what follows."""
    line, _, rest = good.partition(b"\r\n")
    words = line.split()
    words[which] = b"%d" % (int(words[which]) + change)
    return b" ".join(words) + b"\r\n" + rest


@pytest.mark.parametrize("decoder", [decode, decode_sequentially])
@pytest.mark.parametrize("which", [-1, -2])
@pytest.mark.parametrize("change", [-3, -1, 1, 3])
def test_a_wrong_length_is_an_error_and_never_wrong_rows(
    decoder: Decoder, which: int, change: int
) -> None:
    data = lying(message_frame(regular(2)[1], 0), which, change) + answer(regular(3))
    with pytest.raises(ProtocolError):
        decoder(data, MARK, b"ORDERS", MESSAGE_COLUMNS)


@pytest.mark.parametrize("missing", [1, 2, 5])
def test_a_length_too_short_is_an_error_even_where_the_bytes_end_with_it(missing: int) -> None:
    whole = message_frame(Stored(1, b"a", 0, (), b"hello world"), 0)
    with pytest.raises(ProtocolError):
        decode(lying(whole, -1, -missing)[:-missing], MARK, b"ORDERS", MESSAGE_COLUMNS)


@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_stored_status_line_among_headers_that_no_server_writes_is_an_error(
    payload: bytes,
) -> None:
    message = Stored(5, b"a.b", 10**9, (b"NATS/1.0 204 EOB",), payload)
    strange = message_frame(message, 0).replace(b"Nats-Num-Pending", b"Nats-Other-Words")
    with pytest.raises(ProtocolError, match="neither a message nor a status"):
        decode(strange, MARK, b"ORDERS", MESSAGE_COLUMNS)


def numbered(sequence: bytes) -> bytes:
    good = message_frame(Stored(7, b"a", 0, (), b""), 0)
    header = good[good.index(b"\r\n") + 2 : -2]
    return frame(header.replace(b"Nats-Sequence: 7", b"Nats-Sequence: " + sequence), b"")


@pytest.mark.parametrize(
    "sequence", [b"", b"x", b"-5", b"1.0", b"9223372036854775808", b"9" * 5000]
)
def test_an_invalid_sequence_is_an_error(sequence: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(numbered(sequence), MARK, b"ORDERS", MESSAGE_COLUMNS)


@pytest.mark.parametrize("sequence", [b"", b"x", b"9" * 5000])
def test_a_status_with_an_invalid_sequence_is_an_error(sequence: bytes) -> None:
    head = b"NATS/1.0 204 EOB\r\nNats-Last-Sequence: " + sequence + b"\r\n\r\n"
    with pytest.raises(ProtocolError):
        decode(frame(head, b""), MARK, b"ORDERS", MESSAGE_COLUMNS)


#: Bytes that mean something to the protocol, and others.
BYTES = st.sampled_from(b"\r\n 09:-Z") | st.integers(0, 255)


@given(stored_messages(), st.data())
@settings(max_examples=300)
def test_broken_bytes_are_the_right_rows_or_an_error_and_nothing_else(
    messages: list[Stored], data: st.DataObject
) -> None:
    whole = answer(messages)
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(BYTES)
    assume(broken.count(MARK) == whole.count(MARK))  # else it is not this answer that is broken
    try:
        decoded = decode(bytes(broken), MARK, b"ORDERS", MESSAGE_COLUMNS)
        careful = decode_sequentially(bytes(broken), MARK, b"ORDERS", MESSAGE_COLUMNS)
    except ProtocolError:
        return
    assert same(decoded, careful)


@given(st.lists(PROTOCOL_TEXT | HEADER_WORDS | st.sampled_from([b"1", b" ", b"9 9"]), max_size=12))
@settings(max_examples=300)
def test_scraps_of_protocol_are_rows_or_an_error_and_nothing_else(scraps: list[bytes]) -> None:
    try:
        decoded = decode(MARK + b"".join(scraps), MARK, b"ORDERS", MESSAGE_COLUMNS)
    except ProtocolError:
        return
    assert same(
        decoded, decode_sequentially(MARK + b"".join(scraps), MARK, b"ORDERS", MESSAGE_COLUMNS)
    )


@pytest.mark.parametrize("decoder", [decode, decode_sequentially])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("name", [b"MIRROR", b"ORDERT", b"ORDERS-T", b"ORDER", b""])
def test_an_answer_of_another_stream_is_never_decoded(
    decoder: Decoder, which: int, name: bytes
) -> None:
    frames = message_frames(regular(3))
    head = (
        frames[which].split(b"\r\n", 1)[1].replace(b"Nats-Stream: ORDERS", b"Nats-Stream: " + name)
    )
    payload = regular(3)[which].payload
    frames[which] = frame(head.removesuffix(payload + b"\r\n"), payload)
    with pytest.raises(OtherStreamError, match="mirror_direct"):
        decoder(b"".join(frames), MARK, b"ORDERS", MESSAGE_COLUMNS)


def test_a_header_block_without_the_servers_headers_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="neither a message nor a status"):
        decode(frame(b"NATS/1.0\r\nA: 1\r\n\r\n", b"x"), MARK, b"ORDERS", MESSAGE_COLUMNS)


def test_sequences_are_kept_exactly_to_the_largest() -> None:
    last = (1 << 63) - 1
    decoded = decode(answer([Stored(last, b"a", 0, (), b"")]), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert decoded.messages.seqs.tolist() == [last]
    assert decoded.messages.seqs.dtype == np.int64
