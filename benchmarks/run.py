"""`make bench`: measures all sides in turn, in one run, and prints their ratios.

The rates depend on the machine; the ratios between things measured side by side do not much.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import nats  # noqa: E402
import report  # noqa: E402
import sides  # noqa: E402
from fill import fill  # noqa: E402
from nats.js.api import StreamConfig  # noqa: E402
from session import local_spark  # noqa: E402

from nats_spark_common.embedded import EmbeddedServer  # noqa: E402

SIZES = {"200 B": (200, 2_000_000), "1 KiB": (1024, 600_000)}
NARROW = "subject string, content binary"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true", help="leave the memory part out")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    scale, rounds = (10, 1) if arguments.quick else (1, arguments.rounds)
    results: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "rates": {},
    }
    with EmbeddedServer() as server:
        streams = {
            label: prepare(server.url, f"B{size}", count // scale, size)
            for label, (size, count) in SIZES.items()
        }
        for label, stream in streams.items():
            results["rates"][label] = measure(stream, rounds)
        if not arguments.no_memory:
            results["memory"] = memory(streams["200 B"])
    report.show(results)
    if not arguments.quick:
        report.save(results, arguments.out)
        print(f"\nsaved in {os.path.relpath(arguments.out)}")


def prepare(url: str, name: str, count: int, size: int) -> sides.Stream:
    """Create and fill a file stream."""

    async def create() -> None:
        client = await nats.connect(url)
        config = StreamConfig(name=name, subjects=[f"{name}.>"], allow_direct=True)
        await client.jetstream().add_stream(config)
        await client.close()

    asyncio.run(create())
    print(f"filling {name} with {count:,} messages of {size} bytes")
    fill(url, name, count, size)
    return sides.Stream(url, name, count)


def measure(stream: sides.Stream, rounds: int) -> dict[str, Any]:
    """All sides, one after the other, ``rounds`` times; medians, raw values and ratios."""
    spark = local_spark()
    sides.spark_stream(spark, stream)  # the JVM compiles what it runs: not the thing measured
    runs: dict[str, list[float]] = {side: [] for side in report.SIDES}
    for number in range(rounds):
        print(f"{stream.name}: round {number + 1} of {rounds}")
        runs["nats_py"].append(sides.nats_py(stream, min(100_000, stream.count)))
        runs["raw_socket"].append(sides.raw_socket(stream))
        runs["decode"].append(sides.decode_alone(stream))
        runs["nats_v2"].append(sides.spark_stream(spark, stream))
        runs["nats_v2_narrow"].append(sides.spark_stream(spark, stream, NARROW))
    spark.stop()
    median = {side: statistics.median(values) for side, values in runs.items()}
    return {"median": median, "runs": runs, "ratios": report.ratios(median)}


def memory(stream: sides.Stream) -> dict[str, Any]:
    """Peak memory for a tenth of the stream and for all of it, each in workers of its own."""
    peaks = {}
    for count in (stream.count // 10, stream.count):
        command = [sys.executable, str(HERE / "memory.py"), stream.url, stream.name, str(count)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[str(count)] = float(answer.stdout.split()[-1])
    short, long = peaks.values()
    return {"mib": peaks, "ratio": long / short}


if __name__ == "__main__":
    main()
