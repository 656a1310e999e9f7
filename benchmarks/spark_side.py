"""The side that is measured with Spark: a streaming query from start to termination."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from nats_spark_common.embedded import EmbeddedServer
from usage import Usage


@dataclass(frozen=True)
class QueryRates:
    """Rows per second: over the whole query, over its triggers, and over ``addBatch`` alone.

    ``usage`` is the core-seconds of the whole query, as in `usage.Usage`; ``seconds`` its duration.
    """

    whole: float
    trigger: float
    batch: float
    usage: dict[str, float]
    seconds: float


def make_session(cores: int = 2, jars: str = "") -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local[{cores}]")
        .appName("benchmarks")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.jars", jars)
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return session


def run_query(
    session: SparkSession,
    server: EmbeddedServer,
    stream: str | None,
    expected: int,
    columns: str | None = None,
    options: dict[str, str] | None = None,
    flavor: str = "nats-v2",
) -> QueryRates:
    """Read the stream, or those that the options name, to the end into the noop sink.

    ``columns`` is a schema, ``None`` for all.
    """
    reader = (
        session.readStream.format(flavor)
        .option("nats.url", server.url)
        .options(**({"nats.stream.name": stream} if stream else {}), **(options or {}))
    )
    if columns:
        reader = reader.schema(columns)
    return run_frame(reader.load(), server.pid, expected, f"stream {stream}")


def run_frame(frame: DataFrame, server_pid: int, expected: int, what: str) -> QueryRates:
    """Read ``what``, a streaming frame, to its end into the noop sink."""
    with tempfile.TemporaryDirectory() as checkpoint:
        before, started = Usage.now(server_pid), time.perf_counter()
        query = (
            frame.writeStream.format("noop")
            .option("checkpointLocation", checkpoint)
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        seconds = time.perf_counter() - started
        used = Usage.now(server_pid) - before
    rows = sum(each["numInputRows"] for each in query.recentProgress)
    if rows != expected:
        raise RuntimeError(f"{what}: the query read {rows} rows, not {expected}")

    def part(name: str) -> float:
        return sum(float(each["durationMs"].get(name, 0)) for each in query.recentProgress) / 1000

    return QueryRates(
        rows / seconds, rows / part("triggerExecution"), rows / part("addBatch"), used, seconds
    )
