"""One ack for a batch covers exactly the messages that were emitted (``nats.ack.policy=all``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, RetentionPolicy

from nats_spark_common import OptionError, UnsupportedConsumerError
from nats_spark_common.embedded import EmbeddedServer
from pyspark_nats_balanced.batch_limits import AHEAD_FROM
from pyspark_nats_balanced.pull_connection import PullConnection, PullResult

from .._support.admin import Admin
from .._support.consuming import DURABLE, consumer, durable, is_settled, source, start, vanish
from .._support.reading import Driver, batch, drain, numbers

ALL = {"ack_policy": "all"}


def begin(url: str, stream: str, limit: int = 60, **more: str) -> Driver:
    return start(url, stream, max_messages_per_trigger=str(limit), **{**ALL, **more})


def fetch(admin: Admin, stream: str, count: int) -> None:
    """Receive messages of the consumer as another client, and do not acknowledge them."""

    async def receive() -> None:
        pull = await admin.js.pull_subscribe_bind(DURABLE, stream)
        assert len(await pull.fetch(count, timeout=5)) == count
        await pull.unsubscribe()

    admin.run(receive())


@contextmanager
def acks(admin: Admin, stream: str) -> Iterator[list[bytes]]:
    """The payloads that are sent to the ack subjects of the consumer."""
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    async def listen() -> Any:
        subscription = await admin.client.subscribe(f"$JS.ACK.{stream}.{DURABLE}.>", cb=hear)
        await admin.client.flush()
        return subscription

    subscription = admin.run(listen())
    yield heard
    admin.run(admin.client.flush())
    admin.run(subscription.unsubscribe())


@pytest.mark.parametrize("limit", [60, AHEAD_FROM])
def test_a_batch_is_acknowledged_with_one_ack(
    nats_server: EmbeddedServer, admin: Admin, stream: str, limit: int
) -> None:
    count = 4 * limit + 30
    admin.create_stream(stream)
    admin.fill(stream, count)
    with acks(admin, stream) as heard:
        with begin(nats_server.url, stream, limit) as driver:
            assert numbers(drain(driver)) == list(range(1, count + 1))
        assert is_settled(admin, stream)
    assert heard == [b"+ACK"] * 5


def test_what_a_killed_query_has_pulled_and_not_logged_is_not_acknowledged(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 200)
    driver = begin(nats_server.url, stream)
    end, rows = batch(driver, driver.initial())
    driver.latest(end)  # acknowledges 60, and pulls 60 more
    vanish(driver)
    with begin(nats_server.url, stream, 1_000) as driver:
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, 201))
    assert is_settled(admin, stream)


@pytest.mark.parametrize("limit", [60, AHEAD_FROM])
def test_a_batch_that_was_logged_is_replayed_and_acknowledged(
    nats_server: EmbeddedServer, admin: Admin, stream: str, limit: int
) -> None:
    count = 2 * limit + 40
    admin.create_stream(stream)
    admin.fill(stream, count)
    driver = begin(nats_server.url, stream, limit)
    first = driver.initial()
    end, rows = batch(driver, first)
    vanish(driver)
    with begin(nats_server.url, stream, limit) as driver:
        assert driver.rows(first, end) == rows
        rows += drain(driver, end)
    assert numbers(rows) == list(range(1, count + 1))
    assert is_settled(admin, stream)


@pytest.mark.parametrize(
    ("limit", "size", "lost"),
    [(60, 60, 2), (60, 20, 5), (AHEAD_FROM, AHEAD_FROM, 2), (AHEAD_FROM, 3_000, 6)],
)
def test_a_reply_that_gets_lost_is_delivered_again(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    size: int,
    lost: int,
) -> None:
    pull = PullConnection.pull
    pulls = 0

    def lose(self: PullConnection, *arguments: Any) -> PullResult:
        nonlocal pulls
        pulls += 1
        result = pull(self, *arguments)
        if pulls != lost:
            return result
        kept = slice(0, len(result.deliveries) // 2)
        return replace(result, deliveries=result.deliveries.select(kept), times=result.times[kept])

    monkeypatch.setattr(PullConnection, "pull", lose)
    count = 4 * limit + 30
    admin.create_stream(stream)
    admin.fill(stream, count)
    with begin(nats_server.url, stream, limit, msg_fetch_batch_size=str(size)) as driver:
        rows = drain(driver)
    assert numbers(rows) == list(range(1, count + 1))
    assert is_settled(admin, stream)


def test_messages_that_another_client_has_received_are_emitted(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 200)
    durable(admin, stream, ack_policy=AckPolicy.ALL)
    fetch(admin, stream, 10)
    with begin(nats_server.url, stream) as driver:
        position, rows = batch(driver, driver.initial())
        fetch(admin, stream, 10)
        position, more = batch(driver, position)
        rows += more + drain(driver, position)
    assert numbers(rows) == list(range(1, 201))
    assert is_settled(admin, stream)


def test_a_client_that_keeps_pulling_is_reported(
    nats_server: EmbeddedServer, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 200)
    durable(admin, stream, ack_policy=AckPolicy.ALL)
    pull = PullConnection.pull

    def second(self: PullConnection, *arguments: Any) -> PullResult:
        fetch(admin, stream, 1)
        return pull(self, *arguments)

    monkeypatch.setattr(PullConnection, "pull", second)
    with (
        begin(nats_server.url, stream) as driver,
        pytest.raises(UnsupportedConsumerError, match=f"{DURABLE!r}.*another client"),
    ):
        driver.latest(driver.initial())
    floor = consumer(admin, stream).ack_floor
    assert floor is None or floor.stream_seq == 0


def test_acks_that_the_server_has_lost_are_sent_again(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with begin(nats_server.url, stream) as driver:
        end, rows = batch(driver, driver.initial())
        position, more = batch(driver, end)
        rows += more
    # As after a restart with an older state: the floor is in the midst of the first batch.
    admin.run(admin.js.delete_consumer(stream, DURABLE))
    durable(admin, stream, ack_policy=AckPolicy.ALL, max_ack_pending=-1)
    with begin(nats_server.url, stream, fail_on_data_loss="false") as driver:
        rows += drain(driver, position)
    assert numbers(rows) == list(range(1, 101))
    assert is_settled(admin, stream)


def test_committed_messages_among_new_ones_are_not_acknowledged_before_these(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with begin(nats_server.url, stream, 11, start="10") as driver:
        end, rows = batch(driver, driver.initial())
        driver.reader.commit(end)
    assert numbers(rows) == list(range(10, 21))
    admin.run(admin.js.delete_consumer(stream, DURABLE))
    durable(admin, stream, ack_policy=AckPolicy.ALL, max_ack_pending=-1)
    with begin(nats_server.url, stream, fail_on_data_loss="false") as driver:
        assert driver.latest(end) != end
        floor = consumer(admin, stream).ack_floor
        assert floor is None or floor.stream_seq == 0
        rows = drain(driver, end)
    assert numbers(rows) == [*range(1, 10), *range(21, 101)]
    assert is_settled(admin, stream)


@pytest.mark.parametrize(
    ("policy", "short", "remedy"),
    [
        (AckPolicy.ALL, {}, "set nats.ack.policy=all if no other client uses the consumer"),
        (AckPolicy.EXPLICIT, ALL, "remove nats.ack.none and nats.ack.policy"),
        (AckPolicy.NONE, ALL, "set nats.ack.none=true"),
    ],
)
def test_a_consumer_of_another_policy_is_rejected(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    policy: AckPolicy,
    short: dict[str, str],
    remedy: str,
) -> None:
    admin.create_stream(stream)
    durable(admin, stream, ack_policy=policy, ack_wait=None)
    with (
        pytest.raises(UnsupportedConsumerError, match=remedy),
        start(nats_server.url, stream, **short) as driver,
    ):
        driver.initial()


def test_work_queues_acknowledge_each_message(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream, retention=RetentionPolicy.WORK_QUEUE)
    with pytest.raises(OptionError, match=f"nats.ack.policy=all.*{stream}.*work queue"):
        source(nats_server.url, stream, **ALL).schema()


def test_an_old_server_cannot_redeliver_in_order(
    old_nats_server: EmbeddedServer, stream: str
) -> None:
    with pytest.raises(OptionError, match=r"nats\.ack\.policy=all needs NATS server 2\.14"):
        source(old_nats_server.url, stream, **ALL).schema()


def test_no_acks_and_one_for_all_exclude_each_other(
    nats_server: EmbeddedServer, stream: str
) -> None:
    with pytest.raises(OptionError, match=r"nats\.ack\.none and nats\.ack\.policy=all"):
        begin(nats_server.url, stream, ack_none="true")
