"""Mirrors answer direct gets for the stream that they mirror (ADR-31), and are never read for it.

A server turns ``mirror_direct`` on by itself for a mirror of a stream with ``allow_direct``. The
mirrors here filter, rename and have lost messages. Rows are the stream's, whoever answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.ranges import StreamRange
from nats_spark_common.reading.range_reader import read_range

from .._support import consuming
from .._support.admin import Admin, mirror, wait_until
from .._support.reading import ALWAYS, Driver, numbers, read_stream

COUNT = 2_000


@pytest.fixture
def mirrored(admin: Admin, stream: str) -> Iterator[str]:
    """A stream with a mirror that filters, one that renames, and one that was emptied."""
    admin.create_stream(stream)
    admin.fill(stream, COUNT)
    names = [
        mirror(admin, f"{stream}-F", stream, filter_subject=f"{stream}.1"),
        mirror(
            admin,
            f"{stream}-T",
            stream,
            subject_transforms=[{"src": f"{stream}.*", "dest": "renamed.{{wildcard(1)}}"}],
        ),
        mirror(admin, f"{stream}-P", stream),
    ]
    wait_until(lambda: admin.info(f"{stream}-P").state.messages == COUNT)
    admin.purge(f"{stream}-P")
    yield stream
    for name in [*names, stream]:
        admin.delete_stream(name)


@pytest.mark.parametrize("attempt", range(5))
def test_v2_reads_the_stream_itself(
    nats_server: EmbeddedServer, mirrored: str, attempt: int
) -> None:
    rows = read_stream({"nats.url": nats_server.url, "nats.stream.name": mirrored})
    assert numbers(rows) == list(range(1, COUNT + 1))
    assert {row["subject"].split(".")[0] for row in rows} == {mirrored}


def test_a_filtered_read_finds_what_only_the_stream_has(
    nats_server: EmbeddedServer, mirrored: str
) -> None:
    for _ in range(5):
        options = {"nats.url": nats_server.url, "nats.stream.name": mirrored}
        rows = read_stream({**options, "nats.stream.subjects": f"{mirrored}.7"})
        assert numbers(rows) == list(range(8, COUNT + 1, 10))


def test_a_query_of_spark_reads_the_stream_itself(
    spark: SparkSession, nats_server: EmbeddedServer, mirrored: str
) -> None:
    reader = spark.read.format("nats-v2").option("nats.url", nats_server.url)
    rows = reader.option("nats.stream.name", mirrored).load().select("streamSeq", "subject")
    for _ in range(3):
        found = rows.collect()
        assert sorted(row.streamSeq for row in found) == list(range(1, COUNT + 1))
        assert {row.subject.split(".")[0] for row in found} == {mirrored}


@pytest.mark.parametrize("step", [1, 1_500])
def test_balanced_reads_the_stream_itself(
    admin: Admin, nats_server: EmbeddedServer, mirrored: str, step: int
) -> None:
    """In ranges and, where a filter takes few messages far apart, by single gets."""
    if step > 1:
        for seq in (1, 500, 1_250, 1_999):
            admin.publish(f"{mirrored}.rare", str(seq).encode())
            admin.fill(mirrored, step)
    wanted = f"{mirrored}.rare" if step > 1 else f"{mirrored}.>"
    with consuming.start(nats_server.url, mirrored, stream_subjects=wanted) as driver:
        start = driver.initial()
        end = driver.latest(start)
        for _ in range(5):
            rows = driver.rows(start, end)
            assert numbers(rows) == (
                list(range(1, COUNT + 1))
                if step == 1
                else [COUNT + 1 + i * 1_501 for i in range(4)]
            )
            assert {row["subject"].split(".")[0] for row in rows} == {mirrored}
        driver.latest(end)


def test_balanced_reads_a_mirrored_work_queue_from_its_leader(
    admin: Admin, nats_server: EmbeddedServer, stream: str
) -> None:
    """A work queue allows no second consumer, so the leader is asked for each message.

    A mirror answers direct gets once it has copied something.
    """
    admin.create_stream(stream, retention="workqueue")
    consuming.durable(admin, stream, max_ack_pending=2 * COUNT)
    admin.fill(stream, COUNT)
    admin.publish(f"{stream}.copied", b"")
    mirror(admin, f"{stream}-T", stream, seq=COUNT + 1, filter_subject=f"{stream}.copied")
    with consuming.start(nats_server.url, stream) as driver:
        start = driver.initial()
        end = driver.latest(start)
        for _ in range(5):
            assert numbers(driver.rows(start, end)) == list(range(1, COUNT + 2))
        driver.latest(end)
    admin.delete_stream(f"{stream}-T")


@pytest.mark.parametrize(("wanted", "lag"), [("2", 90), ("1", 90), (">", 900), (None, 900)])
def test_the_lag_is_that_of_the_stream(
    nats_server: EmbeddedServer, mirrored: str, wanted: str | None, lag: int
) -> None:
    """A mirror that lacks the messages reports "not found", without a name of its own."""
    options = {"nats.url": nats_server.url, "nats.stream.name": mirrored, "nats.start": "1001"}
    options |= {"nats.poll.interval": ALWAYS, "nats.max.messages.per.trigger": "100"}
    if wanted:
        options["nats.stream.subjects"] = f"{mirrored}.{wanted}"
    with Driver(options) as driver:
        driver.latest(driver.initial())
        for _ in range(30):
            (found,) = driver.reader.reportLatestOffset()["streams"].values()
            assert found["lag"] == lag
            assert found["lagSeconds"] > 0


def test_the_lag_of_a_filter_without_unread_messages_is_zero(
    admin: Admin, nats_server: EmbeddedServer, mirrored: str
) -> None:
    admin.publish(f"{mirrored}.rare")
    admin.fill(mirrored, 100)
    options = {"nats.url": nats_server.url, "nats.stream.name": mirrored}
    options |= {"nats.stream.subjects": f"{mirrored}.rare", "nats.poll.interval": ALWAYS}
    with Driver({**options, "nats.max.messages.per.trigger": str(COUNT + 1)}) as driver:
        driver.latest(driver.initial())
        for _ in range(10):
            (found,) = driver.reader.reportLatestOffset()["streams"].values()
            assert (found["lag"], found["lagBytes"], found["lagSeconds"]) == (0, 0, 0.0)


def test_each_task_of_many_reads_what_is_stored(
    nats_server: EmbeddedServer, admin: Admin, mirrored: str
) -> None:
    """Deleted messages stay gaps, and nothing else becomes one."""
    for seq in (1, 2, 900, COUNT):
        admin.delete_message(mirrored, seq)
    settings = NatsSettings.from_options({"nats.url": nats_server.url})
    created = admin.api(f"STREAM.INFO.{mirrored}")["created"]
    found: Counter[int] = Counter()
    for first in range(1, COUNT, 100):
        span = StreamRange(mirrored, created, first, first + 99)
        for messages in read_range(settings, span, frozenset(), check_loss=False):
            found.update(messages.seqs.tolist())
    assert found == Counter(set(range(1, COUNT + 1)) - {1, 2, 900, COUNT})
