"""The example programs of the three Scala connectors, with their options and another format.

Each runs, or its error names the option and what to do. The options are those of the examples, but
for the address of the server; strings and numbers stand as they stand there. The rest is what the
READMEs promise to those who take over the position of a Scala query, or write rows as it does.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.reading import numbers, read_stream
from .._support.spark import JVM_OPTIONS, spark_home
from .._support.writing import make_stream

COUNT = 10


@pytest.fixture
def own() -> Iterator[EmbeddedServer]:
    """A server for one test: the examples share names."""
    with EmbeddedServer() as server:
        yield server


def at(server: EmbeddedServer, **options: Any) -> dict[str, Any]:
    return {"nats.host": "127.0.0.1", "nats.port": str(server.port), **options}


def run(frame: DataFrame, form: str, checkpoint: Path, options: dict[str, Any]) -> None:
    """The example's ``writeStream``, to the present end of its source."""
    writer = frame.writeStream.outputMode("append").format(form).options(**options)
    writer = writer.option("checkpointLocation", str(checkpoint))
    writer.trigger(availableNow=True).start().awaitTermination()


def heard(admin: Admin, subject: str) -> list[str]:
    """The subjects of what a plain subscriber hears from now on."""
    subjects: list[str] = []

    async def hear(message: Any) -> None:
        subjects.append(message.subject)

    async def subscribe() -> None:
        await admin.client.subscribe(subject, cb=hear)
        await admin.client.flush()

    admin.run(subscribe())
    return subjects


def test_the_balanced_example(spark: SparkSession, own: EmbeddedServer, tmp_path: Path) -> None:
    source = {
        "nats.stream.name": "TestStream",
        "nats.stream.subjects": "subject1, subject2",
        "nats.msg.ack.wait.secs": 90,
        "nats.num.listeners": 2,
        "nats.durable.name": "test_durable",
        "nats.msg.fetch.batch.size": 10,
    }
    sink = {"nats.stream.name": "TestStream"}
    with closing(Admin(own.url)) as admin:
        frame = spark.readStream.format("nats-balanced").options(**at(own), **source).load()
        renamed = frame.withColumn("subject", f.regexp_replace("subject", "(.+)", "done.$1"))
        run(frame, "noop", tmp_path / "made", {})  # the first start makes stream and consumer
        for _ in range(COUNT):
            admin.publish("subject1", b"Msg")
            admin.publish("subject2", b"Msg")
        subjects = heard(admin, "done.>")
        soon = {"nats.request.timeout": "500ms"}
        with pytest.raises(
            Exception, match=r"no stream has this subject.*nats\.sink\.mode=best-effort"
        ):
            run(renamed, "nats-balanced", tmp_path / "c", at(own, **sink, **soon))
        subjects.clear()
        # The Scala sink publishes to whoever listens; so the error says how to do that here.
        best = at(own, **{**sink, "nats.sink.mode": "best-effort"})
        run(renamed, "nats-balanced", tmp_path / "c", best)
        wait_until(lambda: len(subjects) == 2 * COUNT)
        assert sorted(set(subjects)) == ["done.subject1", "done.subject2"]


@pytest.mark.parametrize("form", ["nats-partitioned", "natsJS"])
def test_the_partitioned_example(
    spark: SparkSession, own: EmbeddedServer, tmp_path: Path, form: str
) -> None:
    source = {
        "nats.stream.prefix": "benchstream",
        "nats.num.partitions": 2,
        "nats.reset.on.restart": False,
    }
    with closing(Admin(own.url)) as admin:
        for partition in range(2):
            subject = f"subject.{partition}"
            make_stream(admin, f"benchstream-{partition}", subjects=[subject])
            for _ in range(COUNT):
                admin.publish(subject, b"Msg")
        subjects = heard(admin, "done.>")
        frame = spark.readStream.format(form).options(**at(own), **source).load()
        renamed = frame.withColumn(
            "subject", f.regexp_replace("subject", "subject.(.+)", "done.$1")
        )
        best = at(own, **{"nats.sink.mode": "best-effort"})
        run(renamed, form, tmp_path / "c", best)
        wait_until(lambda: len(subjects) == 2 * COUNT)
        assert sorted(set(subjects)) == ["done.0", "done.1"]


V2_SOURCE = {
    "nats.pull.subscription.stream.name": "my-stream",
    "nats.pull.subscription.durable.name": "my-stream",
    "nats.storage.payload-compression": "zlib",
    "nats.pull.consumer.ack.wait": "90",
    "nats.pull.consumer.max.batch": "10",
    "nats.stream.subjects": "my.stream.data",
    "nats.pull.batcher.initial.delay": "1",
    "nats.pull.batcher.frequency.secs": "30",
    "nats.pull.batch.size": "100",
    "nats.pull.wait.time": "10",
}
V2_SINK = {"nats.stream.name": "my-output-stream", "nats.stream.subject": "my.output.stream.data"}


@pytest.mark.parametrize("form", ["nats-v2", "nats", "org.apache.spark.sql.nats"])
def test_the_v2_example(
    spark: SparkSession, own: EmbeddedServer, tmp_path: Path, form: str
) -> None:
    with closing(Admin(own.url)) as admin:
        make_stream(admin, "my-stream", subjects=["my.stream.data"])
        make_stream(admin, "my-output-stream", subjects=["my-output"])
        for _ in range(COUNT):
            admin.publish("my.stream.data", b"Msg")
        frame = spark.readStream.format(form).options(**at(own), **V2_SOURCE).load()
        frame = frame.withWatermark("timestamp", "1 minute").withColumn(
            "subject", f.lit("my-output")
        )
        both = frame.withColumn("data", f.lit(b""))
        with pytest.raises(Exception, match=r"'content' and 'data' are both.*drop\('content'\)"):
            run(both, form, tmp_path / "c", at(own, **V2_SINK))
        run(both.drop("content"), form, tmp_path / "c", at(own, **V2_SINK))
        assert admin.info("my-output-stream").state.messages == COUNT


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            "nats.credential.file",
            "no such file on this machine; correct the path.*remove the option",
        ),
        ("nats.trust-store.path", r"nats\.tls\.ca"),
        ("nats.trust-store.password", r"nats\.tls\.ca"),
        ("nats.key-store.path", r"nats\.tls\.cert and nats\.tls\.key"),
        ("nats.key-store.password", r"nats\.tls\.cert and nats\.tls\.key"),
        ("nats.tls.algorithm", "remove it"),
    ],
)
def test_what_of_the_v2_example_needs_another_value_says_so(
    spark: SparkSession, nats_server: EmbeddedServer, option: str, words: str
) -> None:
    reader = spark.read.format("nats-v2").options(**at(nats_server), **V2_SOURCE)
    with pytest.raises(Exception, match=rf"{option}.*{words}"):
        reader.option(option, "changeme").load()


@pytest.mark.parametrize("form", ["nats", "nats-balanced", "natsJS"])
def test_the_subject_of_the_v2_sink_is_refused_by_a_read(
    spark: SparkSession, nats_server: EmbeddedServer, form: str
) -> None:
    """The Scala source ignores it, also if it is a slip for nats.stream.subjects."""
    subject = {"nats.stream.subject": V2_SINK["nats.stream.subject"]}
    names = {**V2_SOURCE, **subject, "nats.stream.prefix": "P"}
    words = (
        r"nats\.stream\.subject=my\.output.*an option of writes.*nats\.stream\.subjects.*remove it"
    )
    for reader in (spark.read, spark.readStream):
        with pytest.raises(Exception, match=words):
            reader.format(form).options(**at(nats_server, **names)).load()


def test_a_subject_for_writes_in_the_environment_does_not_hinder_reads(
    nats_server: EmbeddedServer, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_STREAM_SUBJECT", "done.a")
    admin.create_stream(stream)
    admin.fill(stream, 3)
    assert numbers(read_stream(options(nats_server.url, stream_name=stream))) == [1, 2, 3]


PROGRAM = """
val at = Map("nats.host" -> "127.0.0.1", "nats.port" -> "{port}")
val read = spark.readStream.format("natsJS").options(at).option("nats.stream.prefix", "P").load()
read.selectExpr("concat('done.', subject) as subject", "content")
  .writeStream.format("org.apache.spark.sql.nats").options(at)
  .option("checkpointLocation", "{checkpoint}")
  .trigger(org.apache.spark.sql.streaming.Trigger.AvailableNow).start().awaitTermination()
System.exit(0)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("spark")  # which names the Python of the workers in the environment
def test_a_program_in_scala_reads_and_writes(own: EmbeddedServer, tmp_path: Path) -> None:
    program = tmp_path / "program.scala"
    program.write_text(PROGRAM.format(port=own.port, checkpoint=tmp_path / "checkpoint"))
    shell = spark_home() / "bin" / "spark-shell"
    with closing(Admin(own.url)) as admin:
        make_stream(admin, "P-0", subjects=["subject.0"])
        make_stream(admin, "DONE", subjects=["done.>"])
        for _ in range(COUNT):
            admin.publish("subject.0", b"Msg")
        command = [str(shell), "--master", "local[2]", "-I", str(program)]
        command += ["--conf", "spark.ui.enabled=false", "--driver-java-options", JVM_OPTIONS]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180
        )
        stored = [m.subject for m in admin.read_all("DONE")]
        assert stored == ["done.subject.0"] * COUNT, result.stdout + result.stderr


# Taking over the position of a Scala query.


def rows_of(frame: DataFrame, folder: Path) -> list[Any]:
    """Run a query to the present end of its source and return its rows in order."""
    run(frame, "parquet", folder / "checkpoint", {"path": str(folder / "rows")})
    found = frame.sparkSession.read.parquet(str(folder / "rows"))
    return [tuple(row) for row in found.orderBy("stream", "streamSeq").collect()]


#: A durable as the Scala V2 connector makes it out of `V2_SOURCE`.
V2_DURABLE = {
    "durable_name": "my-stream",
    "deliver_policy": "all",
    "ack_policy": "explicit",
    "replay_policy": "instant",
    "ack_wait": 90_000_000_000,
    "max_ack_pending": 1000,
    "max_batch": 10,
    "filter_subjects": ["my.stream.data"],
}


def acknowledge(admin: Admin, stream: str, durable: str, count: int) -> None:
    """Acknowledge the first messages, as a Scala query does after its batch."""

    async def work() -> None:
        subscription = await admin.js.pull_subscribe_bind(durable, stream=stream)
        for message in await subscription.fetch(count):
            await message.ack_sync()

    admin.run(work())


def prepare_v2_position(admin: Admin) -> None:
    make_stream(admin, "my-stream", subjects=["my.stream.data"])
    for number in range(COUNT):
        admin.publish("my.stream.data", b"%d" % number)
    admin.api(
        "CONSUMER.DURABLE.CREATE.my-stream.my-stream", stream_name="my-stream", config=V2_DURABLE
    )
    acknowledge(admin, "my-stream", "my-stream", 4)


def test_the_durable_of_a_v2_query_goes_on_with_the_balanced_flavor(
    spark: SparkSession, own: EmbeddedServer, tmp_path: Path
) -> None:
    with closing(Admin(own.url)) as admin:
        prepare_v2_position(admin)
        frame = spark.readStream.format("nats-balanced").options(**at(own), **V2_SOURCE).load()
        found = rows_of(frame.selectExpr("stream", "streamSeq", "delivered"), tmp_path)
        assert found == [("my-stream", seq, 1) for seq in range(5, COUNT + 1)]
        consumer = admin.api("CONSUMER.INFO.my-stream.my-stream")
        assert consumer["ack_floor"]["stream_seq"] == COUNT


def test_nats_start_takes_over_the_position_of_a_v2_query(
    spark: SparkSession, own: EmbeddedServer, tmp_path: Path
) -> None:
    with closing(Admin(own.url)) as admin:
        prepare_v2_position(admin)
        floor = admin.api("CONSUMER.INFO.my-stream.my-stream")["ack_floor"]["stream_seq"]
        reader = spark.readStream.format("nats-v2").options(**at(own), **V2_SOURCE)
        frame = reader.option("nats.start", floor + 1).load()
        found = rows_of(frame.selectExpr("stream", "streamSeq"), tmp_path)
        assert found == [("my-stream", seq) for seq in range(5, COUNT + 1)]


def test_nats_start_takes_over_the_position_of_a_partitioned_query(
    spark: SparkSession, own: EmbeddedServer, tmp_path: Path
) -> None:
    logged = {"offset": {"partitionInfo": {"0": 4, "1": 7}}}
    with closing(Admin(own.url)) as admin:
        for partition in range(2):
            make_stream(admin, f"P-{partition}", subjects=[f"subject.{partition}"])
            for _ in range(COUNT):
                admin.publish(f"subject.{partition}", b"Msg")
        start = {f"P-{n}": seq + 1 for n, seq in logged["offset"]["partitionInfo"].items()}
        options = at(own, **{"nats.stream.prefix": "P", "nats.start": json.dumps(start)})
        frame = spark.readStream.format("natsJS").options(**options).load()
        found = rows_of(frame.selectExpr("stream", "streamSeq"), tmp_path)
        expected = [("P-0", seq) for seq in range(5, COUNT + 1)]
        assert found == expected + [("P-1", seq) for seq in range(8, COUNT + 1)]


@pytest.mark.parametrize(
    ("form", "logged"),
    [
        ("nats-v2", "5"),
        ("nats-balanced", '{"offset":{"batchIdList":["1700000000000Thread-12"]}}'),
        ("nats-partitioned", '{"offset":{"partitionInfo":{"0":30}}}'),
    ],
)
def test_the_checkpoint_of_a_scala_query_is_refused(
    spark: SparkSession, own: EmbeddedServer, tmp_path: Path, form: str, logged: str
) -> None:
    names = {"nats.stream.name": "S-0", "nats.stream.prefix": "S", "nats.durable.name": "d"}
    with closing(Admin(own.url)) as admin:
        make_stream(admin, "S-0", subjects=["s"])
        admin.publish("s", b"Msg")
    frame = spark.readStream.format(form).options(**at(own), **names).load()
    run(frame, "noop", tmp_path, {})
    (offsets,) = (tmp_path / "offsets").glob("[0-9]*")
    lines = offsets.read_text().splitlines()
    offsets.write_text("\n".join([*lines[:2], logged]))
    (tmp_path / "offsets" / f".{offsets.name}.crc").unlink()
    with pytest.raises(Exception, match=r"checkpointLocation: .*not written by this source"):
        run(frame, "noop", tmp_path, {})


# Writing rows as a Scala query does.


def test_rows_of_the_balanced_and_partitioned_sinks(
    spark: SparkSession, own: EmbeddedServer
) -> None:
    rows = spark.range(COUNT).selectExpr("'done.a' subject", "'04/05/2024' dateTime", "'1' content")
    options = {"nats.sink.mode": "best-effort", "nats.sink.unknown.columns": "drop"}
    with closing(Admin(own.url)) as admin:
        make_stream(admin, "DONE", subjects=["done.>"])
        with pytest.raises(Exception, match=r"'dateTime' is not part.*unknown\.columns=drop"):
            rows.write.format("natsJS").mode("append").options(**at(own)).save()
        rows.write.format("natsJS").mode("append").options(**at(own), **options).save()
        stamped = rows.selectExpr(
            "subject", "content", "map('originTimestamp', dateTime) as headers"
        )
        stamped.write.format("natsJS").mode("append").options(**at(own)).save()
        found = [m.headers for m in admin.read_all("DONE")]
        assert found == [None] * COUNT + [{"originTimestamp": "04/05/2024"}] * COUNT
