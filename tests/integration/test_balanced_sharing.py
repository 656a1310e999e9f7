"""The balanced flavor: several members of one consumer, and messages that are removed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nats.js.api import RetentionPolicy

from nats_spark_common import DataLossError, NatsSettings
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.planning.ranges import NEVER
from pyspark_nats_balanced.read_messages import Source, read_messages

from .._support.admin import Admin, wait_until
from .._support.consuming import DURABLE, durable, follow, is_settled, start
from .._support.options import options
from .._support.reading import batch, drain, numbers


def test_two_queries_split_the_messages_of_a_durable(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 1_000)
    with (
        start(server.url, stream, max_messages_per_trigger="70") as one,
        start(server.url, stream, max_messages_per_trigger="30") as two,
    ):
        positions = {one: one.initial(), two: two.initial()}
        rows: dict[Any, list[Any]] = {one: [], two: []}
        for _ in range(11):
            for driver, position in positions.items():
                positions[driver], more = batch(driver, position)
                rows[driver] += more
    assert sorted(numbers(rows[one] + rows[two])) == list(range(1, 1_001))
    assert len(rows[one]) == 700
    assert is_settled(server_admin, stream)


@pytest.mark.parametrize("retention", [RetentionPolicy.LIMITS, RetentionPolicy.WORK_QUEUE])
def test_a_query_shares_a_durable_with_a_plain_client(
    server: EmbeddedServer, server_admin: Admin, stream: str, retention: RetentionPolicy
) -> None:
    server_admin.create_stream(stream, retention=retention)
    durable(server_admin, stream)  # delivers payloads, which a plain client wants to see
    server_admin.fill(stream, 300)
    theirs: list[tuple[int, bytes]] = []

    async def take(count: int) -> None:
        bound = await server_admin.js.pull_subscribe_bind(DURABLE, stream)
        for message in await bound.fetch(count):
            theirs.append((message.metadata.sequence.stream, message.data))
            await message.ack()
        await bound.unsubscribe()

    with start(server.url, stream, max_messages_per_trigger="50") as driver:
        position, ours = driver.initial(), []
        for _ in range(3):
            server_admin.run(take(50))
            position, more = batch(driver, position)
            ours += more
        drain(driver, position)
    assert sorted(numbers(ours) + [seq for seq, _ in theirs]) == list(range(1, 301))
    assert all(int(data.rstrip(b".")) == seq - 1 for seq, data in theirs)
    assert all(int(row["content"].rstrip(b".")) == row["streamSeq"] - 1 for row in ours)
    wait_until(lambda: is_settled(server_admin, stream))


def test_messages_that_alternate_with_those_of_another_member_are_read_exactly(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    durable(server_admin, stream)
    server_admin.fill(stream, 400)

    async def take_every_second() -> None:
        bound = await server_admin.js.pull_subscribe_bind(DURABLE, stream)
        messages = await bound.fetch(400)
        for number, message in enumerate(messages):
            await (message.ack() if number % 2 else message.nak())
        await server_admin.client.flush()
        await bound.unsubscribe()

    server_admin.run(take_every_second())
    with start(server.url, stream) as driver:
        rows = drain(driver)
    assert numbers(rows) == list(range(1, 400, 2))
    assert {row["delivered"] for row in rows} == {2}
    assert is_settled(server_admin, stream)


@pytest.mark.parametrize("retention", [RetentionPolicy.LIMITS, RetentionPolicy.WORK_QUEUE])
def test_messages_purged_after_planning_are_data_loss(
    server: EmbeddedServer, server_admin: Admin, stream: str, retention: RetentionPolicy
) -> None:
    server_admin.create_stream(stream, retention=retention)
    server_admin.fill(stream, 100)
    with start(server.url, stream) as driver:
        position = driver.initial()
        end = driver.latest(position)
        server_admin.purge(stream, seq=41)
        told = r"40 messages from 1 to 40 of the batch were removed.*nats\.fail\.on\.data\.loss"
        with pytest.raises(DataLossError, match=told):
            driver.rows(position, end)


def test_with_data_loss_accepted_the_rest_of_a_purged_batch_is_read_and_acknowledged(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 100)
    with start(server.url, stream, fail_on_data_loss="false", num_listeners="3") as driver:
        position = driver.initial()
        end = driver.latest(position)
        server_admin.purge(stream, seq=41)
        server_admin.fill(stream, 10)
        rows = driver.rows(position, end) + drain(driver, end)
    assert numbers(rows) == list(range(41, 111))
    assert is_settled(server_admin, stream)


def test_a_message_deleted_after_planning_is_data_loss(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    with start(nats_server.url, stream) as driver:
        position = driver.initial()
        end = driver.latest(position)
        admin.delete_message(stream, 50)
        with pytest.raises(DataLossError, match="message 50 of the batch was removed"):
            driver.rows(position, end)


def test_messages_acknowledged_by_another_member_meanwhile_are_no_data_loss(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream, retention=RetentionPolicy.WORK_QUEUE)
    server_admin.fill(stream, 100)
    with start(server.url, stream, msg_ack_wait_secs="1") as driver:
        position = driver.initial()
        end, rows = batch(driver, position)
    with start(server.url, stream) as other:  # takes over after the ack wait
        taken = follow(other, other.initial(), 100)
    assert numbers(taken) == numbers(rows)
    with start(server.url, stream) as driver:  # the first one restarts
        assert driver.rows(position, end) == []
        assert drain(driver, end) == []
    assert is_settled(server_admin, stream)


def test_messages_replaced_by_newer_ones_of_their_subject_are_no_data_loss(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream, max_msgs_per_subject=1)
    admin.fill(stream, 10)
    with start(nats_server.url, stream) as driver:
        position = driver.initial()
        end = driver.latest(position)
        admin.publish(f"{stream}.3", b"newer")
        rows = driver.rows(position, end) + drain(driver, end)
    assert numbers(rows) == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert is_settled(admin, stream)


def test_a_batch_that_is_planned_twice_is_the_same_twice(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """As Spark plans the union of a frame with itself."""
    admin.create_stream(stream, retention=RetentionPolicy.WORK_QUEUE)
    admin.fill(stream, 20)
    with start(nats_server.url, stream, msg_ack_wait_secs="1") as driver:
        position = driver.initial()
        end, rows = batch(driver, position)
    with start(nats_server.url, stream) as other:  # takes over after the ack wait
        assert numbers(follow(other, other.initial(), 20)) == numbers(rows)
    with start(nats_server.url, stream) as driver:
        assert driver.rows(position, end) == []
        assert driver.rows(position, end) == []


def test_large_messages_far_apart_do_not_overrun_the_server(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    server_admin.create_stream(stream)
    large = b"x" * 200_000
    server_admin.publish_many(
        (f"{stream}.{i % 10}", large if i % 10 == 0 else b"small") for i in range(1_000)
    )
    with start(server.url, stream, num_listeners="2") as driver:
        position = driver.initial()
        deliveries = driver.latest(position)
        source = Source(stream, deliveries["created"], True, False, NEVER)
        settings = NatsSettings.from_options(options(server.url))
        seqs = np.arange(1, 1_001)
        parts = read_messages(settings, source, seqs, frozenset({"content"}))
        sizes = [len(each) for part in parts for each in part.columns["content"].to_pylist()]
    assert sizes == [200_000 if i % 10 == 0 else 5 for i in range(1_000)]
