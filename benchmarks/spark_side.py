"""The side that is measured with Spark: a streaming query from its start to its end."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass

from pyspark.sql import SparkSession


@dataclass(frozen=True)
class QueryRates:
    """Rows per second: over the whole query, over its triggers, and over ``addBatch`` alone."""

    whole: float
    trigger: float
    batch: float


def make_session(cores: int = 2) -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local[{cores}]")
        .appName("benchmarks")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return session


def run_query(
    session: SparkSession,
    url: str,
    stream: str,
    expected: int,
    columns: str | None = None,
    options: dict[str, str] | None = None,
) -> QueryRates:
    """Read the stream to its end into the noop sink; ``columns`` is a schema, None for all."""
    reader = (
        session.readStream.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", stream)
        .options(**options or {})
    )
    if columns:
        reader = reader.schema(columns)
    frame = reader.load()
    with tempfile.TemporaryDirectory() as checkpoint:
        begun = time.perf_counter()
        query = (
            frame.writeStream.format("noop")
            .option("checkpointLocation", checkpoint)
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        seconds = time.perf_counter() - begun
    rows = sum(each["numInputRows"] for each in query.recentProgress)
    if rows != expected:
        raise RuntimeError(f"{stream}: {rows} rows, not {expected}")

    def part(name: str) -> float:
        return sum(each["durationMs"].get(name, 0) for each in query.recentProgress) / 1000

    return QueryRates(rows / seconds, rows / part("triggerExecution"), rows / part("addBatch"))
