"""A driver process that is there to be killed: a query from JetStream to Parquet.

Run as ``python -m tests._support.victim URL STREAM FOLDER VIA [now]``; VIA is ``nats.read.via``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .spark import local_spark


def main(url: str, stream: str, folder: str, via: str, until: str = "on") -> None:
    place = Path(folder)
    spark = local_spark(place / "spark")
    writer = (
        spark.readStream.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", stream)
        .option("nats.max.messages.per.trigger", "3000")
        .option("nats.min.range", "500")
        .option("nats.read.via", via)
        .load()
        .select("streamSeq", "content")
        .writeStream.format("parquet")
        .option("path", str(place / "rows"))
        .option("checkpointLocation", str(place / "checkpoint"))
    )
    writer = writer.trigger(availableNow=True) if until == "now" else writer
    writer.start().awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:])
