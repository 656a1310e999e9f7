"""The balanced flavor in complete streaming queries, with a checkpoint and a file sink."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import DURABLE, consumer, is_settled
from .._support.options import options
from .._support.tables import Table


def source(spark: SparkSession, url: str, stream: str, **short: str) -> DataFrame:
    short = {"stream_name": stream, "durable_name": DURABLE, **short}
    return spark.readStream.format("nats-balanced").options(**options(url, **short)).load()


def test_available_now_reads_everything_once_and_acknowledges_it(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, table: Table
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 5_000)
    frame = source(spark, server.url, stream, max_messages_per_trigger="2000")
    query = table.run(frame)
    assert [each["numInputRows"] for each in query.recentProgress] == [2_000, 2_000, 1_000]
    assert is_settled(server_admin, stream)
    server_admin.fill(stream, 10)
    table.run(frame)
    assert table.seqs(spark) == list(range(1, 5_011))
    assert is_settled(server_admin, stream)


def test_an_idle_query_acknowledges_its_last_batch(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    query = table.writer(source(spark, nats_server.url, stream)).start()
    try:
        wait_until(lambda: DURABLE in admin.consumers(stream) and is_settled(admin, stream))
    finally:
        query.stop()
    assert table.seqs(spark) == list(range(1, 101))


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.09])
def test_messages_after_a_stop_are_left_for_others(
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
    moment: float,
) -> None:
    """Spark kills an idle reader a moment after the query has stopped."""
    admin.create_stream(stream)
    admin.fill(stream, 1)
    frame = source(spark, nats_server.url, stream)
    query = table.writer(frame).start()
    wait_until(lambda: DURABLE in admin.consumers(stream) and is_settled(admin, stream))
    later = time.monotonic() + moment  # somewhere in the pause between two polls
    wait_until(lambda: time.monotonic() >= later, every=0.001)
    query.stop()
    admin.fill(stream, 100)
    table.run(frame)
    assert table.seqs(spark) == list(range(1, 102))
    assert is_settled(admin, stream)


def test_a_batch_that_takes_five_ack_waits_is_delivered_once(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 300)
    batches: list[list[int]] = []

    def work(frame: DataFrame, _: int) -> None:
        batches.append([row.streamSeq for row in frame.select("streamSeq").collect()])
        time.sleep(5.0)  # slow work

    frame = source(spark, nats_server.url, stream, msg_ack_wait_secs="1")
    query = (
        frame.writeStream.foreachBatch(work)
        .option("checkpointLocation", str(tmp_path))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    assert batches == [list(range(1, 301))]
    assert consumer(admin, stream).delivered.consumer_seq == 300
    assert is_settled(admin, stream)


def test_a_query_that_fails_in_a_batch_runs_the_same_batch_again(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 300)
    batches: list[list[int]] = []

    def work(frame: DataFrame, _: int) -> None:
        batches.append([row.streamSeq for row in frame.select("streamSeq").collect()])
        if len(batches) < 3:
            raise RuntimeError("not this time")

    def run() -> None:
        frame = source(spark, nats_server.url, stream)
        writer = frame.writeStream.foreachBatch(work).option("checkpointLocation", str(tmp_path))
        writer.trigger(availableNow=True).start().awaitTermination()

    for _ in range(2):
        with pytest.raises(StreamingQueryException, match="not this time"):
            run()
        assert consumer(admin, stream).num_ack_pending == 300
        admin.fill(stream, 1)
    run()
    assert batches == [list(range(1, 301))] * 3 + [[301, 302]]
    assert is_settled(admin, stream)


def test_two_queries_on_a_durable_share_the_messages(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    admin.create_stream(stream)
    tables = [Table(tmp_path / "one"), Table(tmp_path / "two")]
    frame = source(spark, nats_server.url, stream, max_messages_per_trigger="150")
    queries = [each.writer(frame).start() for each in tables]
    try:
        wait_until(lambda: DURABLE in admin.consumers(stream))
        wait_until(lambda: not any("Initializing" in each.status["message"] for each in queries))
        admin.fill(stream, 3_000)
        wait_until(lambda: is_settled(admin, stream))
    finally:
        for query in queries:
            query.stop()
    one, two = (each.seqs(spark) for each in tables)
    assert sorted(one + two) == list(range(1, 3_001))
    assert one
    assert two


def test_the_lag_is_in_the_progress(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    query = table.run(source(spark, nats_server.url, stream, max_messages_per_trigger="60"))
    assert [
        (json.loads(each["sources"][0]["latestOffset"])["pending"], each["numInputRows"])
        for each in query.recentProgress
    ] == [(40, 60), (0, 40)]


def test_the_source_is_found_and_reports_mistakes_at_load(
    spark: SparkSession, nats_server: EmbeddedServer, stream: str
) -> None:
    with pytest.raises(Exception, match=r"nats\.durable\.name is not set"):
        spark.readStream.format("nats-balanced").options(
            **options(nats_server.url, stream_name=stream)
        ).load()


def test_it_writes_like_every_flavor(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    frame = spark.createDataFrame([(f"{stream}.a", b"one")], ["subject", "content"])
    frame.write.format("nats-balanced").options(**options(nats_server.url)).mode("append").save()
    assert [(each.subject, each.payload) for each in admin.read_all(stream)] == [
        (f"{stream}.a", b"one")
    ]


def test_a_damaged_checkpoint_does_not_lose_rows_silently(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    """The file sink has already written the number of the batch that would follow."""
    admin.create_stream(stream, retention="workqueue")
    frame = source(spark, nats_server.url, stream, reset_on_start="true")
    for count in (200, 50):
        admin.fill(stream, count)
        table.run(frame)
    for log in ("offsets", "commits"):
        last = max(int(each.name) for each in (table.checkpoint / log).glob("[0-9]*"))
        (table.checkpoint / log / str(last)).unlink()
        (table.checkpoint / log / f".{last}.crc").unlink()
    admin.fill(stream, 50)
    words = "acknowledged up to sequence 250, but this checkpoint only up to 200"
    with pytest.raises(StreamingQueryException, match=words):
        table.run(frame)
    assert admin.info(stream).state.messages == 50
