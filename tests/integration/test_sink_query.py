"""Writes through Spark: streaming and batch, schemas, creation of streams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.datasource import CaseInsensitiveDict
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

import pyspark_nats
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.sink.writer import write_task
from pyspark_nats_v2 import DefaultSource

from .._support.admin import Admin
from .._support.options import named
from .._support.writing import make_stream, new_task, records

MODES = ["at-least-once", "exactly-once", "best-effort"]


def save(frame: DataFrame, url: str, **options: str) -> None:
    """Append the rows through the data source."""
    frame.write.format("nats-v2").mode("append").options(**named(**options)).option(
        "nats.url", url
    ).save()


def copy(
    spark: SparkSession, url: str, source: str, target: str, checkpoint: Path, **options: str
) -> StreamingQuery:
    """Run a query that copies all messages of a stream to ``<target>.<subject>``."""
    frame = (
        spark.readStream.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", source)
        .option("nats.max.messages.per.trigger", "400")
        .option("nats.min.range", "100")
        .load()
        .withColumn("subject", f.concat(f.lit(f"{target}."), "subject"))
    )
    writer = frame.writeStream.format("nats-v2").options(**named(**options)).option("nats.url", url)
    query = writer.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
    query.awaitTermination()
    return query


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_write_stores_every_row(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str, mode: str
) -> None:
    server_admin.create_stream(stream)
    frame = spark.range(0, 5_000, 1, 2).selectExpr(
        f"concat('{stream}.', id % 10) as subject", "cast(id as string) as content"
    )
    save(frame, server.url, sink_mode=mode)
    found = [int(m.payload) for m in server_admin.read_all(stream)]
    assert sorted(found) == list(range(5_000))


@pytest.mark.parametrize("mode", MODES)
def test_a_query_copies_a_stream_with_its_headers(
    spark: SparkSession,
    server: EmbeddedServer,
    server_admin: Admin,
    stream: str,
    tmp_path: Path,
    mode: str,
) -> None:
    target = f"{stream}copy"
    server_admin.create_stream(stream)
    server_admin.create_stream(target)
    server_admin.publish(f"{stream}.x", b"with headers", {"a": "é"})
    server_admin.fill(stream, 999)
    copy(spark, server.url, stream, target, tmp_path / "checkpoint", sink_mode=mode)
    original, copied = server_admin.read_all(stream), server_admin.read_all(target)
    assert sorted((f"{target}.{m.subject}", m.payload) for m in original) == sorted(
        (m.subject, m.payload) for m in copied
    )
    (first,) = (m for m in copied if m.payload == b"with headers")
    assert first.headers is not None
    assert first.headers["a"] == "é"


def test_records_of_finished_batches_and_writes_are_deleted(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    target = f"{stream}copy"
    admin.create_stream(stream)
    admin.create_stream(target)
    admin.fill(stream, 1_000)
    options = {"sink_mode": "exactly-once", "sink_bucket": f"B{stream}"}
    query = copy(spark, nats_server.url, stream, target, tmp_path / "checkpoint", **options)
    assert set(records(admin, query.id, f"B{stream}")) == {"2.0", "2.1"}
    rows = spark.range(10).selectExpr(f"'{target}.x' as subject", "'1' as content")
    save(rows, nats_server.url, **options)
    left = admin.info(f"KV_B{stream}").state.messages
    assert left == 2


def test_two_runs_of_a_batch_write_are_two_writes(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    rows = spark.range(10).selectExpr(f"'{stream}.x' as subject", "'1' as content")
    for _ in range(2):
        save(rows, nats_server.url, sink_mode="exactly-once")
    assert admin.info(stream).state.messages == 20


def test_the_rows_of_an_aggregation_are_published_in_complete_mode(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    target = f"{stream}counts"
    admin.create_stream(stream)
    make_stream(admin, target, max_msgs_per_subject=1)
    admin.fill(stream, 100)
    counts = (
        spark.readStream.format("nats-v2")
        .option("nats.url", nats_server.url)
        .option("nats.stream.name", stream)
        .option("nats.max.messages.per.trigger", "50")
        .load()
        .groupBy("subject")
        .count()
        .selectExpr(f"concat('{target}.', subject) subject", "cast(count as string) content")
    )
    query = (
        counts.writeStream.format("nats-v2")
        .outputMode("complete")
        .option("nats.url", nats_server.url)
        .option("checkpointLocation", str(tmp_path))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    found = {m.subject: int(m.payload) for m in admin.read_all(target)}
    assert found == {f"{target}.{stream}.{i}": 10 for i in range(10)}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["'1' content"], "no column 'subject'.*nats.sink.subject"),
        (["'a' subject"], "no column 'content'"),
        (["'a' subject", "1 content"], "'content' is int, not binary or string: cast it"),
        (["'a' subject", "'1' content", "'1' data"], "'content' and 'data' are both the payload"),
        (["'a' subject", "'1' content", "'x' contents"], "did you mean 'content'"),
        (["'a' subject", "'1' content", "map('a', 1) headers"], "'headers' is map<string,int>"),
        (["1 subject", "'1' content"], "'subject' is int, not string"),
        (["'a' subject", "'1' content", "7 msgId"], "'msgId' is int, not string"),
    ],
)
def test_an_invalid_schema_is_an_error_before_anything_is_written(
    spark: SparkSession, nats_server: EmbeddedServer, columns: list[str], words: str
) -> None:
    with pytest.raises(Exception, match=words):
        save(spark.range(1).selectExpr(*columns), nats_server.url)


DROP = {"sink_unknown_columns": "drop"}


def test_unknown_columns_are_dropped_on_request(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    target = f"{stream}copy"
    admin.create_stream(stream)
    admin.create_stream(target)
    rows = spark.range(3).selectExpr("id", f"'{stream}.a' subject", "'1' content", "now() seen")
    save(rows, nats_server.url, **DROP)
    assert [m.payload for m in admin.read_all(stream)] == [b"1"] * 3
    frame = (
        spark.readStream.format("nats-v2")
        .option("nats.url", nats_server.url)
        .load(stream)
        .selectExpr(f"concat('{target}.', subject) subject", "content", "struct(*) whole")
    )
    writer = frame.writeStream.format("nats-v2").options(**named(**DROP))
    writer = writer.option("nats.url", nats_server.url).option("checkpointLocation", str(tmp_path))
    writer.trigger(availableNow=True).start().awaitTermination()
    assert [m.payload for m in admin.read_all(target)] == [b"1"] * 3


def test_the_batches_of_a_query_warn_once_about_dropped_columns(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    schema = StructType().add("subject", "string").add("content", "string").add("amount", "integer")
    for query in ("first", "second"):
        options = {"nats.url": nats_server.url, "checkpointLocation": str(tmp_path / query)}
        for _ in range(3):
            sink = DefaultSource(CaseInsensitiveDict({**options, **named(**DROP)}))
            sink.streamWriter(schema, overwrite=False)
    warnings = [each.getMessage() for each in caplog.records]
    assert warnings == ["nats.sink.unknown.columns=drop: the sink does not write 'amount'"] * 2


def test_a_writer_names_the_one_stream_that_may_store_its_rows(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    rows = spark.range(5).selectExpr(f"'{stream}.a' subject", "cast(id as string) content")
    with pytest.raises(Exception, match=rf"'{stream}\.a': .*nats\.stream\.name"):
        save(rows, nats_server.url, stream_name="OTHER")
    with pytest.raises(Exception, match=r"nats\.stream\.name=A,B: a sink accepts one stream"):
        save(rows, nats_server.url, stream_name="A,B")
    assert admin.info(stream).state.messages == 0
    save(rows, nats_server.url, stream_name=stream)
    assert admin.info(stream).state.messages == 5


def test_the_argument_of_save_names_the_stream(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """As that of ``load`` does."""
    admin.create_stream(stream)
    rows = spark.range(5).selectExpr(f"'{stream}.a' subject", "cast(id as string) content")
    writer = rows.write.format("nats-v2").mode("append").option("nats.url", nats_server.url)
    with pytest.raises(Exception, match=rf"'{stream}\.a': .*nats\.stream\.name"):
        writer.save("OTHER")
    with pytest.raises(AnalysisException, match=r"save\('a/b'\): .* cannot contain a slash"):
        writer.save("a/b")
    assert admin.info(stream).state.messages == 0
    writer.save(stream)
    assert admin.info(stream).state.messages == 5
    writer.option("nats.stream.name", stream)
    words = r"save\('{}'\) and nats\.stream\.name name different streams: use only one"
    for other in ("OTHER", "a/b"):
        with pytest.raises(AnalysisException, match=words.format(other)):
            writer.save(other)
    writer.save(stream)
    assert admin.info(stream).state.messages == 10


@pytest.mark.parametrize("format_", ["nats-v2", "nats"])
def test_the_argument_of_start_names_the_stream(
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    tmp_path: Path,
    format_: str,
) -> None:
    target = f"{stream}copy"
    admin.create_stream(stream)
    admin.create_stream(target)
    admin.fill(stream, 7)
    frame = spark.readStream.format(format_).option("nats.url", nats_server.url).load(stream)
    writer = (
        frame.withColumn("subject", f.lit(f"{target}.a"))
        .writeStream.format(format_)
        .option("nats.url", nats_server.url)
        .trigger(availableNow=True)
    )

    def run(name: str, checkpoint: str) -> None:
        writer.option("checkpointLocation", str(tmp_path / checkpoint)).start(
            name
        ).awaitTermination()

    with pytest.raises(Exception, match=rf"'{target}\.a': .*nats\.stream\.name"):
        run("OTHER", "other")
    run(target, "target")
    assert admin.info(target).state.messages == 7
    writer.option("nats.stream.name", target)
    with pytest.raises(Exception, match=r"start\('OTHER'\) and nats\.stream\.name name different"):
        run("OTHER", "different")


def test_a_stream_is_created_with_the_name_of_the_argument(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    rows = spark.range(10).selectExpr(f"'{stream}.x' subject", "'1' content")
    writer = rows.write.format("nats-v2").mode("append").option("nats.url", nats_server.url)
    options = named(sink_create_stream="true", stream_subjects=f"{stream}.>")
    writer.options(**options).save(stream)
    assert admin.info(stream).state.messages == 10


def test_a_stream_name_of_the_environment_does_not_apply_to_the_sink(
    monkeypatch: pytest.MonkeyPatch, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    monkeypatch.setenv("NATS_STREAM_NAME", "OTHER")
    schema = StructType().add("subject", "string").add("content", "string")
    sink = DefaultSource(CaseInsensitiveDict({"nats.url": nats_server.url}))
    writer = sink.writer(schema, overwrite=False)
    row = pa.RecordBatch.from_pylist([{"subject": f"{stream}.a", "content": "1"}])
    write_task(writer.settings, writer.columns, new_task(), iter([row]))
    assert admin.info(stream).state.messages == 1


def test_a_thread_of_its_own_writes_once_the_session_is_active_in_it(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    admin.create_stream(stream)
    rows = spark.range(5).selectExpr(f"'{stream}.a' subject", "cast(id as string) content")

    def write() -> int:
        save(rows, nats_server.url)
        copy(spark, nats_server.url, stream, f"to.{stream}", tmp_path)
        return admin.info(stream).state.messages

    def activate_and_write() -> int:
        pyspark_nats.activate(spark)
        return write()

    make_stream(admin, f"{stream}copy", subjects=[f"to.{stream}.>"])
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(Exception, match="DATA_SOURCE_NOT_FOUND"):
            threads.submit(write).result()
        assert threads.submit(activate_and_write).result() == 5
    assert admin.info(f"{stream}copy").state.messages == 5


def test_overwriting_is_rejected(spark: SparkSession, nats_server: EmbeddedServer) -> None:
    rows = spark.range(1).selectExpr("'a' subject", "'1' content")
    writer = rows.write.format("nats-v2").option("nats.url", nats_server.url)
    with pytest.raises(Exception, match=r"append.*nats stream purge"):
        writer.mode("overwrite").save()


def test_data_and_headers_of_single_values(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    columns = ["cast('x' as binary) data", "map('a', 'b') headers", "'7' msgId"]
    save(spark.range(1).selectExpr(*columns), nats_server.url, sink_subject=f"{stream}.x")
    (message,) = admin.read_all(stream)
    assert (message.payload, message.headers) == (b"x", {"a": "b", "Nats-Msg-Id": "7"})


def created(admin: Admin, stream: str) -> dict[str, Any]:
    config: dict[str, Any] = admin.api(f"STREAM.INFO.{stream}")["config"]
    return config


def test_a_missing_stream_is_created_from_the_options(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    rows = spark.range(10).selectExpr(f"'{stream}.x' subject", "'1' content")
    save(
        rows,
        nats_server.url,
        sink_create_stream="true",
        stream_name=stream,
        stream_subjects=f"{stream}.>,other.{stream}",
        sink_retention="interest",
        sink_duplicate_window="30s",
        storage_type="memory",
    )
    config = created(admin, stream)
    assert config["subjects"] == [f"{stream}.>", f"other.{stream}"]
    assert config["retention"] == "interest"
    assert config["duplicate_window"] == 30_000_000_000
    assert config["storage"] == "memory"
    assert config["allow_direct"]
    assert config["allow_batched"]


def test_a_created_stream_stores_the_rows_of_each_run(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    rows = spark.range(10).selectExpr(f"'{stream}.x' subject", "'1' content")
    for _ in range(2):
        save(
            rows,
            server.url,
            sink_create_stream="true",
            stream_name=stream,
            stream_subjects=f"{stream}.>",
        )
    assert server_admin.info(stream).state.messages == 20


def test_an_existing_stream_is_never_changed(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, max_msgs=5, duplicate_window=1_000_000_000)
    before = created(admin, stream)
    rows = spark.range(10).selectExpr(f"'{stream}.x' subject", "'1' content")
    save(
        rows,
        nats_server.url,
        sink_create_stream="true",
        stream_name=stream,
        stream_subjects=f"{stream}.>,more.{stream}",
        sink_retention="workqueue",
    )
    assert created(admin, stream) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs nats.stream.name"),
        ({"stream_name": "A,B"}, "needs nats.stream.name.*A,B"),
        ({"stream_name": "A"}, "needs nats.stream.subjects"),
    ],
)
def test_creating_a_stream_needs_its_name_and_subjects(
    spark: SparkSession, nats_server: EmbeddedServer, options: dict[str, str], words: str
) -> None:
    rows = spark.range(1).selectExpr("'a' subject", "'1' content")
    with pytest.raises(Exception, match=words):
        save(rows, nats_server.url, sink_create_stream="true", **options)


def test_subjects_of_another_stream_are_rejected_with_the_servers_description(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    rows = spark.range(1).selectExpr(f"'{stream}.x' subject", "'1' content")
    with pytest.raises(Exception, match="subjects overlap"):
        save(
            rows,
            nats_server.url,
            sink_create_stream="true",
            stream_name=f"{stream}b",
            stream_subjects=f"{stream}.>",
        )
