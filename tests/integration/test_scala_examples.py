"""The example programs of the three Scala connectors, with their options and another format.

Each runs, or its error names the option and what to do. The options are those of the examples, but
for the address of the server; strings and numbers stand as they stand there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
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
        with pytest.raises(Exception, match=r"no stream takes it.*nats\.sink\.mode=best-effort"):
            run(renamed, "nats-balanced", tmp_path / "c", at(own, **sink, **soon))
        subjects.clear()
        # The Scala sink publishes to whoever listens; so the error says how to do that here.
        best = at(own, **{**sink, "nats.sink.mode": "best-effort"})
        run(renamed, "nats-balanced", tmp_path / "c", best)
        wait_until(lambda: len(subjects) == 2 * COUNT)
        assert sorted(set(subjects)) == ["done.subject1", "done.subject2"]


def test_the_partitioned_example(spark: SparkSession, own: EmbeddedServer, tmp_path: Path) -> None:
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
        frame = spark.readStream.format("nats-partitioned").options(**at(own), **source).load()
        renamed = frame.withColumn(
            "subject", f.regexp_replace("subject", "subject.(.+)", "done.$1")
        )
        best = at(own, **{"nats.sink.mode": "best-effort"})
        run(renamed, "nats-partitioned", tmp_path / "c", best)
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


def test_the_v2_example(spark: SparkSession, own: EmbeddedServer, tmp_path: Path) -> None:
    with closing(Admin(own.url)) as admin:
        make_stream(admin, "my-stream", subjects=["my.stream.data"])
        make_stream(admin, "my-output-stream", subjects=["my-output"])
        for _ in range(COUNT):
            admin.publish("my.stream.data", b"Msg")
        frame = spark.readStream.format("nats-v2").options(**at(own), **V2_SOURCE).load()
        frame = frame.withWatermark("timestamp", "1 minute").withColumn(
            "subject", f.lit("my-output")
        )
        both = frame.withColumn("data", f.lit(b""))
        with pytest.raises(Exception, match=r"both 'content' and 'data'.*drop one of them"):
            run(both, "nats-v2", tmp_path / "c", at(own, **V2_SINK))
        run(both.drop("content"), "nats-v2", tmp_path / "c", at(own, **V2_SINK))
        assert admin.info("my-output-stream").state.messages == COUNT


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nats.credential.file", "there is no such file on this machine.*leave it out"),
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
