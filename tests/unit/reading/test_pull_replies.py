"""Responses to pulls: decoded as a block or one by one, with the same result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.protocol.operations import (
    OK_SIGNAL,
    PING_SIGNAL,
    PONG_SIGNAL,
    Err,
    Event,
    Info,
)
from nats_spark_common.reading.deliveries import (
    Pull,
    PullReplies,
    decode_deliveries,
    decode_sequentially,
)
from nats_spark_common.reading.deliveries import PullStatus as Status

SID = b"0123456789abcdef"
INBOX = b"_INBOX.f00.7"
EARLIER = b"_INBOX.f00.6"
PLAIN = b"$JS.ACK.ORDERS.spark"
Numbers = tuple[int, int, int]  # stream sequence, consumer sequence, times delivered


@dataclass(frozen=True)
class Origin:
    """The parts of a consumer's ack subjects around their numbers."""

    prefix: bytes
    token: bytes = b""

    @property
    def pull(self) -> Pull:
        return Pull(SID, self.prefix.rpartition(b".")[2], INBOX)

    def ack(self, numbers: Numbers, time_ns: int = 0, pending: int = 0) -> bytes:
        seq, consumer_seq, count = numbers
        ends = b"." + self.token if self.token else b""
        counted = (count, seq, consumer_seq, time_ns, pending)
        return self.prefix + b".%d.%d.%d.%d.%d" % counted + ends


PLAINLY = Origin(PLAIN)
ORIGINS = [
    PLAINLY,
    Origin(b"$JS.ACK._.Xh6tMFqF.ORDERS.spark"),
    Origin(b"$JS.ACK.hub.Xh6tMFqF.ORDERS.spark"),
    Origin(b"$JS.ACK.hub.Xh6tMFqF.ORDERS.spark", b"k3Jd9"),
    Origin(b"$JS.ACK.hub.Xh6tMFqF.ORDERS.spark", b"12345"),
    Origin(b"$JS.ACK.1.2"),
    Origin(b"$JS.ACK.0.0.0.0"),
    Origin(b"$JS.ACK.ORDERS.ORDERS"),
    Origin("$JS.ACK.grün.日本".encode()),
]


def msg(subject: bytes, reply: bytes, payload: bytes, sid: bytes = SID) -> bytes:
    words = filter(None, [b"MSG", subject, sid, reply, b"%d" % len(payload)])
    return b" ".join(words) + b"\r\n" + payload + b"\r\n"


def hmsg(
    subject: bytes, reply: bytes, header: bytes, payload: bytes = b"", sid: bytes = SID
) -> bytes:
    sizes = (b"%d" % len(header), b"%d" % (len(header) + len(payload)))
    words = filter(None, [b"HMSG", subject, sid, reply, *sizes])
    return b" ".join(words) + b"\r\n" + header + payload + b"\r\n"


def block_of(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in (*lines, b""))


def without_payload(subject: bytes, reply: bytes, size: int = 200, *own: bytes) -> bytes:
    """Return a message of a consumer with ``headers_only``."""
    return hmsg(subject, reply, block_of(b"NATS/1.0", *own, b"Nats-Msg-Size: %d" % size))


def status(line: bytes, inbox: bytes = INBOX, *headers: bytes) -> bytes:
    return hmsg(inbox, b"", block_of(b"NATS/1.0 " + line, *headers))


@dataclass(frozen=True)
class Sent:
    """An operation that the server sends, and its decoded form."""

    raw: bytes
    numbers: Numbers | None = None
    other: Event | None = None
    status: Status | None = None


@dataclass
class Received:
    """The result of decoding bytes that arrived in pieces."""

    numbers: list[Numbers] = field(default_factory=list)
    prefixes: set[bytes] = field(default_factory=set)
    others: list[Event] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    left: bytes = b""


def decode_responses(data: bytes, pull: Pull) -> PullReplies:
    """Decode as the balanced flavor does, which pulls headers only."""
    return decode_deliveries(data, pull, frozenset())


def rows(found: PullReplies) -> list[Numbers]:
    columns = (found.messages.seqs, found.consumer_seqs, found.delivered)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def parts(responses: PullReplies) -> tuple[object, ...]:
    found = (responses.ack_prefix, responses.status, responses.others, responses.consumed)
    return (rows(responses), *found)


def feed(stream: bytes, cuts: Iterable[int] = (), origin: Origin = PLAINLY) -> Received:
    """Decode bytes that arrive cut at ``cuts``, as a pull does."""
    received = Received()
    for begin, end in pairwise([0, *cuts, len(stream)]):
        received.left += stream[begin:end]
        responses = decode_responses(received.left, origin.pull)
        received.numbers += rows(responses)
        received.prefixes |= {responses.ack_prefix.encode()} if responses.ack_prefix else set()
        received.others += responses.others
        received.statuses += [responses.status] if responses.status else []
        received.left = received.left[responses.consumed :]
    return received


def assert_both_agree(data: bytes, origin: Origin) -> None:
    """Decoded as a block and one by one, the bytes give the same."""
    block = decode_responses(data, origin.pull)
    single = decode_sequentially(data, origin.pull, frozenset())
    assert parts(block) == parts(single)
    assert block.times_ns.tolist() == single.times_ns.tolist()


def expected(sent: list[Sent], origin: Origin = PLAINLY) -> Received:
    numbers = [each.numbers for each in sent if each.numbers is not None]
    return Received(
        numbers,
        {origin.prefix} if numbers else set(),
        [each.other for each in sent if each.other is not None],
        [each.status for each in sent if each.status is not None],
    )


def regular(count: int, origin: Origin = PLAINLY, headers: bool = True) -> list[Sent]:
    """Draw messages as a consumer sends them: with headers only, or with payloads."""
    found = []
    for i in range(count):
        numbers = (10 + 3 * i, i + 1, 1 + i % 2)
        reply = origin.ack(numbers, 1_795_257_598_884_674_228 + i, 499_999 - i)
        raw = without_payload(b"B.0", reply, i) if headers else msg(b"B.0", reply, b"x" * i)
        found.append(Sent(raw, numbers))
    return found


def raw_of(sent: Iterable[Sent]) -> bytes:
    return b"".join(each.raw for each in sent)


OTHERS = [
    Sent(b"PING\r\n", other=PING_SIGNAL),
    Sent(b"PONG\r\n", other=PONG_SIGNAL),
    Sent(b"+OK\r\n", other=OK_SIGNAL),
    Sent(b"-ERR 'Permissions Violation'\r\n", other=Err("Permissions Violation")),
    Sent(b'INFO {"server_id":"x"} \r\n', other=Info({"server_id": "x"})),
]
FOREIGN = [
    Sent(status(b"408 Request Timeout", EARLIER)),
    Sent(status(b"404 No Messages", INBOX + b"0")),
    Sent(msg(b"B.0", PLAIN + b".1.7.7.0.0", b"", b"77")),
    Sent(msg(EARLIER, b"", b"x")),
    Sent(hmsg(b"B.0", PLAIN + b".1.7.7.0.0", block_of(b"NATS/1.0 404"), b"", b"0" + SID)),
]
UNSENT = (b"Nats-Pending-Messages: 7", b"Nats-Pending-Bytes: 0")
STATUSES = [
    Sent(status(b"404 No Messages"), status=Status(404, "No Messages", None)),
    Sent(status(b"503"), status=Status(503, "", None)),
    Sent(status(b"408 Request Timeout", INBOX, *UNSENT), status=Status(408, "Request Timeout", 7)),
    Sent(status(b"409 Batch Completed"), status=Status(409, "Batch Completed", None)),
]
PAYLOADS = [
    b"",
    b"x" * 300,
    b"\r\n",
    b"ab\r\ncd\r\n\r\n",
    b"\r",
    b"\n",
    b"MSG ",
    b"HMSG HMSG ",
    b"PING\r\n",
    b"MSG B.0 77 $JS.ACK.ORDERS.spark.1.9.9.9.9 3\r\nabc\r\n",
    b"NATS/1.0 404 No Messages\r\n\r\n",
    b" $JS.ACK.ORDERS.spark.1.2.3.4.5 0",
    b"0123456789abcdef $JS.ACK.",
    SID,
    b" " + SID + b" ",
    status(b"404 No Messages"),
    raw_of(regular(3)).replace(SID, b"77"),
    bytes(range(256)),
]
OWN: list[tuple[bytes, ...]] = [
    (),
    (b"A: 1",),
    (b"A: 1", b"A:2", b"Empty:"),
    (b"Nats-Msg-Size: 7",),
    (b"Status: 404", b"MSG : HMSG "),
    (b"Latin: \xe4",),
    (b"X: MSG B.0 77 $JS.ACK.ORDERS.spark.1.9.9.9.9 3",),
]
FEW = [
    *(block_of(*[b"NATS/1.0", b"A: 1", b"B: 2"][:count]) for count in (1, 1, 2, 2, 3)),
    b"NATS/1.0",  # not terminated by the publisher
    b"NATS/1.0\r\nA: 1",
    b"NATS/1Nats-Msg-Size: 3\r\n\r\n",
]
SUBJECTS = [b"a", b"B.0", b"orders.eu.1", "grün.日本".encode(), b"bad.\xff", b"MSG", b"$JS.ACK.x"]


@st.composite
def messages(draw: st.DrawFn, origin: Origin, kinds: st.SearchStrategy[str]) -> Sent:
    """Draw a message of the consumer, of any kind."""
    huge = st.integers(1, (1 << 62) + 1)
    numbers = draw(st.tuples(st.integers(1, 99) | huge, huge, st.integers(1, 9)))
    pending = draw(st.integers(0, 10**6) | st.just((1 << 64) - 1))
    reply = origin.ack(numbers, draw(st.integers(0, (1 << 63) - 1)), pending)
    subject, kind = draw(st.sampled_from(SUBJECTS)), draw(kinds)
    if kind == "headers only":
        return Sent(without_payload(subject, reply, draw(st.integers(0, 10**6))), numbers)
    payload = draw(st.sampled_from(PAYLOADS)) if kind != "short" else b"x" * draw(st.integers(0, 9))
    if kind == "headers":
        first = draw(st.sampled_from([b"NATS/1.0"] * 5 + [b"NATS/1.0 404 No Messages"]))
        header = block_of(first, *draw(st.sampled_from(OWN)))
        return Sent(hmsg(subject, reply, header, payload), numbers)
    if kind == "few headers":
        header = draw(st.sampled_from(FEW))
        return Sent(hmsg(subject, reply, header, draw(st.sampled_from([b"", b"x"]))), numbers)
    if kind == "no payload":
        return Sent(without_payload(subject, reply, 5, *draw(st.sampled_from(OWN))), numbers)
    return Sent(msg(subject, reply, payload), numbers)


KINDS = st.sampled_from(
    ["headers only", "short", "payload", "headers", "few headers", "no payload"]
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Sent], Origin]:
    """Draw runs of messages of one kind, with other operations in between."""
    origin = draw(st.sampled_from(ORIGINS))
    sent: list[Sent] = []
    for _ in range(draw(st.integers(0, 5))):
        kind = st.just(draw(KINDS)) if draw(st.booleans()) else KINDS
        sent += draw(st.lists(messages(origin, kind), max_size=5))
        sent += draw(st.lists(st.sampled_from(OTHERS + FOREIGN), max_size=2))
    if draw(st.booleans()):
        # A status of a replicated consumer may overtake messages.
        sent.insert(draw(st.integers(0, len(sent))), draw(st.sampled_from(STATUSES)))
    return sent, origin


# What pulls are answered with.


@given(conversations())
@settings(max_examples=150)
def test_responses_decode_to_the_delivered_messages(
    conversation: tuple[list[Sent], Origin],
) -> None:
    sent, origin = conversation
    assert feed(raw_of(sent), (), origin) == expected(sent, origin)


@given(conversations())
@settings(max_examples=150)
def test_both_decoders_agree(conversation: tuple[list[Sent], Origin]) -> None:
    sent, origin = conversation
    assert_both_agree(raw_of(sent), origin)


@given(conversations(), st.data())
@settings(max_examples=150)
def test_both_decoders_agree_on_the_start_of_a_block(
    conversation: tuple[list[Sent], Origin], data: st.DataObject
) -> None:
    sent, origin = conversation
    stream = raw_of(sent)
    assert_both_agree(stream[: data.draw(st.integers(0, len(stream)))], origin)


@given(conversations(), st.data())
@settings(max_examples=150)
def test_the_result_does_not_depend_on_where_bytes_are_cut(
    conversation: tuple[list[Sent], Origin], data: st.DataObject
) -> None:
    sent, origin = conversation
    stream = raw_of(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assert feed(stream, cuts, origin) == expected(sent, origin)


def test_a_message_with_headers_only_as_a_server_sends_it() -> None:
    raw = (
        b"HMSG B.0 " + SID + b" $JS.ACK.B.D.1.1.1.1795257598884674228.499999 32 32\r\n"
        b"NATS/1.0\r\nNats-Msg-Size: 200\r\n\r\n\r\n"
    )
    assert parts(decode_responses(raw, Origin(b"$JS.ACK.B.D").pull)) == (
        [(1, 1, 1)],
        "$JS.ACK.B.D",
        None,
        [],
        len(raw),
    )


def test_no_bytes_decode_to_nothing() -> None:
    assert parts(decode_responses(b"", PLAINLY.pull)) == ([], "", None, [], 0)


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_messages_are_known_by_either_form_of_ack_subject(origin: Origin, count: int) -> None:
    sent = regular(count, origin)
    assert feed(raw_of(sent), (), origin) == expected(sent, origin)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_token_of_its_own_may_end_each_ack_subject(count: int) -> None:
    tokens = [b"k3Jd9", b"12345", b"Zz0"]
    prefix = b"$JS.ACK.hub.Xh6tMFqF.ORDERS.spark"
    sent = [
        Sent(msg(b"a", Origin(prefix, token).ack((i, i, 1)), b""), (i, i, 1))
        for i in range(1, count + 1)
        for token in tokens
    ]
    assert feed(raw_of(sent), (), Origin(prefix)) == expected(sent, Origin(prefix))


def test_messages_keep_the_order_in_which_they_came() -> None:
    numbers = [(9, 1, 1), (3, 2, 4), (9, 3, 2), (1, 4, 1)]
    stream = b"".join(msg(b"a", PLAINLY.ack(each), b"") for each in numbers)
    assert rows(decode_responses(stream, PLAINLY.pull)) == numbers


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("count", [1, 3])
def test_any_payload_is_a_payload(payload: bytes, count: int) -> None:
    sent = [
        Sent(msg(b"a", PLAINLY.ack((i, i, 1)), payload), (i, i, 1)) for i in range(1, count + 1)
    ]
    assert feed(raw_of(sent)) == expected(sent)


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("payload", [b"", b"ab\r\ncd"])
def test_headers_of_messages_are_skipped(own: tuple[bytes, ...], payload: bytes) -> None:
    header = block_of(b"NATS/1.0", *own)
    sent = [Sent(hmsg(b"a", PLAINLY.ack((i, i, 1)), header, payload), (i, i, 1)) for i in (1, 2, 3)]
    assert feed(raw_of(sent)) == expected(sent)


@pytest.mark.parametrize("header", FEW)
@pytest.mark.parametrize("payload", [b"", b"x", b"\r\n"])
def test_headers_may_be_few_and_not_closed(header: bytes, payload: bytes) -> None:
    sent = [Sent(hmsg(b"a", PLAINLY.ack((i, i, 1)), header, payload), (i, i, 1)) for i in (1, 2, 3)]
    assert feed(raw_of(sent)) == expected(sent)


def test_a_status_in_a_messages_own_headers_does_not_end_the_pull() -> None:
    header = block_of(b"NATS/1.0 404 No Messages")
    sent = [Sent(hmsg(INBOX, PLAINLY.ack((i, i, 1)), header), (i, i, 1)) for i in (1, 2, 3)]
    assert feed(raw_of(sent)) == expected(sent)


# The end of a pull.


@pytest.mark.parametrize("end", STATUSES)
@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_a_status_ends_the_pull(end: Sent, before: int) -> None:
    assert feed(raw_of([*regular(before), end])).statuses == [end.status]


@pytest.mark.parametrize("before", [1, 2, 5])
def test_the_messages_before_a_status_count(before: int) -> None:
    sent = [*regular(before), STATUSES[0]]
    assert feed(raw_of(sent)).numbers == expected(sent).numbers


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("at", range(5))
def test_a_status_that_overtakes_messages_takes_none_of_them_away(at: int, headers: bool) -> None:
    sent = regular(5, headers=headers)
    sent.insert(at, STATUSES[2])
    assert parts(decode_responses(raw_of(sent), PLAINLY.pull)) == (
        expected(sent).numbers,
        PLAIN.decode(),
        STATUSES[2].status,
        [],
        len(raw_of(sent)),
    )


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
    assert decode_responses(raw, PLAINLY.pull).status == Status(408, "Request Timeout", unsent)


def test_a_status_that_an_old_server_writes_with_two_spaces_is_read() -> None:
    raw = STATUSES[0].raw.replace(SID, SID + b" ")
    assert decode_responses(raw, PLAINLY.pull).status == STATUSES[0].status


@pytest.mark.parametrize("inbox", [EARLIER, INBOX + b"0", INBOX[:-2], b"_INBOX.other.7"])
@pytest.mark.parametrize("line", [b"404 No Messages", b"408 Request Timeout", b"409 x", b"503"])
@pytest.mark.parametrize("at", range(6))
def test_the_status_of_an_earlier_pull_is_ignored(inbox: bytes, line: bytes, at: int) -> None:
    sent = regular(5)
    sent.insert(at, Sent(status(line, inbox)))
    assert feed(raw_of(sent)) == expected(sent)


def test_the_messages_of_another_subscription_are_ignored() -> None:
    sent = regular(5)
    sent.insert(2, Sent(msg(b"B.0", PLAINLY.ack((7, 7, 1)), b"", b"77")))
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
    assert decode_responses(raw_of(sent), PLAINLY.pull).others == [each.other for each in OTHERS]


@pytest.mark.parametrize("empty", range(2))
def test_an_operation_beside_a_message_with_empty_headers_is_returned(empty: int) -> None:
    headers = [block_of(b"NATS/1.0", b"A: 1")] * 3
    headers[empty] = block_of(b"NATS/1.0")
    sent = [
        Sent(hmsg(b"a", PLAINLY.ack((i, i, 1)), header), (i, i, 1))
        for i, header in enumerate(headers, 1)
    ]
    sent.insert(1, OTHERS[0])
    assert feed(raw_of(sent)) == expected(sent)


def test_an_operation_beside_unterminated_headers_is_returned() -> None:
    # A server's rewrite of the header NATS/1.0, without line end, for headers only.
    sent = regular(3)
    raw = hmsg(b"a", PLAINLY.ack((1, 1, 1)), b"NATS/1Nats-Msg-Size: 3\r\n\r\n")
    sent[1:1] = [Sent(raw, (1, 1, 1)), OTHERS[0]]
    assert feed(raw_of(sent)) == expected(sent)


# Bytes that arrive in pieces.

MIXED = [
    OTHERS[0],
    *regular(3),
    OTHERS[4],
    Sent(msg(b"a", PLAINLY.ack((50, 4, 1)), b"ab\r\nPING\r\n"), (50, 4, 1)),
    *regular(2, headers=False),
    FOREIGN[0],
    STATUSES[3],
]


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("origin", [PLAINLY, ORIGINS[2], ORIGINS[3]])
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
        assert decode_responses(stream[:cut], PLAINLY.pull).consumed == len(raw_of(sent[:2])), cut


# What no server sends.

MALFORMED = [
    b"$JS.ACK.",
    b"$JS.ACK.ORDERS.spark",
    b"$JS.ACK.ORDERS.spark.1.2.3.4",
    b"$JS.ACK.ORDERS.spark.x.2.3.4.5",
    b"$JS.ACK.ORDERS.spark.1.x.3.4.5",
    b"$JS.ACK.ORDERS.spark.1.2.x.4.5",
    b"$JS.ACK.ORDERS.spark.1..3.4.5",
    b"$JS.ACK.hub.Xh6tMFqF.ORDERS.spark.1.x.3.4.5",
]


@pytest.mark.parametrize("reply", MALFORMED)
@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("headers", [True, False])
def test_a_malformed_ack_subject_is_an_error(reply: bytes, at: int, headers: bool) -> None:
    sent = regular(3, headers=headers)
    sent.insert(at, Sent(without_payload(b"B.0", reply) if headers else msg(b"B.0", reply, b"")))
    with pytest.raises(ProtocolError):
        decode_responses(raw_of(sent), PLAINLY.pull)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("reply", MALFORMED)
def test_ack_subjects_that_are_all_malformed_are_an_error(reply: bytes, count: int) -> None:
    with pytest.raises(ProtocolError):
        decode_responses(msg(b"B.0", reply, b"") * count, PLAINLY.pull)


@pytest.mark.parametrize("count", [1, 5])
def test_an_ack_subject_between_both_forms_is_an_error(count: int) -> None:
    with pytest.raises(ProtocolError):
        decode_responses(msg(b"B.0", b"$JS.ACK.1.2.3.4.5.6.7.8", b"") * count, PLAINLY.pull)


@pytest.mark.parametrize("at", range(4))
def test_bytes_outside_the_protocol_are_an_error(at: int) -> None:
    sent = regular(3)
    sent.insert(at, Sent(b"HTTP/1.1 400\r\n"))
    with pytest.raises(ProtocolError):
        decode_responses(raw_of(sent), PLAINLY.pull)
