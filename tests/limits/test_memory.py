"""Millions of messages in one run need as much memory as a few, in driver and workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from pyspark.sql import DataFrame, SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.consuming import is_settled
from .._support.queries import balanced, frame
from .._support.writing import make_stream
from .filling import fill

#: Numbers of messages, and streams that have so many.
FEW, SOME, MANY = 300_000, 2_000_000, 10_000_000
STREAMS = {FEW: "FEW", SOME: "SOME", MANY: "MANY"}
#: What a run may need more, for whichever number of messages: of a process, and of Spark's heap,
#: which keeps statistics of each batch.
SPARE = 64 << 20

pytestmark = pytest.mark.limits


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        with closing(Admin(server.url)) as admin:
            for count, name in STREAMS.items():
                fill(admin, name, count, size=100)
        yield server


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[Admin]:
    with closing(Admin(server.url)) as admin:
        yield admin


class Memory:
    """The largest Python process that Spark has run, and its heap in the end, in bytes."""

    def __init__(self, spark: SparkSession) -> None:
        self.python = 0
        self.heap = 0
        self._jvm = spark.sparkContext._jvm
        gateway = spark.sparkContext._gateway
        assert gateway is not None
        self._process = psutil.Process(gateway.proc.pid)

    def look(self) -> None:
        for each in self._process.children(recursive=True):
            try:
                if each.name().startswith("python"):
                    self.python = max(self.python, each.memory_info().rss)
            except psutil.Error:
                pass  # it has ended

    def end(self) -> None:
        assert self._jvm is not None
        self._jvm.System.gc()
        runtime = self._jvm.Runtime.getRuntime()
        self.heap = runtime.totalMemory() - runtime.freeMemory()


@contextmanager
def measured(spark: SparkSession) -> Iterator[Memory]:
    memory, done = Memory(spark), threading.Event()

    def run() -> None:
        while not done.wait(0.1):
            memory.look()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()
    memory.end()


class Counted:
    """A sink that counts the rows, and adds up their sequences."""

    def __init__(self) -> None:
        self.rows = self.sum = self.batches = 0

    def __call__(self, batch: DataFrame, _: int) -> None:
        (found,) = batch.selectExpr("count(*) as rows", "sum(streamSeq) as sum").collect()
        self.rows += found.rows
        self.sum += found.sum or 0
        self.batches += 1


def run(writer: object, checkpoint: Path) -> None:
    query = (
        writer.option("checkpointLocation", str(checkpoint))  # type: ignore[attr-defined]
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()


@pytest.mark.parametrize(("limit", "batches"), [("1000000", 10), ("10000000", 1)])
def test_v2_reads_them(
    spark: SparkSession, server: EmbeddedServer, tmp_path: Path, limit: str, batches: int
) -> None:
    found = {}
    for count in (FEW, MANY):
        rows = Counted()
        source = frame(spark, server.url, STREAMS[count], max_messages_per_trigger=limit)
        with measured(spark) as found[count]:
            run(source.writeStream.foreachBatch(rows), tmp_path / str(count))
        assert (rows.rows, rows.sum) == (count, count * (count + 1) // 2)
    assert rows.batches == batches
    check(found, MANY)


def check(found: dict[int, Memory], count: int) -> None:
    assert found[count].python < found[FEW].python + SPARE
    assert found[count].heap < found[FEW].heap + SPARE


def test_balanced_reads_them(
    spark: SparkSession, server: EmbeddedServer, admin: Admin, tmp_path: Path
) -> None:
    found = {}
    for count in (FEW, SOME):
        rows, name = Counted(), STREAMS[count]
        source = balanced(spark, server.url, name)
        with measured(spark) as found[count]:
            run(source.writeStream.foreachBatch(rows), tmp_path / name)
        assert (rows.rows, rows.sum) == (count, count * (count + 1) // 2)
        assert is_settled(admin, name)
    check(found, SOME)


@pytest.mark.parametrize("mode", ["at-least-once", "exactly-once"])
def test_a_query_copies_them(
    spark: SparkSession, server: EmbeddedServer, admin: Admin, tmp_path: Path, mode: str
) -> None:
    found = {}
    for count in (FEW, SOME):
        name, copy = STREAMS[count], f"{STREAMS[count]}-{mode}"
        make_stream(admin, copy, allow_batched=True)
        rows = frame(spark, server.url, name, max_messages_per_trigger="1000000")
        copies = rows.selectExpr(f"concat('{copy}.', streamSeq % 100) as subject", "content")
        sink = {"nats.url": server.url, "nats.sink.mode": mode}
        with measured(spark) as found[count]:
            run(copies.writeStream.format("nats-v2").options(**sink), tmp_path / name)
        assert admin.info(copy).state.messages == count
        admin.delete_stream(copy)
    check(found, SOME)
