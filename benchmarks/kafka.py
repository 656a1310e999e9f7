"""Measure nats-v2 beside Spark's own Kafka source: the same messages, query, machine and run.

python benchmarks/kafka.py [--quick] [--messages N] [--out FOLDER]

Needs Java and Maven, which resolves the broker and the source, and a PySpark release whose Kafka
source is published; ``make bench-kafka`` sets that up.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import nats
import pyspark
from pyspark.sql import DataFrame, SparkSession

import latency
from fill import fill
from kafka_broker import BROKER_VERSION, Broker, Producer, broker, source_jars
from nats_spark_common.embedded import EmbeddedServer
from report import parser, print_rates, print_ratios, print_usage, rate_chart, save, usage_chart
from spark_side import make_session, run_frame

#: Payload size → share of ``--messages``.
_SIZES = {200: 1.0, 1024: 0.25}
_LIMIT = 100_000
_SMALL_BATCH = 20
_SMALL_TITLE = f"Batches of {_SMALL_BATCH} messages, one each second"

KAFKA, V2, KAFKA_LIMITED, V2_LIMITED, V2_GOGC = "kafka", "v2", "kafka limited", "v2 limited", "gogc"
LABELS = {
    KAFKA: "Kafka source, one batch",
    V2: "nats-v2, one batch",
    V2_GOGC: "nats-v2, nats-server with GOGC=400, one batch",
    KAFKA_LIMITED: f"Kafka source, maxOffsetsPerTrigger {_LIMIT:,}",
    V2_LIMITED: f"nats-v2, nats.max.messages.per.trigger {_LIMIT:,}",
}
RATIOS = {
    "nats-v2 / Kafka, one batch": (V2, KAFKA),
    "nats-v2 with GOGC=400 / Kafka, one batch": (V2_GOGC, KAFKA),
    "nats-v2 / Kafka, limited batches": (V2_LIMITED, KAFKA_LIMITED),
}
TARGETS = {"nats-v2 / Kafka, one batch": 1.0}


@dataclass
class Sides:
    """What was measured of one payload size, by side."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    usage: dict[str, list[dict[str, float]]] = field(default_factory=dict)


def main() -> None:
    arguments = parser(
        __doc__, messages="number of messages of 200 bytes; a quarter of 1024 bytes"
    ).parse_args()
    messages = arguments.messages or (200_000 if arguments.quick else 2_000_000)
    rounds = 1 if arguments.quick else 5
    jars = source_jars(pyspark.__version__)
    sizes: list[dict[str, Any]] = []
    charts: list[dict[str, Any]] = []
    with ExitStack() as servers:
        server = servers.enter_context(EmbeddedServer())
        patient = servers.enter_context(_collecting_rarely())
        kafka = servers.enter_context(broker(partitions=os.cpu_count() or 2))
        session = make_session(jars=jars)
        for size, share in _SIZES.items():
            count = int(messages * share)
            _print_progress(f"storing {count:,} messages of {size} bytes")
            for each in (server, patient):
                fill(each.url, _stream(size), count, size)
            _copy_to_kafka(session, server, kafka, _stream(size))
        for size, share in _SIZES.items():
            count = int(messages * share)
            result, drawn = _measure(session, server, patient, kafka, size, count, rounds)
            sizes.append(result)
            charts += drawn
        small = _small_batches(session, server, kafka, 5 if rounds == 1 else 60)
        session.stop()
    charts.append(latency.latency_chart(_SMALL_TITLE, small))
    found = {
        "charts": charts,
        "kafka": BROKER_VERSION,
        "sizes": sizes,
        "small batches, milliseconds": {name: each.summary() for name, each in small.items()},
    }
    save(arguments, "kafka", found)


@contextmanager
def _collecting_rarely() -> Iterator[EmbeddedServer]:
    """A nats-server that collects garbage when its heap has grown fivefold instead of twofold."""
    os.environ["GOGC"] = "400"
    try:
        with EmbeddedServer() as server:
            del os.environ["GOGC"]
            yield server
    finally:
        os.environ.pop("GOGC", None)


def _copy_to_kafka(
    session: SparkSession, server: EmbeddedServer, kafka: Broker, stream: str
) -> None:
    """Write a stream's messages to the topic of its name."""
    (
        session.read.format("nats-v2")
        .option("nats.url", server.url)
        .option("nats.stream.name", stream)
        .load()
        .selectExpr("subject AS key", "content AS value")
        .write.format("kafka")
        .option("kafka.bootstrap.servers", kafka.address)
        .option("topic", stream)
        .save()
    )


def _measure(
    session: SparkSession,
    server: EmbeddedServer,
    patient: EmbeddedServer,
    kafka: Broker,
    size: int,
    count: int,
    rounds: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the rates, costs and ratios of one payload size, and charts of them."""
    stream = _stream(size)
    limited = {"nats.max.messages.per.trigger": str(_LIMIT)}

    def of_kafka(**options: str) -> tuple[DataFrame, int]:
        return _kafka_frame(
            session, kafka, stream, startingOffsets="earliest", **options
        ), kafka.pid

    def of_nats(where: EmbeddedServer, options: dict[str, str]) -> tuple[DataFrame, int]:
        return _nats_frame(session, where, stream, options), where.pid

    sides: dict[str, Callable[[], tuple[DataFrame, int]]] = {
        KAFKA: of_kafka,
        V2: lambda: of_nats(server, {}),
        V2_GOGC: lambda: of_nats(patient, {}),
        KAFKA_LIMITED: lambda: of_kafka(maxOffsetsPerTrigger=str(_LIMIT)),
        V2_LIMITED: lambda: of_nats(server, limited),
    }
    found = Sides()
    for number in range(rounds + 1):
        _print_progress(f"{size} bytes, " + (f"round {number}" if number else "warming up"))
        for side, frame in sides.items():
            result = run_frame(*frame(), count, side)
            if number:
                used = {kind: value / count * 1e6 for kind, value in result.usage.items()}
                found.rates.setdefault(side, []).append(result.whole)
                found.usage.setdefault(side, []).append(used)
    title = f"{count:,} messages of {size} bytes"
    print(f"\n{title}, messages per second of the whole query")
    print_rates(LABELS, found.rates)
    ratios = print_ratios(RATIOS, found.rates, TARGETS if size == 200 and rounds > 1 else {})
    spent = print_usage(LABELS, found.usage)
    result = {
        "size": size,
        "messages": count,
        "rates": {side: [round(rate) for rate in rates] for side, rates in found.rates.items()},
        "core_seconds_per_million": spent,
        "ratios": ratios,
    }
    return result, [rate_chart(title, LABELS, found.rates), usage_chart(LABELS, spent)]


def _small_batches(
    session: SparkSession, server: EmbeddedServer, kafka: Broker, batches: int
) -> dict[str, latency.Latencies]:
    """Measure triggers of a few messages, and the time from publish to foreachBatch."""
    stream, count = "SMALL", batches * _SMALL_BATCH
    fill(server.url, stream, 10, 20)
    producer = Producer(session, kafka.address)
    producer.send(stream, b"0")  # creates the topic
    producer.flush()

    def to_kafka(value: bytes) -> None:
        producer.send(stream, value)

    def publish_to_kafka() -> None:
        _in_bursts(batches, to_kafka, producer.flush)

    def publish_to_nats() -> None:
        asyncio.run(_publish_to_nats(server.url, stream, batches))

    waits = {"kafka.fetch.max.wait.ms": "50"}  # a fetch that waits at the broker delays a batch
    of_kafka, of_kafka_50 = (
        _kafka_frame(session, kafka, stream, startingOffsets="latest", **options).selectExpr(
            "value AS content"
        )
        for options in ({}, waits)
    )
    sides = {
        "Kafka source": (of_kafka, publish_to_kafka),
        "Kafka source, kafka.fetch.max.wait.ms=50": (of_kafka_50, publish_to_kafka),
        "nats-v2": (
            _nats_frame(session, server, stream, {"nats.start": "latest"}),
            publish_to_nats,
        ),
    }
    found: dict[str, latency.Latencies] = {}
    print(f"\n{_SMALL_TITLE}, milliseconds")
    for title, (frame, publish) in sides.items():
        found[title] = latency.run(frame, publish, count)
        latency.print_latencies(title, found[title])
    producer.close()
    return found


def _in_bursts(batches: int, send: Callable[[bytes], None], flush: Callable[[], None]) -> None:
    started = time.perf_counter()
    for i in range(batches):
        time.sleep(max(0.0, started + i - time.perf_counter()))
        for _ in range(_SMALL_BATCH):
            send(repr(time.time()).encode())
        flush()


async def _publish_to_nats(url: str, stream: str, batches: int) -> None:
    client = await nats.connect(url)
    started = time.perf_counter()
    for i in range(batches):
        await asyncio.sleep(max(0.0, started + i - time.perf_counter()))
        for _ in range(_SMALL_BATCH):
            await client.publish(f"{stream}.0", repr(time.time()).encode())
        await client.flush()
    await client.close()


def _kafka_frame(session: SparkSession, kafka: Broker, topic: str, **options: str) -> DataFrame:
    reader = session.readStream.format("kafka").option("kafka.bootstrap.servers", kafka.address)
    return reader.option("subscribe", topic).options(**options).load()


def _nats_frame(
    session: SparkSession, server: EmbeddedServer, stream: str, options: dict[str, str]
) -> DataFrame:
    reader = session.readStream.format("nats-v2").option("nats.url", server.url)
    return reader.option("nats.stream.name", stream).options(**options).load()


def _stream(size: int) -> str:
    return f"BENCH{size}"


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
