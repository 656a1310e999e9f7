"""A driver process that is there to be killed: a query from one stream to another.

Run as ``python -m tests._support.sink_victim URL SOURCE TARGET FOLDER MODE now|on``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import local_spark


def main(url: str, source: str, target: str, folder: str, mode: str, until: str) -> None:
    place = Path(folder)
    spark = local_spark(place / "spark", master="local[2,4]")
    writer = (
        spark.readStream.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", source)
        .option("nats.max.messages.per.trigger", "10000")
        .option("nats.min.range", "500")
        .load()
        .selectExpr(f"concat('{target}.', subject) as subject", "content")
        .writeStream.format("nats-v2")
        .option("nats.url", url)
        .option("nats.sink.mode", mode)
        .option("checkpointLocation", str(place / "checkpoint"))
    )
    writer = writer.trigger(availableNow=True) if until == "now" else writer
    writer.start().awaitTermination()


if __name__ == "__main__":
    main(*sys.argv[1:])
