"""The partitioned flavor: which streams are read, and which numbers of streams are rejected."""

from __future__ import annotations

import logging

import pytest

from nats_spark_common import OptionError, StreamNotFoundError, UnsupportedStreamError
from nats_spark_common.embedded import EmbeddedServer
from pyspark_nats_partitioned import DefaultSource

from .._support.admin import Admin
from .._support.numbered import make_streams, start
from .._support.options import options
from .._support.reading import numbers


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
