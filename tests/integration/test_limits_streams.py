"""Streams with what few streams have: late first sequences, few messages left, expiry, counters.

Each message that remains is a row once, in every flavor; only what the documents call data loss is
reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nats_spark_common import DataLossError, PublishError
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.errors import ReplayError

from .._support import consuming
from .._support.admin import Admin, wait_until
from .._support.options import options
from .._support.reading import ALWAYS, Driver, Row, batch, drain, numbers, read_stream
from .._support.writing import (
    WAYS,
    begin,
    exactly,
    make_stream,
    new_task,
    numbered,
    stood,
    write,
)

#: No 32-bit number, and no sequence that a test reaches by publishing.
FIRST = 10**10
COUNT = 5_000


@pytest.fixture
def late(admin: Admin, stream: str) -> str:
    """A stream whose first sequence is `FIRST`."""
    make_stream(admin, stream, first_seq=FIRST)
    return stream


@pytest.mark.usefixtures("via")
@pytest.mark.parametrize("begins", ["earliest", str(FIRST), "-1h", str(FIRST + COUNT - 10)])
def test_a_stream_that_begins_late_is_read_from_any_position(
    nats_server: EmbeddedServer, admin: Admin, late: str, begins: str
) -> None:
    admin.fill(late, COUNT)
    first = int(begins) if begins.isdigit() else FIRST
    rows = read_stream(options(nats_server.url, stream_name=late, start=begins))
    assert numbers(rows) == list(range(first, FIRST + COUNT))


def test_a_query_that_waits_for_the_first_message_of_a_stream_that_begins_late(
    nats_server: EmbeddedServer, admin: Admin, late: str
) -> None:
    given = options(nats_server.url, stream_name=late, poll_interval=ALWAYS, partitions="3")
    with Driver(
        {**given, "nats.max.messages.per.trigger": "2000", "nats.min.range": "1"}
    ) as driver:
        position = driver.initial()
        assert driver.latest(position) == position
        admin.fill(late, COUNT)
        found: list[int] = []
        for _ in range(3):
            position, rows = batch(driver, position)
            found += numbers(rows)
        assert found == list(range(FIRST, FIRST + COUNT))
        assert batch(driver, position) == (position, [])


def test_balanced_reads_a_stream_that_begins_late(
    nats_server: EmbeddedServer, admin: Admin, late: str
) -> None:
    admin.fill(late, COUNT)
    with consuming.start(nats_server.url, late, max_messages_per_trigger="2000") as driver:
        assert numbers(drain(driver)) == list(range(FIRST, FIRST + COUNT))
    assert consuming.is_settled(admin, late)


def test_a_retry_finds_the_stored_rows_in_a_stream_that_begins_late(
    nats_server: EmbeddedServer, admin: Admin, late: str
) -> None:
    rows, task = numbered(late, 400), new_task()
    begin(nats_server.url, rows, 200, task)
    assert stood(admin, late, FIRST + 199) == FIRST + 199
    write(exactly(nats_server.url), rows, task=task)
    assert [each.payload for each in admin.read_all(late)] == [row["content"] for row in rows]


#: One message of so many is left.
GAP = 100


@pytest.fixture
def sparse(admin: Admin, stream: str) -> tuple[str, list[int]]:
    """A stream in whose midst 99 % of the messages are gone, and the sequences that remain."""
    make_stream(admin, stream, max_msgs_per_subject=1)
    admin.publish_many(
        (f"{stream}.same" if i % GAP else f"{stream}.{i}", b"%d" % i) for i in range(20_000)
    )
    left = [*range(1, 20_001, GAP), 20_000]
    assert admin.info(stream).state.messages == len(left)
    return stream, left


@pytest.mark.usefixtures("via")
@pytest.mark.parametrize("limit", ["3000", "1000000"])
def test_the_messages_that_are_left_of_a_stream_are_read_once(
    nats_server: EmbeddedServer, sparse: tuple[str, list[int]], limit: str
) -> None:
    stream, left = sparse
    given = {"max_messages_per_trigger": limit, "min_range": "500", "poll_interval": ALWAYS}
    with Driver(options(nats_server.url, stream_name=stream, **given)) as driver:
        rows = drain_to(driver, left[-1])
    assert numbers(rows) == left
    assert all(int(row["content"]) == row["streamSeq"] - 1 for row in rows)


def drain_to(driver: Driver, last: int) -> list[Row]:
    """The rows of batches up to a sequence; some of the batches are empty."""
    position, rows = driver.initial(), []
    while all(each["seq"] < last for each in position["streams"].values()):
        position, more = batch(driver, position)
        rows += more
    return rows


def test_balanced_reads_the_messages_that_are_left_of_a_stream_once(
    nats_server: EmbeddedServer, admin: Admin, sparse: tuple[str, list[int]]
) -> None:
    stream, left = sparse
    with consuming.start(nats_server.url, stream) as driver:
        assert numbers(drain(driver)) == left
    assert consuming.is_settled(admin, stream)


@pytest.fixture
def expiring(nats_server: EmbeddedServer, admin: Admin, stream: str) -> str:
    """A stream of 1,000 messages, of which all but each tenth expire soon after their publish."""
    make_stream(admin, stream, allow_msg_ttl=True)
    rows = numbered(stream, 1_000)
    for i, row in enumerate(rows):
        row["headers"] = [("Nats-TTL", ["1s"])] if i % 10 else []
    write(options(nats_server.url), rows)
    assert admin.info(stream).state.messages == len(rows)
    return stream


def expired(admin: Admin, stream: str) -> bool:
    messages: int = admin.info(stream).state.messages
    return messages == 100


@pytest.mark.usefixtures("via")
def test_messages_that_expire_between_plan_and_read_are_left_out(
    nats_server: EmbeddedServer, admin: Admin, expiring: str
) -> None:
    with Driver(options(nats_server.url, stream_name=expiring)) as driver:
        start = driver.initial()
        end = driver.everything(start)
        wait_until(lambda: expired(admin, expiring))
        assert numbers(driver.rows(start, end)) == list(range(1, 1_001, 10))


@pytest.mark.usefixtures("via")
def test_messages_that_expire_after_they_were_read_are_no_loss(
    nats_server: EmbeddedServer, admin: Admin, expiring: str
) -> None:
    """The head of the stream moves within what the task has read, and beyond."""
    admin.delete_message(expiring, 1)
    given = options(nats_server.url, stream_name=expiring, fetch_messages="5", partitions="1")
    with Driver(given) as driver:
        start = driver.initial()
        (partition,) = driver.reader.partitions(start, driver.everything(start))
        found: list[int] = []
        for rows in driver.reader.read(partition):
            found += rows.column("streamSeq").to_pylist()
            wait_until(lambda: expired_but(admin, expiring))
    left = list(range(11, 1_001, 10))
    assert found[:5] == [2, 3, 4, 5, 6]
    assert sorted({*found, *left}) == found


def expired_but(admin: Admin, stream: str) -> bool:
    messages: int = admin.info(stream).state.messages
    return messages == 99


@pytest.mark.parametrize("allowed", [True, False])
def test_a_head_that_expired_unread_is_data_loss(
    nats_server: EmbeddedServer, admin: Admin, expiring: str, allowed: bool
) -> None:
    """As with limits and purges: the messages were there, and no row shows them."""
    admin.delete_message(expiring, 1)
    lost = str(not allowed).lower()
    with Driver(options(nats_server.url, stream_name=expiring, fail_on_data_loss=lost)) as driver:
        start = driver.initial()
        end = driver.everything(start)
        wait_until(lambda: expired_but(admin, expiring))
        if allowed:
            assert numbers(driver.rows(start, end)) == list(range(11, 1_001, 10))
        else:
            with pytest.raises(DataLossError, match=rf"{expiring}.*messages 2 to 10 were removed"):
                driver.rows(start, end)


def test_balanced_reports_messages_that_expire_after_they_were_pulled(
    nats_server: EmbeddedServer, admin: Admin, expiring: str
) -> None:
    with consuming.start(nats_server.url, expiring) as driver:
        start = driver.initial()
        end = driver.latest(start)
        wait_until(lambda: expired(admin, expiring))
        with pytest.raises(DataLossError, match="900 messages from 2 to 1000 of the batch"):
            driver.rows(start, end)


def test_balanced_passes_over_messages_that_expired_before_they_were_pulled(
    nats_server: EmbeddedServer, admin: Admin, expiring: str
) -> None:
    with consuming.start(nats_server.url, expiring) as driver:
        start = driver.initial()
        wait_until(lambda: expired(admin, expiring))
        assert numbers(drain(driver, start)) == list(range(1, 1_001, 10))
    info = consuming.consumer(admin, expiring)
    assert (info.num_ack_pending, info.num_pending) == (0, 0)


@pytest.mark.usefixtures("via")
@pytest.mark.parametrize("flavor", ["v2", "balanced"])
def test_messages_that_are_overwritten_between_plan_and_read_are_left_out(
    nats_server: EmbeddedServer, admin: Admin, stream: str, flavor: str
) -> None:
    make_stream(admin, stream, max_msgs_per_subject=1)

    def publish(first: int, count: int) -> None:
        admin.publish_many((f"{stream}.{i % 100}", b"%d" % i) for i in range(first, first + count))

    publish(0, 100)
    given = {"stream_name": stream, "poll_interval": ALWAYS, "fail_on_data_loss": "false"}
    made = (
        consuming.start(nats_server.url, stream)  # where it is no loss
        if flavor == "balanced"
        else Driver(options(nats_server.url, **given))
    )
    with made as driver:
        position, rows = driver.initial(), []
        for step in range(20):
            end = driver.latest(position)
            publish(100 + step * 70, 70)
            rows += driver.rows(position, end)
            position = end
        rows += drain(driver, position)
    found = numbers(rows)
    assert 100 < len(found) < 1_500
    assert found == sorted(set(found))
    assert found[-100:] == list(range(1_401, 1_501))
    assert all(int(row["content"]) == row["streamSeq"] - 1 for row in rows)


def increments(stream: str, count: int) -> list[Row]:
    """Rows that count 1, 2, 3, ... up on three counters in turn."""
    return [
        {"subject": f"{stream}.{i % 3}", "headers": [("Nats-Incr", [f"+{i}"])]}
        for i in range(1, count + 1)
    ]


def sums(rows: list[Row]) -> dict[str, int]:
    """What the counters must have counted."""
    counted: Counter[str] = Counter()
    for row in rows:
        counted[row["subject"]] += int(row["headers"][0][1][0])
    return dict(counted)


@pytest.mark.parametrize("way", WAYS)
def test_counters_count_each_row_once_after_a_crash(
    nats_server: EmbeddedServer, admin: Admin, stream: str, way: str
) -> None:
    make_stream(admin, stream, allow_msg_counter=True, **WAYS[way])
    rows, task = increments(stream, 400), new_task()
    begin(nats_server.url, rows, 200, task)
    assert stood(admin, stream, 200) == 200
    write(exactly(nats_server.url), rows, task=task)
    for read in (
        read_stream(options(nats_server.url, stream_name=stream)),
        drain(consuming.start(nats_server.url, stream)),
    ):
        assert numbers(read) == list(range(1, 401))
        assert [row["headers"][0] for row in read] == [row["headers"][0] for row in rows]
        last = {row["subject"]: row["content"] for row in read}
        assert last == {name: b'{"val":"%d"}' % each for name, each in sums(rows).items()}


def test_a_retry_that_would_count_otherwise_is_an_error(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    make_stream(admin, stream, allow_msg_counter=True)
    rows, task = increments(stream, 400), new_task()
    begin(nats_server.url, rows, 200, task)
    assert stood(admin, stream, 200) == 200
    rows[0], rows[3] = rows[3], rows[0]
    with pytest.raises(ReplayError, match="rows must come in the same order"):
        write(exactly(nats_server.url), rows, task=task)


@pytest.mark.parametrize(
    ("config", "row", "fix"),
    [
        ({}, {"headers": [("Nats-Incr", ["+1"])]}, "allow_msg_counter"),
        ({"allow_msg_counter": True}, {"content": b"1"}, "set the header Nats-Incr"),
        (
            {"allow_msg_counter": True},
            {"content": b"1", "headers": [("Nats-Incr", ["+1"])]},
            "leave the content null",
        ),
        ({}, {"headers": [("Nats-Schedule", ["@every 1s"])]}, "allow_msg_schedules"),
        ({}, {"headers": [("Nats-TTL", ["1s"])]}, "allow_msg_ttl"),
    ],
    ids=["no counters", "no increment", "copied sum", "no schedules", "no expiry"],
)
def test_a_row_that_the_stream_does_not_allow_is_an_error_with_the_fix(
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    config: dict[str, Any],
    row: Row,
    fix: str,
) -> None:
    make_stream(admin, stream, **config)
    with pytest.raises(PublishError, match=fix):
        write(options(nats_server.url), [{"subject": f"{stream}.a", **row}])


def test_a_schedule_is_written_and_what_it_publishes_is_read(
    nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    """The schedule itself is a message until it has run."""
    make_stream(admin, stream, allow_msg_schedules=True)
    admin.publish(f"{stream}.first", b"first")
    at = datetime.now(UTC) + timedelta(seconds=2)
    headers = {
        "Nats-Schedule": f"@at {at:%Y-%m-%dT%H:%M:%SZ}",
        "Nats-Schedule-Target": f"{stream}.due",
    }
    row = {"subject": f"{stream}.plan", "content": b"due", "headers": [*lists(headers)]}
    write(exactly(nats_server.url), [row])
    given = options(nats_server.url, stream_name=stream, poll_interval=ALWAYS)
    with Driver(given) as v2, consuming.start(nats_server.url, stream) as balanced:
        positions = {each: each.initial() for each in (v2, balanced)}
        found: dict[Driver, list[tuple[str, bytes]]] = {v2: [], balanced: []}

        def read(driver: Driver) -> int:
            positions[driver], rows = batch(driver, positions[driver])
            found[driver] += [(row["subject"], row["content"]) for row in rows]
            return len(found[driver])

        for driver in positions:
            wait_until(lambda driver=driver: read(driver) == 2)
        wait_until(lambda: admin.info(stream).state.last_seq == 3)
        for driver in positions:
            wait_until(lambda driver=driver: read(driver) == 3)
            assert found[driver] == [
                (f"{stream}.first", b"first"),
                (f"{stream}.plan", b"due"),
                (f"{stream}.due", b"due"),
            ]


def lists(headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    return ((name, [value]) for name, value in headers.items())
