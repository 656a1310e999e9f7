"""One query, three flavors, the same rows: nothing but an option tells which is which."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import Row, StructType

from nats_spark_common import OptionError
from nats_spark_common.rows.schema import SCHEMA
from pyspark_nats import DefaultSource

from .._support.admin import Admin
from .._support.containers import ServerUnderTest
from .._support.options import options
from .._support.reading import Driver, drain
from . import corpus

FLAVORS = ["v2", "balanced", "partitioned"]
#: What only a consumer knows, and so balanced alone.
OF_THE_CONSUMER = {"consumer", "consumerSeq", "delivered"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def deployment(url: str, prefix: str) -> dict[str, str]:
    """The options of every flavor at once; each takes its own."""
    return options(
        url,
        stream_name=f"{prefix}-0",
        durable_name=uuid.uuid4().hex,
        stream_prefix=prefix,
        num_partitions="1",
    )


@pytest.fixture(scope="module")
def prefix(comparative_server: ServerUnderTest) -> str:
    """Of the one stream that holds the corpus."""
    prefix = f"C{uuid.uuid4().hex[:12]}"
    admin = Admin(comparative_server.url)
    admin.create_stream(f"{prefix}-0")
    corpus.fill(admin, f"{prefix}-0")
    admin.close()
    return prefix


def run(frame: DataFrame, folder: Path) -> list[dict[str, Any]]:
    """All rows of a query to the streams' present ends, in the order of its batches."""
    rows: list[Row] = []

    def collect(batch: DataFrame, number: int) -> None:
        rows.extend(batch.collect())

    writer = frame.writeStream.foreachBatch(collect).trigger(availableNow=True)
    writer.option("checkpointLocation", str(folder)).start().awaitTermination()
    return [row.asDict() for row in rows]


def of_all(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the stream's order, without what only one flavor can know."""
    rows = [{k: v for k, v in row.items() if k not in OF_THE_CONSUMER} for row in rows]
    return sorted(rows, key=lambda row: (row["stream"], row["streamSeq"]))


def test_the_same_query_gives_the_same_rows_with_every_flavor(
    spark: SparkSession,
    comparative_server: ServerUnderTest,
    comparative_admin: Admin,
    prefix: str,
    tmp_path: Path,
) -> None:
    found = {}
    for flavor in FLAVORS:
        frame = (
            spark.readStream.format("nats")
            .options(**deployment(comparative_server.url, prefix))
            .option("nats.flavor", flavor)
            .option("nats.max.messages.per.trigger", "200")
            .load()
        )
        found[flavor] = of_all(run(frame, tmp_path / flavor))
    stored = comparative_admin.read_all(f"{prefix}-0")
    assert [(r["streamSeq"], r["subject"], bytes(r["content"])) for r in found["v2"]] == [
        (m.seq, m.subject, m.payload) for m in stored
    ]
    assert found["balanced"] == found["v2"]
    assert found["partitioned"] == found["v2"]


@pytest.mark.parametrize(
    "short",
    [
        {},
        {"max_messages_per_trigger": "7", "min_range": "2"},
        {"max_bytes_per_trigger": "100KiB"},
        {"stream_subjects": "{}.header.>"},
        {"stream_subjects": "{}.plain.*, {}.payload.a-frame"},
        {"stream_subjects": "{}.subject.*.🚀"},
        {"start": "30"},
        {"fetch_bytes": "64KiB"},
        {"payload_compression": "gzip", "payload_on_error": "null"},
    ],
    ids=str,
)
def test_options_mean_the_same_to_every_flavor(
    comparative_server: ServerUnderTest, prefix: str, short: dict[str, str]
) -> None:
    named = {name: text.replace("{}", f"{prefix}-0") for name, text in short.items()}
    found = []
    for flavor in FLAVORS:
        given = deployment(comparative_server.url, prefix) | options(
            comparative_server.url, flavor=flavor, **named
        )
        with Driver(given, source=DefaultSource) as driver:
            found.append(of_all(drain(driver)))
    assert found[0]
    assert found[1] == found[0]
    assert found[2] == found[0]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_rows_are_what_nats_py_reads(
    comparative_server: ServerUnderTest, comparative_admin: Admin, prefix: str, flavor: str
) -> None:
    given = deployment(comparative_server.url, prefix) | {"nats.flavor": flavor}
    with Driver(given, source=DefaultSource) as driver:
        rows = of_all(drain(driver))
    stored = comparative_admin.read_all(f"{prefix}-0")
    assert [(r["streamSeq"], r["subject"], r["content"], r["timestamp"]) for r in rows] == [
        (m.seq, m.subject, m.payload, EPOCH + timedelta(microseconds=m.timestamp_ns // 1000))
        for m in stored
    ]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_schema_is_a_projection_with_every_flavor(
    comparative_server: ServerUnderTest, prefix: str, flavor: str
) -> None:
    given = deployment(comparative_server.url, prefix) | {"nats.flavor": flavor}
    schema = StructType([SCHEMA["headers"], SCHEMA["subject"]])
    with Driver(given, source=DefaultSource) as whole:
        expected = [(row["headers"], row["subject"]) for row in drain(whole)]
    given |= {"nats.durable.name": uuid.uuid4().hex}
    with Driver(given, schema, DefaultSource) as driver:
        rows = drain(driver)
    assert [tuple(row) for row in rows] == [("headers", "subject")] * len(expected)
    assert [(row["headers"], row["subject"]) for row in rows] == expected


def test_without_direct_gets_the_rows_are_the_same(
    comparative_server: ServerUnderTest, comparative_admin: Admin, prefix: str
) -> None:
    def rows(flavor: str) -> list[dict[str, Any]]:
        given = deployment(comparative_server.url, prefix) | {"nats.flavor": flavor}
        with Driver(given, source=DefaultSource) as driver:
            return of_all(drain(driver))

    expected = rows("v2")
    config = comparative_admin.info(f"{prefix}-0").config
    for direct in (False, True):
        config.allow_direct = direct
        comparative_admin.run(comparative_admin.js.update_stream(config))
        assert [rows(flavor) == expected for flavor in FLAVORS] == [True] * 3


@pytest.mark.parametrize("read", ["stream", "batch"])
def test_several_streams_give_v2_and_partitioned_the_same_rows(
    spark: SparkSession,
    comparative_server: ServerUnderTest,
    comparative_admin: Admin,
    stream: str,
    read: str,
    tmp_path: Path,
) -> None:
    for i in range(3):
        comparative_admin.create_stream(f"{stream}-{i}")
        corpus.fill(comparative_admin, f"{stream}-{i}")
    given = options(comparative_server.url, stream_pattern=f"{stream}-*", stream_prefix=stream)
    found = []
    for flavor in ("v2", "partitioned"):
        reader = spark.readStream if read == "stream" else spark.read
        frame = reader.format("nats").options(**given).option("nats.flavor", flavor).load()
        if read == "stream":
            found.append(of_all(run(frame, tmp_path / flavor)))
        else:
            found.append(of_all([row.asDict() for row in frame.collect()]))
    assert len(found[0]) > 1_000
    assert found[1] == found[0]


# The chooser itself.


@pytest.fixture
def chosen(comparative_server: ServerUnderTest, prefix: str) -> Callable[..., list[dict[str, Any]]]:
    def rows(**short: str) -> list[dict[str, Any]]:
        given = deployment(comparative_server.url, prefix)
        with Driver(given | options(comparative_server.url, **short), source=DefaultSource) as d:
            return drain(d)

    return rows


def test_v2_is_the_default(chosen: Callable[..., list[dict[str, Any]]]) -> None:
    assert {row["consumer"] for row in chosen(stream_prefix="is-not-looked-at")} == {None}


def test_the_environment_chooses_and_an_option_comes_before_it(
    chosen: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_FLAVOR", "balanced")
    assert None not in {row["consumer"] for row in chosen()}
    assert {row["consumer"] for row in chosen(flavor="partitioned")} == {None}


def test_an_unknown_flavor_is_refused(comparative_server: ServerUnderTest) -> None:
    with pytest.raises(OptionError, match=r"nats\.flavor='kafka'.*'v2', 'balanced' or 'partit"):
        DefaultSource(options(comparative_server.url, flavor="kafka")).schema()


def test_a_flavor_that_is_not_installed_is_named_with_its_package(
    comparative_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark_nats_partitioned", None)
    source = DefaultSource(options(comparative_server.url, flavor="partitioned"))
    with pytest.raises(OptionError, match="pip install pyspark-nats-partitioned"):
        source.schema()


def test_a_mistake_is_told_in_the_words_of_the_flavor(
    spark: SparkSession, comparative_server: ServerUnderTest
) -> None:
    given = options(comparative_server.url, flavor="partitioned")
    with pytest.raises(AnalysisException, match=r"set nats\.stream\.prefix"):
        spark.readStream.format("nats").options(**given).load()


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_format_writes_whatever_the_flavor(
    spark: SparkSession,
    comparative_server: ServerUnderTest,
    comparative_admin: Admin,
    stream: str,
    flavor: str,
) -> None:
    comparative_admin.create_stream(stream)
    rows = [(f"{stream}.a", b"one", {"K": "v"}), (f"{stream}.b", b"two", None)]
    frame = spark.createDataFrame(
        rows, "subject string, content binary, headers map<string,string>"
    )
    given = options(comparative_server.url, flavor=flavor)
    frame.coalesce(1).write.format("nats").options(**given).mode("append").save()
    stored = comparative_admin.read_all(stream)
    assert [(m.subject, m.payload, m.headers) for m in stored] == [
        (subject, content, headers) for subject, content, headers in rows
    ]
