"""Measure the time from a publish to the query's foreachBatch, with polling and with waking.

python benchmarks/latency.py [--quick]

``nats.read.via=direct`` polls; the default wakes when a message is stored. Both run in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass

import nats
from pyspark.sql import DataFrame, SparkSession

from fill import fill
from nats_spark_common.embedded import EmbeddedServer
from spark_side import make_session

_STREAM = "LATENCY"
_WAYS = {"polling": "direct", "waking": "auto"}
#: Messages per second → messages to publish.
_RATES = {1: 40, 200: 6_000}
_QUICK_RATES = {1: 5, 200: 600}


@dataclass
class Latencies:
    """Milliseconds from publish to foreachBatch, and of the triggers without their wait for it."""

    publish: list[float]
    triggers: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few messages, one round")
    arguments = parser.parse_args()
    rates, rounds = (_QUICK_RATES, 1) if arguments.quick else (_RATES, 3)
    with EmbeddedServer() as server:
        fill(server.url, _STREAM, 10, 20)
        session = make_session()
        run(session, server.url, "auto", 20, 10)  # warm-up
        for rate, count in rates.items():
            found = {name: Latencies([], []) for name in _WAYS}
            for _ in range(rounds):
                for name, via in _WAYS.items():
                    once = run(session, server.url, via, rate, count)
                    found[name].publish += once.publish
                    found[name].triggers += once.triggers
            for name, each in found.items():
                report(f"{rate} messages/s, {name}", each)
        session.stop()


def report(title: str, found: Latencies) -> None:
    p50, trigger = statistics.median(found.publish), statistics.median(found.triggers)
    p99 = statistics.quantiles(found.publish, n=100)[98]
    print(
        f"{title:<28} publish to foreachBatch p50 {p50:4.0f} ms, p99 {p99:4.0f} ms; "
        f"trigger {trigger:4.0f} ms; p50/trigger {p50 / trigger:.2f}",
        flush=True,
    )


def run(session: SparkSession, url: str, via: str, rate: int, count: int) -> Latencies:
    """Publish ``count`` messages to a running query."""
    latencies: list[float] = []
    arrived = threading.Semaphore(0)

    def take(batch: DataFrame, _: int) -> None:
        rows = batch.select("content").collect()
        now = time.time()
        for row in rows:
            latencies.append((now - float(row.content)) * 1_000)
            arrived.release()

    frame = (
        session.readStream.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", _STREAM)
        .option("nats.start", "latest")
        .option("nats.read.via", via)
        .load()
    )
    with tempfile.TemporaryDirectory() as checkpoint:
        query = (
            frame.writeStream.foreachBatch(take).option("checkpointLocation", checkpoint).start()
        )
        try:
            while not query.recentProgress:
                time.sleep(0.1)
            asyncio.run(_publish(url, rate, count))
            for _ in range(count):
                if not arrived.acquire(timeout=30):
                    raise RuntimeError(f"only {len(latencies)} of {count} messages arrived")
            triggers = [
                float(each["durationMs"]["triggerExecution"] - each["durationMs"]["latestOffset"])
                for each in query.recentProgress
                if each["numInputRows"]
            ]
        finally:
            query.stop()
    return Latencies(latencies, triggers)


async def _publish(url: str, rate: int, count: int) -> None:
    client = await nats.connect(url)
    started = time.perf_counter()
    for i in range(count):
        await asyncio.sleep(max(0.0, started + i / rate - time.perf_counter()))
        await client.publish(f"{_STREAM}.0", repr(time.time()).encode())
        await client.flush()
    await client.close()


if __name__ == "__main__":
    main()
