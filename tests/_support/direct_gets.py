"""Answers to direct get batches as a server sends them, and what they decode to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st

from nats_spark_common.protocol.operations import PING_SIGNAL, Err, Event, Info, Msg
from nats_spark_common.protocol.timestamps import ns_to_rfc3339
from nats_spark_common.reading.decode import Decoded, Status, decode, marker
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
        """Return its own headers as the server sends them: without the last two bytes."""
        block = b"\r\n".join(self.own) + self.ending if self.own else b""
        return block[:-2] if len(block) > 2 else b"NATS/1.0\r\n"


def frame(header: bytes, payload: bytes, inbox: str = INBOX) -> bytes:
    total = len(header) + len(payload)
    return f"HMSG {inbox} 1 {len(header)} {total}\r\n".encode() + header + payload + b"\r\n"


def trimmed(time_ns: int) -> str:
    """Return RFC 3339 as Go prints it: without zeros at the end of the fraction."""
    text = ns_to_rfc3339(time_ns).removesuffix("Z").rstrip("0")
    return text.removesuffix(".") + "Z"


def message_frame(message: Stored, previous: int) -> bytes:
    """Return a frame as the server writes it: the message's own headers, then the server's six."""
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
    """Return the frames of an answer's messages, each of which names the one before it."""
    before = [0, *(m.seq for m in messages)]
    return [message_frame(m, previous) for m, previous in zip(messages, before, strict=False)]


def answer(messages: list[Stored]) -> bytes:
    """Return a whole answer: the messages and the end of the batch."""
    last = messages[-1].seq if messages else 0
    return b"".join([*message_frames(messages), end_frame(last)])


def header_values(block: bytes) -> dict[str, list[str]]:
    """Return the values of each name in a header block."""
    values: dict[str, list[str]] = {}
    for line in filter(None, block.split(b"\r\n")[1:]):
        name, _, value = line.partition(b":")
        values.setdefault(text(name), []).append(text(value.strip()))
    return values


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
            list(header_values(m.kept).items()),
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
    """The result of decoding bytes that arrived in pieces."""

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


def same(one: Decoded, other: Decoded) -> bool:
    return rows(one) == rows(other) and (one.status, one.others, one.consumed) == (
        other.status,
        other.others,
        other.consumed,
    )


def regular(count: int, own: tuple[bytes, ...] = ()) -> list[Stored]:
    start = 1_700_000_000 * 10**9
    return [Stored(i, b"a.b", start + i, own, b"\r\n" * (i % 3)) for i in range(1, count + 1)]
