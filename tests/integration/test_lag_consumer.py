"""Stand-in consumers: NATS's tools show a query's lag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import OptionError
from nats_spark_common.replay import lag_consumer

from .._support import consuming, numbered
from .._support.admin import Admin, wait_until
from .._support.nats_cli import nats_cli
from .._support.options import options
from .._support.queries import frame
from .._support.reading import ALWAYS, Driver, batch
from .._support.tables import Table

NAME = "lag-of-a-query"


@pytest.fixture(autouse=True)
def _shows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag_consumer, "_INTERVAL", 0.01)


def start(url: str, stream: str, **more: str) -> Driver:
    named = {"stream_name": stream, "lag_consumer": NAME, "poll_interval": ALWAYS, **more}
    return Driver(options(url, **named))


def pending(admin: Admin, stream: str) -> int | None:
    return consuming.consumer(admin, stream, NAME).num_pending


def test_the_consumer_shows_the_lag_after_each_batch(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with start(nats_server.url, stream, max_messages_per_trigger="4") as driver:
        position = driver.initial()
        for left in (10, 6, 2, 0):
            position, _ = batch(driver, position)
            wait_until(lambda left=left: pending(admin, stream) == left)
    state = consuming.consumer(admin, stream, NAME)
    assert (state.num_ack_pending, state.delivered.stream_seq) == (0, 10)  # type: ignore[union-attr]


def test_the_consumer_has_the_filters_of_the_query(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 20)
    filters = f"{stream}.1,{stream}.2"
    with start(nats_server.url, stream, stream_subjects=filters) as driver:
        batch(driver, driver.initial())
        wait_until(lambda: pending(admin, stream) == 4)


def test_a_whole_query_ends_without_lag(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    for count in (100, 150):
        table.run(frame(spark, nats_server.url, stream, lag_consumer=NAME))
        wait_until(lambda: pending(admin, stream) == 0)
        assert len(table.seqs(spark)) == count
        admin.fill(stream, 50)
        assert pending(admin, stream) == 50


def test_the_command_of_nats_reports_the_lag(
    nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> None:
    nats = nats_cli(nats_server.url, tmp_path)
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with start(nats_server.url, stream, max_messages_per_trigger="4") as driver:
        position, _ = batch(driver, driver.initial())
        batch(driver, position)
        wait_until(lambda: pending(admin, stream) == 6)
    report = [line.strip("│").split("│") for line in nats("consumer", "report", stream).split("\n")]
    (titles,) = [[cell.strip() for cell in line] for line in report if "Unprocessed" in str(line)]
    (values,) = [[cell.strip() for cell in line] for line in report if NAME in str(line)]
    found = dict(zip(titles, values, strict=True))
    assert (found["Ack Pending"], found["Unprocessed"].split()[0]) == ("0", "6")


def test_every_partition_has_its_consumer(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    numbered.make_streams(admin, stream, [5, 7])
    with numbered.start(nats_server.url, stream, lag_consumer=NAME) as driver:
        position, _ = batch(driver, driver.initial())
        driver.latest(position)
        wait_until(lambda: [pending(admin, f"{stream}-{i}") for i in range(2)] == [0, 0])


def test_a_consumer_that_is_deleted_comes_back(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with start(nats_server.url, stream, max_messages_per_trigger="4") as driver:
        position, _ = batch(driver, driver.initial())
        wait_until(lambda: pending(admin, stream) == 10)
        admin.run(admin.js.delete_consumer(stream, NAME))
        position, rows = batch(driver, position)
        assert len(rows) == 4
        wait_until(lambda: NAME in admin.consumers(stream))
        wait_until(lambda: pending(admin, stream) == 6)


def test_a_query_continues_if_its_position_cannot_be_shown(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    denied = json.dumps(["$JS.API.CONSUMER.RESET.>", "$JS.API.CONSUMER.CREATE.>"])
    config = f"""
    authorization {{ users [
        {{ user: admin, password: pw }}
        {{ user: spark, password: pw, permissions: {{ publish: {{ deny: {denied} }} }} }}
    ] }}
    """
    monkeypatch.setattr(lag_consumer, "_REQUEST", 0.2)
    with EmbeddedServer(config) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        other = Admin(admin_url)
        other.create_stream(stream)
        other.fill(stream, 10)
        other.close()
        with start(url, stream) as driver:
            position, rows = batch(driver, driver.initial())
            assert len(rows) == 10
            assert batch(driver, position) == (position, [])
    assert f"nats.lag.consumer={NAME} of stream {stream} does not show the position" in caplog.text


def test_a_stream_that_counts_acks_has_no_such_consumer(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream, retention="interest")
    with (
        start(nats_server.url, stream) as driver,
        pytest.raises(OptionError, match="this consumer acknowledges none"),
    ):
        driver.latest(driver.initial())
    assert admin.consumers(stream) == []


def test_the_consumer_of_another_client_is_left_alone(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    consuming.durable(admin, stream, NAME)
    with (
        start(nats_server.url, stream) as driver,
        pytest.raises(OptionError, match="this option did not create: choose another name"),
    ):
        driver.latest(driver.initial())
    assert pending(admin, stream) == 3


def test_an_old_server_is_named(old_nats_server: EmbeddedServer, stream: str) -> None:
    admin = Admin(old_nats_server.url)
    admin.create_stream(stream)
    admin.close()
    with (
        start(old_nats_server.url, stream) as driver,
        pytest.raises(OptionError, match=r"needs NATS server 2\.14 or later"),
    ):
        driver.latest(driver.initial())
