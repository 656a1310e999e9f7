"""Measure the balanced flavor and V2 in one run, and print rates and ratios.

python benchmarks/balanced.py [--quick] [--messages N] [--out FOLDER]
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from statistics import median
from typing import Any

import nats
from nats.js.api import AckPolicy, ConsumerConfig
from pyspark.sql import SparkSession

from fill import fill
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.requests import request
from nats_spark_common.options.settings import NatsSettings
from pyspark_nats_balanced.acks import ACK, send_acks
from pyspark_nats_balanced.deliveries import Deliveries
from pyspark_nats_balanced.pull_connection import PullConnection
from report import parser, print_rates, print_ratios, print_usage, rate_chart, save, usage_chart
from spark_side import make_session, run_query

_STREAM = "BENCH"
_SIZE = 200
_PULL_BATCH = 500
#: nats-py reads fewer messages: its rate is the same, and the run would take an hour otherwise.
_PLAIN_SHARE = 20
#: The driver's own work is measured on a batch of this size, the default limit.
_BATCH = 100_000
_LARGE = 500_000
#: Messages per pull, as in the source.
_MESSAGES_PER_PULL = 20_000

V2, BALANCED, ALL, V2_LARGE, BALANCED_LARGE, ALL_LARGE, V2_WHOLE, PLAIN = (
    "v2",
    "balanced",
    "all",
    "v2 large",
    "balanced large",
    "all large",
    "v2 whole",
    "plain",
)
_IN_LARGE_BATCHES = (V2_LARGE, BALANCED_LARGE, ALL_LARGE)
_BALANCED = (BALANCED, BALANCED_LARGE, ALL, ALL_LARGE)
LABELS = {
    PLAIN: "nats-py, pull fetch(500), an ack per message",
    V2: f"nats-v2, batches of {_BATCH:,}",
    BALANCED: f"nats-balanced, batches of {_BATCH:,} (its default)",
    ALL: f"nats-balanced, one ack for a batch of {_BATCH:,}",
    V2_LARGE: f"nats-v2, batches of {_LARGE:,}",
    BALANCED_LARGE: f"nats-balanced, batches of {_LARGE:,}",
    ALL_LARGE: f"nats-balanced, one ack for a batch of {_LARGE:,}",
    V2_WHOLE: "nats-v2, one batch",
}
RATIOS = {
    "balanced / v2, same batches": (BALANCED, V2),
    "balanced / v2, same large batches": (BALANCED_LARGE, V2_LARGE),
    "one ack for a batch / v2": (ALL, V2),
    "one ack for a large batch / v2": (ALL_LARGE, V2_LARGE),
    "balanced, large batches / v2, one batch": (BALANCED_LARGE, V2_WHOLE),
    "balanced / nats-py": (BALANCED, PLAIN),
}
TARGETS = {
    "balanced / v2, same batches": 0.6,
    "balanced / v2, same large batches": 0.45,
    "one ack for a batch / v2": 0.8,
}


def main() -> None:
    arguments = parser(__doc__, messages="number of messages of 200 bytes").parse_args()
    count = arguments.messages or (300_000 if arguments.quick else 2_000_000)
    rates: dict[str, list[float]] = {}
    usage: dict[str, list[dict[str, float]]] = {}
    phases: dict[str, list[float]] = {"pull": [], "ack": []}
    with EmbeddedServer() as server:
        fill(server.url, _STREAM, count, _SIZE)
        session = make_session()
        _run(session, server, BALANCED, count)  # warms up
        for number in range(1 if arguments.quick else 3):
            print(f"round {number + 1}", file=sys.stderr, flush=True)
            plain = asyncio.run(_plain(server.url, count // _PLAIN_SHARE))
            rates.setdefault(PLAIN, []).append(plain)
            for side in [side for side in LABELS if side != PLAIN]:
                rate, used = _run(session, server, side, count)
                rates.setdefault(side, []).append(rate)
                usage.setdefault(side, []).append(used)
            for _ in range(3):
                pull, ack = _driver_alone(server.url, min(_BATCH, count))
                phases["pull"].append(pull)
                phases["ack"].append(ack)
        session.stop()
    found = _report(count, rates, usage, phases, judge=not arguments.quick)
    save(arguments, "balanced", found)


def _run(
    session: SparkSession, server: EmbeddedServer, side: str, count: int
) -> tuple[float, dict[str, float]]:
    """Return a query's messages per second and core-seconds per million messages."""
    options = {}
    if side != V2_WHOLE:
        limit = _LARGE if side in _IN_LARGE_BATCHES else _BATCH
        options["nats.max.messages.per.trigger"] = str(limit)
    flavor = "nats-v2"
    if side in _BALANCED:
        flavor = "nats-balanced"
        options["nats.durable.name"] = uuid.uuid4().hex
    if side in (ALL, ALL_LARGE):
        options["nats.ack.policy"] = "all"
    result = run_query(session, server, _STREAM, count, options=options, flavor=flavor)
    if flavor == "nats-balanced":
        _check_acknowledged(server.url, options["nats.durable.name"], count)
    return result.whole, {k: v / count * 1e6 for k, v in result.usage.items()}


def _check_acknowledged(url: str, durable: str, count: int) -> None:
    """Raise if not every message is acknowledged, because a rate is only valid then; delete the
    consumer."""

    async def check() -> None:
        client = await nats.connect(url)
        info = await client.jetstream().consumer_info(_STREAM, durable)
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        if (floor, info.num_ack_pending) != (count, 0):
            raise RuntimeError(
                f"consumer {durable}: ack floor {floor} of {count}, {info.num_ack_pending} pending"
            )
        await client.jetstream().delete_consumer(_STREAM, durable)
        await client.close()

    asyncio.run(check())


async def _plain(url: str, count: int) -> float:
    """Return the rate of nats-py with a pull consumer and an ack for each message."""
    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
    pull = await client.jetstream().pull_subscribe("", stream=_STREAM, config=config)
    started = time.perf_counter()
    received = 0
    while received < count:
        for message in await pull.fetch(_PULL_BATCH, timeout=10):
            await message.ack()
            received += 1
    await client.flush()
    seconds = time.perf_counter() - started
    await pull.unsubscribe()
    await client.close()
    return received / seconds


def _driver_alone(url: str, count: int) -> tuple[float, float]:
    """Return the seconds that the driver takes to pull a batch, and to get its acks confirmed."""
    options = {"nats.url": url, "nats.stream.name": _STREAM, "nats.durable.name": uuid.uuid4().hex}
    settings = NatsSettings.from_options(options, flavor="balanced")
    durable = settings.durable_name or ""
    connection = PullConnection(settings, _STREAM, durable)
    config = {
        "durable_name": durable,
        "ack_policy": "explicit",
        "max_ack_pending": 2 * count,
        "headers_only": True,
    }
    call = f"CONSUMER.DURABLE.CREATE.{_STREAM}.{durable}"
    request(connection.link, settings, call, {"stream_name": _STREAM, "config": config})
    started = time.perf_counter()
    parts: list[Deliveries] = []
    while (got := sum(map(len, parts))) < count:
        parts.append(connection.pull(min(_MESSAGES_PER_PULL, count - got), None, 1.0).deliveries)
    deliveries = Deliveries.of(parts)
    pulled = time.perf_counter()
    send_acks(connection.link, f"$JS.ACK.{_STREAM}.{durable}", deliveries, ACK, 30.0, 30.0)
    acked = time.perf_counter()
    connection.close()
    _check_floor(settings, durable, count)
    return pulled - started, acked - pulled


def _check_floor(settings: NatsSettings, durable: str, count: int) -> None:
    connection = PullConnection(settings, _STREAM, durable)
    info = request(connection.link, settings, f"CONSUMER.INFO.{_STREAM}.{durable}")
    if (info["ack_floor"]["stream_seq"], info["num_ack_pending"]) != (count, 0):
        raise RuntimeError(f"consumer {durable}: ack floor {info['ack_floor']} of {count}")
    request(connection.link, settings, f"CONSUMER.DELETE.{_STREAM}.{durable}")
    connection.close()


def _report(
    count: int,
    rates: dict[str, list[float]],
    usage: dict[str, list[dict[str, float]]],
    phases: dict[str, list[float]],
    judge: bool,
) -> dict[str, Any]:
    print(f"\n{count:,} messages of {_SIZE} bytes, messages per second, acks included")
    print_rates(LABELS, rates)
    ratios = print_ratios(RATIOS, rates, TARGETS if judge else {})
    spent = print_usage(LABELS, usage)
    size = min(_BATCH, count)
    print(f"the driver's own work for a batch of {size:,}, milliseconds")
    for phase, seconds in phases.items():
        raw = "  ".join(f"{1000 * each:.0f}" for each in seconds)
        print(f"  {phase:<50}{1000 * median(seconds):>10.0f}   ({raw} )")
    title = f"{count:,} messages of {_SIZE} bytes, acks included"
    return {
        "charts": [rate_chart(title, LABELS, rates), usage_chart(LABELS, spent)],
        "messages": count,
        "rates": {side: [round(rate) for rate in values] for side, values in rates.items()},
        "ratios": ratios,
        "core_seconds_per_million": spent,
        "seconds_of_a_batch": {"messages": size, **phases},
    }


if __name__ == "__main__":
    main()
