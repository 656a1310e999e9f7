"""The server goes away, in the middle of a range and in the middle of a query."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nats_spark_common import ConnectError
from nats_spark_common.connection import retry
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.replay import stream_states

from .._support import old_server
from .._support.admin import Admin, wait_until
from .._support.reading import Driver
from ..conftest import NEW, OLD

COUNT = 30_000


@pytest.fixture(params=[NEW, OLD])
def own_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """A server for one test, which may break it."""
    binary = None
    if request.param == OLD:
        request.getfixturevalue("old_nats_server")  # skips where it cannot be had
        binary = old_server.find()
    with EmbeddedServer(binary=binary) as server:
        admin = Admin(server.url)
        admin.create_stream("S")
        admin.fill("S", COUNT, size=100)
        admin.close()
        yield server


def crash(server: EmbeddedServer) -> None:
    server.kill()
    server.start()


@pytest.mark.usefixtures("via")
@pytest.mark.parametrize("how", [EmbeddedServer.restart, crash], ids=["restart", "crash"])
def test_a_range_is_read_once_and_whole_over_restarts_of_the_server(
    own_server: EmbeddedServer, how: Callable[[EmbeddedServer], None]
) -> None:
    options = {"nats.url": own_server.url, "nats.stream.name": "S", "nats.partitions": "1"}
    with Driver({**options, "nats.fetch.bytes": "64KiB"}) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        seqs: list[int] = []
        interrupted = 0
        for batch in driver.reader.read(partition):
            seqs += batch.column("streamSeq").to_pylist()
            if len(seqs) > COUNT * (interrupted + 1) // 4 and interrupted < 3:
                interrupted += 1
                how(own_server)
    assert interrupted == 3
    assert seqs == list(range(1, COUNT + 1))


def test_an_idle_query_survives_a_restart_of_the_server(own_server: EmbeddedServer) -> None:
    options = {"nats.url": own_server.url, "nats.stream.name": "S", "nats.start": "latest"}
    with Driver(options) as driver:
        start = driver.initial()
        assert driver.latest(start) == start
        own_server.restart()
        admin = Admin(own_server.url)
        admin.publish("S.a", b"new")
        admin.close()
        end = driver.latest(start)
        assert [row["content"] for row in driver.rows(start, end)] == [b"new"]


def test_a_query_starts_while_its_server_restarts(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_states, "START_PATIENCE", 60.0)  # the machine may be busy
    own_server.kill()
    before = retry.retries()

    def restart() -> None:
        wait_until(lambda: retry.retries() > before)
        own_server.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    options = {"nats.url": own_server.url, "nats.stream.name": "S", "nats.retry.count": "100"}
    with Driver(options) as driver:
        start = driver.initial()
        assert driver.everything(start) != start
    restarting.join()


def test_an_outage_is_told_once_with_its_end(caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedServer() as server, closing(Admin(server.url)) as admin:
        admin.create_stream("S")
        options = {"nats.url": server.url, "nats.stream.name": "S", "nats.connection.name": "job"}
        with Driver({**options, "nats.request.timeout": "500ms"}) as driver:
            start = driver.initial()
            server.kill()
            back = threading.Timer(3.0, server.start)
            back.start()
            wait_until(lambda: any("is unavailable" in each.message for each in caplog.records))
            back.join()
            assert driver.latest(start) == start
            wait_until(lambda: any("reconnected" in each.message for each in caplog.records))
            assert driver.latest(start) == start
    told = [each.message for each in caplog.records if each.name.endswith("outage")]
    assert [words.partition(":")[0] for words in told] == ["job", "job"]
    assert "is unavailable" in told[0]
    assert "reconnected" in told[1]


def test_a_server_that_stays_away_is_an_error_after_bounded_retries(
    own_server: EmbeddedServer,
) -> None:
    options = {
        "nats.url": own_server.url,
        "nats.stream.name": "S",
        "nats.retry.count": "2",
        "nats.request.timeout": "300ms",
    }
    with Driver(options) as driver:
        start = driver.initial()
        (partition, *_) = driver.reader.partitions(start, driver.everything(start))
        own_server.kill()
        with pytest.raises(ConnectError, match="Connection refused"):
            list(driver.reader.read(partition))


@pytest.mark.slow
def test_a_query_survives_restarts_of_the_server_during_its_batches(
    spark: SparkSession, own_server: EmbeddedServer, tmp_path: Path
) -> None:
    frame = (
        spark.readStream.format("nats-v2")
        .option("nats.url", own_server.url)
        .option("nats.stream.name", "S")
        .option("nats.max.messages.per.trigger", "5000")
        .option("nats.fetch.bytes", "64KiB")
        .load()
        .select("streamSeq")
    )
    query = (
        frame.writeStream.format("parquet")
        .option("path", str(tmp_path / "rows"))
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    wait_until((tmp_path / "checkpoint" / "offsets" / "0").exists)  # it has begun
    done = threading.Event()
    restarts = 0

    def trouble() -> None:
        nonlocal restarts
        while not done.wait(0.5):
            own_server.restart()
            restarts += 1

    troublemaker = threading.Thread(target=trouble)
    troublemaker.start()
    try:
        query.awaitTermination(120)
    finally:
        done.set()
        troublemaker.join()
        query.stop()
    assert query.exception() is None
    assert restarts >= 3
    rows = spark.read.parquet(str(tmp_path / "rows")).collect()
    assert sorted(row.streamSeq for row in rows) == list(range(1, COUNT + 1))
