"""A driver with the queries of a round.

Run as ``python -m tests.chaos.driver FOLDER URL SEED now|on NAME...``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.errors import StreamingQueryException

from .._support.spark import local_spark
from .scenarios import SCENARIOS, Session


def main(folder: str, url: str, seed: str, until: str, *names: str) -> None:
    spark = local_spark(Path(folder) / "spark", master="local[3,8]")
    session = Session(spark, url, Path(folder), int(seed), until == "now")
    running = [query for name in names for query in SCENARIOS[name].start(session)]
    while any(query.isActive for query in running):
        try:
            spark.streams.awaitAnyTermination()
        except StreamingQueryException:
            pass  # told by the query itself, below
        spark.streams.resetTerminated()
        for query in running:
            error = None if query.isActive else query.exception()
            if error:
                print(f"query {query.name} failed: {error}", file=sys.stderr, flush=True)
                sys.exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
