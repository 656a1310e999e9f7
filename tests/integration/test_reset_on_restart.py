"""``nats.reset.on.restart``: each run of a query begins anew."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.numbered import make_streams, start
from .._support.options import options
from .._support.reading import Driver, numbers
from .._support.tables import Table


def test_a_run_begins_at_the_first_messages_whatever_was_read_before(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [3, 2])
    with start(server.url, stream, reset_on_restart="true") as driver:
        position = driver.latest(driver.initial())
    server_admin.fill(f"{stream}-1", 2)
    with start(server.url, stream, reset_on_restart="true") as again:
        end = again.latest(position)
        tasks = [numbers(rows) for rows in again.tasks(position, end)]
    assert tasks == [[1, 2, 3], [1, 2, 3, 4]]


def test_within_a_run_it_goes_on(nats_server: EmbeddedServer, admin: Admin, stream: str) -> None:
    make_streams(admin, stream, [4])
    short = {"reset_on_restart": "true", "max_messages_per_trigger": "3"}
    with start(nats_server.url, stream, **short) as driver:
        first = driver.latest(driver.initial())
        second = driver.latest(first)
        assert numbers(driver.rows(first, second)) == [4]
        assert driver.latest(second) == second
    with start(nats_server.url, stream, **short) as again:
        third = again.latest(second)
        assert numbers(again.rows(second, third)) == [1, 2, 3]
        fourth = again.latest(third)
        assert numbers(again.rows(third, fourth)) == [4]
        assert again.latest(fourth) == fourth


def test_a_batch_that_resets_is_the_same_when_it_is_replayed(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [5, 5])
    with start(server.url, stream, reset_on_restart="true") as driver:
        position = driver.latest(driver.initial())
    with start(server.url, stream, reset_on_restart="true") as driver:
        end = driver.latest(position)
        rows = driver.rows(position, end)
        assert len(rows) == 10
    server_admin.fill(f"{stream}-0", 5)
    with start(server.url, stream, reset_on_restart="true") as again:
        assert again.rows(position, end) == rows  # Spark first replays what it has logged
        assert len(again.rows(end, again.latest(end))) == 15


def test_what_was_removed_is_no_loss_to_a_run_that_begins_anew(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [5])
    with start(nats_server.url, stream, max_messages_per_trigger="2") as driver:
        position = driver.latest(driver.initial())
    admin.purge(f"{stream}-0", seq=5)
    with start(nats_server.url, stream, reset_on_restart="true") as again:
        assert numbers(again.rows(position, again.latest(position))) == [5]


def test_a_run_that_begins_anew_begins_at_the_start_option(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [5])
    with start(nats_server.url, stream) as driver:
        position = driver.latest(driver.initial())
    with start(nats_server.url, stream, reset_on_restart="true", start="4") as again:
        assert numbers(again.rows(position, again.latest(position))) == [4, 5]


def test_a_first_run_begins_once(nats_server: EmbeddedServer, admin: Admin, stream: str) -> None:
    make_streams(admin, stream, [5])
    with start(nats_server.url, stream, reset_on_restart="true", start="latest") as driver:
        begun = driver.initial()
        admin.fill(f"{stream}-0", 2)
        assert numbers(driver.rows(begun, driver.latest(begun))) == [6, 7]


def test_a_run_that_begins_anew_at_the_end_skips_what_was_left(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [5])
    with start(nats_server.url, stream, max_messages_per_trigger="3") as driver:
        position = driver.latest(driver.initial())
    short = {"reset_on_restart": "true", "start": "latest", "min_messages_per_trigger": "2"}
    with start(nats_server.url, stream, **short) as again:
        begun = again.latest(position)
        assert again.rows(position, begun) == []
        admin.fill(f"{stream}-0", 2)
        assert numbers(again.rows(begun, again.latest(begun))) == [6, 7]


def test_v2_knows_it_too(nats_server: EmbeddedServer, admin: Admin, stream: str) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    given = options(nats_server.url, stream_name=stream, reset_on_restart="true")
    with Driver(given) as driver:
        position = driver.latest(driver.initial())
    with Driver(given) as again:
        assert numbers(again.rows(position, again.latest(position))) == [1, 2, 3]


@pytest.mark.parametrize("trigger", [{"availableNow": True}, {"once": True}])
@pytest.mark.filterwarnings("ignore:.*once.*")
def test_every_run_of_a_query_reads_everything(
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
    trigger: dict[str, bool],
) -> None:
    make_streams(admin, stream, [3, 2])
    given = options(nats_server.url, stream_prefix=stream, reset_on_restart="true")
    for run in (1, 2):
        frame = spark.readStream.format("nats-partitioned").options(**given).load()
        query = table.writer(frame).trigger(**trigger).start()
        query.awaitTermination()
        assert table.seqs(spark) == sorted([1, 2, 3, 1, 2] * run)
