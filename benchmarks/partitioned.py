"""Measure the partitioned flavor and V2 on the same streams in one run, and print ratios.

python benchmarks/partitioned.py [--quick] [--messages N] [--out FOLDER]
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

from fill import fill
from nats_spark_common.embedded import EmbeddedServer
from report import parser, print_rates, print_ratios, print_usage, rate_chart, save, usage_chart
from spark_side import make_session, run_query

_SIZE = 200
_BATCH = 200_000
#: Each stream's share of the messages, by prefix.
_EVEN, _SKEWED = "EVEN", "SKEWED"
_SHARES = {_EVEN: (0.5, 0.5), _SKEWED: (0.9, 0.1)}

V2, PARTITIONED = "v2", "partitioned"
V2_BATCHES, PARTITIONED_BATCHES = "v2 batches", "partitioned batches"
V2_SKEWED, PARTITIONED_SKEWED = "v2 skewed", "partitioned skewed"
LABELS = {
    V2: "nats-v2, two streams, one batch",
    PARTITIONED: "nats-partitioned, two streams, one batch",
    V2_BATCHES: f"nats-v2, batches of {_BATCH:,}",
    PARTITIONED_BATCHES: f"nats-partitioned, batches of {_BATCH:,}",
    V2_SKEWED: "nats-v2, streams of 90 % and 10 %",
    PARTITIONED_SKEWED: "nats-partitioned, streams of 90 % and 10 %",
}
RATIOS = {
    "partitioned / v2, one batch": (PARTITIONED, V2),
    "partitioned / v2, same batches": (PARTITIONED_BATCHES, V2_BATCHES),
    "partitioned / v2, skewed streams": (PARTITIONED_SKEWED, V2_SKEWED),
}
TARGETS = {"partitioned / v2, one batch": 0.9, "partitioned / v2, same batches": 0.9}


def main() -> None:
    arguments = parser(__doc__, messages="number of messages of 200 bytes").parse_args()
    count = arguments.messages or (300_000 if arguments.quick else 2_000_000)
    rates: dict[str, list[float]] = {}
    usage: dict[str, list[dict[str, float]]] = {}
    with EmbeddedServer() as server:
        for prefix, shares in _SHARES.items():
            for i, share in enumerate(shares):
                fill(server.url, f"{prefix}-{i}", round(count * share), _SIZE)
        session = make_session()
        _run(session, server, PARTITIONED, count)  # warms up
        for number in range(1 if arguments.quick else 5):
            print(f"round {number + 1}", file=sys.stderr, flush=True)
            # The order alternates, so that effects of one side on the next hit both.
            for side in list(LABELS)[:: 1 if number % 2 else -1]:
                rate, used = _run(session, server, side, count)
                rates.setdefault(side, []).append(rate)
                usage.setdefault(side, []).append(used)
        session.stop()
    print(f"\n{count:,} messages of {_SIZE} bytes, messages per second")
    print_rates(LABELS, rates)
    ratios = print_ratios(RATIOS, rates, {} if arguments.quick else TARGETS)
    spent = print_usage(LABELS, usage)
    found = {
        "charts": [
            rate_chart(f"{count:,} messages of {_SIZE} bytes", LABELS, rates),
            usage_chart(LABELS, spent),
        ],
        "messages": count,
        "rates": {side: [round(rate) for rate in values] for side, values in rates.items()},
        "ratios": ratios,
        "core_seconds_per_million": spent,
    }
    save(arguments, "partitioned", found)


def _run(
    session: SparkSession, server: EmbeddedServer, side: str, count: int
) -> tuple[float, dict[str, float]]:
    """Return a query's messages per second and core-seconds per million messages."""
    flavor, _, kind = side.partition(" ")
    prefix = _SKEWED if kind == "skewed" else _EVEN
    streams = ",".join(f"{prefix}-{i}" for i in range(len(_SHARES[prefix])))
    options = {"nats.stream.prefix": prefix}
    if kind == "batches":
        options["nats.max.messages.per.trigger"] = str(_BATCH)
    result = run_query(session, server, streams, count, options=options, flavor=f"nats-{flavor}")
    return result.whole, {k: v / count * 1e6 for k, v in result.usage.items()}


if __name__ == "__main__":
    main()
