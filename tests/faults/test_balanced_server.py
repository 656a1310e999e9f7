"""The server goes away under a balanced query, and comes back without its last state, perhaps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.cluster import cluster
from .._support.consuming import DURABLE, consumer, durable, follow, is_settled, start
from .._support.reading import batch, numbers
from .._support.tables import Table
from .test_server import crash

COUNT = 20_000


@contextmanager
def repeatedly(action: Callable[[], None], every: float) -> Iterator[list[int]]:
    """Do something again and again; the list grows by each time."""
    done = threading.Event()
    times: list[int] = []

    def run() -> None:
        while not done.wait(every):
            action()
            times.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


def test_heartbeats_tell_an_outage_at_its_beginning_and_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def told(level: int, words: str) -> list[str]:
        return [
            each.getMessage()
            for each in caplog.records
            if each.threadName == "nats-heartbeats"
            and each.levelno >= level
            and words in each.getMessage()
        ]

    caplog.set_level(logging.INFO)
    with EmbeddedServer() as server:
        with closing(Admin(server.url)) as admin:
            admin.create_stream("S")
            admin.fill("S", 50)
        with start(server.url, "S", msg_ack_wait_secs="2", connection_name="job") as driver:
            batch(driver, driver.initial())
            server.kill()
            wait_until(lambda: len(told(logging.INFO, "retrying now")) >= 4)  # so many failed
            server.start()
            wait_until(lambda: told(logging.WARNING, "reconnected"))
    warnings = told(logging.WARNING, "")
    assert warnings[0].startswith("job: the NATS server is unavailable")
    assert "heartbeats for 50 messages" in warnings[0]
    assert warnings[-1].startswith("job: reconnected to")
    assert all("has been unavailable for" in each for each in warnings[1:-1])


@pytest.mark.slow
@pytest.mark.parametrize("how", [EmbeddedServer.restart, crash], ids=["restart", "crash"])
def test_every_message_is_read_once_and_acknowledged_over_restarts_of_the_server(
    spark: SparkSession, how: Callable[[EmbeddedServer], None], tmp_path: Path
) -> None:
    table = Table(tmp_path)
    with EmbeddedServer() as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", COUNT, size=100)
        frame = (
            spark.readStream.format("nats-balanced")
            .option("nats.url", server.url)
            .option("nats.stream.name", "S")
            .option("nats.durable.name", DURABLE)
            .option("nats.msg.ack.wait.secs", "2")
            .option("nats.request.timeout", "500ms")
            .option("nats.max.messages.per.trigger", "1500")
            .option("nats.fetch.bytes", "64KiB")
            .load()
        )
        query = table.writer(frame).start()
        try:
            wait_until(lambda: query.exception() or (query.lastProgress or {}).get("numInputRows"))
            with repeatedly(lambda: how(server), every=0.7) as restarts:
                wait_until(lambda: len(restarts) >= 4, seconds=60)
            wait_until(lambda: query.exception() or is_settled(admin, "S"), seconds=90, every=0.5)
            assert query.exception() is None, str(query.exception())
        finally:
            query.stop()
        admin.close()
    assert table.seqs(spark) == list(range(1, COUNT + 1))


def test_acks_that_the_server_forgot_are_given_again(tmp_path: Path) -> None:
    """It comes back with the consumer as it was before the batch."""
    with EmbeddedServer() as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", 500)
        with start(server.url, "S", request_timeout="500ms", fail_on_data_loss="false") as driver:
            position = driver.initial()
            end, rows = batch(driver, position)
            admin.run(admin.js.delete_consumer("S", DURABLE))
            durable(admin, "S")
            assert driver.latest(end) == end  # its acks are of no use, its messages come again
            wait_until(lambda: driver.latest(end) == end and is_settled(admin, "S"))
        assert consumer(admin, "S").delivered.consumer_seq == 500
        admin.close()
    assert numbers(rows) == list(range(1, 501))


@pytest.mark.slow
def test_a_leader_that_falls_costs_no_message() -> None:
    with cluster() as servers:
        names = {f"n{i}": server for i, server in enumerate(servers)}
        urls = ",".join(server.url for server in servers)
        admin = Admin(servers[0].url)
        admin.create_stream("S", num_replicas=3)
        admin.fill("S", 6_000)
        short = {"msg_ack_wait_secs": "2", "max_messages_per_trigger": "1000"}
        with start(urls, "S", request_timeout="1s", **short) as driver:
            position = driver.initial()
            end, rows = batch(driver, position)
            info = consumer(admin, "S")
            assert info.cluster is not None
            assert info.cluster.leader is not None
            fallen = names[info.cluster.leader]
            fallen.kill()
            rows += follow(driver, end, 6_000 - len(rows))
            fallen.start()
            wait_until(lambda: is_settled(admin, "S"), seconds=60, every=0.2)
        admin.close()
    assert sorted(numbers(rows)) == list(range(1, 6_001))
