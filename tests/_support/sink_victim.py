"""A driver process that is there to be killed: queries from one stream to others, in two modes.

Run as ``python -m tests._support.sink_victim URL SOURCE TARGET FOLDER now|on``; the queries write
to the streams ``TARGET-<mode>``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming import StreamingQuery

from .spark import local_spark

MODES = ("exactly-once", "at-least-once")


def main(url: str, source: str, target: str, folder: str, until: str) -> None:
    place = Path(folder)
    spark = local_spark(place / "spark", master="local[2,4]")

    def start(mode: str) -> StreamingQuery:
        writer = (
            spark.readStream.format("nats-v2")
            .option("nats.url", url)
            .option("nats.stream.name", source)
            .option("nats.max.messages.per.trigger", "10000")
            .option("nats.min.range", "500")
            .load()
            .selectExpr(f"concat('{target}-{mode}.', subject) as subject", "content")
            .writeStream.format("nats-v2")
            .option("nats.url", url)
            .option("nats.sink.mode", mode)
            .option("checkpointLocation", str(place / mode))
        )
        writer = writer.trigger(availableNow=True) if until == "now" else writer
        return writer.start()

    queries = [(mode, start(mode)) for mode in MODES]
    for mode, query in queries:
        try:
            query.awaitTermination()
        except StreamingQueryException as error:
            # Seen once, of queries that started at the same time: they share the environment
            # variables of their Python source, which Spark changes and serializes.
            if "Task not serializable" not in str(error):
                raise
            start(mode).awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:])
