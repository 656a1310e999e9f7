"""The balanced flavor: every message once, from any stream."""

from __future__ import annotations

import zlib

import pytest
from nats.js.api import RetentionPolicy, StorageType
from pyspark.sql.types import BinaryType, LongType, StructType

from nats_spark_common import OptionError
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.rows.compression import MAX_BLOCK

from .._support.admin import Admin, mirror, wait_until
from .._support.cluster import cluster
from .._support.consuming import DURABLE, follow, is_settled, start
from .._support.reading import drain, numbers


@pytest.mark.parametrize(
    "retention", [RetentionPolicy.LIMITS, RetentionPolicy.INTEREST, RetentionPolicy.WORK_QUEUE]
)
@pytest.mark.parametrize("storage", [StorageType.FILE, StorageType.MEMORY])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "leader"])
def test_every_message_is_read_once_and_acknowledged(
    server: EmbeddedServer,
    server_admin: Admin,
    stream: str,
    retention: RetentionPolicy,
    storage: StorageType,
    direct: bool,
) -> None:
    server_admin.create_stream(stream, retention=retention, storage=storage, allow_direct=direct)
    with start(server.url, stream, max_messages_per_trigger="400") as driver:
        position = driver.initial()  # an interest stream keeps what a consumer waits for
        server_admin.fill(stream, 1_000)
        rows = drain(driver, position)
    assert numbers(rows) == list(range(1, 1_001))
    assert [int(row["content"].rstrip(b".")) for row in rows] == list(range(1_000))
    assert is_settled(server_admin, stream)
    left = 0 if retention != RetentionPolicy.LIMITS else 1_000
    assert server_admin.info(stream).state.messages == left


def test_rows_have_the_columns_of_every_flavor_and_what_the_consumer_knows(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.publish(f"{stream}.other")
    server_admin.publish(f"{stream}.a", b"one", headers={"K": "v"})
    with start(server.url, stream, stream_subjects=f"{stream}.a") as driver:
        (row,) = drain(driver)
    stored = server_admin.read_all(stream)[1]
    assert row.pop("timestamp").timestamp() == pytest.approx(stored.timestamp_ns / 1e9, abs=2e-6)
    assert row == {
        "subject": f"{stream}.a",
        "content": b"one",
        "headers": [("K", ["v"])],
        "stream": stream,
        "streamSeq": 2,
        "domain": None,
        "consumer": DURABLE,
        "consumerSeq": 1,
        "delivered": 1,
        "pending": None,
        "replyTo": None,
    }


def test_payloads_that_expand_are_read_in_blocks_of_bounded_size(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    size, count = 8 << 20, 20
    admin.publish_many([(f"{stream}.a", zlib.compress(bytes(size)))] * count)
    options = {"payload_compression": "zlib", "payload_on_error": "fail", "partitions": "1"}
    found = []
    with start(nats_server.url, stream, **options) as driver:
        position = driver.initial()
        for share in driver.reader.partitions(position, driver.latest(position)):
            for batch in driver.reader.read(share):
                assert batch.column("content").nbytes < MAX_BLOCK + 1_000
                columns = [batch.column(each).to_pylist() for each in ("streamSeq", "consumerSeq")]
                found += zip(*columns, strict=True)
    assert found == [(i, i) for i in range(1, count + 1)]


def test_a_user_schema_is_a_projection(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.publish(f"{stream}.a", b"one")
    schema = StructType().add("consumerSeq", LongType()).add("content", BinaryType())
    with start(nats_server.url, stream, schema) as driver:
        assert drain(driver) == [{"consumerSeq": 1, "content": b"one"}]


@pytest.mark.parametrize("mirrored", [False, True], ids=["alone", "mirrored"])
def test_rows_of_a_task_are_ordered_however_each_was_read(
    nats_server: EmbeddedServer, admin: Admin, stream: str, mirrored: bool
) -> None:
    """Single messages before, between and after ranges, and some that only the leader has."""
    admin.create_stream(stream)
    wanted = []
    for count, subject in [(1, "rare"), (1_500, "x"), (400, "rare"), (1_500, "x"), (1, "rare")] * 2:
        first = admin.info(stream).state.last_seq + 1
        admin.publish_many([(f"{stream}.{subject}", b"")] * count)
        wanted += range(first, first + count) if subject == "rare" else ()
    if mirrored:
        mirror(admin, f"{stream}-T", stream, filter_subject=f"{stream}.x")
    with start(nats_server.url, stream, stream_subjects=f"{stream}.rare", partitions="1") as driver:
        begin = driver.initial()
        end = driver.latest(begin)
        for _ in range(3):
            (rows,) = driver.tasks(begin, end)
            assert numbers(rows) == wanted
    if mirrored:
        admin.delete_stream(f"{stream}-T")


@pytest.mark.parametrize("subjects", [["a"], ["a", "b"]], ids=["one filter", "two filters"])
def test_filter_subjects_choose_the_messages(
    nats_server: EmbeddedServer, admin: Admin, stream: str, subjects: list[str]
) -> None:
    admin.create_stream(stream)
    for name in "abcabcabc":
        admin.publish(f"{stream}.{name}")
    wanted = [f"{stream}.{name}" for name in subjects]
    with start(nats_server.url, stream, stream_subjects=",".join(wanted)) as driver:
        rows = drain(driver)
    assert [row["subject"] for row in rows] == wanted * 3


def test_several_filter_subjects_need_a_server_that_supports_them(
    old_nats_server: EmbeddedServer, stream: str
) -> None:
    admin = Admin(old_nats_server.url)
    admin.create_stream(stream)
    admin.close()
    both = f"{stream}.a,{stream}.b"
    with (
        start(old_nats_server.url, stream, stream_subjects=both) as driver,
        pytest.raises(OptionError, match=r"several filter subjects needs NATS server 2\.10"),
    ):
        driver.initial()


@pytest.mark.slow
def test_every_message_is_read_once_and_acknowledged_in_a_cluster() -> None:
    retentions = [RetentionPolicy.LIMITS, RetentionPolicy.WORK_QUEUE]
    with cluster() as servers:
        admin = Admin(servers[0].url)
        for retention in retentions:
            stream = retention.name
            admin.create_stream(stream, num_replicas=3, retention=retention)
            admin.fill(stream, 5_000)
            with start(servers[0].url, stream) as driver:
                driver.latest(driver.initial())  # pulls everything; stopping sends -NAK
            rows = []
            for server in servers:
                with start(server.url, stream, max_messages_per_trigger="700") as driver:
                    # Acknowledging this batch pulls the next one; stopping returns it with -NAK.
                    rows += follow(driver, driver.initial(), 700)
            with start(",".join(s.url for s in servers), stream) as driver:
                rows += follow(driver, driver.initial(), 5_000 - len(rows))
            assert sorted(numbers(rows)) == list(range(1, 5_001))
            wait_until(lambda name=stream: is_settled(admin, name))
        admin.close()
