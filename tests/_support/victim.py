"""A driver process that is there to be killed: one query for each name in its arguments.

Run as ``python -m tests._support.victim URL PREFIX FOLDER now|on NAME...``. A query reads the
stream ``PREFIX-<name>`` and keeps its checkpoint and its rows in ``FOLDER/<name>``. The copying
queries read ``PREFIX-source``. The environment says how V2 reads (``NATS_READ_VIA``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming import DataStreamWriter, StreamingQuery

from .spark import local_spark

#: What each query takes in a batch.
BATCH = {
    "v2": 3000,
    "partitioned": 3000,
    "balanced": 10_000,  # from here on, the next batch is pulled ahead
    "exactly-once": 10_000,
    "at-least-once": 10_000,
}
COPYING = ("exactly-once", "at-least-once")


@dataclass(frozen=True)
class Queries:
    """The queries by their names."""

    spark: SparkSession
    url: str
    prefix: str
    folder: Path

    def writer(self, name: str) -> DataStreamWriter:
        made: DataStreamWriter = self.copy(name) if name in COPYING else getattr(self, name)()
        return made.option("checkpointLocation", str(self.folder / name / "checkpoint"))

    def source(self, name: str, flavor: str, **options: str) -> DataFrame:
        reader = (
            self.spark.readStream.format(flavor)
            .option("nats.url", self.url)
            .option("nats.max.messages.per.trigger", str(BATCH[name]))
        )
        return reader.options(**{f"nats.{key}": options[key] for key in options}).load()

    def parquet(self, name: str, rows: DataFrame) -> DataStreamWriter:
        return rows.writeStream.format("parquet").option("path", str(self.folder / name / "rows"))

    def v2(self) -> DataStreamWriter:
        options = {"stream.name": f"{self.prefix}-v2", "min.range": "500"}
        rows = self.source("v2", "nats-v2", **options).select("streamSeq", "content")
        return self.parquet("v2", rows)

    def balanced(self) -> DataStreamWriter:
        """The first attempt of every task fails, so that all rows come from retries."""
        options = {
            "stream.name": f"{self.prefix}-balanced",
            "durable.name": "spark",
            "msg.ack.wait.secs": "2",
            "num.listeners": "2",
        }
        rows = self.source("balanced", "nats-balanced", **options).select("streamSeq", "content")
        retried = rows.mapInArrow(failing_at_first, "streamSeq bigint, content binary")
        return self.parquet("balanced", retried)

    def partitioned(self) -> DataStreamWriter:
        """Rows are numbered in the order in which a task got them."""
        place = self.folder / "partitioned" / "rows"

        def store(batch: DataFrame, number: int) -> None:
            ordered = batch.select(
                f.spark_partition_id().alias("partition"),
                f.monotonically_increasing_id().alias("row"),
                "stream",
                "subject",
                "content",
            )
            ordered.write.mode("overwrite").parquet(str(place / f"batch={number}"))

        options = {"stream.prefix": f"{self.prefix}-partitioned"}
        return self.source("partitioned", "nats-partitioned", **options).writeStream.foreachBatch(
            store
        )

    def copy(self, mode: str) -> DataStreamWriter:
        options = {"stream.name": f"{self.prefix}-source", "min.range": "500"}
        target = f"{self.prefix}-{mode}."
        return (
            self.source(mode, "nats-v2", **options)
            .selectExpr(f"concat('{target}', subject) as subject", "content")
            .writeStream.format("nats-v2")
            .option("nats.url", self.url)
            .option("nats.sink.mode", mode)
        )


def failing_at_first(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None
    for batch in batches:
        yield batch
        if not context.attemptNumber():
            raise RuntimeError("the first attempt fails, as it shall")


def run(spark: SparkSession, starts: dict[str, Callable[[], StreamingQuery]]) -> None:
    """Run the queries until all have ended; the first failure ends the driver."""
    running = {name: start() for name, start in starts.items()}
    while running:
        try:
            spark.streams.awaitAnyTermination()
        except StreamingQueryException:
            pass  # told by the query itself, below
        spark.streams.resetTerminated()
        for name, query in list(running.items()):
            if query.isActive:
                continue
            error = query.exception()
            if error is None:
                del running[name]
            # Seen once, of queries that started at the same time: they share the environment
            # variables of their Python source, which Spark changes and serializes.
            elif "Task not serializable" in str(error):
                running[name] = starts[name]()
            else:
                raise error


def main(url: str, prefix: str, folder: str, until: str, *names: str) -> None:
    place = Path(folder)
    spark = local_spark(place / "spark", master="local[2,4]")
    queries = Queries(spark, url, prefix, place)

    def start(name: str) -> StreamingQuery:
        writer = queries.writer(name)
        return (writer.trigger(availableNow=True) if until == "now" else writer).start()

    run(spark, {name: lambda name=name: start(name) for name in names})


if __name__ == "__main__":
    main(*sys.argv[1:])
