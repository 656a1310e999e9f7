"""The decoder of replies to pulls against a model: any replies, cut at any byte, and broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.reading import deliveries
from nats_spark_common.reading.deliveries import (
    Pull,
    PullReplies,
    decode_deliveries,
    decode_sequentially,
)

from ..._support.pull_replies import (
    ALL,
    NONE,
    ORIGINS,
    Headers,
    Origin,
    Received,
    Sent,
    conversations,
    expected,
    feed,
    raw_of,
    statuses,
    without_columns,
)

Conversation = tuple[list[Sent], Origin]


def assert_both_agree(data: bytes, origin: Origin) -> None:
    """Decoded as a block and one by one, the bytes give the same, with and without columns."""
    for fields in (ALL, NONE):
        block = decode_deliveries(data, origin.pull, fields)
        single = decode_sequentially(data, origin.pull, fields)
        assert block.messages.columns == single.messages.columns
        assert without_columns(block) == without_columns(single)


@given(conversations())
@settings(max_examples=150)
def test_responses_decode_to_the_delivered_messages(conversation: Conversation) -> None:
    sent, origin = conversation
    assert feed(raw_of(sent), (), origin) == expected(sent, origin)


@given(conversations())
@settings(max_examples=150)
def test_both_decoders_agree(conversation: Conversation) -> None:
    sent, origin = conversation
    assert_both_agree(raw_of(sent), origin)


@given(conversations(), st.data())
@settings(max_examples=150)
def test_both_decoders_agree_on_the_start_of_a_block(
    conversation: Conversation, data: st.DataObject
) -> None:
    sent, origin = conversation
    stream = raw_of(sent)
    assert_both_agree(stream[: data.draw(st.integers(0, len(stream)))], origin)


@given(conversations(), st.data())
@settings(max_examples=250)
def test_the_result_does_not_depend_on_where_bytes_are_cut(
    conversation: Conversation, data: st.DataObject
) -> None:
    sent, origin = conversation
    stream = raw_of(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assert feed(stream, cuts, origin) == expected(sent, origin, cuts)


@given(conversations(), st.integers(0, 3000), st.binary(min_size=1, max_size=3))
@settings(max_examples=250)
def test_broken_bytes_are_decoded_as_one_by_one_or_rejected(
    conversation: Conversation, at: int, bytes_: bytes
) -> None:
    sent, origin = conversation
    data = raw_of(sent)
    at = min(at, len(data))
    broken = data[:at] + bytes_ + data[at + len(bytes_) :]

    def outcome(decode: object) -> object:
        try:
            found = decode(broken, origin.pull, ALL)  # type: ignore[operator]
        except ProtocolError:
            return ProtocolError
        received = Received()
        received.add(found, broken)
        return received

    one_by_one, block = outcome(decode_sequentially), outcome(decode_deliveries)
    if one_by_one is not ProtocolError:
        assert block == one_by_one


@pytest.mark.parametrize("header", [b"", {"a": ["b"]}])
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_regular_block_needs_no_fallback(
    monkeypatch: pytest.MonkeyPatch, origin: Origin, header: bytes | Headers
) -> None:
    sizes: list[int] = []

    def noted(data: bytes, pull: Pull, fields: frozenset[str]) -> PullReplies:
        sizes.append(len(data))
        return decode_sequentially(data, pull, fields)

    monkeypatch.setattr(deliveries, "decode_sequentially", noted)
    end = statuses(origin.sid)[3]
    sent = [
        origin.message((i, i, 1), b"orders.%d" % i, b"x" * (i % 7), header, 10**18 + i, 9)
        for i in range(1, 1200)
    ]
    received, data = Received(), raw_of([*sent, end])
    received.add(decode_deliveries(data, origin.pull, ALL), data)
    assert received == expected([*sent, end], origin)
    assert sizes == [len(end.raw)]
