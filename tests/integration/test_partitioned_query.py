"""Whole streaming queries of the partitioned flavor: Spark's engine, a checkpoint, a real sink."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import Row

from nats_spark_common.cli import main as nats_spark
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.numbered import make_streams
from .._support.options import options
from .._support.tables import Table


def source(spark: SparkSession, url: str, prefix: str, **short: str) -> DataFrame:
    given = options(url, stream_prefix=prefix, **short)
    return spark.readStream.format("nats-partitioned").options(**given).load()


def test_a_restarted_query_continues_in_each_stream(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, table: Table
) -> None:
    make_streams(server_admin, stream, [40, 0, 500])
    query = table.run(source(spark, server.url, stream, max_messages_per_trigger="200"))
    assert [p["numInputRows"] for p in query.recentProgress] == [200, 200, 140]
    for i in range(3):
        server_admin.fill(f"{stream}-{i}", 10)
    table.run(source(spark, server.url, stream, max_messages_per_trigger="200"))
    assert table.seqs(spark) == sorted([*range(1, 51), *range(1, 11), *range(1, 511)])


def test_an_available_now_query_leaves_messages_stored_after_its_start(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    make_streams(admin, stream, [5, 5])
    rows: list[Row] = []

    def publish_more(batch: DataFrame, number: int) -> None:
        rows.extend(batch.select("stream", "streamSeq").collect())
        for i in range(2):
            admin.fill(f"{stream}-{i}", 5)

    frame = source(spark, nats_server.url, stream, max_messages_per_trigger="4")
    writer = frame.writeStream.foreachBatch(publish_more).trigger(availableNow=True)
    writer.option("checkpointLocation", str(tmp_path)).start().awaitTermination()
    assert sorted(map(tuple, rows)) == [(f"{stream}-{i}", s) for i in (0, 1) for s in range(1, 6)]


def test_the_partition_of_a_row_is_the_number_of_its_stream_in_every_batch(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    make_streams(admin, stream, [10, 0, 40])
    seen: list[set[tuple[str, int]]] = []

    def look(batch: DataFrame, number: int) -> None:
        found = batch.select("stream", f.spark_partition_id()).distinct().collect()
        seen.append({(row[0], row[1]) for row in found})

    frame = source(spark, nats_server.url, stream, max_messages_per_trigger="16")
    writer = frame.writeStream.foreachBatch(look).trigger(availableNow=True)
    writer.option("checkpointLocation", str(tmp_path)).start().awaitTermination()
    first, last = (f"{stream}-0", 0), (f"{stream}-2", 2)
    assert seen == [{first, last}, {first, last}, {last}, {last}]


def test_workers_keep_their_connections_from_batch_to_batch(
    spark: SparkSession, admin: Admin, stream: str, tmp_path: Path
) -> None:
    with EmbeddedServer() as server:
        own = Admin(server.url)
        make_streams(own, stream, [300, 300])
        connections: list[int] = []

        def count(batch: DataFrame, number: int) -> None:
            batch.count()
            connections.append(server.statistics()["total_connections"])

        frame = source(spark, server.url, stream, max_messages_per_trigger="60")
        writer = frame.writeStream.foreachBatch(count).trigger(availableNow=True)
        writer.option("checkpointLocation", str(tmp_path)).start().awaitTermination()
        own.close()
    assert len(connections) == 10
    # A worker that Spark starts late may add a connection, but batches must not.
    assert connections[-1] - connections[0] <= 2


def test_another_number_of_partitions_fails_a_query_that_has_a_checkpoint(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    make_streams(admin, stream, [5, 5, 5])
    table.run(source(spark, nats_server.url, stream, num_partitions="2"))
    with pytest.raises(StreamingQueryException, match=r"partitions=3, but the checkpoint has 2"):
        table.run(source(spark, nats_server.url, stream, num_partitions="3"))
    table.run(source(spark, nats_server.url, stream, num_partitions="auto"))
    assert table.seqs(spark) == sorted([1, 2, 3, 4, 5] * 3)


def test_a_set_created_by_the_command_keeps_the_order_of_each_key_over_restarts(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    subject = f"{stream.lower()}.*.>"
    server = ["--server", nats_server.url]
    made = ["partitions", "create", stream, "--subject", subject, "--partitions", "3", *server]
    assert nats_spark(made) == 0
    seen: dict[str, list[tuple[int, int]]] = {}

    def look(batch: DataFrame, number: int) -> None:
        chosen = batch.select("subject", f.spark_partition_id(), f.col("content").cast("string"))
        for row in chosen.collect():
            seen.setdefault(row.subject, []).append((row[1], int(row.content)))

    for run in range(2):
        admin.publish_many(
            (f"{stream.lower()}.key{i % 20}.set", str(run * 1_000 + i).encode())
            for i in range(1_000)
        )
        wait_until(partial(_have_stored, admin, stream, 3, (run + 1) * 1_000))
        frame = source(spark, nats_server.url, stream, max_messages_per_trigger="300")
        writer = frame.writeStream.foreachBatch(look).trigger(availableNow=True)
        writer.option("checkpointLocation", str(tmp_path)).start().awaitTermination()
    assert sorted(seen) == sorted(f"{stream.lower()}.key{i}.set" for i in range(20))
    assert all(len({partition for partition, _ in rows}) == 1 for rows in seen.values())
    for subject, rows in seen.items():
        key = int(subject.split(".")[1].removeprefix("key"))
        assert [number for _, number in rows] == list(range(key, 2_000, 20))


def _have_stored(admin: Admin, prefix: str, streams: int, messages: int) -> bool:
    """Return whether the streams hold this many messages in total."""
    return sum(admin.info(f"{prefix}-{i}").state.messages for i in range(streams)) == messages


def test_a_running_query_reads_a_stream_that_joins(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    make_streams(admin, stream, [5])
    query = table.writer(source(spark, nats_server.url, stream)).start()
    try:
        wait_until(lambda: query.lastProgress and query.lastProgress["batchId"] >= 0)
        admin.create_stream(f"{stream}-1")
        admin.fill(f"{stream}-1", 3)
        wait_until(lambda: len(table.seqs(spark)) == 8, every=0.5)
    finally:
        query.stop()
    assert table.seqs(spark) == [1, 1, 2, 2, 3, 3, 4, 5]
