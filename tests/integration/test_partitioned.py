"""The partitioned flavor: one task for each stream, and the number of streams."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from nats_spark_common import (
    DataLossError,
    OptionError,
    StreamNotFoundError,
    UnsupportedStreamError,
)
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.replay import stream_states
from pyspark_nats_partitioned import DefaultSource

from .._support.admin import Admin
from .._support.numbered import make_streams, start
from .._support.options import options
from .._support.reading import Driver, numbers

Offset = dict[str, Any]


@pytest.fixture
def discovers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a query search for new streams with each request."""
    monkeypatch.setattr(stream_states, "DISCOVERY_INTERVAL", 0.0)


def batches(driver: Driver, position: Offset) -> Iterator[tuple[Offset, list[list[int]]]]:
    """Return the end and the sequences of each task, batch after batch until nothing is left."""
    while True:
        end = driver.latest(position)
        if end == position:
            return
        yield end, [numbers(rows) for rows in driver.tasks(position, end)]
        position = end


@contextmanager
def a_checkpoint_of(server: EmbeddedServer, prefix: str, **short: str) -> Iterator[Offset]:
    """Give the offset of a first batch that took everything."""
    with start(server.url, prefix, **short) as driver:
        yield driver.latest(driver.initial())


def test_partition_i_of_every_batch_is_stream_i_in_order(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [50, 0, 70])
    limit = "30"
    with start(server.url, stream, max_messages_per_trigger=limit, min_range="1") as driver:
        begun = driver.initial()
        seen: list[list[int]] = [[], [], []]
        position = begun
        for end, tasks in batches(driver, begun):
            shares = driver.reader.partitions(position, end)
            assert [s.ranges[0].stream if s.ranges else None for s in shares] in (
                [f"{stream}-0", None, f"{stream}-2"],
                [None, None, f"{stream}-2"],
            )
            for own, new in zip(seen, tasks, strict=True):
                own += new
            position = end
    assert seen == [list(range(1, 51)), [], list(range(1, 71))]


def test_more_than_ten_streams_are_in_the_order_of_their_numbers(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, list(range(12)))
    with start(nats_server.url, stream) as driver:
        begun = driver.initial()
        tasks = list(driver.tasks(begun, driver.latest(begun)))
    assert [len(rows) for rows in tasks] == list(range(12))
    assert all({r["stream"] for r in rows} <= {f"{stream}-{i}"} for i, rows in enumerate(tasks))


def test_each_stream_has_an_offset_of_its_own(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [5, 0, 7])
    with a_checkpoint_of(nats_server, stream) as position:
        assert [position["streams"][f"{stream}-{i}"]["seq"] for i in range(3)] == [5, 0, 7]
    admin.publish(f"{stream}-1.x")
    with start(nats_server.url, stream) as again:
        end = again.latest(position)
        assert list(again.tasks(position, end))[1][0]["streamSeq"] == 1
        assert [len(rows) for rows in again.tasks(position, end)] == [0, 1, 0]


def test_a_backlog_in_one_stream_does_not_starve_the_others(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [5_000, 30, 200])
    with start(nats_server.url, stream, max_messages_per_trigger="300") as driver:
        sizes = [[len(task) for task in tasks] for _, tasks in batches(driver, driver.initial())]
    assert sizes[:3] == [[135, 30, 135], [235, 0, 65], [300, 0, 0]]
    assert sum(map(sum, sizes)) == 5_230


def test_a_limit_of_bytes_is_shared_evenly_too(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [5_000, 10])
    size = admin.info(f"{stream}-0").state.bytes / 5_000
    with start(nats_server.url, stream, max_bytes_per_trigger=str(int(size * 100))) as driver:
        begun = driver.initial()
        first, second = driver.tasks(begun, driver.latest(begun))
    assert len(second) == 10
    assert 85 <= len(first) <= 95


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ({}, [[1, 2, 3, 4], [1, 2, 3, 4]]),
        ({"start": "3"}, [[3, 4], [3, 4]]),
        ({"start": "latest"}, [[], []]),
    ],
)
def test_a_start_holds_for_every_stream(
    server: EmbeddedServer,
    server_admin: Admin,
    stream: str,
    short: dict[str, str],
    expected: list[list[int]],
) -> None:
    make_streams(server_admin, stream, [4, 4])
    with start(server.url, stream, **short) as driver:
        begun = driver.initial()
        tasks = driver.tasks(begun, driver.everything(begun))
        assert [numbers(rows) for rows in tasks] == expected


def test_a_filter_holds_for_every_stream(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [12, 4])
    with start(nats_server.url, stream, stream_subjects="*.1") as driver:
        begun = driver.initial()
        tasks = driver.tasks(begun, driver.latest(begun))
        assert [numbers(rows) for rows in tasks] == [[2, 12], [2]]


def test_a_start_can_be_given_for_one_stream(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [4, 4])
    position = json.dumps({f"{stream}-1": 4, "*": "latest"})
    with start(nats_server.url, stream, start=position) as driver:
        begun = driver.initial()
        tasks = driver.tasks(begun, driver.latest(begun))
        assert [numbers(rows) for rows in tasks] == [[], [4]]


# Which streams are read.


def test_without_a_prefix_the_error_names_the_missing_option(nats_server: EmbeddedServer) -> None:
    with pytest.raises(OptionError, match=r"nats\.stream\.prefix"):
        DefaultSource(options(nats_server.url, stream_name="S")).schema()


@pytest.mark.parametrize("count", ["0", "-1", "three", "1.5", "10001"])
def test_a_wrong_number_of_partitions_is_rejected(nats_server: EmbeddedServer, count: str) -> None:
    with pytest.raises(OptionError, match=rf"partitions='{count}'.*from 1 to 10000, or auto"):
        start(nats_server.url, "P", num_partitions=count)


@pytest.mark.parametrize("prefix", ["a.b", "a b", "a>", " "])
def test_a_prefix_that_no_stream_can_have_is_rejected(
    nats_server: EmbeddedServer, prefix: str
) -> None:
    with pytest.raises(OptionError, match=r"nats\.stream\.prefix="):
        start(nats_server.url, prefix)


@pytest.mark.parametrize("count", ["auto", "4"])
def test_a_gap_in_the_numbers_is_rejected_with_the_existing_streams(
    server: EmbeddedServer, server_admin: Admin, stream: str, count: str
) -> None:
    for i in (0, 1, 3):
        server_admin.create_stream(f"{stream}-{i}")
    source = DefaultSource(options(server.url, stream_prefix=stream, num_partitions=count))
    with pytest.raises(
        StreamNotFoundError,
        match=rf"={count}: {stream}-2 missing, {stream}-0, {stream}-1, {stream}-3 found\. Create",
    ):
        source.schema()


def test_a_stream_that_is_missing_at_the_end_is_rejected(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [0, 0])
    source = DefaultSource(options(server.url, stream_prefix=stream, num_partitions="3"))
    with pytest.raises(
        StreamNotFoundError, match=rf"=3: {stream}-2 missing, {stream}-0, {stream}-1 found"
    ):
        source.schema()


def test_no_stream_at_all_is_rejected(nats_server: EmbeddedServer, stream: str) -> None:
    source = DefaultSource(options(nats_server.url, stream_prefix=stream))
    with pytest.raises(StreamNotFoundError, match=rf"{stream}-0 missing, none found"):
        source.schema()


def test_similar_names_are_not_read(nats_server: EmbeddedServer, admin: Admin, stream: str) -> None:
    make_streams(admin, stream, [1, 1])
    for other in (
        f"{stream}-20240501",
        f"{stream}-02",
        f"{stream}-x",
        f"{stream}-2-3",
        f"{stream}-ingest",
        f"x{stream}-2",
    ):
        admin.create_stream(other)
    with start(nats_server.url, stream) as driver:
        assert list(driver.initial()["streams"]) == [f"{stream}-0", f"{stream}-1"]


def test_streams_beyond_the_number_are_named_in_a_warning(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_streams(admin, stream, [3, 3, 3])
    with caplog.at_level(logging.WARNING), start(nats_server.url, stream, num_partitions="2") as d:
        begun = d.initial()
        assert [len(rows) for rows in d.tasks(begun, d.latest(begun))] == [3, 3]
    assert f"streams beyond nats.num.partitions=2 are not read: {stream}-2" in caplog.text


def test_a_work_queue_is_rejected(nats_server: EmbeddedServer, admin: Admin, stream: str) -> None:
    make_streams(admin, stream, [1], retention="workqueue")
    with pytest.raises(UnsupportedStreamError, match="nats-balanced"):
        DefaultSource(options(nats_server.url, stream_prefix=stream)).schema()


@pytest.mark.usefixtures("discovers_at_once")
def test_auto_reads_streams_that_join_between_batches(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [5])
    with start(server.url, stream, start="latest") as driver:
        position = driver.initial()
        assert driver.latest(position) == position
        server_admin.create_stream(f"{stream}-1")
        server_admin.fill(f"{stream}-1", 4)
        end = driver.latest(position)
        tasks = [numbers(rows) for rows in driver.tasks(position, end)]
    assert tasks == [[], [1, 2, 3, 4]]


@pytest.mark.usefixtures("discovers_at_once")
def test_auto_waits_for_the_numbers_before_a_stream_that_joins(
    nats_server: EmbeddedServer, admin: Admin, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_streams(admin, stream, [1])
    with caplog.at_level(logging.WARNING), start(nats_server.url, stream) as driver:
        position = driver.latest(driver.initial())
        admin.create_stream(f"{stream}-2")
        admin.fill(f"{stream}-2", 2)
        assert driver.latest(position) == position
        assert f"streams after a gap in the numbers are not read yet: {stream}-2" in caplog.text
        admin.create_stream(f"{stream}-1")
        end = driver.latest(position)
        assert [len(rows) for rows in driver.tasks(position, end)] == [0, 0, 2]


# Streams that do not match the checkpoint.


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


# Batch reads.


def test_a_batch_read_has_a_partition_for_each_stream(
    spark: SparkSession, server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    make_streams(server_admin, stream, [30, 0, 20])
    reader = spark.read.format("nats-partitioned").options(**options(server.url))
    frame = reader.option("nats.stream.prefix", stream).option("nats.min.range", "1").load()
    assert frame.rdd.getNumPartitions() == 3
    found = frame.groupBy("stream", f.spark_partition_id().alias("partition")).count().collect()
    assert {tuple(row) for row in found} == {(f"{stream}-0", 0, 30), (f"{stream}-2", 2, 20)}


def test_a_batch_read_takes_start_and_end(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_streams(admin, stream, [30, 20])
    given = options(nats_server.url, stream_prefix=stream, start="19", end="20")
    frame = spark.read.format("nats-partitioned").options(**given).load()
    rows = frame.select("stream", "streamSeq").collect()
    assert [tuple(row) for row in rows] == [(f"{stream}-{i}", s) for i in (0, 1) for s in (19, 20)]
