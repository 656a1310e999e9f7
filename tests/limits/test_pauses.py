"""Processes that are paused in the midst of their work, as on a machine that is suspended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import DataStreamWriter

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import DURABLE, is_settled
from .._support.queries import frame
from .._support.tables import Table
from .filling import fill

COUNT = 60_000
#: Longer than the server waits for a consumer's next pull, and for a client to receive.
SECONDS = 62.0

pytestmark = pytest.mark.limits


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server that soon disconnects a client that receives nothing."""
    with EmbeddedServer('write_deadline: "1s"\nping_interval: "2s"') as server:
        yield server


def slowly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Take each batch as a slow sink does, so that the reading process has to wait."""
    for batch in batches:
        time.sleep(0.05)
        yield batch


def pythons(spark: SparkSession) -> list[psutil.Process]:
    """All Python processes of Spark: those that plan, read, transform and write."""
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    children = psutil.Process(gateway.proc.pid).children(recursive=True)
    return [each for each in children if each.is_running() and "python" in each.name()]


def pause(spark: SparkSession) -> None:
    stopped = pythons(spark)
    for each in stopped:
        os.kill(each.pid, signal.SIGSTOP)
    time.sleep(SECONDS)
    for each in stopped:
        os.kill(each.pid, signal.SIGCONT)
    assert stopped


def reads(spark: SparkSession, server: EmbeddedServer) -> bool:
    """Whether a task holds a connection to the server: the planner has two more."""
    found = 0
    for each in pythons(spark):
        try:
            found += any(c.raddr and c.raddr.port == server.port for c in each.net_connections())
        except psutil.Error:
            pass  # it has ended
    return found > 1


def finish(table: Table, rows: DataFrame) -> bool:
    """Run once more, to the present end."""
    table.writer(rows).trigger(availableNow=True).start().awaitTermination()
    return False


@pytest.mark.parametrize("flavor", ["nats-v2", "nats-balanced"])
def test_every_message_is_in_the_table_once_although_all_processes_pause(
    spark: SparkSession,
    server: EmbeddedServer,
    stream: str,
    table: Table,
    flavor: str,
) -> None:
    with closing(Admin(server.url)) as admin:
        fill(admin, stream, COUNT, size=1_000)
        given = {"partitions": "1", "fetch_bytes": "1MiB", "msg_ack_wait_secs": "2"}
        rows = frame(spark, server.url, stream, flavor, durable_name=DURABLE, **given)
        slow = rows.select("streamSeq", "content").mapInArrow(
            slowly, "streamSeq bigint, content binary"
        )
        query = table.writer(slow).trigger(availableNow=True).start()
        wait_until(lambda: reads(spark, server) or not query.isActive)
        assert query.isActive
        pause(spark)
        query.awaitTermination()
        if flavor == "nats-balanced":
            # What was delivered into the pause comes again after the ack wait, to another run.
            wait_until(lambda: is_settled(admin, stream) or finish(table, slow))
        assert table.seqs(spark) == list(range(1, COUNT + 1))
        assert flavor == "nats-v2" or is_settled(admin, stream)
        admin.delete_stream(stream)


def test_every_row_is_stored_once_although_all_processes_pause(
    spark: SparkSession, server: EmbeddedServer, stream: str, tmp_path: Path
) -> None:
    """For longer than the lease of a task's record, and than the duplicate window."""
    with closing(Admin(server.url)) as admin:
        fill(admin, stream, COUNT, size=1_000)
        copy = f"{stream}-copy"
        admin.create_stream(copy, duplicate_window=5.0)
        rows = frame(spark, server.url, stream, partitions="1")
        copies = rows.selectExpr(f"concat('{copy}.', streamSeq % 10) as subject", "content")
        writer: DataStreamWriter = (
            copies.mapInArrow(slowly, "subject string, content binary")
            .writeStream.format("nats-v2")
            .options(**{"nats.url": server.url, "nats.sink.mode": "exactly-once"})
            .option("checkpointLocation", str(tmp_path))
        )
        query = writer.trigger(availableNow=True).start()
        wait_until(lambda: admin.info(copy).state.messages > COUNT // 10 or not query.isActive)
        assert query.isActive
        pause(spark)
        query.awaitTermination()
        numbers = [int(each.payload.rstrip(b".")) for each in admin.read_all(copy)]
        assert sorted(numbers) == list(range(COUNT))
        for each in (stream, copy):
            admin.delete_stream(each)
