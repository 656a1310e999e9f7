"""Filters that match most of a stream are applied by the tasks, with the same rows."""

from __future__ import annotations

from contextlib import closing

import pytest
from pyspark.sql.types import StructType

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import DataLossError
from nats_spark_common.planning import way
from nats_spark_common.rows.schema import SCHEMA

from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.reading import Driver, numbers, read_stream
from .test_permissions import granted, server_for

COUNT = 1_000  # on ten subjects, <stream>.0 to <stream>.9


@pytest.fixture(autouse=True)
def _short_ranges_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way, "FILTERED_FROM", 100)


def filters(stream: str, *last: int) -> str:
    return ",".join(f"{stream}.{each}" for each in last)


def is_whole(driver: Driver, stream: str) -> bool:
    """Whether the tasks of a batch over everything apply the filters."""
    start = driver.initial()
    (partition, *_) = driver.reader.partitions(start, driver.everything(start))
    return bool(partition.ranges[0].filters_here)


@pytest.mark.parametrize(
    ("last", "more", "whole"),
    [
        ((0, 1, 2), {}, True),
        ((0, 1), {}, False),
        ((0,), {}, False),
        ((0, 1, 2), {"read_via": "consumer"}, False),
    ],
)
def test_what_the_filters_match_decides(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    last: tuple[int, ...],
    more: dict[str, str],
    whole: bool,
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    given = options(
        nats_server.url, stream_name=stream, stream_subjects=filters(stream, *last), **more
    )
    with Driver(given) as driver:
        assert is_whole(driver, stream) is whole
    expected = [seq for seq in range(1, COUNT + 1) if (seq - 1) % 10 in last]
    assert numbers(read_stream(given)) == expected
    wait_until(lambda: not admin.consumers(stream))


def test_one_filter_that_takes_everything_is_applied_here(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    given = options(nats_server.url, stream_name=stream, stream_subjects=f"{stream}.*")
    with Driver(given) as driver:
        assert is_whole(driver, stream)
    assert numbers(read_stream(given)) == list(range(1, COUNT + 1))


def test_the_subject_is_returned_only_if_it_is_asked_for(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    subjects = filters(stream, *range(8))
    given = options(nats_server.url, stream_name=stream, stream_subjects=subjects)
    schema = StructType([SCHEMA["streamSeq"], SCHEMA["content"]])
    rows = read_stream(given, schema)
    assert set(rows[0]) == {"streamSeq", "content"}
    assert len(rows) == COUNT * 8 // 10
    assert all(int(row["content"].split(b".")[0]) % 10 < 8 for row in rows)


def test_messages_of_other_subjects_that_come_later_are_left_out(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    given = options(nats_server.url, stream_name=stream, stream_subjects=filters(stream, *range(9)))
    with Driver(given) as driver:
        start = driver.initial()
        first = driver.everything(start)
        assert len(driver.rows(start, first)) == COUNT * 9 // 10
        admin.publish_many((f"{stream}.9", b"late") for _ in range(COUNT))
        second = driver.everything(first)
        assert driver.rows(first, second) == []


def test_a_removed_head_is_data_loss_all_the_same(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    given = options(nats_server.url, stream_name=stream, stream_subjects=filters(stream, *range(9)))
    with Driver(given) as driver:
        start = driver.initial()
        end = driver.everything(start)
        partitions = driver.reader.partitions(start, end)
        assert partitions[0].ranges[0].filters_here
        admin.purge(stream, keep=100)
        with pytest.raises(DataLossError, match="messages 1 to 900 were removed"):
            list(driver.reader.read(partitions[0]))


def test_without_the_permission_the_server_filters(stream: str) -> None:
    allowed = [
        each.replace("ORDERS", stream)
        for each in granted("all", "v2, partitioned")
        if "CONSUMER." not in each
    ]
    with server_for(allowed) as server:
        admin_url, url = (
            server.url.replace("nats://", f"nats://{user}:pw@") for user in ("admin", "spark")
        )
        with closing(Admin(admin_url)) as admin:
            admin.create_stream(stream)
            admin.fill(stream, COUNT)
        given = options(
            url, stream_name=stream, stream_subjects=f"{stream}.*", request_timeout="1s"
        )
        with Driver(given) as driver:
            assert not is_whole(driver, stream)
        assert numbers(read_stream(given)) == list(range(1, COUNT + 1))
