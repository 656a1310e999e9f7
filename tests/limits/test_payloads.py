"""Payloads as large as a server allows: 64 MiB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import PublishError

from .._support import consuming
from .._support.admin import Admin
from .._support.options import named, options
from .._support.reading import Driver, drain, numbers, read_stream
from .._support.writing import WAYS, exactly, make_stream, write

LARGEST = 64 << 20
#: Below the server's limit, because headers count.
SIZE = LARGEST - 1024

pytestmark = pytest.mark.limits


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(f"max_payload: {LARGEST}\nmax_pending: {4 * LARGEST}") as server:
        yield server


@pytest.fixture
def large(server: EmbeddedServer, stream: str) -> Iterator[Admin]:
    """The stream, in memory: file storage takes messages up to 32 MiB."""
    with closing(Admin(server.url)) as admin:
        make_stream(admin, stream, storage="memory")
        yield admin
        admin.delete_stream(stream)


def payload(number: int) -> bytes:
    return (b"%d" % number).ljust(SIZE, b".")


@pytest.mark.parametrize("via", ["direct", "consumer"])
def test_they_are_read_one_after_the_other_in_bounded_memory(
    server: EmbeddedServer, large: Admin, stream: str, via: str
) -> None:
    large.publish_many((f"{stream}.a", payload(i)) for i in range(8))
    given = options(server.url, stream_name=stream, read_via=via, partitions="1")
    with Driver(given) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        process, sizes, found = psutil.Process(os.getpid()), [], []
        for batch in driver.reader.read(partition):
            found += [row["content"][:1] for row in batch.to_pylist()]
            assert batch.column("content").nbytes >= SIZE
            sizes.append(process.memory_info().rss)
        assert found == [b"%d" % i for i in range(8)]
        assert max(sizes) - sizes[1] < LARGEST


def test_balanced_reads_them(server: EmbeddedServer, large: Admin, stream: str) -> None:
    large.publish_many((f"{stream}.a", payload(i)) for i in range(3))
    with consuming.start(server.url, stream) as driver:
        rows = drain(driver)
    assert [row["content"] == payload(i) for i, row in enumerate(rows)] == [True] * 3
    assert consuming.is_settled(large, stream)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once", "best-effort"])
def test_they_are_written(server: EmbeddedServer, stream: str, mode: str, way: str) -> None:
    with closing(Admin(server.url)) as admin:
        make_stream(admin, stream, storage="memory", **WAYS[way])
        rows = [{"subject": f"{stream}.a", "content": payload(i)} for i in range(3)]
        write(options(server.url, sink_mode=mode), rows, batch_rows=1)
        read = read_stream(options(server.url, stream_name=stream))
        assert numbers(read) == [1, 2, 3]
        assert all(a["content"] == b["content"] for a, b in zip(read, rows, strict=True))
        admin.delete_stream(stream)


def test_one_byte_more_is_an_error_before_it_is_sent(
    server: EmbeddedServer, large: Admin, stream: str
) -> None:
    row = {"subject": f"{stream}.a", "content": bytes(LARGEST + 1)}
    with pytest.raises(PublishError, match=f"max_payload is {LARGEST}"):
        write(exactly(server.url), [row])


def test_a_query_of_spark_copies_them(
    server: EmbeddedServer, large: Admin, stream: str, spark: SparkSession
) -> None:
    large.publish_many((f"{stream}.a", payload(i)) for i in range(3))
    make_stream(large, f"{stream}-copy", storage="memory")
    rows = spark.read.format("nats-v2").options(
        **options(server.url, stream_name=stream, min_range="1")
    )
    copies = rows.load().select(f.lit(f"{stream}-copy.a").alias("subject"), "content")
    copies.write.format("nats-v2").mode("append").options(**named(url=server.url)).save()
    read = read_stream(options(server.url, stream_name=f"{stream}-copy"))
    assert sorted(row["content"][:1] for row in read) == [b"0", b"1", b"2"]
    assert {len(row["content"]) for row in read} == {SIZE}
    large.delete_stream(f"{stream}-copy")
