"""The partitioned flavor: one task for each stream, and the offsets and limits of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.numbered import a_checkpoint_of, make_streams, start
from .._support.options import options
from .._support.reading import Driver, numbers

Offset = dict[str, Any]


def batches(driver: Driver, position: Offset) -> Iterator[tuple[Offset, list[list[int]]]]:
    """Return the end and the sequences of each task, batch after batch until nothing is left."""
    while True:
        end = driver.latest(position)
        if end == position:
            return
        yield end, [numbers(rows) for rows in driver.tasks(position, end)]
        position = end


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
