"""What a user can get wrong, and what Spark then says at ``load()``, before any query starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin


def load_fails(spark: SparkSession, match: str, **options: str) -> None:
    named = {f"nats.{name.replace('_', '.')}": value for name, value in options.items()}
    for reader in (spark.read, spark.readStream):
        with pytest.raises(AnalysisException, match=match):
            reader.format("nats-v2").options(**named).load()


def test_an_unknown_option_suggests_the_nearest(
    spark: SparkSession, nats_server: EmbeddedServer
) -> None:
    load_fails(
        spark,
        r"no option nats\.strem\.name: did you mean nats\.stream\.name",
        url=nats_server.url,
        strem_name="S",
    )


def test_a_wrong_value_names_option_value_and_what_is_allowed(spark: SparkSession) -> None:
    load_fails(
        spark,
        r"nats\.fetch\.bytes='much': expected a size such as 8MiB",
        stream_name="S",
        fetch_bytes="much",
    )


def test_no_stream_named(spark: SparkSession, nats_server: EmbeddedServer) -> None:
    load_fails(spark, r"no stream is named: set nats\.stream\.name", url=nats_server.url)


def test_a_stream_that_does_not_exist(spark: SparkSession, nats_server: EmbeddedServer) -> None:
    load_fails(
        spark,
        r"stream 'NOPE' does not exist.*nats\.stream\.name",
        url=nats_server.url,
        stream_name="NOPE",
    )


def test_a_refused_connection(spark: SparkSession) -> None:
    load_fails(
        spark,
        r"cannot connect to nats://127\.0\.0\.1:1: Connection refused; check nats\.url",
        url="nats://127.0.0.1:1",
        stream_name="S",
    )


def test_a_host_that_does_not_exist(spark: SparkSession) -> None:
    load_fails(
        spark,
        r"cannot connect to nats://no\.such\.host\.invalid",
        host="no.such.host.invalid",
        stream_name="S",
    )


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where something listens that never speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_where_no_nats_server_listens(spark: SparkSession, silent_port: int) -> None:
    load_fails(
        spark,
        "does not answer as a NATS server does",
        url=f"nats://127.0.0.1:{silent_port}",
        stream_name="S",
        connect_timeout="200ms",
    )


def test_a_server_without_jetstream(spark: SparkSession) -> None:
    with EmbeddedServer(jetstream=False) as server:
        load_fails(spark, r"JetStream.*turn JetStream on", url=server.url, stream_name="S")


def test_an_account_without_jetstream(spark: SparkSession) -> None:
    config = (
        "accounts { A { jetstream: enabled, users: [{user: a, password: a}] }, "
        "B { users: [{user: b, password: b}] } }"
    )
    with EmbeddedServer(config) as server:
        load_fails(
            spark,
            r"JetStream.*turn JetStream on",
            url=server.url,
            stream_name="S",
            user="b",
            password="b",
        )


def test_wrong_credentials(spark: SparkSession) -> None:
    with EmbeddedServer("authorization { token: right }") as server:
        load_fails(
            spark, r"refuses the credentials", url=server.url, stream_name="S", token="wrong"
        )


def test_a_work_queue(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream, retention="workqueue")
    load_fails(spark, "nats-balanced", url=nats_server.url, stream_name=stream)


def test_a_schema_with_an_unknown_column(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    reader = spark.read.format("nats-v2").schema("subject string, payload binary")
    frame = reader.option("nats.url", nats_server.url).option("nats.stream.name", stream).load()
    with pytest.raises(AnalysisException, match="no column 'payload'; the columns are subject"):
        frame.collect()


def test_an_end_in_a_streaming_query(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    reader = spark.readStream.format("nats-v2").option("nats.end", "5")
    frame = reader.option("nats.url", nats_server.url).option("nats.stream.name", stream).load()
    query = frame.writeStream.format("noop").start()
    with pytest.raises(Exception, match=r"nats\.end=5 is for batch reads"):
        query.awaitTermination(60)
