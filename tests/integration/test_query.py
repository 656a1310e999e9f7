"""Whole streaming queries: Spark's engine, a checkpoint, and a real sink."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.options import named
from .._support.tables import Table


def source(spark: SparkSession, url: str, stream: str, **options: str) -> DataFrame:
    reader = spark.readStream.format("nats-v2").options(**named(**options))
    return reader.option("nats.url", url).option("nats.stream.name", stream).load()


def test_a_query_reads_every_message_once_in_several_batches(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, table: Table
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 1_000)
    query = table.run(source(spark, server.url, stream, max_messages_per_trigger="300"))
    assert [p["numInputRows"] for p in query.recentProgress] == [300, 300, 300, 100]
    assert table.seqs(spark) == list(range(1, 1_001))


def test_a_restarted_query_goes_on_where_its_checkpoint_stands(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, table: Table
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 500)
    table.run(source(spark, server.url, stream))
    server_admin.fill(stream, 500)
    table.run(source(spark, server.url, stream))
    assert table.seqs(spark) == list(range(1, 1_001))


def test_the_start_position_is_for_the_first_run_only(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    table.run(source(spark, nats_server.url, stream, start="6"))
    admin.fill(stream, 10)
    table.run(source(spark, nats_server.url, stream, start="earliest"))
    assert table.seqs(spark) == list(range(6, 21))


def test_a_first_batch_that_failed_is_read_again_from_where_it_began(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, tmp_path: Path
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 10)
    seen: list[tuple[int, list[int]]] = []

    def failing_at_first(batch: DataFrame, number: int) -> None:
        seen.append((number, [row.streamSeq for row in batch.select("streamSeq").collect()]))
        if len(seen) == 1:
            raise RuntimeError("the first batch fails, as it shall")

    def run(start: str) -> None:
        frame = source(spark, server.url, stream, start=start)
        writer = frame.writeStream.foreachBatch(failing_at_first).trigger(availableNow=True)
        writer.option("checkpointLocation", str(tmp_path)).start().awaitTermination()

    with pytest.raises(StreamingQueryException, match="as it shall"):
        run("4")
    server_admin.fill(stream, 2)
    run("latest")  # another position to ask for, as latest is another with every message
    assert seen == [(0, [4, 5, 6, 7, 8, 9, 10])] * 2 + [(1, [11, 12])]


def test_what_the_first_batch_lost_before_it_was_read_again_is_told(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)

    def fail(batch: DataFrame, number: int) -> None:
        raise RuntimeError("the first batch fails, as it shall")

    def run() -> None:
        writer = source(spark, nats_server.url, stream).writeStream.foreachBatch(fail)
        writer = writer.option("checkpointLocation", str(tmp_path))
        writer.trigger(availableNow=True).start().awaitTermination()

    with pytest.raises(StreamingQueryException, match="as it shall"):
        run()
    admin.purge(stream, seq=4)
    with pytest.raises(StreamingQueryException, match="messages 1 to 3 were removed"):
        run()


def test_a_start_that_is_no_longer_there_is_no_matter_to_a_query_with_a_checkpoint(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    table.run(source(spark, nats_server.url, stream, start="3"))
    admin.purge(stream, seq=8)
    admin.fill(stream, 2)
    table.run(source(spark, nats_server.url, stream, start="3"))
    assert table.seqs(spark) == list(range(3, 13))


def test_a_running_query_picks_up_what_is_published(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, table: Table
) -> None:
    server_admin.create_stream(stream)
    query = table.writer(source(spark, server.url, stream)).start()
    try:
        for _ in range(3):
            server_admin.fill(stream, 50)
            last = server_admin.info(stream).state.last_seq
            wait_until(lambda last=last: _position(query, stream) == last)
    finally:
        query.stop()
    assert table.seqs(spark) == list(range(1, 151))


def _position(query: StreamingQuery, stream: str) -> int | None:
    progress: Any = query.lastProgress
    if progress is None or not progress["sources"][0]["endOffset"]:
        return None
    offset = json.loads(progress["sources"][0]["endOffset"])
    return int(offset["streams"][stream]["seq"])


def test_a_processing_time_trigger(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    frame = source(spark, nats_server.url, stream, max_messages_per_trigger="50")
    query = table.writer(frame).trigger(processingTime="200 milliseconds").start()
    try:
        wait_until(lambda: _position(query, stream) == 100)
    finally:
        query.stop()
    assert table.seqs(spark) == list(range(1, 101))


def test_trigger_once_takes_everything_in_one_batch(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    frame = source(spark, nats_server.url, stream, max_messages_per_trigger="30")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Spark advises availableNow
        query = table.writer(frame).trigger(once=True).start()
    query.awaitTermination()
    assert [p["numInputRows"] for p in query.recentProgress] == [100]


def test_progress_shows_how_far_the_query_is_behind(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    frame = source(spark, nats_server.url, stream, max_messages_per_trigger="40")
    query = table.writer(frame).trigger(processingTime="1 hour").start()
    try:
        progress: Any = wait_until(lambda: query.lastProgress)
    finally:
        query.stop()
    (own,) = progress["sources"]
    behind = [
        json.loads(own[key])["streams"][stream]["seq"] for key in ("latestOffset", "endOffset")
    ]
    assert behind == [100, 40]


def test_a_foreign_checkpoint_is_refused(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    table.run(source(spark, nats_server.url, stream))
    for offset in (table.checkpoint / "offsets").glob("[0-9]*"):
        lines = offset.read_text().splitlines()
        offset.write_text("\n".join([*lines[:-1], '{"topic":{"0":17}}']))
        (offset.parent / f".{offset.name}.crc").unlink(missing_ok=True)
    with pytest.raises(StreamingQueryException, match="was not written by this source"):
        table.run(source(spark, nats_server.url, stream))


def test_data_loss_fails_a_query_by_name(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    table.run(source(spark, nats_server.url, stream))
    admin.delete_stream(stream)
    admin.create_stream(stream)
    admin.fill(stream, 20)
    with pytest.raises(StreamingQueryException, match=r"recreated.*nats\.fail\.on\.data\.loss"):
        table.run(source(spark, nats_server.url, stream))


def test_secrets_are_not_in_the_plan(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    with EmbeddedServer("authorization { user: ada, password: geheim }") as server:
        admin = Admin(server.url, user="ada", password="geheim")
        admin.create_stream(stream)
        admin.close()
        options = {"nats.user": "ada", "nats.password": "geheim", "nats.stream.name": stream}
        reader = spark.read.format("nats-v2").options(**options).option("nats.url", server.url)
        reader.load().explain(extended=True)
    assert "geheim" not in capsys.readouterr().out
