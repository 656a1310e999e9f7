"""Measure writing to JetStream, all sides in one run, and print rates and ratios.

python benchmarks/write.py [--quick] [--messages N] [--out FOLDER]
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import nats
import pyarrow as pa
from pyspark.sql import SparkSession

from bare import Bare
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.sink.columns import MessageColumns
from nats_spark_common.sink.task_id import TaskId
from nats_spark_common.sink.writer import write_task
from report import parser, rate_chart, save
from spark_side import make_session
from usage import ELSEWHERE, PYTHON, SERVER, Usage

ONE, ASYNC, RAW = "one by one", "asynchronous", "raw"
LABELS = {
    ONE: "nats-py, await js.publish one by one",
    ASYNC: "nats-py, asynchronous publishes",
    RAW: "raw pipelined socket, acks counted",
    "task": "sink, one task",
    "task fast": "sink, one task, allow_batched",
    "task exact": "sink, one task, exactly-once",
    "task exact fast": "sink, one task, exactly-once, allow_batched",
    "spark": "sink in Spark, two tasks, whole job",
    "spark fast": "sink in Spark, two tasks, allow_batched, whole job",
    "spark exact": "sink in Spark, two tasks, exactly-once, whole job",
}
#: Minimum ratios of "task" and "task fast" to each of the other sides.
TARGETS = {ONE: 15.0, ASYNC: 5.0, RAW: 0.6}

#: Payload size → share of ``--messages``.
_SIZES = {200: 1.0, 1024: 0.4}
_ONE_COUNT, _ASYNC_COUNT = 5_000, 40_000
_ASYNC_WINDOW = 4_000
_RAW_WINDOW = 8_000
_CHUNK = 500
_BATCH_ROWS = 10_000


@dataclass
class Result:
    """One payload size: messages per second by side, one per round."""

    size: int
    messages: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    usage: dict[str, dict[str, float]] = field(default_factory=dict)
    elsewhere: list[float] = field(default_factory=list)

    def add(self, side: str, rate: float) -> None:
        self.rates.setdefault(side, []).append(rate)

    def ratio(self, side: str, other: str) -> float:
        """Return the median of each round's ratio."""
        pairs = zip(self.rates[side], self.rates[other], strict=True)
        return median(ours / theirs for ours, theirs in pairs)


def main() -> None:
    arguments = parser(
        __doc__, messages="number of messages of 200 bytes; fewer of 1024 bytes"
    ).parse_args()
    messages = arguments.messages or (100_000 if arguments.quick else 2_000_000)
    results = [Result(size, int(messages * share)) for size, share in _SIZES.items()]
    session = make_session()
    with EmbeddedServer() as server:
        for name in ("PLAIN", "FAST"):
            asyncio.run(_create(server.url, name, allow_batched=name == "FAST"))
        print("warming up", file=sys.stderr, flush=True)
        _spark(session, server.url, "PLAIN", 10_000, 200, "at-least-once")
        for number in range(1 if arguments.quick else 3):
            for result in results:
                print(f"round {number + 1}, {result.size} bytes", file=sys.stderr, flush=True)
                _round(session, server, result)
    session.stop()
    for result in results:
        _print(result, judge=not arguments.quick)
    charts = [
        rate_chart(f"{result.messages:,} messages of {result.size} bytes", LABELS, result.rates)
        for result in results
    ]
    save(arguments, "write", {"charts": charts, "sizes": [vars(result) for result in results]})


def _round(session: SparkSession, server: EmbeddedServer, result: Result) -> None:
    url, size, count = server.url, result.size, result.messages
    result.add(ONE, asyncio.run(_one_by_one(url, _ONE_COUNT, size)))
    result.add(ASYNC, asyncio.run(_asynchronous(url, _ASYNC_COUNT, size)))
    for side in LABELS:
        if side in (ONE, ASYNC):
            continue
        asyncio.run(_purge(url))
        stream = "FAST" if "fast" in side else "PLAIN"
        mode = "exactly-once" if "exact" in side else "at-least-once"
        before, started = Usage.now(server.pid), time.perf_counter()
        own = time.process_time()
        if side == RAW:
            rate = _raw(url, count, size)
        elif side.startswith("task"):
            rate = _task(url, stream, count, size, mode)
        else:
            rate = _spark(session, url, stream, count, size, mode)
        used = Usage.now(server.pid) - before
        result.add(side, rate)
        result.elsewhere.append(used[ELSEWHERE] / (time.perf_counter() - started))
        python = used[PYTHON] if side.startswith("spark") else time.process_time() - own
        shares = {"nats-server": used[SERVER], "Python": python}
        result.usage[side] = {who: s / count * 1e6 for who, s in shares.items()}
        stored = asyncio.run(_stored(url, stream))
        if stored != count:
            raise RuntimeError(f"{side}: stream {stream} has {stored} messages, not {count}")


async def _one_by_one(url: str, count: int, size: int) -> float:
    client = await nats.connect(url)
    jetstream, payload = client.jetstream(), b"x" * size
    started = time.perf_counter()
    for number in range(count):
        await jetstream.publish(f"PLAIN.{number % 100}", payload)
    seconds = time.perf_counter() - started
    await client.close()
    return count / seconds


async def _asynchronous(url: str, count: int, size: int) -> float:
    client = await nats.connect(url)
    jetstream = client.jetstream(publish_async_max_pending=_ASYNC_WINDOW)
    payload = b"x" * size
    started = time.perf_counter()
    waiting: list[Any] = []
    for number in range(count):
        waiting.append(
            await jetstream.publish_async(f"PLAIN.{number % 100}", payload, wait_stall=60)
        )
        if len(waiting) == _ASYNC_WINDOW:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)
    seconds = time.perf_counter() - started
    await client.close()
    return count / seconds


def _raw(url: str, count: int, size: int) -> float:
    """Publish with reply subjects; a thread counts the acks without parsing them."""
    payload = b"x" * size
    answered = 0
    with Bare(url) as link:

        def count_acks() -> None:
            nonlocal answered
            while answered < count:
                answered += link.count_replies()

        counting = threading.Thread(target=count_acks)
        started = time.perf_counter()
        counting.start()
        for start in range(0, count, _CHUNK):
            while start - answered > _RAW_WINDOW:
                time.sleep(0.0002)
            frames = [
                b"PUB PLAIN.%d %s %d\r\n%s\r\n" % (n % 100, link.inbox, size, payload)
                for n in range(start, min(start + _CHUNK, count))
            ]
            link.send(b"".join(frames))
        counting.join()
        return count / (time.perf_counter() - started)


def _task(url: str, stream: str, count: int, size: int, mode: str) -> float:
    """Run the sink's work of one task, with prepared record batches."""
    settings = NatsSettings.from_options({"nats.url": url, "nats.sink.mode": mode})
    subjects = pa.array([f"{stream}.{n % 100}" for n in range(_BATCH_ROWS)])
    payloads = pa.array([b"x" * size] * _BATCH_ROWS, pa.binary())
    batch = pa.record_batch([subjects, payloads], names=["subject", "content"])

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, count, _BATCH_ROWS):
            yield batch.slice(0, min(_BATCH_ROWS, count - start))

    started = time.perf_counter()
    task = TaskId(uuid.uuid4().hex, "0", 0)
    write_task(settings, MessageColumns(0, 1, None, None), task, batches())
    return count / (time.perf_counter() - started)


def _spark(session: SparkSession, url: str, stream: str, count: int, size: int, mode: str) -> float:
    """Run a whole job, from ``save()`` to its end, that generates rows and writes them."""
    frame = session.range(0, count, 1, 2).selectExpr(
        f"concat('{stream}.', id % 100) as subject", f"repeat('x', {size}) as content"
    )
    started = time.perf_counter()
    frame.write.format("nats-v2").mode("append").option("nats.url", url).option(
        "nats.sink.mode", mode
    ).save()
    return count / (time.perf_counter() - started)


async def _create(url: str, stream: str, **config: Any) -> None:
    client = await nats.connect(url)
    request = {"name": stream, "subjects": [f"{stream}.>"], "storage": "file", **config}
    await client.request(f"$JS.API.STREAM.CREATE.{stream}", json.dumps(request).encode())
    await client.close()


async def _purge(url: str) -> None:
    client = await nats.connect(url)
    for stream in ("PLAIN", "FAST"):
        await client.jetstream().purge_stream(stream)
    await client.close()


async def _stored(url: str, stream: str) -> int:
    client = await nats.connect(url)
    found = (await client.jetstream().stream_info(stream)).state.messages
    await client.close()
    return int(found)


def _print(result: Result, *, judge: bool) -> None:
    print(f"\n{result.size}-byte payloads, {result.messages:,} messages")
    for side, label in LABELS.items():
        rates = result.rates[side]
        spent = "  ".join(f"{who} {s:.2f}" for who, s in result.usage.get(side, {}).items())
        print(
            f"  {label:<52} {median(rates):>10,.0f}/s   "
            f"({min(rates):,.0f} to {max(rates):,.0f})   {spent}"
        )
    for side in ("task", "task fast", "spark", "spark fast"):
        for other, target in TARGETS.items():
            value = result.ratio(side, other)
            verdict = ""
            if judge and side.startswith("task"):
                verdict = f"   (target {target:g}: {'met' if value >= target else 'MISSED'})"
            print(f"  {LABELS[side]} / {other}: {value:.2f}{verdict}")
    print(f"  cores busy elsewhere: {median(result.elsewhere):.2f}")
    print("  (core-seconds per million messages behind each rate, of the last round)")


if __name__ == "__main__":
    main()
