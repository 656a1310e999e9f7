"""Measure the time from a publish to the query's foreachBatch, with polling and with waking.

python benchmarks/latency.py [--quick]

``nats.read.via=direct`` polls; the default wakes when a message is stored. Both run in turn.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nats
from pyspark.sql import DataFrame

from fill import fill
from nats_spark_common.embedded import EmbeddedServer
from report import chart, parser, save
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

    def summary(self) -> dict[str, float]:
        return {
            "publish to foreachBatch, p50": round(statistics.median(self.publish), 1),
            "publish to foreachBatch, p99": round(statistics.quantiles(self.publish, n=100)[98], 1),
            "trigger, p50": round(statistics.median(self.triggers), 1),
        }


def main() -> None:
    arguments = parser(__doc__).parse_args()
    rates, rounds = (_QUICK_RATES, 1) if arguments.quick else (_RATES, 3)
    charts, summaries = [], {}
    with EmbeddedServer() as server:
        fill(server.url, _STREAM, 10, 20)
        session = make_session()

        def once(via: str, rate: int, count: int) -> Latencies:
            frame = (
                session.readStream.format("nats-v2")
                .option("nats.url", server.url)
                .option("nats.stream.name", _STREAM)
                .option("nats.start", "latest")
                .option("nats.read.via", via)
                .load()
            )
            return run(frame, lambda: asyncio.run(_publish(server.url, rate, count)), count)

        once("auto", 20, 10)  # warm-up
        for rate, count in rates.items():
            found = {name: Latencies([], []) for name in _WAYS}
            for _ in range(rounds):
                for name, via in _WAYS.items():
                    measured = once(via, rate, count)
                    found[name].publish += measured.publish
                    found[name].triggers += measured.triggers
            for name, each in found.items():
                title = f"{rate} messages/s, {name}"
                print_latencies(title, each)
                summaries[title] = each.summary()
            charts.append(latency_chart(f"{rate} messages/s", found))
        session.stop()
    save(arguments, "latency", {"charts": charts, "milliseconds": summaries})


def print_latencies(title: str, found: Latencies) -> None:
    p50, p99, trigger = found.summary().values()
    print(
        f"{title:<42} publish to foreachBatch p50 {p50:4.0f} ms, p99 {p99:4.0f} ms; "
        f"trigger {trigger:4.0f} ms; p50/trigger {p50 / trigger:.2f}",
        flush=True,
    )


def latency_chart(title: str, found: dict[str, Latencies]) -> dict[str, Any]:
    """Return a chart of the medians by name."""
    values = {
        f"{name}: {part}": [value]
        for name, each in found.items()
        for part, value in each.summary().items()
    }
    return chart(title, "milliseconds", values)


def run(frame: DataFrame, publish: Callable[[], None], count: int) -> Latencies:
    """Run a query while ``count`` messages are published whose ``content`` is their time."""
    latencies: list[float] = []
    arrived = threading.Semaphore(0)

    def take(batch: DataFrame, _: int) -> None:
        rows = batch.select("content").collect()
        now = time.time()
        for row in rows:
            latencies.append((now - float(row.content)) * 1_000)
            arrived.release()

    with tempfile.TemporaryDirectory() as checkpoint:
        query = (
            frame.writeStream.foreachBatch(take).option("checkpointLocation", checkpoint).start()
        )
        try:
            while not query.recentProgress:
                time.sleep(0.1)
            publish()
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
