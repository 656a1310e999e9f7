"""The balanced flavor: how large a batch is, and how long it waits for messages."""

from __future__ import annotations

import threading
import time

import pytest

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.consuming import DURABLE, consumer, durable, is_settled, start
from .._support.reading import batch, drain, numbers


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("msg_fetch_batch_size", "7"),
        ("fetch_bytes", "65536"),
        ("pull_consumer_max_batch", "9"),
    ],
)
def test_pulls_of_any_size_fill_a_batch(
    nats_server: EmbeddedServer, admin: Admin, stream: str, option: str, value: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 2_000)
    with start(nats_server.url, stream, **{option: value}) as driver:
        _, rows = batch(driver, driver.initial())
    assert numbers(rows) == list(range(1, 2_001))


def test_a_batch_is_bounded_in_messages(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream, max_messages_per_trigger="30") as driver:
        end, rows = batch(driver, driver.initial())
        assert len(rows) == end["messages"] == 30


def test_a_batch_is_bounded_in_bytes_by_the_mean_size(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 1_000, size=1_000)
    with start(nats_server.url, stream, max_bytes_per_trigger="100000") as driver:
        _, rows = batch(driver, driver.initial())
        assert 80 <= len(rows) <= 100


def test_a_batch_is_no_larger_than_max_ack_pending(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    durable(server_admin, stream, max_ack_pending=30)
    server_admin.fill(stream, 100)
    with start(server.url, stream) as driver:
        end, rows = batch(driver, driver.initial())
        assert len(rows) == 30
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, 101))
    assert is_settled(server_admin, stream)


def test_a_shared_max_ack_pending_delays_no_member_for_long(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    durable(server_admin, stream, max_ack_pending=30)
    server_admin.fill(stream, 100)
    with (
        start(server.url, stream, max_messages_per_trigger="20") as one,
        start(server.url, stream) as two,
    ):
        end, ours = batch(one, one.initial())
        their_end, theirs = batch(two, two.initial())
        assert (len(ours), len(theirs)) == (20, 10)
        assert batch(two, their_end)[0] != their_end  # its ten messages are acknowledged
        assert one.latest(end) != end
    assert sorted(numbers(ours + theirs)) == list(range(1, 31))


def test_a_batch_waits_for_enough_messages_but_not_forever(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    short = {"min_messages_per_trigger": "20", "max_trigger_delay": "1s"}
    with start(nats_server.url, stream, **short) as driver:
        position = driver.initial()
        assert driver.latest(position) == position
        assert consumer(admin, stream).num_pending == 10  # not even pulled
        end = wait_until(lambda: (e := driver.latest(position)) != position and e)
        assert end["messages"] == 10


def test_an_idle_reader_leaves_no_pull_at_the_server(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    """It would receive messages for a reader that may have been killed."""
    server_admin.create_stream(stream)
    with start(server.url, stream, poll_interval="300ms") as driver:
        position = driver.initial()
        threading.Timer(0.1, server_admin.fill, (stream, 5)).start()
        assert driver.latest(position) == position  # polls, and then pauses
        wait_until(lambda: consumer(server_admin, stream).num_pending == 5)
        assert consumer(server_admin, stream).num_waiting == 0
        assert numbers(drain(driver, position)) == [1, 2, 3, 4, 5]


def test_polling_stops_after_the_idle_timeout(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    with start(nats_server.url, stream, idle_timeout_minutes="0.005") as driver:  # 300 ms
        position = driver.initial()

        def timed_out() -> bool:
            assert driver.latest(position) == position
            return driver.reader.query.limits.timed_out

        wait_until(timed_out)
        admin.fill(stream, 5)
        assert driver.latest(position) == position
    assert consumer(admin, stream).num_pending == 5


@pytest.mark.parametrize(("listeners", "tasks"), [("1", 1), ("3", 3), ("200", 100)])
def test_listeners_are_the_tasks_of_a_batch(
    nats_server: EmbeddedServer, admin: Admin, stream: str, listeners: str, tasks: int
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream, num_listeners=listeners) as driver:
        position = driver.initial()
        shares = list(driver.tasks(position, driver.latest(position)))
    assert [len(rows) for rows in shares] == [len(shares[0])] * tasks or tasks == 3
    assert len(shares) == tasks
    assert numbers([row for rows in shares for row in rows]) == list(range(1, 101))


def test_available_now_ends_with_the_messages_available_at_its_start(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream, max_messages_per_trigger="60") as driver:
        driver.reader.prepareForTriggerAvailableNow()
        position, rows = batch(driver, driver.initial())
        admin.fill(stream, 50)  # too late
        rows += drain(driver, position)
    assert numbers(rows) == list(range(1, 101))
    assert consumer(admin, stream).ack_floor.stream_seq == 100


def test_everything_at_once_ignores_the_limits(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream, max_messages_per_trigger="60") as driver:
        assert driver.everything(driver.initial())["messages"] == 100


def test_the_progress_shows_the_consumer(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream, max_messages_per_trigger="60") as driver:
        driver.latest(driver.initial())
        assert driver.reader.reportLatestOffset() == {
            "stream": stream,
            "consumer": DURABLE,
            "pending": 40,
            "ackPending": 60,
            "redelivered": 0,
            "ackFloor": 0,
        }


def test_available_now_skips_committed_messages(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 500)
    with start(nats_server.url, stream) as driver:
        end, _ = batch(driver, driver.initial())
        assert driver.latest(end) == end
    admin.run(admin.js.delete_consumer(stream, DURABLE))
    durable(admin, stream)
    admin.fill(stream, 500)
    short = {"max_messages_per_trigger": "100", "fail_on_data_loss": "false"}
    with start(nats_server.url, stream, **short) as driver:
        driver.reader.prepareForTriggerAvailableNow()
        assert numbers(drain(driver, end)) == list(range(501, 1_001))


def test_a_batch_longer_than_the_idle_timeout_does_not_stop_polling(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    with start(nats_server.url, stream, idle_timeout_minutes="0.005") as driver:  # 300 ms
        end, _ = batch(driver, driver.initial())
        admin.fill(stream, 10)
        time.sleep(0.5)  # the batch takes this long
        assert numbers(drain(driver, end)) == list(range(11, 21))


@pytest.mark.parametrize(
    "limit", [{"max_batch": 7}, {"max_expires": 20_000_000}, {"max_bytes": 70_000}], ids=str
)
def test_the_limits_of_an_existing_consumer_are_kept(
    nats_server: EmbeddedServer, admin: Admin, stream: str, limit: dict[str, int]
) -> None:
    admin.create_stream(stream)
    config = {"durable_name": DURABLE, "ack_policy": "explicit", **limit}
    call = f"CONSUMER.DURABLE.CREATE.{stream}.{DURABLE}"
    admin.api(call, stream_name=stream, config=config)
    admin.fill(stream, 3_000, size=100)
    with start(nats_server.url, stream) as driver:
        assert numbers(drain(driver)) == list(range(1, 3_001))
    assert is_settled(admin, stream)


def test_a_pull_that_its_messages_fill_to_the_last_byte(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The server ends such a pull without a status; nothing more is awaited."""
    admin.create_stream(stream)
    max_bytes, filling, count = 10_000, 7, 12
    subject, left = f"{stream}.a", max_bytes
    for seq in range(1, count + 1):
        ack = f"$JS.ACK.{stream}.{DURABLE}.1.{seq}.{seq}.{10**18}.{count - seq}"
        left -= len(subject) + len(ack)
        size = left if seq == filling else 1_000
        admin.publish(subject, b"." * size)
        left -= size
    config = {"durable_name": DURABLE, "ack_policy": "explicit", "max_bytes": max_bytes}
    call = f"CONSUMER.DURABLE.CREATE.{stream}.{DURABLE}"
    admin.api(call, stream_name=stream, config=config)
    with start(nats_server.url, stream, request_timeout="1s") as driver:
        assert numbers(drain(driver)) == list(range(1, count + 1))
    assert not [each for each in caplog.records if "pull failed" in each.message]
    assert is_settled(admin, stream)
