"""Queries on the Spark of this process, and what came of each, as JSON in the last line.

Run as ``python -m tests._support.old_spark_queries URL PREFIX FOLDER SCENARIO...``. ``killed``
finishes the queries of ``PREFIX`` that `victim` left in ``FOLDER``. The other scenarios have
streams of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from .admin import Admin, wait_until
from .options import options
from .spark import local_spark
from .victim import Queries

#: The queries of `victim` that run on an older Spark.
KILLED = ("v2", "partitioned", "exactly-once")

WRAPPER = "spark.sql.streaming.triggerAvailableNowWrapper.enabled"
PUSH_DOWN = "spark.sql.python.filterPushdown.enabled"


class Scenarios:
    """Each method is one; it returns what the tests assert."""

    def __init__(self, spark: SparkSession, url: str, prefix: str, folder: Path) -> None:
        self.spark = spark
        self.url = url
        self.prefix = prefix
        self.folder = folder
        self.admin = Admin(url)

    def killed(self) -> dict[str, Any]:
        """The rows of a killed driver's queries, run to the ends of their streams.

        Sequences of V2, and the numbers in each key's payloads of partitioned in reading order.
        """
        queries = Queries(self.spark, self.url, self.prefix, self.folder)
        running = [queries.writer(name).start() for name in KILLED]
        for query in running:
            query.processAllAvailable()
            query.stop()
        rows = self.spark.read.parquet(str(self.folder / "v2" / "rows")).collect()
        keys: dict[str, list[int]] = {}
        table = self.spark.read.parquet(str(self.folder / "partitioned" / "rows"))
        for row in table.orderBy("batch", "row").collect():
            keys.setdefault(row.subject, []).append(int(row.content))
        return {"v2": sorted(row.streamSeq for row in rows), "partitioned": keys}

    def available_now(self) -> list[list[int]]:
        """The sequences of four runs: three with a limit of 10, the third of them with ``once``."""
        stream = self.stream("now", 50)
        runs = [Run(self, stream, max_messages_per_trigger="10") for _ in range(3)]
        runs.append(Run(self, stream))
        for run in runs[0], runs[1]:
            run.now()
        runs[2].start(once=True).awaitTermination()
        runs[3].now()
        return [run.seqs for run in runs]

    def limit(self) -> dict[str, Any]:
        """The sizes of the batches of two runs that end when they are idle, and what they report.

        Each batch reports its end and the latest offset.
        """
        stream = self.stream("limit", 25)
        first = Run(self, stream, max_messages_per_trigger="10")
        first.until_idle()
        self.admin.fill(stream, 25)
        second = Run(self, stream, max_messages_per_trigger="10")
        second.until_idle()
        return {
            "sizes": [len(batch) for run in (first, second) for batch in run.batches],
            "reported": first.reported,
        }

    def replayed(self) -> list[list[list[int]]]:
        """The batches of a run that fails in its second one, and of two more runs."""
        stream = self.stream("replayed", 30)
        Run(self, stream, max_messages_per_trigger="10").now()
        runs = [Run(self, stream, max_messages_per_trigger="10") for _ in range(3)]
        runs[0].fails = True
        self.error(runs[0].now)
        self.admin.fill(stream, 5)
        runs[1].now()
        runs[2].until_idle()
        return [run.batches for run in runs]

    def latest(self) -> list[list[int]]:
        """The batches of a query that starts at the end of a stream, failing in its first."""
        stream = self.stream("latest", 10)
        failing = Run(self, stream, start="latest")
        with failing.running():
            failing.await_batches(1)  # an empty one: Spark starts a query so
            self.admin.fill(stream, 5)
            failing.fails = True
            wait_until(lambda: failing.query and not failing.query.isActive)
        self.admin.fill(stream, 5)
        second = Run(self, stream, start="latest")
        second.until_idle()
        return [batch for batch in failing.batches + second.batches if batch]

    def wrapper(self) -> dict[str, Any]:
        """A restart with Spark's wrapper for the trigger, and one without it."""
        stream = self.stream("wrapper", 30)
        Run(self, stream, max_messages_per_trigger="10").now()
        self.spark.conf.set(WRAPPER, "true")
        wrapped = Run(self, stream)
        error = self.error(wrapped.now)
        self.spark.conf.set(WRAPPER, "false")
        after = Run(self, stream)
        after.now()
        return {"error": error, "wrapped": wrapped.seqs, "after": after.seqs}

    def loss(self) -> dict[str, Any]:
        """Messages that are removed before they are read, and after; a recreated stream."""
        stream = self.stream("loss", 30)
        Run(self, stream, max_messages_per_trigger="10").now()
        self.admin.purge(stream, seq=11)  # 1 to 10, which the first batch has read
        read = Run(self, stream, max_messages_per_trigger="5")
        read.now()
        self.admin.purge(stream, seq=21)
        removed = self.error(Run(self, stream).now)
        allowed = Run(self, stream, fail_on_data_loss="false")
        allowed.now()
        self.admin.delete_stream(stream)
        self.admin.create_stream(stream)
        self.admin.fill(stream, 30)
        recreated = self.error(Run(self, stream).now)
        return {
            "read": read.seqs,
            "removed": removed,
            "allowed": allowed.seqs,
            "recreated": recreated,
        }

    def batch(self) -> dict[str, Any]:
        """A batch read and its columns; with filters, their rows and the number of tasks."""
        stream = self.stream("batch", 50)
        self.admin.publish(f"{stream}.x", b"\x00\xff", {"A": "1"})
        rows = self.spark.read.format("nats-v2").options(**self.options(stream)).load()
        last = rows.orderBy("streamSeq").tail(1)[0]
        self.spark.conf.set(PUSH_DOWN, "true")
        pushed = self.spark.read.format("nats").options(**self.options(stream)).load()
        found = pushed.where(f"subject = '{stream}.1' and streamSeq > 20").collect()
        divided = self.options(stream, partitions="4", min_range="10")
        few = self.spark.read.format("nats").options(**divided).load().where("streamSeq > 45")
        tasks = few.rdd.getNumPartitions()
        self.spark.conf.set(PUSH_DOWN, "false")
        stored = self.admin.run(self.admin.js.get_msg(stream, 51)).time
        counts = [rows.count()]
        self.admin.fill(stream, 3)
        counts.append(rows.count())
        return {
            "counts": counts,
            "columns": {**last.asDict(), "content": last.content.hex(), "timestamp": None},
            "seconds": [last.timestamp.timestamp(), stored and stored.timestamp()],
            "filtered": sorted(row.streamSeq for row in found),
            "tasks": tasks,
        }

    def written(self) -> dict[str, Any]:
        """Rows with headers and ids that a query writes, and a DataFrame."""
        source, target = self.stream("from", 20), f"{self.prefix}-to"
        self.admin.create_stream(target)
        rows = self.frame(source).selectExpr(
            f"concat('{target}.', streamSeq) as subject",
            "case when streamSeq = 7 then null else cast(content as string) end as content",
            "map('N', array(cast(streamSeq as string), 'x')) as headers",
            "concat('id-', streamSeq % 10) as msgId",  # each id twice
        )
        writer = rows.writeStream.format("nats-v2").option("nats.url", self.url)
        checkpoint = str(self.folder / "written")
        query = writer.option("checkpointLocation", checkpoint).trigger(availableNow=True).start()
        query.awaitTermination()
        frame = self.spark.sql(
            f"select '{target}.b' as subject, 'b' as content, map('H', 'v') as headers"
        )
        frame.write.format("nats").option("nats.url", self.url).mode("append").save()
        stored = self.admin.read_all(target)
        return {
            each.subject.removeprefix(f"{target}."): [each.payload.decode(), each.headers]
            for each in stored
        }

    def balanced(self) -> dict[str, str]:
        """The errors of the balanced flavor."""

        def read(name: str, **more: str) -> None:
            given = {"durable_name": "spark", **more}
            reader = self.spark.readStream.format(name)
            reader.options(**options(self.url, stream_name="any", **given)).load()

        return {
            "format": self.error(lambda: read("nats-balanced")),
            "chooser": self.error(lambda: read("nats", flavor="balanced")),
        }

    def stream(self, name: str, count: int) -> str:
        stream = f"{self.prefix}-{name}"
        self.admin.create_stream(stream)
        self.admin.fill(stream, count)
        return stream

    def options(self, stream: str, **more: str) -> dict[str, str]:
        return options(self.url, stream_name=stream, **more)

    def frame(self, stream: str, **more: str) -> DataFrame:
        return self.spark.readStream.format("nats").options(**self.options(stream, **more)).load()

    def error(self, work: Any) -> str:
        """The message of the error that ``work`` must raise."""
        try:
            work()
        except Exception as error:
            return str(error)
        raise AssertionError("there is no error")


class Run:
    """A query's run, over the checkpoint of its stream.

    Attributes:
        batches: the sequences of its batches.
        fails: whether its next batch fails when it has been read.
        reported: the end and the latest offset of each batch, if it ran until it was idle.
    """

    def __init__(self, scenarios: Scenarios, stream: str, **more: str) -> None:
        self._scenarios = scenarios
        self._stream = stream
        self._more = more
        self.batches: list[list[int]] = []
        self.fails = False
        self.reported: list[list[Any]] = []
        self.query: StreamingQuery | None = None

    @property
    def seqs(self) -> list[int]:
        return sorted(seq for batch in self.batches for seq in batch)

    def start(self, **trigger: Any) -> StreamingQuery:
        frame = self._scenarios.frame(self._stream, **self._more)
        checkpoint = str(self._scenarios.folder / self._stream)
        writer = frame.select("streamSeq").writeStream.foreachBatch(self._store)
        self.query = writer.option("checkpointLocation", checkpoint).trigger(**trigger).start()
        return self.query

    def now(self) -> None:
        """Run with ``availableNow``."""
        self.start(availableNow=True).awaitTermination()

    def until_idle(self) -> None:
        with self.running() as query:
            query.processAllAvailable()
            for progress in query.recentProgress:
                if progress["numInputRows"]:
                    (source,) = progress["sources"]
                    self.reported.append([source["endOffset"], source["latestOffset"]])

    @contextmanager
    def running(self) -> Iterator[StreamingQuery]:
        query = self.start(processingTime="0 seconds")
        yield query
        query.stop()

    def await_batches(self, count: int) -> None:
        wait_until(lambda: len(self.batches) >= count)

    def _store(self, batch: DataFrame, number: int) -> None:
        self.batches.append(sorted(row.streamSeq for row in batch.collect()))
        if self.fails:
            raise RuntimeError("the batch fails, as it shall")


def main(url: str, prefix: str, folder: str, *names: str) -> None:
    place = Path(folder)
    scenarios = Scenarios(local_spark(place / "spark"), url, prefix, place)
    found: dict[str, Any] = {}
    for name in names:
        begun = time.monotonic()
        found[name] = getattr(scenarios, name)()
        print(f"{name}: {time.monotonic() - begun:.1f} s", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
