"""Replies to pulls: messages of any form, the ends of pulls, other operations, wrong bytes."""

from __future__ import annotations

import pytest

from nats_spark_common import ProtocolError
from nats_spark_common.reading.deliveries import PullStatus, decode_deliveries, decode_until_error

from ..._support.pull_replies import (
    ALL,
    EARLIER,
    FEW,
    INBOX,
    NONE,
    OF_DOMAIN,
    ORIGINS,
    OTHERS,
    OWN,
    PAYLOADS,
    PLAINLY,
    SID,
    WITH_TOKEN,
    Origin,
    Received,
    Row,
    Sent,
    block_of,
    decode,
    expected,
    feed,
    foreign,
    frame,
    headers_only,
    raw_of,
    regular,
    rows,
    status,
    statuses,
)

FOREIGN, STATUSES = foreign(), statuses()


def assert_rejected(data: bytes) -> None:
    for fields in (ALL, NONE):
        with pytest.raises(ProtocolError):
            decode_deliveries(data, PLAINLY.pull, fields)


def test_a_message_with_headers_only_as_a_server_sends_it() -> None:
    raw = (
        b"HMSG B.0 " + SID + b" $JS.ACK.B.D.1.1.1.1795257598884674228.499999 32 32\r\n"
        b"NATS/1.0\r\nNats-Msg-Size: 200\r\n\r\n\r\n"
    )
    row = Row(1, 1, 1, 1_795_257_598_884_674_228, "B.0", b"", {"Nats-Msg-Size": ["200"]})
    found = Received([row], {b"$JS.ACK.B.D"}, size=3 + 44 + 32)
    assert feed(raw, (), Origin(b"$JS.ACK.B.D")) == found


def test_no_bytes_decode_to_nothing() -> None:
    assert feed(b"") == Received()


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_messages_are_known_by_either_form_of_ack_subject(origin: Origin, count: int) -> None:
    sent = regular(count, origin)
    assert feed(raw_of(sent), (), origin) == expected(sent, origin)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_token_of_its_own_may_end_each_ack_subject(count: int) -> None:
    tokens = [b"k3Jd9", b"12345", b"Zz0"]
    sent = [
        Origin(OF_DOMAIN.prefix, token).message((i, i, 1))
        for i in range(1, count + 1)
        for token in tokens
    ]
    assert feed(raw_of(sent), (), OF_DOMAIN) == expected(sent, OF_DOMAIN)


def test_messages_keep_the_order_in_which_they_came() -> None:
    numbers = [(9, 1, 1), (3, 2, 4), (9, 3, 2), (1, 4, 1)]
    received = feed(raw_of(PLAINLY.message(each) for each in numbers))
    assert [row[:3] for row in received.rows] == numbers


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("count", [1, 3])
def test_any_payload_is_a_payload(payload: bytes, count: int) -> None:
    sent = [PLAINLY.message((i, i, 1), payload=payload) for i in range(1, count + 1)]
    assert feed(raw_of(sent)) == expected(sent)


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("payload", [b"", b"ab\r\ncd"])
def test_headers_of_messages_are_skipped(own: tuple[bytes, ...], payload: bytes) -> None:
    header = block_of(b"NATS/1.0", *own)
    sent = [PLAINLY.message((i, i, 1), b"a", payload, header) for i in (1, 2, 3)]
    assert feed(raw_of(sent)) == expected(sent)


@pytest.mark.parametrize("header", FEW)
@pytest.mark.parametrize("payload", [b"", b"x", b"\r\n"])
def test_headers_may_be_few_and_not_closed(header: bytes, payload: bytes) -> None:
    sent = [PLAINLY.message((i, i, 1), b"a", payload, header) for i in (1, 2, 3)]
    assert feed(raw_of(sent)) == expected(sent)


def test_a_status_in_a_messages_own_headers_does_not_end_the_pull() -> None:
    header = block_of(b"NATS/1.0 404 No Messages")
    sent = [PLAINLY.message((i, i, 1), INBOX, b"", header) for i in (1, 2, 3)]
    assert feed(raw_of(sent)) == expected(sent)


# The end of a pull.


@pytest.mark.parametrize("end", STATUSES)
@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_a_status_ends_the_pull(end: Sent, before: int) -> None:
    assert feed(raw_of([*regular(before), end])).statuses == [end.status]


@pytest.mark.parametrize("before", [1, 2, 5])
def test_the_messages_before_a_status_count(before: int) -> None:
    sent = [*regular(before), STATUSES[0]]
    assert feed(raw_of(sent)).rows == expected(sent).rows


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("at", range(5))
def test_a_status_that_overtakes_messages_takes_none_of_them_away(at: int, headers: bool) -> None:
    sent = regular(5, headers=headers)
    sent.insert(at, STATUSES[2])
    assert feed(raw_of(sent)) == expected(sent)


@pytest.mark.parametrize(
    ("headers", "unsent"),
    [
        ((), None),
        ((b"A: 1",), None),
        ((b"Nats-Pending-Messages: 0",), 0),
        ((b"Nats-Pending-Messages: 100000", b"Nats-Pending-Bytes: 12"), 100_000),
        ((b"Nats-Pending-Bytes: 12", b"Nats-Pending-Messages: 5"), 5),
        ((b"Nats-Pending-Messages: ",), None),
        ((b"Nats-Pending-Messages: x",), None),
    ],
)
def test_a_status_says_how_many_messages_were_not_sent(
    headers: tuple[bytes, ...], unsent: int | None
) -> None:
    raw = status(b"408 Request Timeout", INBOX, *headers)
    assert decode(raw, PLAINLY.pull).status == PullStatus(408, "Request Timeout", unsent)


def test_a_status_that_an_old_server_writes_with_two_spaces_is_read() -> None:
    raw = STATUSES[0].raw.replace(SID, SID + b" ")
    assert decode(raw, PLAINLY.pull).status == STATUSES[0].status


@pytest.mark.parametrize("inbox", [EARLIER, INBOX + b"0", INBOX[:-2], b"_INBOX.other.7"])
@pytest.mark.parametrize("line", [b"404 No Messages", b"408 Request Timeout", b"409 x", b"503"])
@pytest.mark.parametrize("at", range(6))
def test_the_status_of_an_earlier_pull_is_ignored(inbox: bytes, line: bytes, at: int) -> None:
    sent = regular(5)
    sent.insert(at, Sent(status(line, inbox)))
    assert feed(raw_of(sent)) == expected(sent)


def test_the_messages_of_another_subscription_are_ignored() -> None:
    sent = regular(5)
    sent.insert(2, Sent(frame(b"B.0", PLAINLY.ack((7, 7, 1)), sid=b"77")))
    assert feed(raw_of(sent)) == expected(sent)


# What else a server says.


@pytest.mark.parametrize("other", OTHERS, ids=lambda sent: sent.raw.split()[0].decode())
@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("at", range(6))
def test_other_operations_are_returned(other: Sent, headers: bool, at: int) -> None:
    sent = regular(5, headers=headers)
    sent.insert(at, other)
    assert feed(raw_of(sent)) == expected(sent)


def test_other_operations_are_returned_in_order() -> None:
    sent = [each for pair in zip(regular(5), OTHERS, strict=True) for each in pair]
    assert decode(raw_of(sent), PLAINLY.pull).others == [each.other for each in OTHERS]


@pytest.mark.parametrize("empty", range(2))
def test_an_operation_beside_a_message_with_empty_headers_is_returned(empty: int) -> None:
    headers = [block_of(b"NATS/1.0", b"A: 1")] * 3
    headers[empty] = block_of(b"NATS/1.0")
    sent = [PLAINLY.message((i, i, 1), header=header) for i, header in enumerate(headers, 1)]
    sent.insert(1, OTHERS[0])
    assert feed(raw_of(sent)) == expected(sent)


def test_an_operation_beside_unterminated_headers_is_returned() -> None:
    # A server's rewrite of the header NATS/1.0, without line end, for headers only.
    sent = regular(3)
    header = b"NATS/1Nats-Msg-Size: 3\r\n\r\n"
    sent[1:1] = [PLAINLY.message((1, 1, 1), header=header), OTHERS[0]]
    assert feed(raw_of(sent)) == expected(sent)


# Bytes that arrive in pieces.

MIXED = [
    OTHERS[0],
    *regular(3),
    OTHERS[4],
    PLAINLY.message((50, 4, 1), payload=b"ab\r\nPING\r\n"),
    *regular(2, headers=False),
    FOREIGN[0],
    STATUSES[3],
]


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("origin", [PLAINLY, OF_DOMAIN, WITH_TOKEN])
def test_a_response_cut_at_any_byte_is_reassembled(origin: Origin, headers: bool) -> None:
    sent = regular(4, origin, headers)
    stream = raw_of(sent)
    for cut in range(len(stream) + 1):
        assert feed(stream, [cut], origin) == expected(sent, origin), cut


def test_a_mixed_response_cut_at_any_byte_is_reassembled() -> None:
    stream = raw_of(MIXED)
    for cut in range(len(stream) + 1):
        assert feed(stream, [cut]) == expected(MIXED), cut


def test_a_response_that_arrives_byte_by_byte_is_reassembled() -> None:
    stream = raw_of(MIXED)
    assert feed(stream, range(1, len(stream))) == expected(MIXED)


def test_only_whole_messages_are_consumed() -> None:
    sent = regular(3)
    stream = raw_of(sent)
    for cut in range(len(raw_of(sent[:2])), len(stream)):
        assert decode(stream[:cut], PLAINLY.pull).consumed == len(raw_of(sent[:2])), cut


# What no server sends.

MALFORMED = [
    b"$JS.ACK.",
    b"$JS.ACK.ORDERS.spark",
    b"$JS.ACK.ORDERS.spark.1.2.3.4",
    b"$JS.ACK.ORDERS.spark.x.2.3.4.5",
    b"$JS.ACK.ORDERS.spark.1.x.3.4.5",
    b"$JS.ACK.ORDERS.spark.1.2.x.4.5",
    b"$JS.ACK.ORDERS.spark.1..3.4.5",
    b"$JS.ACK.ORDERS.spark.1.9223372036854775808.3.4.5",
    b"$JS.ACK.ORDERS.spark.1.2.99999999999999999999.4.5",
    b"$JS.ACK.ORDERS.spark.1.2.3.9223372036854775808.5",
    b"$JS.ACK.hub.Xh6tMFqF.ORDERS.spark.1.x.3.4.5",
]


@pytest.mark.parametrize("reply", MALFORMED)
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("headers", [True, False])
def test_a_malformed_ack_subject_is_an_error(reply: bytes, at: int, headers: bool) -> None:
    sent = regular(3, headers=headers)
    sent.insert(at, Sent(frame(b"B.0", reply, header=headers_only() if headers else b"")))
    assert_rejected(raw_of(sent))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("reply", MALFORMED)
def test_ack_subjects_that_are_all_malformed_are_an_error(reply: bytes, count: int) -> None:
    assert_rejected(frame(b"B.0", reply) * count)


@pytest.mark.parametrize("count", [1, 5])
def test_an_ack_subject_between_both_forms_is_an_error(count: int) -> None:
    assert_rejected(frame(b"B.0", b"$JS.ACK.1.2.3.4.5.6.7.8") * count)


@pytest.mark.parametrize(
    "wrong",
    [
        b"HTTP/1.1 400\r\n",
        frame(b"B.0", MALFORMED[0]),
        frame(b"B.0", b"$JS.ACK.\xff.Xh6tMFqF.ORDERS.spark.1.2.3.4.5"),
        frame(b"B.0", b"$JS.ACK.ORDERS.spark.1.2.3.4.5", b"abc").replace(b"abc\r\n", b"abcd\r\n"),
    ],
)
@pytest.mark.parametrize("at", range(4))
def test_what_precedes_wrong_bytes_can_be_decoded(wrong: bytes, at: int) -> None:
    sent = regular(3)
    data = raw_of([*sent[:at], Sent(wrong), *sent[at:]])
    assert_rejected(data)
    replies, error = decode_until_error(data, PLAINLY.pull, ALL)
    assert rows(replies) == expected(sent[:at]).rows
    assert isinstance(error, ProtocolError)


def test_without_wrong_bytes_there_is_no_error() -> None:
    sent = regular(3)
    replies, error = decode_until_error(raw_of(sent), PLAINLY.pull, ALL)
    assert (rows(replies), error) == (expected(sent).rows, None)


@pytest.mark.parametrize("at", range(4))
def test_bytes_outside_the_protocol_are_an_error(at: int) -> None:
    sent = regular(3)
    sent.insert(at, Sent(b"HTTP/1.1 400\r\n"))
    assert_rejected(raw_of(sent))
