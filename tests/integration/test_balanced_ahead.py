"""With a backlog, the next batch is pulled and the last acknowledged while Spark runs one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from nats_spark_common import (
    ConnectError,
    JetStreamUnavailableError,
    NatsSparkError,
    TimeoutExpiredError,
)
from nats_spark_common.embedded import EmbeddedServer
from pyspark_nats_balanced import acks, pull_connection
from pyspark_nats_balanced.batch_limits import AHEAD_FROM

from .._support.admin import Admin, wait_until
from .._support.consuming import consumer, durable, follow, is_settled, start, vanish
from .._support.reading import Driver, batch, drain, numbers
from .._support.relay import relay

FULL = AHEAD_FROM
COUNT = 3 * FULL + 500
LIMIT = {"max_messages_per_trigger": str(FULL)}


@pytest.fixture
def filled(server_admin: Admin, stream: str) -> str:
    server_admin.create_stream(stream)
    server_admin.fill(stream, COUNT)
    return stream


def pending(admin: Admin, stream: str) -> int:
    return consumer(admin, stream).num_ack_pending


def floor(admin: Admin, stream: str) -> int:
    found = consumer(admin, stream).ack_floor
    assert found is not None
    return found.stream_seq


def first_batch(driver: Driver) -> tuple[dict[str, Any], list[int]]:
    """The end of the first batch and the sequences of its rows; the next one may be pulled now."""
    end, rows = batch(driver, driver.initial())
    assert len(rows) == FULL
    return end, numbers(rows)


def test_the_next_batch_is_pulled_while_one_runs_and_nothing_is_acknowledged_early(
    server: EmbeddedServer, server_admin: Admin, filled: str
) -> None:
    with start(server.url, filled, **LIMIT) as driver:
        position, seqs = first_batch(driver)
        wait_until(lambda: pending(server_admin, filled) == 2 * FULL)
        assert floor(server_admin, filled) == 0  # Spark has committed nothing
        for i in (1, 2):
            position, rows = batch(driver, position)
            seqs += numbers(rows)
            wait_until(lambda i=i: floor(server_admin, filled) == i * FULL)
            assert {row["delivered"] for row in rows} == {1}
        seqs += numbers(drain(driver, position))
    assert seqs == list(range(1, COUNT + 1))
    assert is_settled(server_admin, filled)


def test_all_acks_are_confirmed_when_there_is_no_next_batch(
    nats_server: EmbeddedServer, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_late(*arguments: Any) -> None:
        time.sleep(0.3)
        acks.send_acks(*arguments)

    monkeypatch.setattr(pull_connection, "send_acks", send_late)
    admin.create_stream(stream)
    admin.fill(stream, 2 * FULL)
    with start(nats_server.url, stream, **LIMIT) as driver:
        drain(driver)
        assert is_settled(admin, stream)


def test_a_clean_stop_gives_back_only_what_was_pulled_ahead(
    server: EmbeddedServer, server_admin: Admin, filled: str
) -> None:
    with start(server.url, filled, msg_ack_wait_secs="600", **LIMIT) as driver:
        initial = driver.initial()
        position, seqs = first_batch(driver)
        wait_until(lambda: pending(server_admin, filled) == 2 * FULL)
    with start(server.url, filled) as other:
        rows = drain(other)
    assert numbers(rows) == list(range(FULL + 1, COUNT + 1))
    assert [row["delivered"] for row in rows] == [2] * FULL + [1] * (COUNT - 2 * FULL)
    with start(server.url, filled, **LIMIT) as driver:
        assert numbers(driver.rows(initial, position)) == seqs  # logged, and not committed
        assert not drain(driver, position)
    assert is_settled(server_admin, filled)


def test_what_a_killed_query_has_pulled_ahead_is_redelivered(
    server: EmbeddedServer, server_admin: Admin, filled: str
) -> None:
    driver = start(server.url, filled, msg_ack_wait_secs="1", **LIMIT)
    initial = driver.initial()
    position, seqs = first_batch(driver)
    wait_until(lambda: pending(server_admin, filled) == 2 * FULL)
    vanish(driver)
    with start(server.url, filled, msg_ack_wait_secs="1", **LIMIT) as driver:
        assert numbers(driver.rows(initial, position)) == seqs
        seqs += numbers(follow(driver, position, COUNT - FULL))
    assert sorted(seqs) == list(range(1, COUNT + 1))
    assert is_settled(server_admin, filled)


def test_a_network_that_carries_nothing_more_over_open_connections(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    with (
        relay(nats_server.url) as link,
        start(link.url, stream, request_timeout="1s", **LIMIT) as driver,
    ):
        position, seqs = first_batch(driver)
        position, rows = batch(driver, position)
        wait_until(lambda: floor(admin, stream) == FULL)
        wait_until(lambda: pending(admin, stream) == 2 * FULL)
        link.stall()
        seqs += numbers(rows) + numbers(drain(driver, position))
        assert is_settled(admin, stream)
    assert seqs == list(range(1, COUNT + 1))


@pytest.mark.parametrize("error", [TimeoutExpiredError, ConnectError, JetStreamUnavailableError])
def test_acks_that_get_lost_are_repeated(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    monkeypatch: pytest.MonkeyPatch,
    error: type[NatsSparkError],
) -> None:
    fails = iter([True, False, True])

    def send_or_fail(*arguments: Any) -> None:
        if next(fails, False):
            raise error("lost")
        acks.send_acks(*arguments)

    monkeypatch.setattr(pull_connection, "send_acks", send_or_fail)
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    with start(nats_server.url, stream, **LIMIT) as driver:
        assert numbers(drain(driver)) == list(range(1, COUNT + 1))
        assert is_settled(admin, stream)


def test_a_stream_that_is_recreated_while_a_batch_is_pulled_ahead(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    with start(nats_server.url, stream, fail_on_data_loss="false", **LIMIT) as driver:
        position, _ = first_batch(driver)
        wait_until(lambda: pending(admin, stream) == 2 * FULL)
        admin.delete_stream(stream)
        admin.create_stream(stream)
        admin.fill(stream, FULL + 70)
        rows = drain(driver, position)
    assert numbers(rows) == list(range(1, FULL + 71))
    assert is_settled(admin, stream)


@pytest.mark.parametrize(
    ("config", "short"),
    [
        ({}, {"pull_ahead": "false"}),
        ({"max_deliver": 5}, {}),
        ({"max_ack_pending": 3 * FULL}, {}),
        ({}, {"min_messages_per_trigger": "5"}),
        ({}, {"target_batch_duration": "10m"}),
        ({}, {"max_messages_per_trigger": str(FULL - 1)}),
    ],
)
def test_some_consumers_and_options_let_nothing_be_pulled_ahead(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    config: dict[str, Any],
    short: dict[str, str],
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 2 * FULL)
    durable(admin, stream, **{"max_ack_pending": -1, "headers_only": True, **config})
    limit = int({**LIMIT, **short}["max_messages_per_trigger"])
    with start(nats_server.url, stream, **{**LIMIT, **short}) as driver:
        _, rows = batch(driver, driver.initial())
        assert len(rows) == limit
    delivered = consumer(admin, stream).delivered  # a pull that had begun is over now
    assert delivered is not None
    assert delivered.consumer_seq == limit
