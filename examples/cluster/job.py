"""The job of docker-compose.yml: orders into a replicated stream, and sales out of it.

Publishes orders through Spark into a JetStream stream, sums them by country with a streaming query
that reads the stream and writes each sum to another one, reads the sums back and compares them with
the orders. Exits with code 0 if each order was counted exactly once, and with 1 if not.

    docker compose build && docker compose run --rm job      three NATS servers and a Spark cluster
    NATS_URL=nats://localhost:4222 python examples/cluster/job.py     your server and a local Spark

Environment, besides the ``NATS_…`` variables that set options (``NATS_URL``, ``NATS_FLAVOR``,
``NATS_STORAGE_REPLICAS``, …): ``SPARK_MASTER`` (default local[2]), ``ORDERS`` (the number of
orders, default 300,000) and ``CHECKPOINTS`` (a folder at the same path on driver and executors,
default a temporary one), ``METRICS_PORT`` (serve metrics for Prometheus there, if its package is
installed).
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import uuid

import nats
import nats.errors
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NotFoundError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

URL = os.environ.get("NATS_URL", "nats://localhost:4222")
FLAVOR = os.environ.get("NATS_FLAVOR", "v2")
REPLICAS = int(os.environ.get("NATS_STORAGE_REPLICAS", "1"))
ORDERS = int(os.environ.get("ORDERS", "300000"))
BATCH = 50_000
READY_SECONDS = 90

ORDERED = "NATS_SPARK_ORDERS-0"
SOLD = "NATS_SPARK_SALES"

# Each flavor uses the options that it needs, so the same query runs with every flavor.
SOURCE = {
    "nats.url": URL,
    "nats.stream.name": ORDERED,
    "nats.durable.name": "sales",  # balanced
    "nats.stream.prefix": "NATS_SPARK_ORDERS",  # partitioned: only NATS_SPARK_ORDERS-0
    "nats.num.partitions": "1",
    "nats.max.messages.per.trigger": str(BATCH),
}
SINK = {
    "nats.url": URL,
    "nats.sink.mode": "exactly-once",
    "nats.sink.create.stream": "true",
    "nats.stream.name": SOLD,
    "nats.stream.subjects": "sales.>",
    "nats.storage.replicas": str(REPLICAS),
}


async def prepare() -> None:
    """Recreate the streams, and retry until the servers are ready.

    A cluster accepts streams only after its servers have connected and elected a leader, some
    seconds after each of them answers.
    """
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            client = await nats.connect(
                URL.split(","), allow_reconnect=False, connect_timeout=5, error_cb=ignore
            )
            try:
                await recreate(client.jetstream())
                return
            finally:
                await client.close()
        except (APIError, nats.errors.Error, OSError, TimeoutError) as error:
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"{URL}: no stream of {REPLICAS} replica(s) after {READY_SECONDS} s: "
                    f"{error or type(error).__name__}"
                ) from error
            await asyncio.sleep(0.5)


async def ignore(error: Exception) -> None:
    """Ignore an error; by default nats-py prints each failed attempt with its traceback."""


async def recreate(jetstream: nats.js.JetStreamContext) -> None:
    """Delete the streams of an earlier run, and create the stream of orders."""
    for stream in (ORDERED, SOLD):
        try:
            await jetstream.delete_stream(stream)
        except NotFoundError:
            pass
    await jetstream.add_stream(
        StreamConfig(
            name=ORDERED,
            subjects=["orders.>"],
            num_replicas=REPLICAS,
            allow_direct=True,
            allow_batched=True,  # one ack for hundreds of messages, on servers from 2.14 on
        )
    )


def start_spark() -> SparkSession:
    """Start a session on the cluster of ``SPARK_MASTER``, or in this process."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return (
        SparkSession.builder.master(os.environ.get("SPARK_MASTER", "local[2]"))
        .appName("sales")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "WARN")
        .getOrCreate()
    )


def serve_metrics(spark: SparkSession) -> None:
    """Export the metrics of the queries, if ``METRICS_PORT`` says where."""
    port = os.environ.get("METRICS_PORT")
    if not port:
        return
    try:
        from nats_spark_common.observe import PrometheusListener
    except ImportError as error:
        say(f"no metrics: {error}")
        return
    spark.streams.addListener(PrometheusListener(int(port)))
    say(f"metrics for Prometheus on port {port}")


def orders(spark: SparkSession) -> DataFrame:
    """Return the orders (number, country and cents), the same in each run."""
    countries = f.array(*[f.lit(each) for each in ("at", "de", "fr", "it", "nl", "pl", "se")])
    return spark.range(1, ORDERS + 1).select(
        f.col("id").alias("number"),
        f.element_at(countries, (f.col("id") * 31 % 7 + 1).cast("int")).alias("country"),
        (f.col("id") * 7919 % 20_000 + 100).alias("cents"),
    )


def publish(table: DataFrame) -> None:
    """Write each order as one message, even if tasks or servers fail."""
    table.select(
        f.concat_ws(".", f.lit("orders"), "country").alias("subject"),
        f.to_json(f.struct("*")).alias("content"),
        f.concat(f.lit("order-"), "number").alias("msgId"),
    ).write.format("nats").options(**{"nats.url": URL, "nats.sink.mode": "exactly-once"}).mode(
        "append"
    ).save()


def totals(table: DataFrame) -> DataFrame:
    """Return the count of orders per country, the sum of cents and the sum of order numbers."""
    return table.groupBy("country").agg(
        f.count("*").alias("orders"),
        f.sum("cents").alias("cents"),
        f.sum("number").alias("numbers"),
    )


def count(spark: SparkSession, checkpoint: str) -> None:
    """Run the query: read orders, sum them, and write each total when it changes."""
    messages = spark.readStream.format("nats").options(**SOURCE).load()
    order = f.from_json(
        f.col("content").cast("string"), "number long, country string, cents long"
    ).alias("order")
    query = (
        totals(messages.select(order).select("order.*"))
        .select(
            f.concat_ws(".", f.lit("sales"), "country").alias("subject"),
            f.to_json(f.struct("*")).alias("content"),
            f.concat_ws("/", "country", "orders").alias("msgId"),  # one message for each change
        )
        .writeStream.format("nats")
        .options(**SINK)
        .queryName("sales")
        .outputMode("complete")
        .option("checkpointLocation", checkpoint)
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    for progress in query.recentProgress:
        if progress["numInputRows"]:
            say(
                f"batch {progress['batchId']}: {progress['numInputRows']:,} orders "
                f"in {progress['batchDuration'] / 1000:.1f} s"
            )


def sales(spark: SparkSession) -> DataFrame:
    """Read the last total of each country back from the stream."""
    total = "country string, orders long, cents long, numbers long"
    return (
        spark.read.format("nats-v2")  # reads one stream by its name, whatever the query's flavor
        .options(**{"nats.url": URL, "nats.stream.name": SOLD})
        .load()
        .select("streamSeq", f.from_json(f.col("content").cast("string"), total).alias("total"))
        .groupBy("total.country")
        .agg(f.max_by("total", "streamSeq").alias("total"))
        .select("total.*")
    )


def main() -> int:
    began = time.monotonic()
    asyncio.run(prepare())
    say(f"created stream {ORDERED} with {REPLICAS} replica(s) at {URL}")
    spark = start_spark()
    say(f"Spark {spark.version} at {spark.sparkContext.master}, flavor {FLAVOR}")
    serve_metrics(spark)
    table = orders(spark)
    publish(table)
    say(f"published {ORDERS:,} orders")
    with tempfile.TemporaryDirectory(prefix="sales-") as folder:
        count(spark, f"{os.environ.get('CHECKPOINTS', folder)}/{uuid.uuid4().hex}")
    counted = sales(spark).orderBy("country")
    counted.withColumn("cents", f.format_number(f.col("cents") / 100, 2)).withColumnRenamed(
        "cents", "euros"
    ).drop("numbers").show()
    same = counted.collect() == totals(table).orderBy("country").collect()
    spark.stop()
    if not same:
        say("✗ orders were lost or counted twice: the totals differ from the published orders")
        return 1
    seconds = time.monotonic() - began
    say(f"✓ each of the {ORDERS:,} orders was counted exactly once ({seconds:.0f} s)")
    return 0


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
