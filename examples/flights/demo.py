"""`make demo`: a year of real flights through JetStream and Spark, each counted exactly once.

Publishes 336,776 flights to a stream, runs a streaming query that writes windowed statistics over
them to another stream, stops it in the middle, restarts it from its checkpoint, reads the
statistics back and compares them with the data. Uses the server at ``NATS_URL``, or starts one.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming.query import StreamingQuery
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nats_spark_common.cli import main as nats_spark
from nats_spark_common.embedded import EmbeddedServer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import chart  # noqa: E402
import flights  # noqa: E402
from publish import forget, publish  # noqa: E402

STREAM = "NATS_SPARK_DEMO_FLIGHTS"
DELAYS = "NATS_SPARK_DEMO_DELAYS"
BATCH = 40_000
STOP_AFTER = 120_000
FLIGHT = "carrier string, origin string, time_hour timestamp, dep_delay double, arr_delay double"
DELAY = "carrier string, week timestamp, flights long, sequences long, departed long, delay double"

out = Console(highlight=False)


@contextmanager
def nats_server() -> Iterator[str]:
    """Return the URL of the user's server, or start one for the demo."""
    url = os.environ.get("NATS_URL")
    if url:
        out.print(f"[bold]1[/] using the NATS server at {url}")
        yield url
        return
    with EmbeddedServer() as server:
        out.print(f"[bold]1[/] started a NATS server with JetStream at {server.url}")
        yield server.url


def publish_flights(url: str, table: pa.Table) -> None:
    """Publish with a progress bar; exit if the stream does not hold every flight."""
    columns = (
        TextColumn("[bold]2[/] publishing flights"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out) as progress:
        task = progress.add_task("publish", total=table.num_rows)
        stored = asyncio.run(
            publish(
                url, STREAM, flights.messages(table), lambda n: progress.update(task, advance=n)
            )
        )
    if stored != table.num_rows:
        raise SystemExit(f"the stream holds {stored:,} of {table.num_rows:,} flights")


def start_spark(work: Path) -> SparkSession:
    """Start a local session whose workers use this Python."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    return (
        SparkSession.builder.master("local[2]")
        .appName("flights")
        .config("spark.driver.extraJavaOptions", f"-Dlog4j2.configurationFile={HERE}/log4j2.xml")
        .config("spark.local.dir", str(work))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


def delays(spark: SparkSession, url: str) -> DataFrame:
    """Compute statistics per carrier and week: the job that the demo shows."""
    messages = (
        spark.readStream.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", STREAM)
        .option("nats.max.messages.per.trigger", BATCH)
        .load()
    )
    flight = f.from_json(f.col("content").cast("string"), FLIGHT).alias("flight")
    return (
        messages.select("streamSeq", flight)
        .groupBy(f.window("flight.time_hour", "7 days"), "flight.carrier")
        .agg(
            f.count("*").alias("flights"),
            f.sum("streamSeq").alias("sequences"),
            f.count("flight.dep_delay").alias("departed"),  # cancelled flights have no delay
            f.sum("flight.dep_delay").alias("delay"),
        )
        .withColumn("week", f.col("window.start"))
        .drop("window")
    )


def as_messages(statistics: DataFrame) -> DataFrame:
    """Convert each row to a message: subject, content and a unique id."""
    week = f.date_format("week", "yyyyMMdd")
    return statistics.select(
        f.concat_ws(".", f.lit("delays"), "carrier", week).alias("subject"),
        f.to_json(f.struct("*")).alias("content"),
        f.concat_ws("/", "carrier", week, "flights").alias("msgId"),
    )


def run_query(spark: SparkSession, url: str, work: Path, until: int | None) -> int:
    """Run until ``until`` flights are counted, or to the stream's end; return the number."""
    writer = (
        as_messages(delays(spark, url))
        .writeStream.format("nats-v2")
        .outputMode("complete")  # unchanged rows keep their ids, so they are not stored again
        .option("checkpointLocation", str(work / "checkpoint"))
        .option("nats.url", url)
        .option("nats.sink.mode", "exactly-once")
        .option("nats.sink.create.stream", "true")
        .option("nats.stream.name", DELAYS)
        .option("nats.stream.subjects", "delays.>")
    )
    query = (writer if until else writer.trigger(availableNow=True)).start()
    counted = 0
    seen = -1
    while True:
        running = query.isActive
        for progress in query.recentProgress:
            if progress["batchId"] > seen and progress["numInputRows"]:
                seen = progress["batchId"]
                counted += progress["numInputRows"]
                out.print(
                    f"    batch {seen}: {progress['numInputRows']:>7,} flights in "
                    f"{progress['batchDuration'] / 1000:.1f} s, up to sequence "
                    f"{_position(progress):,}"
                )
        if not running or (until and counted >= until):
            break
        query.awaitTermination(0.2)
    _finish(query)
    return counted


def read_back(spark: SparkSession, url: str) -> pa.Table:
    """Return the latest statistics per carrier and week; exit if an update is stored twice."""
    messages = (
        spark.read.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", DELAYS)
        .load()
        .select(
            "streamSeq",
            f.col("headers")["Nats-Msg-Id"][0].alias("id"),
            f.from_json(f.col("content").cast("string"), DELAY).alias("delay"),
        )
    )
    stored, ids = messages.agg(f.count("*"), f.countDistinct("id")).head()
    if stored != ids:
        raise SystemExit(f"stream {DELAYS}: {stored - ids:,} of {stored:,} updates are duplicates")
    out.print(f"    stream {DELAYS} holds {stored:,} updates, each exactly once")
    latest = messages.groupBy("delay.carrier", "delay.week").agg(
        f.max_by("delay", "streamSeq").alias("delay")
    )
    return latest.select("delay.*").toArrow()


def keep(checkpoint: Path) -> Path:
    """Save the checkpoint if the server stays, so that the command can be repeated."""
    if "NATS_URL" not in os.environ:
        return checkpoint
    kept = HERE / "output" / "checkpoint"
    shutil.rmtree(kept, ignore_errors=True)
    return Path(os.path.relpath(shutil.copytree(checkpoint, kept)))


def show_lag(checkpoint: Path, url: str) -> None:
    """Run the command that shows how far a query is behind, and print it."""
    out.print(f"    $ nats-spark lag {checkpoint} --url {url}", style="bold", soft_wrap=True)
    sys.stdout.flush()
    code = nats_spark(["lag", str(checkpoint), "--url", url])
    if code:
        raise SystemExit(code)


def _position(progress: dict[str, Any]) -> int:
    """Return the last stream sequence of a batch, from the offset in the query's progress."""
    offset = json.loads(progress["sources"][0]["endOffset"])
    return int(offset["streams"][STREAM]["seq"])


def _finish(query: StreamingQuery) -> None:
    query.stop()
    error = query.exception()
    if error is not None:
        raise error


def main() -> None:
    began = time.monotonic()
    table = flights.load()
    with tempfile.TemporaryDirectory(prefix="flights-") as folder, nats_server() as url:
        work = Path(folder)
        asyncio.run(forget(url, DELAYS))
        publish_flights(url, table)
        out.print("[bold]3[/] streaming the flights through Spark; stopping the query halfway")
        spark = start_spark(work)
        first = run_query(spark, url, work, STOP_AFTER)
        out.print(f"    stopped after {first:,} flights")
        show_lag(work / "checkpoint", url)
        out.print("[bold]4[/] restarting the query from its checkpoint")
        run_query(spark, url, work, None)
        out.print("[bold]5[/] reading the statistics back from JetStream")
        statistics = read_back(spark, url)
        spark.stop()
        show(statistics)
        picture = chart.save(statistics, flights.airlines(), HERE / "output" / "delays.png")
        out.print(f"[bold]6[/] plot saved as {os.path.relpath(picture)}")
        prove(statistics, table)
        out.print(f"    done in {time.monotonic() - began:.0f} s; nothing is left to read:")
        show_lag(keep(work / "checkpoint"), url)


def show(statistics: pa.Table) -> None:
    """Print a table of the carriers, busiest first."""
    sums = [("flights", "sum"), ("departed", "sum"), ("delay", "sum")]
    totals = statistics.group_by("carrier").aggregate(sums)
    names = flights.airlines()
    shown = Table("airline", "flights", "mean departure delay", title="Flights from New York, 2013")
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in totals.sort_by([("flights_sum", "descending")]).to_pylist():
        minutes = row["delay_sum"] / row["departed_sum"]
        shown.add_row(names[row["carrier"]], f"{row['flights_sum']:,}", f"{minutes:.1f} min")
    out.print(shown)


def prove(statistics: pa.Table, table: pa.Table) -> None:
    """Compare the flights per carrier and the sum of all stream sequences with the data."""
    counted = statistics.group_by("carrier").aggregate([("flights", "sum")])
    expected = table.group_by("carrier").aggregate([("carrier", "count")])
    as_counted = dict(
        zip(counted["carrier"].to_pylist(), counted["flights_sum"].to_pylist(), strict=True)
    )
    as_published = dict(
        zip(expected["carrier"].to_pylist(), expected["carrier_count"].to_pylist(), strict=True)
    )
    total = table.num_rows
    sequences = pc.sum(statistics["sequences"]).as_py()
    if as_counted != as_published or sequences != total * (total + 1) // 2:
        raise SystemExit(
            f"counted {sum(as_counted.values()):,} flights of {total:,}: "
            "some were lost or counted twice"
        )
    out.print(
        f"[bold green]✓ each of the {total:,} flights was counted exactly once[/]: the counts of\n"
        f"  all {len(as_counted)} carriers and the sum of the stream sequences, {sequences:,},\n"
        "  agree with the data"
    )


if __name__ == "__main__":
    main()
