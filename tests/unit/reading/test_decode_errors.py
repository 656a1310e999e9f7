"""The decoder of direct get batches rejects what no server sends, and never returns wrong rows."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.errors import OtherStreamError
from nats_spark_common.reading.decode import decode, decode_sequentially
from nats_spark_common.rows.messages import MESSAGE_COLUMNS

from ..._support.direct_gets import (
    HEADER_WORDS,
    MARK,
    PROTOCOL_TEXT,
    Decoder,
    Stored,
    answer,
    frame,
    message_frame,
    message_frames,
    regular,
    same,
    stored_messages,
)


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
