"""Small ranges of many streams are read together, and each as exactly as if it were read alone."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nats_spark_common import DataLossError, NatsSettings
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.planning.ranges import StreamRange
from nats_spark_common.reading import many_ranges
from nats_spark_common.reading.many_ranges import read_ranges
from nats_spark_common.replay.stream_states import StreamStates
from nats_spark_common.rows.messages import MESSAGE_COLUMNS
from pyspark_nats_v2.strategy import ByRange

from .._support.admin import Admin, mirror
from .._support.options import options
from .._support.proxy import proxy
from .._support.reading import ALWAYS, Driver, Row
from .._support.relay import relay
from .test_read_via import calls

COUNTS = [1, 3, 40, 0, 7, 2_500, 2, 1, 20, 5, 9, 4, 30]


@pytest.fixture
def streams(admin: Admin, stream: str) -> Iterator[dict[str, int]]:
    """Small streams beside some that are not small, by name with their last sequences."""
    counts = {f"{stream}-{i:02}": count for i, count in enumerate(COUNTS)}
    for name, count in counts.items():
        admin.create_stream(name)
        admin.fill(name, count)
    yield counts
    for name in counts:
        admin.delete_stream(name)


def by_stream(rows: list[Row]) -> dict[str, list[int]]:
    """The sequences of each stream's rows; a row's payload says which it is."""
    found: dict[str, list[int]] = {}
    for row in rows:
        assert row["subject"].startswith(f"{row['stream']}.")
        assert int(row["content"].rstrip(b".")) == row["streamSeq"] - 1
        found.setdefault(row["stream"], []).append(row["streamSeq"])
    return found


def expected(counts: dict[str, int]) -> dict[str, list[int]]:
    return {name: list(range(1, count + 1)) for name, count in counts.items() if count}


def read_all(url: str, stream: str, **more: str) -> dict[str, list[int]]:
    with Driver(options(url, stream_pattern=f"{stream}-*", **more)) as driver:
        start = driver.initial()
        return by_stream(driver.rows(start, driver.everything(start)))


def test_every_message_of_many_streams_is_read_in_its_order(
    server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    counts = {f"{stream}-{i:02}": count for i, count in enumerate(COUNTS)}
    for name, count in counts.items():
        server_admin.create_stream(name)
        server_admin.fill(name, count)
    assert read_all(server.url, stream) == expected(counts)
    for name in counts:
        server_admin.delete_stream(name)


def test_small_ranges_are_read_together_and_without_consumers(
    nats_server: EmbeddedServer, admin: Admin, stream: str, streams: dict[str, int]
) -> None:
    with (
        relay(nats_server.url) as link,
        Driver(options(link.url, stream_pattern=f"{stream}-*", partitions="1")) as driver,
    ):
        start = driver.initial()
        end = driver.everything(start)
        with calls(admin, f"{stream}-00") as made:
            assert by_stream(driver.rows(start, end)) == expected(streams)
        assert made == {"DIRECT.GET", "STREAM.INFO"}
        (share,) = driver.reader.partitions(start, end)
        blocks = [batch.num_rows for batch in driver.reader.read(share)]
        assert len(blocks) < len(expected(streams)) / 2


def test_messages_that_were_deleted_among_others_are_left_out(
    nats_server: EmbeddedServer, admin: Admin, stream: str, streams: dict[str, int]
) -> None:
    wanted = expected(streams)
    for name, seqs in wanted.items():
        if len(seqs) > 2:
            admin.delete_message(name, 2)
            seqs.remove(2)
    assert read_all(nats_server.url, stream) == wanted


def test_a_stream_without_direct_gets_is_read_beside_others(
    nats_server: EmbeddedServer, admin: Admin, stream: str, streams: dict[str, int]
) -> None:
    name = f"{stream}-99"
    admin.create_stream(name, allow_direct=False)
    admin.fill(name, 12)
    assert read_all(nats_server.url, stream) == expected({**streams, name: 12})
    admin.delete_stream(name)


def test_messages_larger_than_the_requests_of_small_ranges(
    nats_server: EmbeddedServer, admin: Admin, stream: str, streams: dict[str, int]
) -> None:
    name = f"{stream}-04"  # of mean size, it is small
    admin.publish(f"{name}.large", b"7" + b"." * 900_000)
    admin.publish(f"{name}.large", b"8" + b"." * 900_000)
    assert read_all(nats_server.url, stream) == expected({**streams, name: 9})


def test_the_rows_of_a_mirrored_stream_are_its_own(
    nats_server: EmbeddedServer, admin: Admin, stream: str, streams: dict[str, int]
) -> None:
    name = f"{stream}-02"
    copy = mirror(admin, f"M{stream}", name, seq=3, filter_subject=f"{name}.2")
    for _ in range(5):
        assert read_all(nats_server.url, stream) == expected(streams)
    admin.delete_stream(copy)


@pytest.mark.parametrize("fate", ["recreated", "purged"])
def test_a_stream_that_is_lost_after_planning_is_reported(
    nats_server: EmbeddedServer, admin: Admin, stream: str, streams: dict[str, int], fate: str
) -> None:
    name = f"{stream}-04"
    with Driver(options(nats_server.url, stream_pattern=f"{stream}-*")) as driver:
        start = driver.initial()
        end = driver.everything(start)
        shares = driver.reader.partitions(start, end)
        if fate == "purged":
            admin.purge(name, keep=3)
        else:
            admin.delete_stream(name)
            admin.create_stream(name)
            admin.fill(name, streams[name])
        with pytest.raises(DataLossError, match=name):
            list(chain.from_iterable(driver.reader.read(share) for share in shares))


@contextmanager
def cutting(url: str, chance: random.Random) -> Iterator[str]:
    """A proxy that ends its first connections somewhere among the replies to direct gets."""
    left = 3

    def tamper(sent: bytes) -> bytes:
        nonlocal left
        if b"Nats-Stream: " not in sent or not left:
            return sent
        left -= 1
        return sent[: chance.randrange(len(sent))] + b"-ERR 'Stale Connection'\r\n"

    with proxy(url, tamper) as through:
        yield through


@pytest.mark.parametrize("seed", range(5))
def test_replies_that_break_off_leave_no_message_out(
    nats_server: EmbeddedServer, stream: str, streams: dict[str, int], seed: int
) -> None:
    ranges = plan(nats_server.url, stream)
    with cutting(nats_server.url, random.Random(seed)) as url:
        read = NatsSettings(url=url, retry_count=20, request_timeout="1s")
        found: dict[str, list[int]] = {}
        for each, messages in read_ranges(read, ranges, MESSAGE_COLUMNS):
            found.setdefault(each.stream, []).extend(messages.seqs.tolist())
    assert found == expected(streams)


def plan(url: str, stream: str) -> list[StreamRange]:
    """One range of each stream, from its first to its last message."""
    made = NatsSettings(url=url, stream_pattern=f"{stream}-*")
    with StreamStates(made, ByRange().selection(made)) as states:
        infos = states.refresh().values()
        return [states.range(info, 1, info.last_seq, ()) for info in infos if info.last_seq]


RANGES = st.lists(
    st.tuples(
        st.integers(1, 3_000),
        st.sampled_from([10.0, 200.0, 5_000.0, float("inf")]),
        st.booleans(),
        st.sampled_from([(), ("a.>",)]),
        st.sampled_from([0, 100, 3_000]),
    ),
    max_size=200,
)


@given(RANGES)
@settings(max_examples=200)
def test_groups_keep_the_order_of_the_ranges_and_are_small(
    drawn: list[tuple[int, float, bool, tuple[str, ...], int]],
) -> None:
    ranges = [
        StreamRange(f"S{i}", "now", 1, length, filters, direct, consumer_from, size)
        for i, (length, size, direct, filters, consumer_from) in enumerate(drawn)
    ]
    groups = list(many_ranges.groups(NatsSettings(), ranges))
    assert [each for group in groups for each in group] == ranges
    for group in groups:
        if len(group) > 1:
            assert sum(len(each) * each.mean_size for each in group) <= 1 << 20
            assert sum(map(len, group)) <= 2_000
            assert all(
                each.direct and not each.filters and len(each) < each.consumer_from
                for each in group
            )


def test_polls_of_many_streams_take_a_tenth_of_the_time(
    nats_server: EmbeddedServer, stream: str, streams: dict[str, int]
) -> None:
    made = NatsSettings(
        url=nats_server.url, stream_pattern=f"{stream}-*", poll_interval=ALWAYS, read_via="direct"
    )
    with StreamStates(made, ByRange().selection(made)) as states:
        spent, begun = 0.0, time.monotonic()
        for _ in range(20):
            asked = time.monotonic()
            states.refresh()
            spent += time.monotonic() - asked
            states.wait({})
        assert spent <= 0.15 * (time.monotonic() - begun)
