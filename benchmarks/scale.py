"""Measure how costs grow with the number and size of messages, with streams and subjects.

python benchmarks/scale.py [--quick] [--out FOLDER]
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

import nats
from nats.js.api import StorageType, StreamConfig
from pyspark.sql import SparkSession

from fill import fill
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.ranges import StreamRange
from nats_spark_common.reading.range_reader import read_range
from nats_spark_common.replay.offsets import Offset
from nats_spark_common.replay.query import Query
from nats_spark_common.replay.stream_states import StreamStates
from nats_spark_common.rows.messages import MESSAGE_COLUMNS
from pyspark_nats_v2.strategy import ByRange
from report import chart, line_chart, parser, save
from sides import RAW_PULL, raw_consumer, raw_socket
from spark_side import make_session, run_query

_SIZE = 200
_MESSAGES = (10_000, 100_000, 1_000_000, 10_000_000)
_QUICK_MESSAGES = (10_000, 100_000)
_STREAMS = (1, 10, 100, 1_000)
_QUICK_STREAMS = (1, 100)
#: Only planned, not read: so many partitions of a set.
_PLANNED = 10_000
_PER_STREAM = 20
_SUBJECTS = (100, 10_000, 500_000)
_SUBJECT_MESSAGES = 1_000_000
#: Payload sizes in bytes, each in a stream of so many bytes.
_SIZES = (1 << 10, 1 << 14, 1 << 18)
_BYTES, _QUICK_BYTES = 1 << 30, 1 << 26
_PULLED_BYTES = 1 << 25
#: Streams that are created at once.
_AT_ONCE = 50


def main() -> None:
    arguments = parser(__doc__).parse_args()
    rounds = 1 if arguments.quick else 5
    session = make_session()
    with EmbeddedServer() as server:
        by_messages = measure_messages(
            session, server, _QUICK_MESSAGES if arguments.quick else _MESSAGES, rounds
        )
    by_streams = {}
    for count in _QUICK_STREAMS if arguments.quick else (*_STREAMS, _PLANNED):
        with EmbeddedServer() as server:
            by_streams[count] = measure_streams(session, server, count, rounds)
    by_subjects = {}
    messages = 100_000 if arguments.quick else _SUBJECT_MESSAGES
    for count in _SUBJECTS:
        with EmbeddedServer() as server:
            by_subjects[count] = measure_subjects(session, server, count, messages, rounds)
    by_size = {}
    for size in _SIZES:
        with EmbeddedServer() as server:
            total = _QUICK_BYTES if arguments.quick else _BYTES
            by_size[size] = measure_size(session, server, size, total, rounds)
    session.stop()
    found = {
        "messages": by_messages,
        "streams": by_streams,
        "subjects": by_subjects,
        "sizes": by_size,
        "charts": [
            line_chart("Cost of a message", "messages", "microseconds a message", by_messages),
            line_chart(
                f"A query of many streams, {_PER_STREAM} messages each",
                "streams",
                "milliseconds",
                _series(by_streams),
            ),
            chart(
                f"{messages:,} messages, by number of subjects",
                "messages per second of the triggers",
                {f"nats-v2, {count:,} subjects": rates for count, rates in by_subjects.items()},
            ),
            chart(
                "By payload size",
                "gigabytes of payloads per second",
                {
                    f"{name}, {size:,} bytes": rates
                    for size, each in by_size.items()
                    for name, rates in each.items()
                },
            ),
        ],
    }
    save(arguments, "scale", found)


def measure_messages(
    session: SparkSession, server: EmbeddedServer, counts: Iterable[int], rounds: int
) -> dict[str, dict[int, list[float]]]:
    """Return microseconds a message by number of messages, for the reader and for triggers.

    A trigger's time is taken without that of a trigger of ten messages.
    """
    found: dict[str, dict[int, list[float]]] = {"reader alone": {}, "triggers of nats-v2": {}}
    fill(server.url, "FEW", 10, _SIZE)
    settings = NatsSettings(url=server.url)
    for count in counts:
        stream = f"M{count}"
        fill(server.url, stream, count, _SIZE)
        created = asyncio.run(_created(server.url, stream))
        span = StreamRange(stream, created, 1, count, consumer_from=0)
        repeats = max(1, 300_000 // count)
        read_whole(settings, span)
        run_query(session, server, stream, count)
        for _ in range(rounds):
            seconds = timed(partial(read_whole, settings, span), repeats)
            found["reader alone"].setdefault(count, []).append(seconds / count * 1e6)
            small = 10 / run_query(session, server, "FEW", 10).trigger
            large = count / run_query(session, server, stream, count).trigger
            found["triggers of nats-v2"].setdefault(count, []).append((large - small) / count * 1e6)
        line = "  ".join(f"{name} {median(each[count]):.2f} us" for name, each in found.items())
        print(f"{count:>12,} messages: {line}", flush=True)
    return found


def read_whole(settings: NatsSettings, span: StreamRange) -> None:
    count = sum(len(each) for each in read_range(settings, span, MESSAGE_COLUMNS))
    if count != len(span):
        raise RuntimeError(f"{span}: read {count} messages")


def timed(work: Callable[[], Any], repeats: int = 1) -> float:
    """Return the mean seconds of a call."""
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - started) / repeats


def measure_streams(
    session: SparkSession, server: EmbeddedServer, count: int, rounds: int
) -> dict[str, list[float]]:
    """Return milliseconds of a query over ``count`` streams with a few messages each."""
    asyncio.run(_create(server.url, count))
    settings = NatsSettings(url=server.url, stream_pattern="P-*")
    strategy = ByRange()
    found: dict[str, list[float]] = {"poll": [], "plan": [], "trigger": []}
    query = Query(settings, strategy)
    start = query.begin()

    def plan() -> None:
        end = Offset.from_json(query.next(start, unlimited=True).to_json())
        strategy.tasks(query.ranges(start, end), end.streams.keys(), settings)

    with StreamStates(settings, strategy.selection(settings)) as states:
        for _ in range(rounds):
            found["poll"].append(timed(states.refresh) * 1e3)
            plan()  # the state of the streams is requested here, if it is too old
            found["plan"].append(timed(plan) * 1e3)
    query.close()
    if count != _PLANNED:
        options = {"nats.stream.pattern": "P-*"}
        messages = count * _PER_STREAM
        for _ in range(rounds + 1):
            result = run_query(session, server, None, messages, options=options)
            found["trigger"].append(messages / result.trigger * 1e3)
        del found["trigger"][0]  # warms up
    line = "  ".join(f"{name} {median(each):.1f} ms" for name, each in found.items() if each)
    print(f"{count:>12,} streams: {line}", flush=True)
    return found


def _series(by_streams: dict[int, dict[str, list[float]]]) -> dict[str, dict[int, list[float]]]:
    names = {name for each in by_streams.values() for name in each}
    return {
        name: {count: each[name] for count, each in by_streams.items() if each[name]}
        for name in sorted(names)
    }


def measure_subjects(
    session: SparkSession, server: EmbeddedServer, subjects: int, messages: int, rounds: int
) -> list[float]:
    fill(server.url, "SUBJECTS", messages, _SIZE, subjects=subjects)
    rates = [run_query(session, server, "SUBJECTS", messages).trigger for _ in range(rounds + 1)]
    print(f"{subjects:>12,} subjects: {median(rates[1:]):,.0f} messages/s", flush=True)
    return rates[1:]  # the first warms up


def measure_size(
    session: SparkSession, server: EmbeddedServer, size: int, total: int, rounds: int
) -> dict[str, list[float]]:
    """Return gigabytes of payloads per second."""
    count = total // size
    fill(server.url, "SIZE", count, size)
    found: dict[str, list[float]] = {
        "raw socket, direct gets": [],
        "raw socket, consumer": [],
        "nats-v2, triggers": [],
    }
    run_query(session, server, "SIZE", count)
    for _ in range(rounds):
        rates = (
            raw_socket(server.url, "SIZE", count),
            raw_consumer(server.url, "SIZE", count, min(RAW_PULL, _PULLED_BYTES // size)),
            run_query(session, server, "SIZE", count).trigger,
        )
        for values, rate in zip(found.values(), rates, strict=True):
            values.append(round(rate * size / 1e9, 3))
    line = "  ".join(f"{name} {median(each):.2f} GB/s" for name, each in found.items())
    print(f"{size:>12,} bytes: {line}", flush=True)
    return found


async def _created(url: str, stream: str) -> str:
    client = await nats.connect(url)
    reply = await client.request(f"$JS.API.STREAM.INFO.{stream}")
    await client.close()
    return str(json.loads(reply.data)["created"])


async def _create(url: str, count: int) -> None:
    client = await nats.connect(url)
    stream = client.jetstream(timeout=60)

    async def create(number: int) -> None:
        name = f"P-{number}"
        config = StreamConfig(name=name, subjects=[f"{name}.>"], storage=StorageType.MEMORY)
        await stream.add_stream(config, allow_direct=True)

    for first in range(0, count, _AT_ONCE):
        await asyncio.gather(*(create(i) for i in range(first, min(first + _AT_ONCE, count))))
    for number in range(count):
        for i in range(_PER_STREAM):
            await client.publish(f"P-{number}.{i}", b"." * _SIZE)
    await client.flush(60)
    await client.close()


if __name__ == "__main__":
    main()
