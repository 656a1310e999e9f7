"""What a user can get wrong, and what Spark then says at ``load()``, before any query starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pyspark.errors import AnalysisException, StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.datasource import CaseInsensitiveDict
from pyspark.sql.types import StructType

import pyspark_nats_balanced
import pyspark_nats_partitioned
import pyspark_nats_v2
from nats_spark_common import OptionError
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.reading import read_stream

SOURCES = {
    "v2": pyspark_nats_v2.DefaultSource,
    "balanced": pyspark_nats_balanced.DefaultSource,
    "partitioned": pyspark_nats_partitioned.DefaultSource,
}


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
        r"nats\.strem\.name is not an option: did you mean nats\.stream\.name",
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
        retry_count="0",
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
        "does not respond like a NATS server",
        url=f"nats://127.0.0.1:{silent_port}",
        stream_name="S",
        connect_timeout="200ms",
        retry_count="0",
    )


def test_a_server_without_jetstream(spark: SparkSession) -> None:
    with EmbeddedServer(jetstream=False) as server:
        load_fails(spark, r"JetStream.*enable JetStream", url=server.url, stream_name="S")


def test_an_account_without_jetstream(spark: SparkSession) -> None:
    config = (
        "accounts { A { jetstream: enabled, users: [{user: a, password: a}] }, "
        "B { users: [{user: b, password: b}] } }"
    )
    with EmbeddedServer(config) as server:
        load_fails(
            spark,
            r"JetStream.*enable JetStream",
            url=server.url,
            stream_name="S",
            user="b",
            password="b",
        )


def test_wrong_credentials(spark: SparkSession) -> None:
    with EmbeddedServer("authorization { token: right }") as server:
        load_fails(
            spark, r"rejects the credentials", url=server.url, stream_name="S", token="wrong"
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


def test_an_end_in_a_streaming_query_fails_at_its_start(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    reader = spark.readStream.format("nats-v2").option("nats.end", "5")
    frame = reader.option("nats.url", nats_server.url).option("nats.stream.name", stream).load()
    query = frame.writeStream.format("noop").start()
    with pytest.raises(StreamingQueryException) as failed:
        query.awaitTermination(60)
    assert str(failed.value).count("nats.end=5 is for batch reads") == 1
    assert "use trigger(availableNow=True)" in str(failed.value)


def test_what_is_loaded_by_name_is_the_stream(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    reader = spark.read.format("nats-v2").option("nats.url", nats_server.url)
    assert reader.load(stream).count() == 3
    assert reader.option("nats.stream.name", stream).load(stream).count() == 3
    with pytest.raises(AnalysisException, match=r"load\('OTHER'\) and nats\.stream\.name"):
        reader.option("nats.stream.name", stream).load("OTHER")
    with pytest.raises(AnalysisException, match="name cannot contain a slash"):
        spark.read.format("nats-v2").option("nats.url", nats_server.url).load("some/folder")


def test_a_list_that_is_loaded_names_the_streams(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """Spark passes a list of two or more in another option than one name."""
    both = [stream, f"{stream}B"]
    for name in both:
        admin.create_stream(name)
        admin.fill(name, 3)
    reader = spark.read.format("nats-v2").option("nats.url", nats_server.url)
    assert reader.load(both[:1]).count() == 3
    assert reader.load(both).count() == 6
    for formats, words in {
        "nats-partitioned": r"the argument is nats\.stream\.prefix, one name",
        "nats-balanced": "reads one stream",
    }.items():
        with pytest.raises(AnalysisException, match=words):
            reader.format(formats).load(both)
    reader = reader.format("nats-v2").option("nats.stream.name", ",".join(both))
    assert reader.load(both).count() == 6
    with pytest.raises(AnalysisException, match=r"load\('.*'\) and nats\.stream\.name"):
        reader.load([stream, "OTHER"])


def test_columns_are_named_without_regard_to_case(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.publish(f"{stream}.a", b"one")
    reader = spark.read.format("nats-v2").option("nats.url", nats_server.url)
    frame = reader.schema("SUBJECT string, streamseq bigint, Content binary").load(stream)
    assert frame.columns == ["SUBJECT", "streamseq", "Content"]
    assert [tuple(row) for row in frame.collect()] == [(f"{stream}.a", 1, b"one")]


@pytest.mark.parametrize("option", ["start", "end"])
def test_a_position_of_a_stream_that_is_not_read(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, option: str
) -> None:
    admin.create_stream(stream)
    load_fails(
        spark,
        rf"nats\.{option} names ORDERZ, which the query does not read: .* its streams \({stream}\)",
        url=nats_server.url,
        stream_name=stream,
        **{option: '{"ORDERZ": 1}'},
    )


@pytest.mark.parametrize(
    ("flavor", "streams"),
    [
        ("v2", {"stream_pattern": "{}-*"}),
        ("partitioned", {"stream_prefix": "{}"}),
        ("partitioned", {"stream_prefix": "{}", "num_partitions": "1"}),
        ("balanced", {"stream_name": "{}-0"}),
    ],
)
def test_a_position_of_a_stream_that_is_never_read(
    nats_server: EmbeddedServer, admin: Admin, stream: str, flavor: str, streams: dict[str, str]
) -> None:
    admin.create_stream(f"{stream}-0")
    short = {name: value.format(stream) for name, value in streams.items()}

    def load(start: str) -> None:
        named = options(nats_server.url, durable_name="d", start=start, **short)
        SOURCES[flavor](CaseInsensitiveDict(named)).schema()

    load(f'{{"{stream}-0": 1}}')
    for other in ("ORDERZ", f"{stream.lower()}-0"):
        with pytest.raises(
            OptionError,
            match=rf"nats\.start names {other}, .* its streams \({stream}-0\)",
        ):
            load(f'{{"{other}": 1}}')
    if "num_partitions" not in short and flavor != "balanced":
        load(f'{{"{stream}-1": 1}}')  # it may be created later
    else:
        with pytest.raises(OptionError, match=rf"nats\.start names {stream}-1, which"):
            load(f'{{"{stream}-1": 1}}')


def test_subjects_that_a_source_may_bring_give_no_warning(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    sourcing = f"{stream}AGG"
    admin.api(
        f"STREAM.CREATE.{sourcing}",
        name=sourcing,
        subjects=[f"{sourcing}.>"],
        sources=[{"name": stream}],
    )
    admin.publish(f"{sourcing}.x")
    wait_until(lambda: admin.info(sourcing).state.messages == 4)
    named = options(nats_server.url, stream_name=sourcing, stream_subjects=f"{stream}.>")
    pyspark_nats_v2.DefaultSource(CaseInsensitiveDict(named)).schema()
    assert len(read_stream(named)) == 3
    assert not [each for each in caplog.records if "matches none" in each.message]


@pytest.mark.parametrize("flavor", ["v2", "balanced"])
@pytest.mark.parametrize("wanted", ["other.>", "{}.A", "{}"])
def test_a_filter_that_no_subject_of_the_stream_passes_is_told_of(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    flavor: str,
    wanted: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin.create_stream(stream, [f"{stream}.a", f"{stream}.b.*"])

    def warned(subjects: str) -> bool:
        caplog.clear()
        short = {"stream_name": stream, "stream_subjects": subjects, "durable_name": "d"}
        SOURCES[flavor](CaseInsensitiveDict(options(nats_server.url, **short))).schema()
        return any("matches none of the subjects of" in each.message for each in caplog.records)

    assert warned(wanted.format(stream))
    assert warned(f"{stream}.a,{wanted.format(stream)}")
    assert not warned(f"{stream}.*")
    assert not warned(f"{stream}.b.x")


COLUMNS = (
    "subject, content, headers, stream, streamSeq, timestamp, domain, consumer, consumerSeq, "
    "delivered, pending, replyTo"
)


@pytest.fixture
def catalog_table(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> Iterator[str]:
    """A table of the catalog over a stream with three messages, beside a view ``v`` over it."""
    admin.create_stream(stream)
    admin.fill(stream, 3)
    given = f"OPTIONS ('nats.url' '{nats_server.url}', 'nats.stream.name' '{stream}')"
    spark.sql(f"CREATE TABLE t{stream} USING `nats-v2` {given}")
    spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW v USING `nats-v2` {given}")
    yield f"t{stream}"
    spark.sql(f"DROP TABLE t{stream}")


def test_a_table_of_the_catalog_says_that_it_lost_its_options(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, catalog_table: str
) -> None:
    """A write to one is an error, instead of a write to the default server."""
    with pytest.raises(Exception, match=r"no stream is named.*TEMPORARY VIEW"):
        spark.sql(f"SELECT * FROM {catalog_table}").count()
    assert spark.sql("SELECT * FROM v").count() == 3
    with pytest.raises(Exception, match=r"nats\.url is not set.*catalog"):
        spark.sql(f"INSERT INTO {catalog_table} SELECT {COLUMNS} FROM v")
    rows = spark.table("v").selectExpr(*COLUMNS.split(", "))
    with pytest.raises(Exception, match=r"nats\.url is not set.*insertInto"):
        rows.write.option("nats.url", nats_server.url).insertInto(catalog_table)
    assert admin.info(stream).state.messages == 3


def test_options_of_a_read_or_write_reach_a_table_of_the_catalog(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, catalog_table: str
) -> None:
    given = {"nats.url": nats_server.url, "nats.stream.name": stream}
    with_options = f"WITH ('nats.url' = '{nats_server.url}', 'nats.stream.name' = '{stream}')"
    assert spark.sql(f"SELECT * FROM {catalog_table} {with_options}").count() == 3
    assert spark.read.options(**given).table(catalog_table).count() == 3
    spark.sql(f"INSERT INTO {catalog_table} {with_options} SELECT {COLUMNS} FROM v")
    assert admin.info(stream).state.messages == 6
    rows = spark.createDataFrame(spark.table("v").limit(1).collect(), spark.table("v").schema)
    rows.writeTo(catalog_table).options(**given).append()
    assert admin.info(stream).state.messages == 7
    rows.createOrReplaceTempView("one")
    spark.sql(f"INSERT INTO v SELECT {COLUMNS} FROM one")
    assert admin.info(stream).state.messages == 8


@pytest.mark.parametrize(
    ("given", "is_named"),
    [
        ({}, False),
        ({"checkpointLocation": "/x"}, False),
        ({"path": "file:/warehouse/t"}, False),
        ({"nats.stream.name": "S"}, True),
        ({"NATS.sink.subject": "S.a"}, True),
        ({"path": "S"}, True),
    ],
)
def test_a_server_of_the_environment_is_for_writes_with_an_option_of_their_own(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], is_named: bool
) -> None:
    """Without one, the write may be to a table that names another server."""
    monkeypatch.setenv("NATS_URL", "nats://another:4222")
    schema = StructType().add("subject", "string").add("content", "string")
    source = pyspark_nats_v2.DefaultSource(CaseInsensitiveDict(given))
    for write in (source.writer, source.streamWriter):
        if is_named:
            assert write(schema, False)
            continue
        with pytest.raises(OptionError, match=r"no nats\. option.*set nats\.url on the write"):
            write(schema, False)


def test_a_write_without_a_server_is_an_error(spark: SparkSession) -> None:
    rows = spark.range(1).selectExpr("'a' subject", "'1' content")
    with pytest.raises(
        AnalysisException, match=r"nats\.url is not set, and writes have no default server: set it"
    ):
        rows.write.format("nats-v2").mode("append").save()
