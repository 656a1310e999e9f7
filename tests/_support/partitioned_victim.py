"""A driver process that is there to be killed: numbered streams to a folder for each batch.

Rows are numbered in the order in which a task got them. Run as
``python -m tests._support.partitioned_victim URL PREFIX FOLDER now|on``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from .spark import local_spark


def main(url: str, prefix: str, folder: str, until: str) -> None:
    place = Path(folder)

    def store(batch: DataFrame, number: int) -> None:
        ordered = batch.select(
            f.spark_partition_id().alias("partition"),
            f.monotonically_increasing_id().alias("row"),
            "stream",
            "subject",
            "content",
        )
        ordered.write.mode("overwrite").parquet(str(place / "rows" / f"batch={number}"))

    spark = local_spark(place / "spark")
    writer = (
        spark.readStream.format("nats-partitioned")
        .option("nats.url", url)
        .option("nats.stream.prefix", prefix)
        .option("nats.max.messages.per.trigger", "3000")
        .load()
        .writeStream.foreachBatch(store)
        .option("checkpointLocation", str(place / "checkpoint"))
    )
    writer = writer.trigger(availableNow=True) if until == "now" else writer
    writer.start().awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:])
