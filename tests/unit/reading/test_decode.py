"""The decoder of direct get batches: any messages, cut at any byte, between other operations."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common.reading.decode import (
    SERVER_HEADERS,
    Status,
    _decode_fast,
    decode,
    decode_sequentially,
)
from nats_spark_common.rows.messages import MESSAGE_COLUMNS

from ..._support.direct_gets import (
    INBOX,
    MARK,
    OTHERS,
    Decoder,
    Stored,
    answer,
    cuts_of,
    end_frame,
    expected_rows,
    feed,
    frame,
    message_frame,
    message_frames,
    regular,
    rows,
    same,
    stored_messages,
)


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


def test_sequences_are_kept_exactly_to_the_largest() -> None:
    last = (1 << 63) - 1
    decoded = decode(answer([Stored(last, b"a", 0, (), b"")]), MARK, b"ORDERS", MESSAGE_COLUMNS)
    assert decoded.messages.seqs.tolist() == [last]
    assert decoded.messages.seqs.dtype == np.int64
