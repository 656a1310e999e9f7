"""A driver process that is there to be killed: a query from a durable consumer to Parquet.

The first attempt of every task fails behind its first rows, so that all rows come from retries.
Run as ``python -m tests._support.balanced_victim URL STREAM FOLDER``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext

from .spark import local_spark


def failing_at_first(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None
    for batch in batches:
        yield batch
        if not context.attemptNumber():
            raise RuntimeError("the first attempt fails, as it shall")


def main(url: str, stream: str, folder: str) -> None:
    place = Path(folder)
    spark = local_spark(place / "spark", master="local[2,4]")
    (
        spark.readStream.format("nats-balanced")
        .option("nats.url", url)
        .option("nats.stream.name", stream)
        .option("nats.durable.name", "spark")
        .option("nats.msg.ack.wait.secs", "2")
        .option("nats.num.listeners", "2")
        .option("nats.max.messages.per.trigger", "2000")
        .load()
        .select("streamSeq", "content")
        .mapInArrow(failing_at_first, "streamSeq bigint, content binary")
        .writeStream.format("parquet")
        .option("path", str(place / "rows"))
        .option("checkpointLocation", str(place / "checkpoint"))
        .start()
        .awaitTermination()
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
