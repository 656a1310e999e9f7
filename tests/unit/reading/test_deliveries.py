"""PullReplies of a pull consumer: decoded as a block or one by one, with the same result."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common import ProtocolError
from nats_spark_common.protocol.operations import PING_SIGNAL, Event, Info
from nats_spark_common.reading import deliveries
from nats_spark_common.reading.deliveries import (
    Pull,
    PullReplies,
    PullStatus,
    decode_deliveries,
    decode_sequentially,
)
from nats_spark_common.rows.messages import MESSAGE_COLUMNS

PULL = Pull(b"1", b"spark_0a1b2c3d4e5f", b"_INBOX.f00.7")
PREFIXES = [
    b"$JS.ACK.ORDERS." + PULL.consumer,
    b"$JS.ACK._.Xh6tMFqF.ORDERS." + PULL.consumer,
    b"$JS.ACK.hub.1.2." + PULL.consumer,
    "$JS.ACK.grün.".encode() + PULL.consumer,
]
Row = tuple[int, int, int, int, str, bytes, dict[str, list[str]]]


@dataclass(frozen=True)
class Sent:
    """An operation that the server sends, and what it decodes to.

    ``size`` is what a message counts against the bytes of its pull.
    """

    raw: bytes
    row: Row | None = None
    other: Event | None = None
    status: PullStatus | None = None
    size: int = 0


@dataclass
class Received:
    """The result of decoding bytes that arrived in pieces."""

    rows: list[Row] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)
    statuses: list[PullStatus] = field(default_factory=list)
    left: bytes = b""
    size: int = 0

    def add(self, found: PullReplies, data: bytes) -> None:
        self.rows += rows(found)
        self.others += found.others
        self.statuses += [found.status] if found.status else []
        self.left = data[found.consumed :]
        self.size += found.size


def rows(found: PullReplies) -> list[Row]:
    columns = found.messages.columns
    headers = [dict(each) for each in columns["headers"].to_pylist()]
    micros = columns["timestamp"].cast("int64").to_pylist()
    assert micros == (found.times_ns // 1000).tolist()
    return list(
        zip(
            found.messages.seqs.tolist(),
            found.consumer_seqs.tolist(),
            found.delivered.tolist(),
            found.times_ns.tolist(),
            columns["subject"].to_pylist(),
            columns["content"].to_pylist(),
            headers,
            strict=True,
        )
    )


def message(
    prefix: bytes,
    numbers: tuple[int, int, int, int],
    subject: str = "orders.new",
    payload: bytes = b"",
    headers: dict[str, list[str]] | None = None,
    token: bytes = b"",
) -> Sent:
    seq, consumer_seq, delivered, time_ns = numbers
    ack = prefix + b".%d.%d.%d.%d.9" % (delivered, seq, consumer_seq, time_ns) + token
    block = b""
    if headers is not None:
        lines = [f"{name}: {value}" for name, values in headers.items() for value in values]
        block = "\r\n".join(["NATS/1.0", *lines, "", ""]).encode()
    sizes = b"%d" % (len(block) + len(payload))
    verb = b"MSG"
    if headers is not None:
        verb, sizes = b"HMSG", b"%d " % len(block) + sizes
    line = b" ".join([verb, subject.encode(), PULL.sid, ack, sizes])
    row = (seq, consumer_seq, delivered, time_ns, subject, payload, headers or {})
    size = sum(map(len, (subject.encode(), ack, block, payload)))
    return Sent(line + b"\r\n" + block + payload + b"\r\n", row, size=size)


def status(code: int, description: str, unsent: int | None = None) -> Sent:
    lines = [f"NATS/1.0 {code} {description}"]
    lines += [] if unsent is None else [f"Nats-Pending-Messages: {unsent}"]
    block = "\r\n".join([*lines, "", ""]).encode()
    raw = b"HMSG %s 1 %d %d\r\n%s\r\n" % (PULL.inbox, len(block), len(block), block)
    return Sent(raw, status=PullStatus(code, description, unsent))


PING = Sent(b"PING\r\n", other=PING_SIGNAL)
INFO = Sent(b'INFO {"version":"2.15.1"}\r\n', other=Info({"version": "2.15.1"}))
#: A delivery of an earlier consumer over the same connection: it is ignored.
STALE = Sent(message(b"$JS.ACK.ORDERS.spark_ffffffffffff", (7, 1, 1, 5)).raw)

NUMBERS = st.tuples(
    st.integers(1, 1 << 62), st.integers(1, 1 << 62), st.integers(1, 99), st.integers(0, 1 << 62)
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)
SUBJECTS = st.lists(WORDS.map(lambda word: word.replace(".", "_")), min_size=1).map(".".join)
NAMES = st.text("abcXYZ-", min_size=1, max_size=5)
VALUES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=8).map(str.strip)
HEADERS = st.none() | st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=2), max_size=2)
#: Payloads that look like frames of other consumers, and parts of frames of this one.
TRICKY = st.sampled_from(
    [
        STALE.raw,
        b"\r\nMSG a 1 $JS.ACK.ORDERS.other.1.1.1.1.1 0\r\n\r\n",
        b"\r\n\r\nHMSG x 1 4 4\r\n",
        b" 1 $JS.ACK.",
        b"....    \r\r\n\n",
        b"\0" * 70,
    ]
)
PAYLOADS = st.binary(max_size=40) | TRICKY


@st.composite
def replies(draw: st.DrawFn) -> list[Sent]:
    prefix = draw(st.sampled_from(PREFIXES))
    token = draw(st.sampled_from([b"", b"", b".k3Jd9"])) if prefix.count(b".") > 3 else b""
    built = st.builds(
        message,
        st.just(prefix),
        NUMBERS,
        SUBJECTS,
        PAYLOADS,
        HEADERS,
        st.just(token),
    )
    others = st.sampled_from([PING, INFO, STALE, status(404, "No Messages"), PING])
    operations = draw(st.lists(st.one_of(built, built, built, built, built, others), max_size=12))
    end = draw(st.sampled_from([[], [status(409, "Batch Completed", 3)]]))
    return operations + end


def expected(sent: list[Sent]) -> Received:
    return Received(
        [each.row for each in sent if each.row],
        [each.other for each in sent if each.other],
        [each.status for each in sent if each.status],
        size=sum(each.size for each in sent),
    )


def decoded(data: bytes) -> Received:
    received = Received()
    received.add(decode_deliveries(data, PULL, MESSAGE_COLUMNS), data)
    return received


@given(replies(), st.lists(st.integers(0, 2000), max_size=4))
@settings(max_examples=250)
def test_where_the_bytes_are_cut_makes_no_difference(sent: list[Sent], cuts: list[int]) -> None:
    data = b"".join(each.raw for each in sent)
    received = Received()
    bounds = sorted({*(cut for cut in cuts if cut < len(data)), len(data)})
    start = 0
    for bound in bounds:
        piece = received.left + data[start:bound]
        received.add(decode_deliveries(piece, PULL, MESSAGE_COLUMNS), piece)
        start = bound
    wanted = expected(sent)
    assert received.left == b""
    assert (received.rows, received.others) == (wanted.rows, wanted.others)
    assert received.size == wanted.size
    # A block reports the last status; a pull has one.
    assert received.statuses[-1:] == wanted.statuses[-1:]


@given(replies(), st.integers(0, 3000), st.binary(min_size=1, max_size=3))
@settings(max_examples=400)
def test_broken_bytes_are_decoded_as_one_by_one_or_rejected(
    sent: list[Sent], at: int, bytes_: bytes
) -> None:
    data = b"".join(each.raw for each in sent)
    at = min(at, len(data))
    broken = data[:at] + bytes_ + data[at + len(bytes_) :]

    def outcome(decode: object) -> object:
        try:
            found = decode(broken, PULL, MESSAGE_COLUMNS)  # type: ignore[operator]
        except ProtocolError:
            return ProtocolError
        received = Received()
        received.add(found, broken)
        return received

    one_by_one, block = outcome(decode_sequentially), outcome(decode_deliveries)
    if one_by_one is not ProtocolError:
        assert block == one_by_one


@pytest.mark.parametrize("headers", [None, {"a": ["b"]}])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_regular_block_needs_no_fallback(
    monkeypatch: pytest.MonkeyPatch, prefix: bytes, headers: dict[str, list[str]] | None
) -> None:
    sizes: list[int] = []

    def noted(data: bytes, pull: Pull, fields: frozenset[str]) -> PullReplies:
        sizes.append(len(data))
        return decode_sequentially(data, pull, fields)

    monkeypatch.setattr(deliveries, "decode_sequentially", noted)
    sent = [
        message(prefix, (i, i, 1, 10**18 + i), f"orders.{i}", b"x" * (i % 7), headers)
        for i in range(1, 1200)
    ]
    data = b"".join(each.raw for each in [*sent, status(409, "Batch Completed")])
    assert decoded(data) == expected([*sent, status(409, "Batch Completed")])
    assert sizes == [len(status(409, "Batch Completed").raw)]
