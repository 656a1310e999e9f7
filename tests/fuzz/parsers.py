"""The parsers under test: their corpora, and what must hold for any bytes.

A parser returns what the reference returns, or raises an error of this suite. What it does with the
corpus itself is not an error.
"""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nats_spark_common import NatsSettings
from nats_spark_common.checkpoint.log_entry import LogEntry
from nats_spark_common.checkpoint.position import positions
from nats_spark_common.connection.buffer import ReceiveBuffer
from nats_spark_common.connection.connection import Connection, Server, ServerInfo
from nats_spark_common.errors import NatsSparkError
from nats_spark_common.jetstream.api import StreamInfo, parse_json
from nats_spark_common.options.nats_context import context_layer
from nats_spark_common.options.positions import Earliest, parse_positions
from nats_spark_common.protocol import operations
from nats_spark_common.protocol.ack_subject import parse_ack_subject
from nats_spark_common.protocol.operations import Err, Event, Info, Msg
from nats_spark_common.reading import decode, deliveries
from nats_spark_common.reading.single_gets import read_singly
from nats_spark_common.replay.offsets import Offset
from nats_spark_common.rows.messages import MESSAGE_COLUMNS, Messages
from nats_spark_common.sink.pub_acks import parse_acks
from pyspark_nats_balanced.consumer_info import ConsumerInfo
from pyspark_nats_balanced.offset import Offset as BalancedOffset

from . import CONSUMER, INBOX, SID, STREAM, reference

CORPUS = Path(__file__).parent / "corpus"

#: A sequence of a stream, as an integer column holds it.
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Parser:
    """A parser and its oracle.

    Attributes:
        check: parses bytes, and raises ``AssertionError`` if the result is wrong, or an error of
            the suite.
        text: whether the bytes are JSON or options, rather than frames.
    """

    name: str
    check: Callable[[bytes], None]
    text: bool = False

    def corpus(self) -> dict[str, bytes]:
        """Return the recorded and the found inputs by name."""
        return {path.name: path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())}


def _as_reference(events: Iterable[Event]) -> list[Any]:
    plain: list[Any] = []
    for event in events:
        if isinstance(event, Msg):
            plain.append(tuple(event))
        elif isinstance(event, Info):
            plain.append(("INFO", event.fields))
        elif isinstance(event, Err):
            plain.append(("-ERR", event.text))
        else:
            plain.append((event.name,))
    return plain


def _equal(found: object, expected: object) -> None:
    # By text: NaN in JSON is not equal to itself.
    assert repr(found) == repr(expected)


def _operations(data: bytes) -> None:
    buffer = ReceiveBuffer()
    part = data[: buffer.size]
    buffer.free()[: len(part)] = part
    buffer.filled = len(part)
    buffer.consume(0)
    assert buffer.complete in (True, False)
    assert operations.frame_length(data) >= 0
    events, consumed = operations.parse(data)
    _equal((_as_reference(events), consumed), reference.operations(data))
    for event in events:
        if isinstance(event, Info):
            info = ServerInfo.from_fields(event.fields)
            assert info.max_payload > 0


def _columns(messages: Messages) -> list[tuple[Any, ...]]:
    columns = messages.columns
    times = columns["timestamp"].cast("int64").to_pylist()
    return list(
        zip(
            columns["subject"].to_pylist(),
            columns["content"].to_pylist(),
            columns["headers"].to_pylist(),
            times,
            strict=True,
        )
    )


def _direct(data: bytes) -> None:
    inbox = INBOX + b".1"
    mark = decode.marker(inbox.decode(), "1")
    found = decode.decode(data, mark, STREAM.encode(), MESSAGE_COLUMNS)
    rows = [
        (seq, previous, subject, content, headers, time)
        for seq, previous, (subject, content, headers, time) in zip(
            found.messages.seqs.tolist(),
            found.previous.tolist(),
            _columns(found.messages),
            strict=True,
        )
    ]
    status = tuple(found.status) if found.status else None
    shown = (rows, status, _as_reference(found.others), found.consumed)
    _equal(shown, reference.direct_gets(data, inbox, STREAM.encode()))


def _deliveries(data: bytes) -> None:
    consumer, inbox = b"%b.%b" % (STREAM.encode(), CONSUMER), INBOX + b".1"
    pull = deliveries.Pull(SID, consumer, inbox)
    found = deliveries.decode_deliveries(data, pull, MESSAGE_COLUMNS)
    rows, end, others, consumed, size = reference.deliveries(data, SID, consumer, inbox)
    numbers = list(
        zip(
            found.messages.seqs.tolist(),
            found.consumer_seqs.tolist(),
            found.delivered.tolist(),
            found.times_ns.tolist(),
            strict=True,
        )
    )
    shown = [
        (*four, subject, content, headers)
        for four, (subject, content, headers, _) in zip(
            numbers, _columns(found.messages), strict=True
        )
    ]
    _equal((shown, found.consumed, found.size), (rows, consumed, size))
    _equal(_as_reference(found.others), others)
    status = found.status
    unsent = int(end[2]) if end and end[2].isascii() and end[2].isdigit() else None
    assert (end and (*end[:2], unsent)) == (status and tuple(status))
    assert found.messages.columns["timestamp"].cast("int64").to_pylist() == [
        each[3] // 1000 for each in numbers
    ]


def _single(direct: bool) -> Callable[[bytes], None]:
    seqs = (1, 2, 3, 99)

    def check(data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            theirs.sendall(data[: 1 << 17])
            theirs.shutdown(socket.SHUT_WR)
            server = Server("nats://fuzz", "fuzz", "fuzz", ("fuzz", 4222))
            info = ServerInfo((2, 15), 1 << 20, True, True, ())
            link = Connection(ours, server, info, INBOX.decode())
            settings = NatsSettings()
            found: list[int] = []
            fields = MESSAGE_COLUMNS
            for each in read_singly(link, settings, STREAM, seqs, direct, fields, 5.0):
                found += each.seqs.tolist()
            assert set(found) <= set(seqs), "a message that was not requested"
            assert found == sorted(set(found)), "messages out of order"

    return check


def _acks(data: bytes) -> None:
    for streams in (None, frozenset({STREAM})):
        found = parse_acks(data, INBOX.decode(), streams)
        numbers, replies, others, consumed = reference.acks(data, INBOX, streams)
        _equal(
            (found.numbers.tolist(), _as_reference(found.others), found.consumed),
            (numbers, others, consumed),
        )
        plain = [
            (to, status, {"error": "invalid"} if "error" in body and expected != body else body)
            for (to, status, body), (_, _, expected) in zip(found.replies, replies, strict=True)
        ]
        _equal(plain, replies)


def _api(data: bytes) -> None:
    reply = parse_json(data, "$JS.API.STREAM.INFO.FUZZ")
    info = StreamInfo.from_json(reply)
    assert isinstance(info.name, str)
    assert isinstance(info.created, str)
    assert all(isinstance(each, str) for each in (*info.subjects, *info.servers))
    assert 0 <= info.first_seq <= info.last_seq + 1 <= _LARGEST + 1
    assert min(info.messages, info.bytes) >= 0
    assert info.average_size >= 0


def _consumer_info(data: bytes) -> None:
    info = ConsumerInfo.from_json(parse_json(data, "$JS.API.CONSUMER.INFO.FUZZ.d"))
    assert isinstance(info.name, str)
    assert isinstance(info.created, str)
    assert all(isinstance(each, str) for each in info.filters)
    assert info.ack_wait > 0
    assert 0 <= info.delivered <= _LARGEST


def _json(data: bytes) -> Any:
    """Return the JSON as Spark hands it over: an object; Spark itself rejects other text."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _offsets(data: bytes) -> None:
    offset = Offset.from_json(_json(data))
    assert Offset.from_json(json.loads(json.dumps(offset.to_json()))) == offset
    for _, each in offset:
        assert 0 <= each.seq <= _LARGEST
        assert each.after is None or 0 <= each.after <= _LARGEST


def _balanced_offsets(data: bytes) -> None:
    offset = BalancedOffset.from_json(_json(data))
    again = BalancedOffset.from_json(json.loads(json.dumps(offset.to_json())))
    assert again.to_json() == offset.to_json()
    assert 0 <= offset.newest <= _LARGEST
    assert offset.batch >= 0
    found = offset.deliveries
    for column in (found.seqs, found.consumer_seqs, found.counts):
        assert (column >= 0).all()
    assert (np.diff(found.seqs) > 0).all()
    assert (offset.done.starts >= 0).all()
    assert (offset.done.ends >= offset.done.starts).all()
    assert (offset.done.starts[1:] > offset.done.ends[:-1]).all()


def _log_entry(data: bytes) -> None:
    entry = LogEntry.parse(data.decode("utf-8", "replace"), "offsets/7")
    assert LogEntry.parse(entry.format(), "offsets/7") == entry
    for each in positions(entry, "here"):
        assert each.flavor
    entry.at_watermark(17)


def _nats_context(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(data)
        file.flush()
        layer = context_layer(file.name)
        assert all(isinstance(each, str) for each in layer.values.values())
        _check_settings(NatsSettings.from_options({"nats.context": file.name}))


def _options(data: bytes) -> None:
    lines = (line.partition("=") for line in data.decode("utf-8", "replace").split("\n"))
    _check_settings(NatsSettings.from_options({name: value for name, _, value in lines if name}))


def _check_settings(settings: NatsSettings) -> None:
    with socket.socket() as sock:
        for each in (settings.connect_timeout, settings.request_timeout, settings.ping_interval):
            assert each > 0
            sock.settimeout(each)
    assert settings.connection_key()
    json.dumps([settings.user, settings.inbox_prefix, settings.connection_name]).encode()


def _positions(data: bytes) -> None:
    found = parse_positions("nats.start", data.decode("utf-8", "replace"), Earliest())
    assert parse_positions("nats.start", str(found), Earliest()) == found


def _ack_subject(data: bytes) -> None:
    found = parse_ack_subject(data)
    if found is not None:
        _equal(tuple(found), reference.ack_subject(data))


def _headers(data: bytes) -> None:
    values: dict[str, list[str]] = {}
    for name, value in operations.header_pairs(data):
        values.setdefault(name, []).append(value)
    _equal(list(values.items()), reference.headers(data))
    _equal(operations.header_status(data), reference.status(data))


PARSERS = [
    Parser("operations", _operations),
    Parser("direct", _direct),
    Parser("deliveries", _deliveries),
    Parser("single_direct", _single(True)),
    Parser("single_leader", _single(False)),
    Parser("pub_acks", _acks),
    Parser("ack_subject", _ack_subject),
    Parser("headers", _headers),
    Parser("api", _api, text=True),
    Parser("consumer_info", _consumer_info, text=True),
    Parser("offsets", _offsets, text=True),
    Parser("balanced_offsets", _balanced_offsets, text=True),
    Parser("log_entry", _log_entry, text=True),
    Parser("nats_context", _nats_context, text=True),
    Parser("options", _options, text=True),
    Parser("positions", _positions, text=True),
]


def check(parser: Parser, data: bytes) -> None:
    """Check one input. Raises anything but an error of the suite."""
    try:
        parser.check(data)
    except NatsSparkError:
        pass
    except reference.InvalidError as error:
        raise AssertionError(f"accepted, and the reference does not: {error}") from error
