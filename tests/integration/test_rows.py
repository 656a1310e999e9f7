"""What was published is what is read: by both ways of reading, witnessed by nats-py."""

from __future__ import annotations

import gzip
import uuid
import zlib
from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql.types import LongType, StringType, StructType

from nats_spark_common import PayloadError
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.rows.compression import MAX_BLOCK

from .._support.admin import Admin
from .._support.reading import Driver, numbers, read_stream

NASTY = [
    b"",
    b"x",
    b"\r\n",
    b"\r\nHMSG _INBOX.x 1 12 12\r\nNATS/1.0 204 EOB\r\n\r\n\r\n",
    b"NATS/1.0 204 EOB\r\n\r\n",
    b"Nats-Sequence: 1\r\nNats-Subject: other\r\n\r\n",
    b"PING\r\nMSG a 1 0\r\n\r\n-ERR 'no'\r\n",
    bytes(range(256)) * 8,
]


@pytest.fixture
def options(server: EmbeddedServer, stream: str) -> dict[str, str]:
    return {"nats.url": server.url, "nats.stream.name": stream}


def test_rows_are_what_nats_py_reads(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    for i, payload in enumerate(NASTY):
        server_admin.publish(f"{stream}.{i}", payload)
        server_admin.publish(f"{stream}.h.{i}", payload, {"Kind": f"k{i}", "Nats-Sequence": "99"})
    rows = read_stream(options)
    stored = server_admin.read_all(stream)
    assert [(r["streamSeq"], r["subject"], r["content"]) for r in rows] == [
        (m.seq, m.subject, m.payload) for m in stored
    ]
    assert [dict(r["headers"]) for r in rows] == [
        {k: [v] for k, v in (m.headers or {}).items()} for m in stored
    ]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert [r["timestamp"] for r in rows] == [
        epoch + timedelta(microseconds=m.timestamp_ns // 1000) for m in stored
    ]


PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\r\nHMSG _INBOX.x 1 12 12\r\n",
        b"NATS/1.0 204 EOB\r\n\r\n",
        b"Nats-Sequence: 7\r\n",
    ]
)
PAYLOADS = st.lists(PIECES | st.binary(max_size=30), max_size=5).map(b"".join)
NAMES = st.sampled_from(["Nats-Sequence", "Nats-Subject", "Nats-Stream", "A", "HMSG"])
HEADERS = st.none() | st.dictionaries(NAMES, st.sampled_from(["1", "204 EOB", "ä"]), min_size=1)


@given(messages=st.lists(st.tuples(PAYLOADS, HEADERS), min_size=1, max_size=12))
@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_messages_are_read_as_nats_py_reads_them(
    server_admin: Admin,
    server: EmbeddedServer,
    messages: list[tuple[bytes, dict[str, str] | None]],
) -> None:
    stream = f"H{uuid.uuid4().hex[:12]}"
    server_admin.create_stream(stream, storage="memory")
    for payload, headers in messages:
        server_admin.publish(f"{stream}.a", payload, headers)
    rows = read_stream({"nats.url": server.url, "nats.stream.name": stream})
    stored = server_admin.read_all(stream)
    server_admin.delete_stream(stream)
    assert [(r["streamSeq"], r["content"], {k: v[0] for k, v in r["headers"]}) for r in rows] == [
        (m.seq, m.payload, m.headers or {}) for m in stored
    ]


def test_a_repeated_header_keeps_all_its_values_in_order(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    header = b"NATS/1.0\r\nA: 1\r\nB: x\r\nA: 2\r\nA:3\r\nEmpty:\r\n\r\n"
    server_admin.publish_raw(f"{stream}.a", header, b"payload")
    (row,) = read_stream(options)
    assert row["headers"] == [("A", ["1", "2", "3"]), ("B", ["x"]), ("Empty", [""])]
    assert row["content"] == b"payload"


def test_a_stored_status_line_is_not_taken_for_the_end_of_an_answer(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    for status in (b"204 EOB", b"404 Message Not Found", b"503"):
        header = b"NATS/1.0 " + status + b"\r\nNats-Last-Sequence: 1\r\n\r\n"
        server_admin.publish_raw(f"{stream}.a", header, b"")
    server_admin.publish(f"{stream}.a", b"last")
    assert numbers(read_stream(options)) == [1, 2, 3, 4]


def test_payloads_up_to_the_servers_limit_are_read(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    largest = server_admin.client.max_payload
    for size in (largest, 1, largest - 1, largest):
        server_admin.publish(f"{stream}.a", b"p" * size)
    options["nats.fetch.bytes"] = "64KiB"  # a message may be larger than what is asked for at once
    assert [len(r["content"]) for r in read_stream(options)] == [
        largest,
        1,
        largest - 1,
        largest,
    ]


def test_a_range_is_read_completely_in_many_small_requests(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 5_000)
    options |= {"nats.fetch.messages": "97", "nats.partitions": "3", "nats.min.range": "100"}
    assert numbers(read_stream(options)) == list(range(1, 5_001))


def test_unknown_columns_are_null_and_the_stream_is_named(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.publish(f"{stream}.a", b"1")
    (row,) = read_stream(options)
    assert row["stream"] == stream
    unknown = ["domain", "consumer", "consumerSeq", "delivered", "pending", "replyTo"]
    assert [row[name] for name in unknown] == [None] * len(unknown)


def test_a_user_schema_is_a_projection(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.publish(f"{stream}.a", b"1")
    schema = StructType().add("streamSeq", LongType()).add("subject", StringType())
    assert read_stream(options, schema) == [{"streamSeq": 1, "subject": f"{stream}.a"}]


def test_subjects_need_not_be_ascii(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.publish(f"{stream}.grün.日本", b"1")
    assert read_stream(options)[0]["subject"] == f"{stream}.grün.日本"


@pytest.mark.parametrize(
    ("kind", "compress"),
    [("zlib", zlib.compress), ("gzip", gzip.compress), ("zstd", zstandard.compress)],
)
def test_compressed_payloads_are_opened(
    admin: Admin, nats_server: EmbeddedServer, stream: str, kind: str, compress: object
) -> None:
    admin.create_stream(stream)
    admin.publish(f"{stream}.a", compress(b"text" * 100))  # type: ignore[operator]
    admin.publish(f"{stream}.a", b"plain")
    options = {"nats.url": nats_server.url, "nats.stream.name": stream}
    options["nats.storage.payload-compression"] = kind
    assert [r["content"] for r in read_stream(options)] == [b"text" * 100, b"plain"]


def test_a_payload_that_does_not_open_fails_the_read_where_asked_for(
    admin: Admin, nats_server: EmbeddedServer, stream: str
) -> None:
    admin.create_stream(stream)
    admin.publish(f"{stream}.a", b"plain")
    options = {"nats.url": nats_server.url, "nats.stream.name": stream}
    options |= {"nats.payload.compression": "zlib", "nats.payload.on.error": "fail"}
    with pytest.raises(PayloadError, match=rf"{stream}.*sequence 1.*nats\.payload\.on\.error"):
        read_stream(options)


@pytest.mark.parametrize("policy", ["fail", "null", "raw"])
def test_payloads_that_expand_are_read_in_blocks_of_bounded_size(
    admin: Admin, nats_server: EmbeddedServer, stream: str, policy: str
) -> None:
    admin.create_stream(stream)
    size, count = 8 << 20, 20
    admin.publish_many([(f"{stream}.a", zstandard.compress(bytes(size)))] * count)
    options = {"nats.url": nats_server.url, "nats.stream.name": stream, "nats.partitions": "1"}
    options |= {"nats.payload.compression": "zstd", "nats.payload.on.error": policy}
    with Driver(options) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        seqs = []
        for batch in driver.reader.read(partition):
            assert batch.column("content").nbytes < MAX_BLOCK + 1_000
            assert set(pc.binary_length(batch.column("content")).to_pylist()) == {size}
            seqs += batch.column("streamSeq").to_pylist()
    assert seqs == list(range(1, count + 1))


def test_filter_subjects_select_messages(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    options["nats.stream.subjects"] = f"{stream}.7"
    assert numbers(read_stream(options)) == list(range(8, 101, 10))


def test_several_filter_subjects_select_their_union_in_order(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    server_admin.publish(f"{stream}.x.y", b"")
    options["nats.stream.subjects"] = f"{stream}.7, {stream}.3, {stream}.x.*"
    expected = sorted([*range(8, 101, 10), *range(4, 101, 10), 101])
    assert numbers(read_stream(options)) == expected


def test_a_stream_without_direct_get_gives_the_same_rows(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, allow_direct=False)
    server_admin.fill(stream, 3_000)
    assert numbers(read_stream(options)) == list(range(1, 3_001))


def test_no_consumer_is_left_behind(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream, allow_direct=False)
    server_admin.fill(stream, 1_000)
    read_stream({**options, "nats.start": "2020-01-01T00:00:00Z"})
    assert server_admin.consumers(stream) == []


def test_deleted_messages_give_neither_rows_nor_errors(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 60)
    gone = {2, 3, 30, 31, 32, 58, 59, 60}
    for seq in gone:
        server_admin.delete_message(stream, seq)
    options |= {"nats.partitions": "4", "nats.min.range": "7"}
    assert numbers(read_stream(options)) == [i for i in range(1, 61) if i not in gone]


def test_a_whole_task_of_deleted_messages_is_empty(
    server_admin: Admin, options: dict[str, str], stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 40)
    for seq in range(11, 31):
        server_admin.delete_message(stream, seq)
    options |= {"nats.partitions": "4", "nats.min.range": "10"}
    assert numbers(read_stream(options)) == [*range(1, 11), *range(31, 41)]
