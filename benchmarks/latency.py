"""Measure the time from a publish to the query's foreachBatch, and triggers of small batches.

python benchmarks/latency.py [--quick]

``nats.read.via=direct`` polls; the default wakes when a message is stored. Both run in turn. So do
triggers of 20 messages of each flavor and of the emptiest source that Python can have.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nats
from pyspark.sql import DataFrame, SparkSession

import empty_source
from fill import fill
from nats_spark_common.embedded import EmbeddedServer
from report import chart, parser, save
from spark_side import make_session

_STREAM = "LATENCY"
_WAYS = {"polling": "direct", "waking": "auto"}
#: Messages per second → messages to publish.
_RATES = {1: 40, 200: 6_000}
_QUICK_RATES = {1: 5, 200: 600}

_SMALL = "SMALL"
_SMALL_BATCH = 20
_EMPTY = "the emptiest source in Python"
_V2, _BALANCED = "nats-v2", "nats-balanced"
_TRIGGER_TARGET = 1.1


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
        batches, rounds = (20, 2) if arguments.quick else (60, 6)
        triggers = measure_triggers(session, server.url, batches, rounds)
        session.stop()
    ratios = print_triggers(triggers, judge=not arguments.quick)
    charts.append(chart(f"Triggers of {_SMALL_BATCH} messages", "milliseconds", triggers))
    found = {"charts": charts, "milliseconds": summaries, "triggers": triggers, "ratios": ratios}
    save(arguments, "latency", found)


def measure_triggers(
    session: SparkSession, url: str, batches: int, rounds: int
) -> dict[str, list[float]]:
    """Return the median milliseconds of a trigger in each round but the first, by source."""
    empty_source.register(session)
    fill(url, _SMALL, _SMALL_BATCH * batches, 200)

    def nats_frame(flavor: str) -> DataFrame:
        reader = session.readStream.format(flavor).option("nats.url", url)
        limited = reader.option("nats.max.messages.per.trigger", str(_SMALL_BATCH))
        return limited.option("nats.durable.name", uuid.uuid4().hex).load(_SMALL)

    frames = {
        _EMPTY: lambda: (
            session.readStream.format(empty_source.NAME).option("batches", batches).load()
        ),
        _V2: lambda: nats_frame(_V2),
        _BALANCED: lambda: nats_frame(_BALANCED),
    }
    found: dict[str, list[float]] = {name: [] for name in frames}
    for number in range(rounds):
        for name in list(frames)[:: 1 if number % 2 else -1]:
            found[name].append(_median_trigger(frames[name](), batches))
    return {name: values[1:] for name, values in found.items()}


def _median_trigger(frame: DataFrame, batches: int) -> float:
    with tempfile.TemporaryDirectory() as checkpoint:
        query = frame.writeStream.format("noop").option("checkpointLocation", checkpoint).start()
        while sum(each["numInputRows"] > 0 for each in query.recentProgress) < batches:
            if error := query.exception():
                raise error
            time.sleep(0.1)
        query.stop()
    triggers = [
        float(each["durationMs"]["triggerExecution"])
        for each in query.recentProgress
        if each["numInputRows"]
    ]
    return statistics.median(triggers[batches // 4 :])  # the first ones start workers


def print_triggers(found: dict[str, list[float]], judge: bool) -> dict[str, float]:
    """Print the triggers, and return each source's ratio to the emptiest."""
    print(f"\ntriggers of {_SMALL_BATCH} messages, milliseconds")
    ratios = {}
    for name, values in found.items():
        pairs = zip(values, found[_EMPTY], strict=True)
        ratios[name] = round(statistics.median(ours / empty for ours, empty in pairs), 3)
        verdict = ""
        if judge and name == _V2:
            met = "met" if ratios[name] <= _TRIGGER_TARGET else "MISSED"
            verdict = f"   (target {_TRIGGER_TARGET}: {met})"
        raw = "  ".join(f"{value:.0f}" for value in values)
        print(f"  {name:<40}{statistics.median(values):>6.0f}   ({raw} )  {ratios[name]}{verdict}")
    return ratios


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
