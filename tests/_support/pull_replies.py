"""Replies to pull requests as a server sends them, and what they decode to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from nats_spark_common.protocol.operations import (
    OK_SIGNAL,
    PING_SIGNAL,
    PONG_SIGNAL,
    Err,
    Event,
    Info,
)
from nats_spark_common.reading.deliveries import Pull, PullReplies, PullStatus, decode_deliveries
from nats_spark_common.rows.messages import MESSAGE_COLUMNS, text

from .direct_gets import header_values

SID = b"0123456789abcdef"
CONSUMER = b"spark_0a1b2c3d4e5f"
INBOX = b"_INBOX.f00.7"
EARLIER = b"_INBOX.f00.6"
#: The columns that a decoder must return: all for ordered reads, none for balanced pulls.
ALL, NONE = MESSAGE_COLUMNS, frozenset[str]()

Numbers = tuple[int, int, int]  # stream sequence, consumer sequence, times delivered
Headers = dict[str, list[str]]


class Row(NamedTuple):
    """A message as the decoder returns it."""

    seq: int
    consumer_seq: int
    delivered: int
    time_ns: int
    subject: str
    content: bytes
    headers: Headers


@dataclass(frozen=True)
class Sent:
    """An operation that the server sends, and its decoded form.

    Attributes:
        size: bytes of a message that count against the ``max_bytes`` of its pull.
    """

    raw: bytes
    row: Row | None = None
    other: Event | None = None
    status: PullStatus | None = None
    size: int = 0


@dataclass(frozen=True)
class Origin:
    """The subscription and the consumer that messages come from.

    Attributes:
        prefix: start of the ack subjects, up to the consumer's name.
        token: end of the ack subjects of newer servers, after the numbers.
        sid: subscription id.
    """

    prefix: bytes
    token: bytes = b""
    sid: bytes = SID

    @property
    def pull(self) -> Pull:
        return Pull(self.sid, self.prefix.rpartition(b".")[2], INBOX)

    def ack(self, numbers: Numbers, time_ns: int = 0, pending: int = 0) -> bytes:
        seq, consumer_seq, count = numbers
        ends = b"." + self.token if self.token else b""
        counted = (count, seq, consumer_seq, time_ns, pending)
        return self.prefix + b".%d.%d.%d.%d.%d" % counted + ends

    def message(
        self,
        numbers: Numbers,
        subject: bytes = b"a",
        payload: bytes = b"",
        header: bytes | Headers = b"",
        time_ns: int = 0,
        pending: int = 0,
    ) -> Sent:
        """Return a message of the consumer; ``header`` is a header block, or its contents."""
        reply = self.ack(numbers, time_ns, pending)
        if isinstance(header, bytes):
            block, headers = header, header_values(header)
        else:
            lines = (f"{name}: {value}" for name, values in header.items() for value in values)
            block, headers = block_of(b"NATS/1.0", *map(str.encode, lines)), header
        row = Row(*numbers, time_ns, text(subject), payload, headers)
        size = sum(map(len, (subject, reply, block, payload)))
        return Sent(frame(subject, reply, payload, block, self.sid), row, size=size)


# Frames.


def frame(
    subject: bytes, reply: bytes, payload: bytes = b"", header: bytes = b"", sid: bytes = SID
) -> bytes:
    """Return an HMSG, or a MSG if there is no header block."""
    verb, sizes = (b"HMSG", b"%d " % len(header)) if header else (b"MSG", b"")
    words = filter(None, [verb, subject, sid, reply, sizes + b"%d" % len(header + payload)])
    return b" ".join(words) + b"\r\n" + header + payload + b"\r\n"


def block_of(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in (*lines, b""))


def headers_only(size: int = 200, *own: bytes) -> bytes:
    """Return the header block that a consumer with ``headers_only`` delivers."""
    return block_of(b"NATS/1.0", *own, b"Nats-Msg-Size: %d" % size)


def status(line: bytes, inbox: bytes = INBOX, *headers: bytes, sid: bytes = SID) -> bytes:
    return frame(inbox, b"", b"", block_of(b"NATS/1.0 " + line, *headers), sid)


def raw_of(sent: Iterable[Sent]) -> bytes:
    return b"".join(each.raw for each in sent)


# Consumers, and what they and their server send. Either the subscription id or the name of the
# consumer is random.

PLAINLY = Origin(b"$JS.ACK.ORDERS.spark")
OF_DOMAIN = Origin(b"$JS.ACK.hub.Xh6tMFqF.ORDERS.spark")
WITH_TOKEN = Origin(OF_DOMAIN.prefix, b"k3Jd9")
ORIGINS = [
    PLAINLY,
    Origin(b"$JS.ACK._.Xh6tMFqF.ORDERS.spark"),
    OF_DOMAIN,
    WITH_TOKEN,
    Origin(OF_DOMAIN.prefix, b"12345"),
    Origin(b"$JS.ACK.1.2"),
    Origin(b"$JS.ACK.0.0.0.0"),
    Origin(b"$JS.ACK.ORDERS.ORDERS"),
    Origin("$JS.ACK.grün.日本".encode()),
    Origin(b"$JS.ACK.ORDERS." + CONSUMER, sid=b"1"),
    Origin(b"$JS.ACK._.Xh6tMFqF.ORDERS." + CONSUMER, sid=b"1"),
    Origin(b"$JS.ACK._.Xh6tMFqF.ORDERS." + CONSUMER, b"k3Jd9", b"1"),
    Origin(b"$JS.ACK.hub.1.2." + CONSUMER, sid=b"1"),
    Origin(b"$JS.ACK.hub.1.2." + CONSUMER, b"k3Jd9", b"1"),
    Origin("$JS.ACK.grün.".encode() + CONSUMER, sid=b"1"),
]


def regular(count: int, origin: Origin = PLAINLY, headers: bool = True) -> list[Sent]:
    """Return messages as a consumer sends them: with headers only, or with payloads."""
    return [
        origin.message(
            (10 + 3 * i, i + 1, 1 + i % 2),
            b"B.0",
            b"" if headers else b"x" * i,
            headers_only(i) if headers else b"",
            1_795_257_598_884_674_228 + i,
            499_999 - i,
        )
        for i in range(count)
    ]


def statuses(sid: bytes = SID) -> list[Sent]:
    """Return the ends of a pull."""
    unsent = (b"Nats-Pending-Messages: 7", b"Nats-Pending-Bytes: 0")
    return [
        Sent(status(line, INBOX, *headers, sid=sid), status=PullStatus(*expected))
        for line, headers, expected in (
            (b"404 No Messages", (), (404, "No Messages", None)),
            (b"503", (), (503, "", None)),
            (b"408 Request Timeout", unsent, (408, "Request Timeout", 7)),
            (b"409 Batch Completed", (), (409, "Batch Completed", None)),
            (b"409 Batch Completed", unsent, (409, "Batch Completed", 7)),
        )
    ]


def foreign(sid: bytes = SID) -> list[Sent]:
    """Return what belongs to another pull, subscription or consumer. A decoder ignores it."""
    theirs = PLAINLY.ack((7, 7, 1))
    return [
        Sent(status(b"408 Request Timeout", EARLIER, sid=sid)),
        Sent(status(b"404 No Messages", INBOX + b"0", sid=sid)),
        Sent(frame(b"B.0", theirs, sid=b"77")),
        Sent(frame(EARLIER, b"", b"x", sid=sid)),
        Sent(frame(b"B.0", theirs, header=block_of(b"NATS/1.0 404"), sid=b"0" + sid)),
        Sent(frame(b"B.0", b"$JS.ACK.ORDERS.spark_ffffffffffff.1.7.1.5.9", sid=sid)),
    ]


OTHERS = [
    Sent(b"PING\r\n", other=PING_SIGNAL),
    Sent(b"PONG\r\n", other=PONG_SIGNAL),
    Sent(b"+OK\r\n", other=OK_SIGNAL),
    Sent(b"-ERR 'Permissions Violation'\r\n", other=Err("Permissions Violation")),
    Sent(b'INFO {"server_id":"x"} \r\n', other=Info({"server_id": "x"})),
]
#: Payloads that look like frames of other consumers, and parts of frames of this one.
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
    foreign(b"1")[-1].raw,
    b"\r\nMSG a 1 $JS.ACK.ORDERS.other.1.1.1.1.1 0\r\n\r\n",
    b"\r\n\r\nHMSG x 1 4 4\r\n",
    b" 1 $JS.ACK.",
    b"....    \r\r\n\n",
    b"\0" * 70,
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
    *(block_of(*[b"NATS/1.0", b"A: 1", b"B: 2"][:count]) for count in (1, 2, 3)),
    b"NATS/1.0",  # not terminated by the publisher
    b"NATS/1.0\r\nA: 1",
    b"NATS/1Nats-Msg-Size: 3\r\n\r\n",
]


# The results of decoding.


@dataclass
class Received:
    """The result of decoding bytes that arrived in pieces."""

    rows: list[Row] = field(default_factory=list)
    prefixes: set[bytes] = field(default_factory=set)
    others: list[Event] = field(default_factory=list)
    statuses: list[PullStatus] = field(default_factory=list)
    size: int = 0
    left: bytes = b""

    def add(self, found: PullReplies, data: bytes) -> None:
        self.rows += rows(found)
        self.prefixes |= {found.ack_prefix.encode()} if found.ack_prefix else set()
        self.others += found.others
        self.statuses += [found.status] if found.status else []
        self.size += found.size
        self.left = data[found.consumed :]


def rows(found: PullReplies) -> list[Row]:
    """Return the messages of a result with all columns."""
    columns = found.messages.columns
    assert columns["timestamp"].cast("int64").to_pylist() == (found.times_ns // 1000).tolist()
    values = (
        found.messages.seqs.tolist(),
        found.consumer_seqs.tolist(),
        found.delivered.tolist(),
        found.times_ns.tolist(),
        columns["subject"].to_pylist(),
        columns["content"].to_pylist(),
        map(dict, columns["headers"].to_pylist()),
    )
    return list(map(Row, *values))


def without_columns(found: PullReplies) -> tuple[object, ...]:
    """Return everything of a result that does not depend on the decoded columns."""
    arrays = (found.messages.seqs, found.consumer_seqs, found.delivered, found.times_ns)
    numbers = [each.tolist() for each in arrays]
    ends = (found.status, found.others, found.consumed)
    return (numbers, found.ack_prefix, found.size, *ends)


def decode(data: bytes, pull: Pull) -> PullReplies:
    """Decode all columns, and check that everything else is the same without columns."""
    found = decode_deliveries(data, pull, ALL)
    assert without_columns(decode_deliveries(data, pull, NONE)) == without_columns(found)
    return found


def feed(stream: bytes, cuts: Iterable[int] = (), origin: Origin = PLAINLY) -> Received:
    """Decode bytes that arrive cut at ``cuts``, as a pull does."""
    received = Received()
    for begin, end in pairwise([0, *cuts, len(stream)]):
        data = received.left + stream[begin:end]
        received.add(decode(data, origin.pull), data)
    return received


def expected(sent: Sequence[Sent], origin: Origin = PLAINLY, cuts: Sequence[int] = ()) -> Received:
    """Return what operations decode to that arrive cut at ``cuts``."""
    found = [each.row for each in sent if each.row]
    ends = accumulate(len(each.raw) for each in sent)
    blocks = [bisect_left(cuts, end) for end in ends]
    # A block reports the last status in it; a pull has one.
    last = {block: each.status for block, each in zip(blocks, sent, strict=True) if each.status}
    return Received(
        found,
        {origin.prefix} if found else set(),
        [each.other for each in sent if each.other],
        list(last.values()),
        sum(each.size for each in sent),
    )


# Strategies.

SUBJECTS = [b"a", b"B.0", b"orders.eu.1", "grün.日本".encode(), b"bad.\xff", b"MSG", b"$JS.ACK.x"]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)
ANY_SUBJECT = st.lists(WORDS.map(lambda word: word.replace(".", "_")), min_size=1).map(".".join)
NAMES = st.text("abcXYZ-", min_size=1, max_size=5)
VALUES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=8).map(str.strip)
HEADERS = st.dictionaries(NAMES, st.lists(VALUES, min_size=1, max_size=2), max_size=2)
KINDS = st.sampled_from(
    ["headers only", "short", "payload", "headers", "few headers", "no payload", "any"]
)


@st.composite
def messages(draw: st.DrawFn, origin: Origin, kinds: st.SearchStrategy[str]) -> Sent:
    """Draw a message of the consumer, of any kind."""
    huge = st.integers(1, (1 << 62) + 1)
    numbers = draw(st.tuples(st.integers(1, 99) | huge, huge, st.integers(1, 99)))
    message = partial(
        origin.message,
        numbers,
        time_ns=draw(st.integers(0, (1 << 63) - 1)),
        pending=draw(st.integers(0, 10**6) | st.just((1 << 64) - 1)),
    )
    kind = draw(kinds)
    if kind == "any":
        payload = draw(st.binary(max_size=40) | st.sampled_from(PAYLOADS))
        return message(draw(ANY_SUBJECT).encode(), payload, draw(st.just(b"") | HEADERS))
    subject = draw(st.sampled_from(SUBJECTS))
    if kind == "headers only":
        return message(subject, header=headers_only(draw(st.integers(0, 10**6))))
    if kind == "no payload":
        return message(subject, header=headers_only(5, *draw(st.sampled_from(OWN))))
    if kind == "few headers":
        return message(subject, draw(st.sampled_from([b"", b"x"])), draw(st.sampled_from(FEW)))
    if kind == "short":
        return message(subject, b"x" * draw(st.integers(0, 9)))
    payload = draw(st.sampled_from(PAYLOADS))
    if kind == "payload":
        return message(subject, payload)
    first = draw(st.sampled_from([b"NATS/1.0"] * 5 + [b"NATS/1.0 404 No Messages"]))
    return message(subject, payload, block_of(first, *draw(st.sampled_from(OWN))))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Sent], Origin]:
    """Draw runs of messages of one kind, with other operations in between."""
    origin = draw(st.sampled_from(ORIGINS))
    others = st.sampled_from([*OTHERS, *foreign(origin.sid)])
    sent: list[Sent] = []
    for _ in range(draw(st.integers(0, 5))):
        kind = st.just(draw(KINDS)) if draw(st.booleans()) else KINDS
        sent += draw(st.lists(messages(origin, kind), max_size=5))
        sent += draw(st.lists(others, max_size=2))
    for end in draw(st.lists(st.sampled_from(statuses(origin.sid)), max_size=3)):
        # A status of a replicated consumer may overtake messages.
        sent.insert(draw(st.integers(0, len(sent))), end)
    return sent, origin
