"""A driver whose executors are processes of their own, which are there to be killed.

Run as ``python -m tests._support.executor_victim URL PREFIX FOLDER``: three queries run to the ends
of their streams, on a ``local-cluster`` with speculation, dynamic allocation and decommissioning.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark import TaskContext

from .spark import JVM_OPTIONS, local_spark
from .victim import Queries, run

MASTER = "local-cluster[3,1,700]"

CONFIGURATION = {
    "spark.executor.memory": "512m",
    "spark.executor.extraJavaOptions": JVM_OPTIONS,
    "spark.executorEnv.PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    "spark.task.maxFailures": "20",
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.multiplier": "1.5",
    "spark.speculation.quantile": "0.5",
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.minExecutors": "1",
    "spark.dynamicAllocation.initialExecutors": "2",
    "spark.dynamicAllocation.maxExecutors": "3",
    "spark.dynamicAllocation.schedulerBacklogTimeout": "1s",
    "spark.dynamicAllocation.executorIdleTimeout": "5s",
    "spark.decommission.enabled": "true",
    "spark.excludeOnFailure.enabled": "false",
}


def slow_first_attempts(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Every other task takes so long at its first attempt that Spark starts a second one."""
    context = TaskContext.get()
    assert context is not None
    for batch in batches:
        yield batch
        if context.partitionId() % 2 and not context.attemptNumber():
            time.sleep(1.0)


class ExecutorQueries(Queries):
    """The queries of `victim`, with tasks that speculation repeats."""

    def copy(self, mode: str):  # type: ignore[no-untyped-def]
        options = {"stream.name": f"{self.prefix}-source", "min.range": "500", "partitions": "4"}
        target = f"{self.prefix}-{mode}."
        rows = self.source(mode, "nats-v2", **options)
        rows = rows.selectExpr(f"concat('{target}', subject) as subject", "content")
        slow = rows.mapInArrow(slow_first_attempts, "subject string, content binary")
        writer = slow.writeStream.format("nats-v2").option("nats.url", self.url)
        return writer.option("nats.sink.mode", mode)


def main(url: str, prefix: str, folder: str) -> None:
    place = Path(folder)
    spark = local_spark(place / "spark", master=MASTER, configuration=CONFIGURATION)
    queries = ExecutorQueries(spark, url, prefix, place)
    names = ("v2", "balanced", "exactly-once")
    run(
        spark,
        {
            name: lambda name=name: queries.writer(name).trigger(availableNow=True).start()
            for name in names
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
