"""The partitioned flavor: streams that no longer match the checkpoint."""

from __future__ import annotations

import pytest

from nats_spark_common import DataLossError, OptionError
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.numbered import a_checkpoint_of, make_streams, start
from .._support.reading import numbers


@pytest.mark.parametrize("count", ["2", "4"])
def test_another_number_than_the_checkpoints_is_rejected(
    server: EmbeddedServer, server_admin: Admin, stream: str, count: str
) -> None:
    make_streams(server_admin, stream, [2, 2, 2, 2])
    words = rf"nats\.num\.partitions={count}, but the checkpoint has 3 streams.*'auto'"
    with a_checkpoint_of(server, stream, num_partitions="3") as position:
        pass
    with start(server.url, stream, num_partitions=count) as driver:
        with pytest.raises(OptionError, match=words):
            driver.latest(position)
        with pytest.raises(OptionError, match=words):  # Spark calls this to replay a batch
            driver.reader.partitions(position, position)


def test_auto_continues_from_a_checkpoint_with_fewer_streams(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [2, 2, 2, 2])
    with a_checkpoint_of(nats_server, stream, num_partitions="3") as position:
        pass
    with start(nats_server.url, stream) as driver:
        end = driver.latest(position)
        assert [numbers(rows) for rows in driver.tasks(position, end)] == [[], [], [], [1, 2]]


def test_another_prefix_than_the_checkpoints_is_rejected(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [1])
    make_streams(admin, f"{stream}x", [1])
    with a_checkpoint_of(nats_server, stream) as position:
        pass
    with (
        start(nats_server.url, f"{stream}x") as driver,
        pytest.raises(
            OptionError, match=rf"nats\.stream\.prefix={stream}x does not match stream '{stream}-0'"
        ),
    ):
        driver.latest(position)


@pytest.mark.usefixtures("discovers_at_once")
@pytest.mark.parametrize("count", ["auto", "3"])
def test_a_stream_that_vanishes_is_data_loss(
    server: EmbeddedServer, server_admin: Admin, stream: str, count: str
) -> None:
    make_streams(server_admin, stream, [2, 2, 2])
    with start(server.url, stream, num_partitions=count) as driver:
        position = driver.latest(driver.initial())
        server_admin.delete_stream(f"{stream}-1")
        with pytest.raises(DataLossError, match=rf"{stream}-1.*no longer exists"):
            driver.latest(position)


@pytest.mark.usefixtures("discovers_at_once")
def test_with_loss_allowed_the_other_streams_keep_their_tasks(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [2, 2, 2])
    with start(nats_server.url, stream, fail_on_data_loss="false") as driver:
        position = driver.latest(driver.initial())
        admin.delete_stream(f"{stream}-1")
        admin.fill(f"{stream}-2", 1)
        end = driver.latest(position)
        assert [numbers(rows) for rows in driver.tasks(position, end)] == [[], [], [3]]


def test_with_loss_allowed_a_lost_stream_may_come_back(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [2, 2])
    short = {"num_partitions": "2", "fail_on_data_loss": "false"}
    with start(nats_server.url, stream, **short) as driver:
        position = driver.latest(driver.initial())
        admin.delete_stream(f"{stream}-1")
        admin.fill(f"{stream}-0", 1)
        position = driver.latest(position)
        assert list(position["streams"]) == [f"{stream}-0"]
    admin.create_stream(f"{stream}-1")
    admin.fill(f"{stream}-1", 3)
    with start(nats_server.url, stream, **short) as again:
        end = again.latest(position)
        assert [numbers(rows) for rows in again.tasks(position, end)] == [[], [1, 2, 3]]


def test_with_loss_allowed_an_available_now_query_keeps_streams_after_a_lost_one(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [2, 2, 2])
    with a_checkpoint_of(nats_server, stream) as position:
        pass
    admin.delete_stream(f"{stream}-1")
    admin.fill(f"{stream}-2", 1)
    with start(nats_server.url, stream, fail_on_data_loss="false") as driver:
        driver.reader.prepareForTriggerAvailableNow()
        end = driver.latest(position)
        assert [numbers(rows) for rows in driver.tasks(position, end)] == [[], [], [3]]


def recreate(admin: Admin, name: str, count: int) -> None:
    admin.delete_stream(name)
    admin.create_stream(name)
    admin.fill(name, count)


def test_one_recreated_stream_fails_the_query(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [4, 4])
    with a_checkpoint_of(server, stream) as position:
        pass
    recreate(server_admin, f"{stream}-1", 9)
    with (
        start(server.url, stream) as driver,
        pytest.raises(DataLossError, match=rf"{stream}-1.*recreated"),
    ):
        driver.latest(position)


def test_with_loss_allowed_one_recreated_stream_is_read_from_its_head(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [4, 4])
    with a_checkpoint_of(server, stream) as position:
        pass
    recreate(server_admin, f"{stream}-1", 2)
    server_admin.publish(f"{stream}-0.x")
    with start(server.url, stream, fail_on_data_loss="false") as driver:
        end = driver.latest(position)
        assert [numbers(rows) for rows in driver.tasks(position, end)] == [[5], [1, 2]]


def test_messages_removed_by_limits_before_they_were_read_fail_the_query(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [4, 4])
    with a_checkpoint_of(nats_server, stream) as position:
        pass
    admin.fill(f"{stream}-1", 4)
    admin.purge(f"{stream}-1", seq=7)
    with (
        start(nats_server.url, stream) as driver,
        pytest.raises(DataLossError, match=rf"{stream}-1.*5 to 6.*nats\.fail\.on\.data\.loss"),
    ):
        driver.latest(position)
